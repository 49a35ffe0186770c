//! The outbox against single cases and against a server that refuses, forgets and dies at random.

use std::collections::BTreeSet;

use banter_protocol::time::Timestamp;
use proptest::prelude::*;

use super::*;

const NOW: Duration = Duration::from_secs(100);

fn channel(number: u8) -> ChannelId {
    ChannelId::from_bytes([number; 16])
}

fn id(number: usize) -> MessageId {
    format!("m{number}").parse().unwrap()
}

fn filled(count: usize) -> Outbox {
    let mut outbox = Outbox::default();
    for number in 0..count {
        outbox.push(id(number), channel(1), Body::parse("hi").unwrap());
    }
    outbox
}

fn next(outbox: &mut Outbox, now: Duration) -> Option<String> {
    match outbox.due(now) {
        Due::Send { id, .. } => Some(id.to_string()),
        _ => None,
    }
}

fn all(outbox: &mut Outbox, now: Duration) -> Vec<String> {
    std::iter::from_fn(|| next(outbox, now)).collect()
}

fn ack(number: usize, seq: u64, level: Level) -> Ack {
    Ack {
        id: id(number),
        channel: channel(1),
        seq,
        epoch: 1,
        level,
        sent_at: Timestamp::from_ms(0),
    }
}

#[test]
fn what_had_no_answer_is_sent_again_in_order() {
    let mut outbox = filled(4);
    assert_eq!(all(&mut outbox, NOW), ["m0", "m1", "m2", "m3"]);
    assert!(outbox.on_ack(&ack(1, 1, Level::Stored)));
    assert!(!outbox.on_ack(&ack(1, 1, Level::Stored)), "answered before");
    outbox.on_connected();
    assert_eq!(all(&mut outbox, NOW), ["m0", "m2", "m3"]);
}

#[test]
fn queued_messages_stay_until_stored_in_their_epoch() {
    let mut outbox = filled(3);
    all(&mut outbox, NOW);
    for number in 0..3 {
        assert!(outbox.on_ack(&ack(number, number as u64 + 1, Level::Queued)));
    }
    outbox.on_connected();
    assert!(all(&mut outbox, NOW).is_empty(), "acked is not sent again");
    let stored = |seq, epoch| Stored {
        channel: channel(1),
        seq,
        epoch,
    };
    outbox.on_stored(&stored(3, 2));
    assert_eq!(outbox.len(), 3);
    outbox.on_stored(&stored(2, 1));
    assert_eq!(outbox.len(), 1);
    outbox.on_resend();
    assert_eq!(all(&mut outbox, NOW), ["m2"]);
}

#[test]
fn a_refused_channel_is_held_and_tried_with_one() {
    let mut outbox = filled(4);
    outbox.push(id(9), channel(2), Body::parse("hi").unwrap());
    all(&mut outbox, NOW);
    let asked = Some(Duration::from_secs(3));
    for number in [1, 2] {
        outbox.on_deferred(&format!("m{number}"), Some(channel(1)), NOW, asked, 0.0);
    }
    outbox.push(id(10), channel(2), Body::parse("hi").unwrap());
    assert_eq!(
        next(&mut outbox, NOW).as_deref(),
        Some("m10"),
        "another channel"
    );
    let then = NOW + Duration::from_secs(3);
    assert_eq!(outbox.due(NOW), Due::At(then));
    assert_eq!(
        next(&mut outbox, then),
        None,
        "m0 and m3 have no answer yet"
    );
    outbox.on_ack(&ack(0, 1, Level::Stored));
    assert_eq!(
        all(&mut outbox, then),
        ["m1", "m2"],
        "an ack opens the channel"
    );
    outbox.on_deferred("m1", None, then, asked, 0.0);
    outbox.on_refused("m2", None).unwrap();
    outbox.on_refused("m3", None).unwrap();
    let later = then + Duration::from_secs(4);
    assert_eq!(all(&mut outbox, later), ["m1"]);
    assert_eq!(outbox.len(), 3);
}

#[derive(Debug, Clone)]
enum Op {
    Push(u8),
    Answer(u8),
    Defer(u8),
    Die,
    Wait(u16),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        3 => (1u8..4).prop_map(Op::Push),
        3 => any::<u8>().prop_map(Op::Answer),
        2 => any::<u8>().prop_map(Op::Defer),
        1 => Just(Op::Die),
        2 => any::<u16>().prop_map(Op::Wait),
    ];
    proptest::collection::vec(op, 0..120)
}

/// A server that keeps the first answer of every id, and drops what is under way when it dies.
#[derive(Default)]
struct Server {
    stored: Vec<(ChannelId, MessageId)>,
    known: BTreeSet<(ChannelId, MessageId)>,
    under_way: VecDeque<(ChannelId, MessageId)>,
}

impl Server {
    fn take_all(&mut self, outbox: &mut Outbox, now: Duration) {
        while let Due::Send { id, channel, .. } = outbox.due(now) {
            self.under_way.push_back((channel, id.clone()));
        }
    }

    fn answer(&mut self, outbox: &mut Outbox, lose: bool) {
        let Some(message) = self.under_way.pop_front() else {
            return;
        };
        if self.known.insert(message.clone()) {
            self.stored.push(message.clone());
        }
        if !lose {
            let (channel, id) = message;
            assert!(outbox.on_ack(&Ack {
                id,
                channel,
                ..ack(0, 1, Level::Stored)
            }));
        }
    }
}

proptest! {
    #[test]
    fn everything_pushed_is_stored_once(ops in ops()) {
        let mut outbox = Outbox::default();
        let mut server = Server::default();
        let mut now = NOW;
        let mut pushed = 0;
        for op in ops {
            server.take_all(&mut outbox, now);
            match op {
                Op::Push(to) => {
                    outbox.push(id(pushed), channel(to), Body::parse("hi").unwrap());
                    pushed += 1;
                }
                Op::Answer(count) => for _ in 0..count % 8 {
                    server.answer(&mut outbox, false);
                },
                Op::Defer(random) => if let Some((channel, id)) = server.under_way.pop_front() {
                    let random = f64::from(random) / 256.0;
                    outbox.on_deferred(id.as_str(), Some(channel), now, None, random);
                },
                Op::Die => {
                    server.answer(&mut outbox, true);
                    server.under_way.clear();
                    outbox.on_connected();
                }
                Op::Wait(ms) => now += Duration::from_millis(ms.into()),
            }
        }
        for _ in 0..=2 * pushed {
            now += Duration::from_secs(60);
            server.take_all(&mut outbox, now);
            while !server.under_way.is_empty() {
                server.answer(&mut outbox, false);
            }
        }
        prop_assert!(outbox.is_empty());
        prop_assert_eq!(server.stored.len(), pushed);
    }

    #[test]
    fn deaths_alone_never_change_the_order(ops in ops()) {
        let mut outbox = Outbox::default();
        let mut server = Server::default();
        let mut pushed = 0;
        for op in ops {
            match op {
                Op::Push(_) => {
                    outbox.push(id(pushed), channel(1), Body::parse("hi").unwrap());
                    pushed += 1;
                }
                Op::Answer(count) => {
                    server.take_all(&mut outbox, NOW);
                    for _ in 0..count % 8 {
                        server.answer(&mut outbox, false);
                    }
                }
                _ => {
                    server.answer(&mut outbox, true);
                    server.under_way.clear();
                    outbox.on_connected();
                }
            }
        }
        let order: Vec<MessageId> = server.stored.iter().map(|(_, id)| id.clone()).collect();
        let expected: Vec<MessageId> = (0..order.len()).map(id).collect();
        prop_assert_eq!(order, expected);
    }
}
