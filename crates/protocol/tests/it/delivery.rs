//! A delivery that loses, repeats, shuffles and cuts is repaired, or the client is told `reset`.
//!
//! The model holds the log of one channel, which may lose its newest entries and goes on in a new
//! epoch; a gateway that follows the log over a bus that drops, repeats and reorders; and a member
//! whose socket may break at any moment, with entries still on the way. The rules under test are
//! `resume::decide` and `Sequence`; all the rest only asks them.

use std::collections::VecDeque;

use banter_protocol::frame::ResetReason;
use banter_protocol::id::{Epoch, Position};
use banter_protocol::resume::{self, Resume};
use banter_protocol::sequence::{Sequence, Step};
use proptest::prelude::*;

/// An entry: where it stands, and its content (a number that no other entry has).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    position: Position,
    content: u64,
}

#[derive(Debug)]
struct Log {
    entries: Vec<Entry>,
    /// Entries up to here are in the database and survive everything.
    stored: usize,
    epoch: Epoch,
    made: u64,
}

impl Log {
    fn new() -> Self {
        let mut log = Self {
            entries: Vec::new(),
            stored: 0,
            epoch: 1,
            made: 0,
        };
        log.append();
        log
    }

    fn append(&mut self) -> Entry {
        self.made += 1;
        let entry = Entry {
            position: Position {
                seq: self.entries.len() as u64 + 1,
                epoch: self.epoch,
            },
            content: self.made,
        };
        self.entries.push(entry);
        entry
    }

    /// The newest unstored entries are gone; what comes now belongs to another history.
    fn lose(&mut self, entries: usize) {
        let kept = self.entries.len().saturating_sub(entries);
        self.entries.truncate(kept.max(self.stored));
        self.epoch += 1;
    }

    fn head(&self) -> Position {
        Position {
            seq: self.entries.len() as u64,
            epoch: self.epoch,
        }
    }

    fn after(&self, seq: u64) -> &[Entry] {
        &self.entries[usize::try_from(seq).unwrap().min(self.entries.len())..]
    }

    fn epoch_of(&self, seq: u64) -> Option<Epoch> {
        let index = usize::try_from(seq).ok()?.checked_sub(1)?;
        self.entries.get(index).map(|entry| entry.position.epoch)
    }

    /// What a server does with a position: ask, and look the epoch up only when told to.
    fn decide(&self, position: Position) -> Resume {
        match resume::decide(position, self.head(), None) {
            Resume::AskEpoch => {
                let written = self.epoch_of(position.seq);
                resume::decide(position, self.head(), Some(written))
            }
            decided => decided,
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Frame {
    Entry(Entry),
    Reset(Position),
}

/// The server's end: what the member was sent, so to say the gateway's memory of it.
#[derive(Debug)]
struct Gateway {
    sent: Sequence,
    epoch: Epoch,
}

impl Gateway {
    /// Answers a position: a replay and then live, or `reset` and live from the head.
    fn resume(log: &Log, position: Position, wire: &mut VecDeque<Frame>) -> Self {
        let mut gateway = Self {
            sent: Sequence::after(log.head()),
            epoch: log.epoch,
        };
        match log.decide(position) {
            Resume::Replay => {
                gateway.sent = Sequence::after(position);
                gateway.repair(log, wire);
            }
            Resume::Reset(ResetReason::Epoch | ResetReason::TooFar) => {
                wire.push_back(Frame::Reset(log.head()));
            }
            other => panic!("{other:?} settles nothing"),
        }
        gateway
    }

    /// A new epoch was noticed: what was sent must still be what the log holds.
    fn check_epoch(&mut self, log: &Log, wire: &mut VecDeque<Frame>) {
        if self.epoch != log.epoch {
            *self = Self::resume(log, self.sent.position(), wire);
        }
    }

    fn repair(&mut self, log: &Log, wire: &mut VecDeque<Frame>) {
        for entry in log.after(self.sent.position().seq) {
            assert_eq!(self.sent.accept(entry.position), Step::Apply);
            wire.push_back(Frame::Entry(*entry));
        }
    }

    /// Something from the bus, which keeps no promise.
    fn hear(&mut self, entry: Entry, log: &Log, wire: &mut VecDeque<Frame>) {
        self.check_epoch(log, wire);
        // Published under an epoch that is over: the tail of the log knows better.
        if log.epoch_of(entry.position.seq) != Some(entry.position.epoch) {
            return;
        }
        match self.sent.accept(entry.position) {
            Step::Apply => wire.push_back(Frame::Entry(entry)),
            Step::Repeat => {}
            Step::Gap => self.repair(log, wire),
        }
    }
}

/// The member's end: what it shows, and since which `reset` it shows it.
#[derive(Debug)]
struct Member {
    sequence: Sequence,
    shown: Vec<Entry>,
}

impl Member {
    fn new() -> Self {
        let beginning = Position { seq: 0, epoch: 1 };
        Self {
            sequence: Sequence::after(beginning),
            shown: Vec::new(),
        }
    }

    /// Takes a frame; `false`: a gap, so that the member must come back and resume.
    fn take(&mut self, frame: Frame) -> bool {
        match frame {
            Frame::Reset(head) => {
                self.shown.clear();
                self.sequence = Sequence::after(head);
            }
            Frame::Entry(entry) => match self.sequence.accept(entry.position) {
                Step::Apply => self.shown.push(entry),
                Step::Repeat => {}
                Step::Gap => return false,
            },
        }
        true
    }
}

/// One thing that happens.
#[derive(Debug, Clone)]
enum Event {
    /// Somebody writes so many entries.
    Append(u8),
    /// A worker stores all but so many.
    Store(u8),
    /// The log loses so many of the unstored entries.
    Lose(u8),
    /// The bus brings the entry at this place of what is under way, and may keep it.
    Hear(prop::sample::Index, bool),
    /// The bus loses it.
    Drop(prop::sample::Index),
    /// So many frames reach the member; then one is lost, or comes again, or two change places.
    Deliver(u8, Option<Damage>),
    /// The socket breaks; what was on the way is lost.
    Break,
}

/// What a socket never does, but a member must survive.
#[derive(Debug, Clone, Copy)]
enum Damage {
    Lose,
    Repeat,
    Swap,
}

fn event() -> impl Strategy<Value = Event> {
    let damage = prop_oneof![Just(Damage::Lose), Just(Damage::Repeat), Just(Damage::Swap)];
    prop_oneof![
        6 => (1..6u8).prop_map(Event::Append),
        2 => (0..4u8).prop_map(Event::Store),
        1 => (0..6u8).prop_map(Event::Lose),
        6 => (any::<prop::sample::Index>(), prop::bool::weighted(0.2))
            .prop_map(|(at, again)| Event::Hear(at, again)),
        2 => any::<prop::sample::Index>().prop_map(Event::Drop),
        4 => (0..8u8, prop::option::weighted(0.2, damage))
            .prop_map(|(frames, damage)| Event::Deliver(frames, damage)),
        1 => Just(Event::Break),
    ]
}

struct World {
    log: Log,
    bus: Vec<Entry>,
    gateway: Gateway,
    wire: VecDeque<Frame>,
    member: Member,
}

impl World {
    fn new() -> Self {
        let (log, member, mut wire) = (Log::new(), Member::new(), VecDeque::new());
        let gateway = Gateway::resume(&log, member.sequence.position(), &mut wire);
        Self {
            log,
            bus: Vec::new(),
            gateway,
            wire,
            member,
        }
    }

    fn reconnect(&mut self) {
        self.wire.clear();
        let position = self.member.sequence.position();
        self.gateway = Gateway::resume(&self.log, position, &mut self.wire);
    }

    fn deliver(&mut self, frames: usize) {
        for _ in 0..frames {
            let Some(frame) = self.wire.pop_front() else {
                return;
            };
            if !self.member.take(frame) {
                return self.reconnect();
            }
        }
    }

    fn damage(&mut self, damage: Damage) {
        match damage {
            Damage::Lose if matches!(self.wire.front(), Some(Frame::Entry(_))) => {
                self.wire.pop_front();
            }
            Damage::Repeat => {
                if let Some(frame @ Frame::Entry(_)) = self.wire.front().copied() {
                    self.wire.push_front(frame);
                }
            }
            Damage::Swap => {
                let pair = (self.wire.front(), self.wire.get(1));
                if let (Some(Frame::Entry(_)), Some(Frame::Entry(_))) = pair {
                    self.wire.swap(0, 1);
                }
            }
            Damage::Lose => {}
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Append(count) => {
                for _ in 0..count {
                    let entry = self.log.append();
                    self.bus.push(entry);
                }
            }
            Event::Store(behind) => {
                let upto = self.log.entries.len().saturating_sub(behind.into());
                self.log.stored = self.log.stored.max(upto);
            }
            Event::Lose(count) => self.log.lose(count.into()),
            Event::Hear(at, again) if !self.bus.is_empty() => {
                let at = at.index(self.bus.len());
                let entry = if again {
                    self.bus[at]
                } else {
                    self.bus.remove(at)
                };
                self.gateway.hear(entry, &self.log, &mut self.wire);
            }
            Event::Drop(at) if !self.bus.is_empty() => {
                self.bus.remove(at.index(self.bus.len()));
            }
            Event::Deliver(frames, damage) => {
                self.deliver(frames.into());
                if let Some(damage) = damage {
                    self.damage(damage);
                }
            }
            Event::Break => self.reconnect(),
            Event::Hear(..) | Event::Drop(_) => {}
        }
    }

    /// One more entry (the next one shows that the one before was lost), the gateway compares
    /// heads, and everything under way arrives.
    fn settle(&mut self) {
        self.log.append();
        // Two rounds: the first may end in a gap, and so in a new socket.
        for _ in 0..2 {
            self.gateway.check_epoch(&self.log, &mut self.wire);
            self.gateway.repair(&self.log, &mut self.wire);
            self.deliver(usize::MAX);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn a_member_shows_the_log_or_was_told_reset(
        events in prop::collection::vec(event(), 0..80),
    ) {
        let mut world = World::new();
        for event in events {
            world.happen(event);
            // At any moment: in order and without a gap since the last `reset`.
            let shown = &world.member.shown;
            prop_assert!(shown.is_sorted_by(|a, b| a.position.seq + 1 == b.position.seq));
        }
        world.settle();
        let World { log, member, .. } = world;
        let since = log.entries.len() - member.shown.len();
        prop_assert_eq!(&log.entries[since..], &member.shown[..]);
        prop_assert_eq!(member.sequence.position().seq, log.head().seq);
    }

    /// Within one epoch nothing is ever discarded: everything is shown from the beginning.
    #[test]
    fn without_loss_in_the_log_there_is_no_reset(
        events in prop::collection::vec(event(), 0..80),
    ) {
        let mut world = World::new();
        for event in events {
            if !matches!(event, Event::Lose(_)) {
                world.happen(event);
            }
        }
        world.settle();
        prop_assert_eq!(world.log.entries, world.member.shown);
    }

    /// The rule itself: replayed exactly when the entry at the position is still the one applied.
    #[test]
    fn a_position_is_resumed_exactly_when_its_entry_stands(
        lives in prop::collection::vec((1..6usize, 0..5usize), 1..6),
        seq in 0..20u64,
        epoch in 0..8u64,
    ) {
        let mut log = Log::new();
        for (append, lose) in lives {
            (0..append).for_each(|_| { log.append(); });
            log.lose(lose);
        }
        let stands = match seq {
            0 => epoch == log.epoch,
            _ => seq <= log.head().seq && (epoch == log.epoch || log.epoch_of(seq) == Some(epoch)),
        };
        let expected = if stands { Resume::Replay } else { Resume::Reset(ResetReason::Epoch) };
        prop_assert_eq!(log.decide(Position { seq, epoch }), expected);
    }
}

#[test]
fn too_far_is_told_rather_than_replayed() {
    let mut log = Log::new();
    (0..10_000).for_each(|_| {
        log.append();
    });
    let at = |seq| Position { seq, epoch: 1 };
    assert_eq!(log.decide(at(1)), Resume::Replay);
    assert_eq!(log.decide(at(0)), Resume::Reset(ResetReason::TooFar));
}
