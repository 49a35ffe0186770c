//! Delivery in order and once, against single cases and against a random network.

use banter_protocol::entry::Level;
use banter_protocol::id::{SessionId, UserId};
use banter_protocol::time::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::frame::User;

const NONE: [i64; 0] = [];
const CHANNEL: ChannelId = ChannelId::from_bytes([7; 16]);

fn at(seq: Seq) -> Position {
    Position { seq, epoch: 1 }
}

fn entry(seq: Seq, kind: Kind) -> Entry {
    Entry {
        channel: CHANNEL,
        seq,
        epoch: Some(1),
        sent_at: Timestamp::from_ms(0),
        kind,
        raw: "".into(),
    }
}

fn plain(seq: Seq) -> Entry {
    entry(seq, Kind::Tombstone)
}

fn joined(seq: Seq) -> Entry {
    entry(seq, Kind::Joined { user: "me".into() })
}

fn left(seq: Seq) -> Entry {
    let user = "me".into();
    entry(seq, Kind::Left { user, by: None })
}

fn welcome(head: Option<Seq>) -> Welcome {
    Welcome {
        user: User {
            id: UserId::from_bytes([1; 16]),
            username: "me".into(),
        },
        session: SessionId::from_bytes([2; 16]),
        expires_in: 600,
        server_time: Timestamp::from_ms(0),
        level: Level::Stored,
        channels: head.map(|seq| (CHANNEL, at(seq))).into_iter().collect(),
    }
}

fn follows(seq: Seq) -> Follows {
    let mut follows = Follows::new([(CHANNEL, at(seq))].into());
    follows.on_welcome(&welcome(Some(seq)));
    follows
}

/// What a step tells: numbers for entries, negative ones for the rest.
fn told(step: impl FnOnce(&mut Vec<Told>)) -> Vec<i64> {
    let mut out = Vec::new();
    step(&mut out);
    out.iter()
        .map(|told| match told {
            Told::Entry(entry) => entry.seq as i64,
            Told::Restart { from, .. } => -1000 - *from as i64,
            Told::Lost { .. } => -1,
        })
        .collect()
}

fn page(from: Seq, to: Seq) -> Option<Page> {
    Some(Page {
        entries: (from..=to).map(plain).collect(),
    })
}

#[test]
fn a_gap_waits_for_its_page() {
    let mut f = follows(4);
    assert_eq!(told(|o| f.on_entry(plain(5), o)), [5]);
    assert_eq!(told(|o| f.on_entry(plain(8), o)), NONE);
    let want = f.want().unwrap();
    assert_eq!((want.after, f.want()), (5, None));
    assert_eq!(told(|o| f.on_entry(plain(9), o)), NONE);
    assert_eq!(told(|o| f.on_page(want, page(6, 6), o)), [6]);
    let want = f.want().unwrap();
    assert_eq!(told(|o| f.on_page(want, None, o)), NONE);
    assert_eq!(f.want().map(|w| (w.after, w.fruitless)), Some((6, 1)));
    let want = Want {
        fruitless: 1,
        after: 6,
        ..want
    };
    assert_eq!(told(|o| f.on_page(want, page(7, 8), o)), [7, 8, 9]);
    assert_eq!(f.want(), None);
    assert_eq!(f.positions()[&CHANNEL], at(9));
}

#[test]
fn too_far_is_paged_up_to_the_head() {
    let mut f = follows(4);
    let reset = Reset {
        channel: CHANNEL,
        reason: Reason::TooFar,
        seq: Some(7),
        epoch: Some(1),
        raw: String::new(),
    };
    assert_eq!(told(|o| f.on_reset(&reset, o)), NONE);
    let want = f.want().unwrap();
    assert_eq!(told(|o| f.on_entry(plain(8), o)), NONE);
    assert_eq!(told(|o| f.on_page(want, page(5, 7), o)), [5, 6, 7, 8]);
    assert_eq!(f.want(), None);
}

#[test]
fn another_history_begins_again_where_the_user_began() {
    let mut f = follows(4);
    told(|o| f.on_entry(plain(5), o));
    told(|o| f.on_entry(plain(8), o));
    let stale = f.want().unwrap();
    let reset = Reset {
        channel: CHANNEL,
        reason: Reason::Epoch,
        seq: Some(6),
        epoch: Some(2),
        raw: String::new(),
    };
    assert_eq!(told(|o| f.on_reset(&reset, o)), [-1004]);
    assert_eq!(told(|o| f.on_page(stale, page(6, 7), o)), NONE);
    let want = f.want().unwrap();
    assert_eq!(told(|o| f.on_page(want, page(5, 6), o)), [5, 6]);
}

#[test]
fn memberships_end_and_begin() {
    let mut f = follows(4);
    assert_eq!(told(|o| f.on_entry(left(5), o)), [5]);
    assert_eq!(told(|o| f.on_entry(joined(9), o)), [9]);
    assert_eq!(f.want(), None, "what happened meanwhile is no gap");
    assert_eq!(told(|o| f.on_entry(plain(10), o)), [10]);
    let gone = Reset {
        channel: CHANNEL,
        reason: Reason::Unavailable,
        seq: None,
        epoch: None,
        raw: String::new(),
    };
    assert_eq!(told(|o| f.on_reset(&gone, o)), [-1]);
    assert_eq!(told(|o| f.on_entry(plain(11), o)), NONE, "not ours");
}

#[test]
fn a_replay_across_an_absence_is_whole() {
    let mut f = follows(4);
    let mut seen = Vec::new();
    for entry in [left(5), plain(6), joined(7), plain(8)] {
        seen.extend(told(|o| f.on_entry(entry, o)));
    }
    assert_eq!(seen, [5, 6, 7, 8]);
}

#[test]
fn early_entries_are_bounded() {
    let mut f = follows(0);
    let last = 2 + WAITING_MAX as Seq + 100;
    for seq in 3..=last {
        f.on_entry(plain(seq), &mut Vec::new());
    }
    let mut seen = Vec::new();
    while let Some(want) = f.want() {
        seen.extend(told(|o| {
            f.on_page(want, page(want.after + 1, want.after + 50), o);
        }));
    }
    assert_eq!(seen, (1..=last as i64).collect::<Vec<_>>());
}

#[derive(Debug, Clone)]
enum Op {
    /// The entry this far from the delivered position arrives; 0 repeats.
    Arrive(i8),
    /// The page in flight arrives, this long.
    Page(u8),
    /// It fails.
    Fail,
    /// A new socket; it replays this many entries before the network cuts it.
    Reconnect(u8),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        6 => (-3i8..6).prop_map(Op::Arrive),
        3 => any::<u8>().prop_map(Op::Page),
        1 => Just(Op::Fail),
        1 => any::<u8>().prop_map(Op::Reconnect),
    ];
    proptest::collection::vec(op, 0..200)
}

proptest! {
    /// Shuffled, repeated and cut: each entry is delivered once, in order, and none is given up.
    #[test]
    fn any_delivery_is_repaired(ops in ops()) {
        const HEAD: Seq = 400;
        let mut f = follows(0);
        let mut seen = Vec::new();
        let mut flying = None;
        for op in ops {
            let place = f.positions()[&CHANNEL].seq;
            flying = flying.or_else(|| f.want());
            match op {
                Op::Arrive(far) => {
                    let seq = place.saturating_add_signed(i64::from(far)).clamp(1, HEAD);
                    seen.extend(told(|o| f.on_entry(plain(seq), o)));
                }
                Op::Page(long) => if let Some(want) = flying.take() {
                    let to = (want.after + u64::from(long)).min(HEAD);
                    seen.extend(told(|o| f.on_page(want, page(want.after + 1, to), o)));
                },
                Op::Fail => if let Some(want) = flying.take() {
                    f.on_page(want, None, &mut Vec::new());
                },
                Op::Reconnect(replayed) => {
                    f.on_welcome(&welcome(Some(HEAD)));
                    for seq in place + 1..=(place + u64::from(replayed)).min(HEAD) {
                        seen.extend(told(|o| f.on_entry(plain(seq), o)));
                    }
                }
            }
        }
        seen.extend(told(|o| f.on_entry(plain(HEAD), o)));
        while let Some(want) = flying.take().or_else(|| f.want()) {
            let to = (want.after + 50).min(HEAD);
            seen.extend(told(|o| f.on_page(want, page(want.after + 1, to), o)));
        }
        prop_assert_eq!(seen, (1..=HEAD as i64).collect::<Vec<_>>());
    }
}
