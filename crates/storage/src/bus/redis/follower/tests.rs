//! The follower against a log that loses entries, and announcements that are lost, repeated and
//! late: what comes out is dense and in order, or rewound, and complete in the end.

use banter_protocol::entry::{Entry, Kind};
use banter_protocol::time::Timestamp;
use proptest::prelude::*;

use super::*;

fn channel() -> ChannelId {
    ChannelId::from_bytes([7; 16])
}

fn record(seq: Seq, epoch: Epoch) -> Record {
    Record {
        entry: Entry {
            channel: channel(),
            seq,
            epoch,
            sent_at: Timestamp::from_ms(0),
            kind: Kind::Tombstone,
        },
        user: None,
    }
}

/// The log as Redis and the database keep it together: the epoch of each entry.
#[derive(Debug, Default, Clone)]
struct Log {
    epoch: Epoch,
    entries: Vec<Epoch>,
}

impl Log {
    fn head(&self) -> Position {
        Position {
            seq: self.entries.len() as Seq,
            epoch: self.epoch,
        }
    }

    fn range(&self, after: Seq, limit: usize) -> Vec<Record> {
        let all = self.entries.iter().enumerate();
        let records = all.map(|(n, epoch)| record(n as Seq + 1, *epoch));
        records.skip(after as usize).take(limit).collect()
    }

    fn answer(&self, question: Question, limit: usize) -> Answer {
        let written = match question.last {
            0 => Some(0),
            last => self.entries.get(last as usize - 1).copied(),
        };
        let kept = written.is_some_and(|epoch| epoch <= question.epoch);
        Answer {
            epoch: self.epoch,
            top: self.head().seq,
            kept,
            records: match kept {
                true => self.range(question.last, limit),
                false => Vec::new(),
            },
        }
    }
}

/// What a gateway makes of the events.
#[derive(Debug, Default)]
struct Gateway {
    begun: Seq,
    entries: Vec<Epoch>,
    lost: Epoch,
    seen: Epoch,
}

impl Gateway {
    fn top(&self) -> Seq {
        self.begun + self.entries.len() as Seq
    }

    fn hear(&mut self, event: Event) {
        match event {
            Event::Entries(records) => {
                for record in records {
                    assert_eq!(record.entry.seq, self.top() + 1, "dense");
                    self.entries.push(record.entry.epoch);
                }
            }
            Event::Rewound { head, .. } => {
                assert!(head.epoch > self.seen, "only a new epoch rewinds");
                self.seen = head.epoch;
                *self = Self {
                    begun: head.seq,
                    entries: Vec::new(),
                    ..*self
                };
            }
            Event::Kept { at, .. } => {
                assert_eq!(at.seq, self.top(), "kept up to where it was");
                self.seen = at.epoch;
            }
            Event::Lost { epoch, .. } => {
                assert!(epoch > self.lost);
                self.lost = epoch;
            }
            Event::Stored { position, .. } => {
                assert!(position.epoch <= self.lost.max(1), "loss is told first");
            }
            Event::Changed(_) | Event::Barrier(_) => unreachable!(),
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    /// So many entries in one call.
    Append(u8),
    /// The announcement at this place of those under way arrives, and perhaps stays under way.
    Arrive(usize, bool),
    Drop(usize),
    /// A new epoch; so many of the newest entries are lost.
    Epoch(u8),
    /// The new epoch is announced.
    Tell,
    Store,
    Ask,
    /// The oldest question is answered, with the log as it was when it was asked.
    Answer,
    Fail,
    Overflow,
    Forget,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (1..4u8).prop_map(Step::Append),
        8 => (any::<usize>(), any::<bool>()).prop_map(|(n, again)| Step::Arrive(n, again)),
        2 => any::<usize>().prop_map(Step::Drop),
        1 => (0..6u8).prop_map(Step::Epoch),
        1 => Just(Step::Tell),
        2 => Just(Step::Store),
        4 => Just(Step::Ask),
        4 => Just(Step::Answer),
        1 => Just(Step::Fail),
        1 => Just(Step::Overflow),
        1 => Just(Step::Forget),
    ];
    prop::collection::vec(step, 1..120)
}

struct World {
    log: Log,
    under_way: Vec<Vec<Record>>,
    asked: VecDeque<(Question, Answer)>,
    follower: Follower,
    gateway: Gateway,
    /// Whether an announcement was lost without anybody knowing.
    is_lossy: bool,
    now: Instant,
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            log: Log {
                epoch: 1,
                entries: vec![1; 3],
            },
            under_way: Vec::new(),
            asked: VecDeque::new(),
            follower: Follower::default(),
            gateway: Gateway::default(),
            is_lossy: false,
            now: Instant::now(),
        };
        world.listen();
        world
    }

    fn listen(&mut self) {
        self.follower.subscribe(channel(), self.now);
        let head = self.log.head();
        self.follower.begin(channel(), head, self.now);
        self.gateway = Gateway {
            begun: head.seq,
            entries: Vec::new(),
            lost: self.gateway.lost,
            seen: head.epoch,
        };
        self.pass();
    }

    fn pass(&mut self) {
        for event in self.follower.events() {
            self.gateway.hear(event);
        }
    }

    fn ask(&mut self, limit: usize) {
        if let Some(question) = self.follower.ask() {
            let answer = self.log.answer(question, limit);
            self.asked.push_back((question, answer));
        }
    }

    fn answer(&mut self) {
        if let Some((question, answer)) = self.asked.pop_front() {
            self.follower.answer(question, answer, self.now);
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Append(count) => {
                let from = self.log.head().seq;
                let epoch = self.log.epoch;
                self.log.entries.extend(vec![epoch; count.into()]);
                self.under_way.push(self.log.range(from, count.into()));
            }
            Step::Arrive(place, again) if !self.under_way.is_empty() => {
                let place = place % self.under_way.len();
                let records = match again {
                    true => self.under_way[place].clone(),
                    false => self.under_way.remove(place),
                };
                self.follower.announce(records, true, self.now);
            }
            Step::Drop(place) if !self.under_way.is_empty() => {
                self.under_way.remove(place % self.under_way.len());
                self.is_lossy = true;
            }
            Step::Arrive(..) | Step::Drop(_) => {}
            Step::Epoch(lost) => {
                self.log.epoch += 1;
                let kept = self.log.entries.len().saturating_sub(lost.into());
                self.log.entries.truncate(kept);
            }
            Step::Tell => self.follower.learn(Shard::of(channel()), self.log.epoch),
            Step::Store => self.follower.store(channel(), self.log.head()),
            Step::Ask => self.ask(2),
            Step::Answer => self.answer(),
            Step::Fail => {
                if let Some((question, _)) = self.asked.pop_front() {
                    self.follower.fail(question);
                }
            }
            Step::Overflow => {
                if let Some(records) = self.under_way.pop() {
                    self.follower.announce(records, false, self.now);
                }
            }
            Step::Forget => {
                self.follower.forget(channel());
                self.listen();
            }
        }
        self.pass();
    }

    /// Everything that is asked is answered.
    fn quiet(&mut self) {
        while !self.asked.is_empty() || self.follower.has_questions() {
            self.ask(2);
            self.answer();
            self.pass();
        }
    }

    /// What is still under way arrives; then the heads are compared, as they are after a silence.
    fn settle(&mut self) {
        while !self.under_way.is_empty() {
            self.step(Step::Arrive(0, false));
        }
        self.step(Step::Tell);
        self.quiet();
        if !self.is_lossy {
            assert_eq!(self.gateway.top(), self.log.head().seq, "without a silence");
        }
        self.follower.compare(channel(), self.log.head(), self.now);
        self.quiet();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn what_comes_out_is_dense_or_rewound_and_in_the_end_all_of_it(steps in steps()) {
        let mut world = World::new();
        for step in steps {
            world.step(step);
        }
        world.settle();
        let gateway = &world.gateway;
        prop_assert_eq!(gateway.top(), world.log.head().seq);
        let begun = gateway.begun as usize;
        prop_assert_eq!(&gateway.entries[..], &world.log.entries[begun..]);
        prop_assert_eq!(world.follower.heard(channel()), Some(world.log.epoch));
        prop_assert_eq!(world.follower.waiting, 0);
    }
}

fn entries(follower: &mut Follower) -> Vec<Seq> {
    let events = follower.events();
    let numbers = events.filter_map(|event| match event {
        Event::Entries(records) => Some(records),
        _ => None,
    });
    numbers.flatten().map(|record| record.entry.seq).collect()
}

#[test]
fn a_channel_goes_on_at_its_head_and_a_jump_is_read() {
    let now = Instant::now();
    let mut follower = Follower::default();
    follower.subscribe(channel(), now);
    follower.announce(vec![record(5, 1)], true, now);
    follower.announce(vec![record(4, 1)], true, now);
    assert_eq!(follower.heard(channel()), None);
    follower.begin(channel(), Position { seq: 4, epoch: 1 }, now);
    assert_eq!(follower.heard(channel()), Some(1));
    assert_eq!(entries(&mut follower), [5]);
    follower.announce(vec![record(8, 1), record(9, 1)], true, now);
    assert!(entries(&mut follower).is_empty());
    let question = follower.ask().unwrap();
    assert_eq!((question.last, question.epoch), (5, 1));
    follower.announce(vec![record(10, 1)], true, now);
    let answer = Answer {
        epoch: 1,
        top: 8,
        kept: true,
        records: (6..=8).map(|seq| record(seq, 1)).collect(),
    };
    follower.answer(question, answer, now);
    assert_eq!(entries(&mut follower), [6, 7, 8, 9, 10]);
    assert!(!follower.has_questions());
}

#[test]
fn waiting_is_bounded_and_what_did_not_fit_is_read() {
    let now = Instant::now();
    let mut follower = Follower::default();
    follower.subscribe(channel(), now);
    for seq in 1..=2 * WAITING_MAX as Seq {
        follower.announce(vec![record(seq, 1)], true, now);
    }
    assert!(follower.waiting <= WAITING_MAX);
    follower.begin(channel(), Position { seq: 0, epoch: 1 }, now);
    assert!(follower.has_questions());
    assert_eq!(follower.ask().unwrap().last, 0);
}

#[test]
fn silence_is_noticed() {
    let start = Instant::now();
    let mut follower = Follower::default();
    follower.subscribe(channel(), start);
    follower.begin(channel(), Position { seq: 4, epoch: 1 }, start);
    let (later, patience) = (start + Duration::from_secs(20), Duration::from_secs(20));
    assert_eq!(follower.silent(start, patience), []);
    assert_eq!(follower.silent(later, patience), [channel()]);
    follower.compare(channel(), Position { seq: 4, epoch: 1 }, later);
    assert_eq!(follower.silent(later, patience), []);
    assert!(!follower.has_questions());
    follower.compare(channel(), Position { seq: 5, epoch: 1 }, later);
    assert!(follower.has_questions());
}
