//! The audit against random histories: nothing is found in valid ones, and every corruption is.

mod world;

use std::time::Instant;

use banter_lab::audit::{Audit, Condensed, Event, Flaw, Names, Report, Rule, What};
use banter_lab::load::chance::Chance;
use banter_protocol::id::Position;

use world::{relabel, valid};

/// Histories of each test.
const SEEDS: u64 = 60;

fn judge(events: &[Event]) -> Report {
    let mut audit = Audit::default();
    events.iter().for_each(|event| audit.take(*event));
    audit.finish()
}

/// Corrupts valid histories and expects the rule to be found broken, in most of the seeds at least
/// once applied; a history without a place for the corruption is passed over.
fn found(rule: Rule, flaw: Flaw, corrupt: impl Fn(&mut Vec<Event>, &mut Chance) -> Option<()>) {
    let mut applied = 0;
    for seed in 0..SEEDS {
        let mut events = valid(seed);
        let mut chance = Chance::new(seed);
        if corrupt(&mut events, &mut chance).is_none() {
            continue;
        }
        applied += 1;
        let report = judge(&events);
        let broken = report.broken();
        assert!(
            broken.contains(&rule),
            "seed {seed}: {rule:?} not in {broken:?}"
        );
        let flaws = &report.flaws;
        assert!(
            flaws.contains_key(&flaw),
            "seed {seed}: {flaw:?} not in {flaws:?}"
        );
    }
    assert!(
        applied > SEEDS / 2,
        "only {applied} histories had a place for it"
    );
}

/// One of the events of a kind, by its place.
fn one(events: &[Event], chance: &mut Chance, wanted: impl Fn(&Event) -> bool) -> Option<usize> {
    let places: Vec<_> = (0..events.len())
        .filter(|at| wanted(&events[*at]))
        .collect();
    places.get(chance.below(places.len())).copied()
}

fn is_delivery(event: &Event) -> bool {
    matches!(event, Event::Delivered { .. })
}

fn is_message(what: What) -> bool {
    matches!(what, What::Message { .. })
}

#[test]
fn nothing_is_found_in_valid_histories() {
    for seed in 0..SEEDS * 4 {
        let report = judge(&valid(seed));
        let told = report.findings.iter().map(|(rule, finding)| {
            format!("{} {}", rule.code(), finding.describe(&Names::default()))
        });
        let told: Vec<_> = told.collect();
        assert_eq!(report.violations, 0, "seed {seed}: {told:#?}");
        assert!(
            report.acked > 10 && report.deliveries > 20,
            "seed {seed}: {report:?}"
        );
    }
}

#[test]
fn parts_of_a_history_are_put_together() {
    for seed in 0..SEEDS {
        let mut events = valid(seed);
        if seed % 2 == 0 {
            let at = world::provable(&events, &mut Chance::new(seed));
            events.remove(at);
        }
        let (mut even, mut odd, mut whole) = (Audit::default(), Audit::default(), Audit::default());
        let mut later = Vec::new();
        for event in &events {
            match event {
                Event::Opened { client, .. }
                | Event::Reading { client, .. }
                | Event::Reset { client, .. }
                | Event::Delivered { client, .. }
                | Event::Settled { client, .. }
                | Event::Revoked { client, .. }
                | Event::Invoked { client, .. }
                | Event::Acked { client, .. }
                | Event::Failed { client, .. } => {
                    let part = if client % 2 == 0 { &mut even } else { &mut odd };
                    part.take(*event);
                }
                Event::Member { .. } | Event::Page { .. } => later.push(*event),
            }
        }
        for part in [even, odd] {
            let text = serde_json::to_string(&part.condense()).unwrap();
            whole.absorb(serde_json::from_str::<Condensed>(&text).unwrap());
        }
        later.iter().for_each(|event| whole.take(*event));
        let (apart, together) = (whole.finish(), judge(&events));
        assert_eq!(apart.counts, together.counts, "seed {seed}");
        assert_eq!(apart.deliveries, together.deliveries);
        assert_eq!(apart.violations > 0, seed % 2 == 0, "seed {seed}");
    }
}

/// What the log had accepted and lost is a message without a fault only if it came back.
#[test]
fn an_acked_message_that_comes_back_in_a_new_epoch() {
    let (client, channel, id, content) = (0, 0, 1, 7);
    let position = |seq, epoch| Position { seq, epoch };
    let acked = |at, position| Event::Acked {
        at,
        client,
        channel,
        id,
        position,
    };
    let invoked = |at| Event::Invoked {
        at,
        client,
        channel,
        id,
        content,
    };
    let page = |position| Event::Page {
        channel,
        position,
        what: What::Message {
            author: client,
            id,
            content,
        },
    };
    let member = client;
    let before = [
        Event::Opened { client, member },
        Event::Member { channel, member },
        invoked(1),
        acked(2, position(9, 1)),
        invoked(3),
    ];
    let back = [acked(4, position(5, 2)), page(position(5, 2))];
    let report = judge(&[&before[..], &back].concat());
    assert_eq!((report.violations, report.again), (0, 1), "{report:?}");
    // A page without it.
    let other = Event::Page {
        channel,
        position: position(5, 2),
        what: What::Tombstone,
    };
    let report = judge(&[&before[..], &[other]].concat());
    assert_eq!(report.flaws.get(&Flaw::Lost), Some(&1), "{report:?}");
    // Or with it twice.
    let twice = page(position(6, 2));
    let report = judge(&[&before[..], &back, &[twice]].concat());
    assert_eq!(report.flaws.get(&Flaw::Repeated), Some(&1), "{report:?}");
}

#[test]
fn an_acked_message_that_history_lacks() {
    found(Rule::Acked, Flaw::Lost, |events, chance| {
        let at = one(events, chance, |event| matches!(event, Event::Acked { .. }))?;
        let Event::Acked {
            channel, position, ..
        } = events[at]
        else {
            return None;
        };
        let row = |event: &Event| match event {
            Event::Page {
                channel: c,
                position: p,
                ..
            } => (*c, *p) == (channel, position),
            _ => false,
        };
        let row = events.iter().position(row)?;
        events.remove(row);
        Some(())
    });
}

#[test]
fn an_acked_message_that_history_has_twice() {
    found(Rule::Acked, Flaw::Repeated, |events, chance| {
        let acked: Vec<_> = events
            .iter()
            .filter_map(|event| match event {
                Event::Acked {
                    channel, position, ..
                } => Some((*channel, *position)),
                _ => None,
            })
            .collect();
        let row = |event: &Event| match event {
            Event::Page {
                channel, position, ..
            } => acked.contains(&(*channel, *position)),
            _ => false,
        };
        let at = one(events, chance, row)?;
        let Event::Page { channel, what, .. } = events[at] else {
            return None;
        };
        let seqs = events.iter().filter_map(|event| match event {
            Event::Page {
                channel: c,
                position,
                ..
            } if *c == channel => Some(position.seq),
            _ => None,
        });
        let seq = seqs.max()? + 1;
        events.push(Event::Page {
            channel,
            position: Position { seq, epoch: 1 },
            what,
        });
        Some(())
    });
}

#[test]
fn an_ack_under_another_number() {
    found(Rule::Acked, Flaw::Repeated, |events, chance| {
        let at = one(events, chance, |event| matches!(event, Event::Acked { .. }))?;
        let mut again = events[at];
        if let Event::Acked { position, .. } = &mut again {
            position.seq += 1;
        }
        events.insert(at + 1, again);
        Some(())
    });
}

#[test]
fn other_content() {
    for of_page in [false, true] {
        found(Rule::Content, Flaw::Other, |events, chance| {
            let at = one(events, chance, |event| match event {
                Event::Delivered { what, .. } => !of_page && is_message(*what),
                Event::Page { what, .. } => of_page && is_message(*what),
                _ => false,
            })?;
            if let Event::Delivered { what, .. } | Event::Page { what, .. } = &mut events[at]
                && let What::Message { content, .. } = what
            {
                *content ^= 1;
            }
            Some(())
        });
    }
}

#[test]
fn a_message_that_nobody_sent() {
    found(Rule::Content, Flaw::Other, |events, chance| {
        let at = one(events, chance, |event| {
            matches!(event, Event::Invoked { .. })
        })?;
        let Event::Invoked { id, .. } = events[at] else {
            return None;
        };
        let of = |event: &Event, wanted| match event {
            Event::Page {
                what: What::Message { id, .. },
                ..
            } => *id == wanted,
            _ => false,
        };
        events.iter().find(|event| of(event, id))?;
        events.retain(|event| match event {
            Event::Invoked { id: other, .. } | Event::Acked { id: other, .. } => *other != id,
            _ => true,
        });
        Some(())
    });
}

#[test]
fn a_lost_delivery() {
    found(Rule::Order, Flaw::Lost, |events, chance| {
        events.remove(world::provable(events, chance));
        Some(())
    });
}

#[test]
fn a_repeated_delivery() {
    found(Rule::Order, Flaw::Repeated, |events, chance| {
        let at = one(events, chance, is_delivery)?;
        events.insert(at + 1, events[at]);
        Some(())
    });
}

#[test]
fn swapped_deliveries() {
    found(Rule::Order, Flaw::Reordered, |events, chance| {
        let at = one(events, chance, is_delivery)?;
        let key = |event: &Event| match event {
            Event::Delivered {
                client, channel, ..
            }
            | Event::Reading {
                client, channel, ..
            }
            | Event::Reset {
                client, channel, ..
            } => Some((*client, *channel)),
            _ => None,
        };
        let next = (at + 1..events.len()).find(|next| key(&events[*next]) == key(&events[at]))?;
        if !is_delivery(&events[next]) {
            // What is passed over by a reset and comes after it is there again.
            return None;
        }
        events.swap(at, next);
        Some(())
    });
}

#[test]
fn a_refused_message_that_is_there() {
    found(Rule::Refused, Flaw::Other, |events, chance| {
        let at = one(events, chance, |event| matches!(event, Event::Acked { .. }))?;
        let Event::Acked {
            client,
            channel,
            id,
            ..
        } = events[at]
        else {
            return None;
        };
        events[at] = Event::Failed {
            client,
            channel,
            id,
        };
        Some(())
    });
}

#[test]
fn a_message_that_comes_before_one_that_was_acked_before_it() {
    found(Rule::RealTime, Flaw::Reordered, |events, _| {
        let (first, second) = world::one_after_another(events)?;
        relabel(events, first, second)
    });
}

#[test]
fn messages_of_one_sender_that_changed_places() {
    found(Rule::SenderOrder, Flaw::Reordered, |events, _| {
        let (first, second) = world::pipelined(events)?;
        relabel(events, first, second)
    });
}

#[test]
fn an_acked_message_that_nobody_ever_read() {
    found(Rule::Read, Flaw::Lost, |events, chance| {
        let at = one(events, chance, |event| matches!(event, Event::Acked { .. }))?;
        let Event::Acked {
            channel, position, ..
        } = events[at]
        else {
            return None;
        };
        events.retain(|event| match event {
            Event::Page { .. } => false,
            Event::Delivered {
                channel: c,
                position: p,
                ..
            } => (*c, *p) != (channel, position),
            _ => true,
        });
        let read_beyond = |event: &Event| match event {
            Event::Delivered {
                channel: c,
                position: p,
                ..
            } => *c == channel && p.seq > position.seq,
            _ => false,
        };
        events.iter().any(read_beyond).then_some(())
    });
}

#[test]
fn a_hole_in_history() {
    found(Rule::Dense, Flaw::Lost, |events, chance| {
        let at = one(events, chance, |event| matches!(event, Event::Page { .. }))?;
        // The last of a channel leaves no hole.
        let (Event::Page { channel, .. }, Some(Event::Page { channel: next, .. })) =
            (events[at], events.get(at + 1).copied())
        else {
            return None;
        };
        let first = events
            .iter()
            .position(|event| matches!(event, Event::Page { channel: c, .. } if *c == channel));
        if channel != next || first == Some(at) {
            return None;
        }
        events.remove(at);
        Some(())
    });
}

#[test]
fn a_delivery_to_one_who_has_left() {
    found(Rule::Members, Flaw::Other, |events, _| {
        let (at, event) = world::after_leaving(events)?;
        events.insert(at, event);
        Some(())
    });
}

#[test]
fn a_delivery_after_the_session_had_ended() {
    found(Rule::Members, Flaw::Other, |events, chance| {
        let at = one(events, chance, is_delivery)?;
        let Event::Delivered {
            at: time, client, ..
        } = events[at]
        else {
            return None;
        };
        if time < 2_000_000_002 {
            return None;
        }
        let at_ns = time - 2_000_000_001;
        let opened =
            |event: &Event| matches!(event, Event::Opened { client: c, .. } if *c == client);
        let opened = events.iter().position(opened)?;
        events.insert(opened + 1, Event::Revoked { at: at_ns, client });
        Some(())
    });
}

#[test]
fn a_million_deliveries_take_seconds_at_most() {
    let position = |seq| Position { seq, epoch: 1 };
    let mut audit = Audit::default();
    for client in 0..1_000 {
        audit.take(Event::Member {
            channel: 0,
            member: client,
        });
        audit.take(Event::Opened {
            client,
            member: client,
        });
        audit.take(Event::Reading {
            client,
            channel: 0,
            after: 0,
        });
    }
    let begun = Instant::now();
    for seq in 1..=1_000 {
        for client in 0..1_000 {
            let what = What::Message {
                author: u32::MAX,
                id: u128::from(seq),
                content: seq,
            };
            audit.take(Event::Delivered {
                at: seq,
                client,
                channel: 0,
                position: position(seq),
                what,
            });
        }
    }
    let report = audit.finish();
    eprintln!("{:?} for {} deliveries", begun.elapsed(), report.deliveries);
    assert_eq!((report.deliveries, report.violations), (1_000_000, 0));
}
