//! Acked is kept: through crashes, full disks and a database that cannot be written.

use std::time::{Duration, Instant};

use crate::support::PATIENCE;
use crate::support::audit;
use crate::support::fixture::{Fixture, Kind, for_every_kind};
use crate::support::http::Request;
use crate::support::message::words;
use crate::support::person::Person;
use crate::support::seed::Seed;
use crate::support::talker::{Manner, Talker};

for_every_kind!(what_was_acked_survives_kill_9, everything_at_once,);

mod faults;

/// A cluster takes ten times as long to come back.
const fn rounds(kind: Kind) -> usize {
    match kind {
        Kind::Embedded => 20,
        Kind::Cluster => 3,
    }
}
/// Fewer acked messages would prove little.
const ACKED_MIN: usize = 2_000;

/// A chat whose limits are out of the way of a load.
fn unhurried(kind: Kind) -> Fixture {
    Fixture::setup(kind)
        .set("limits.channel_entries_per_second", "1000000")
        .set("limits.socket_frames_per_second", "1000000")
        .start()
}

fn what_was_acked_survives_kill_9(kind: Kind) {
    let mut seed = Seed::of_run();
    let mut chat = unhurried(kind);
    let [ann, bob, cleo] = chat.people(["ann", "bob", "cleo"]);
    let channels = [ann.create("one"), ann.create("two")];
    let channels = [channels[0].as_str(), channels[1].as_str()];
    for channel in channels {
        bob.join(channel);
        cleo.join(channel);
    }
    let talkers = [
        Talker::start(&ann, &channels, Manner::talks(96)),
        Talker::start(&ann, &channels[..1], Manner::talks(32)),
        Talker::start(&bob, &channels, Manner::talks(64)),
        Talker::start(&cleo, &channels, Manner::LISTENS),
    ];
    let acked = || talkers.iter().map(Talker::acked).sum::<usize>();
    let mut checked = [0, 0];
    for round in 0..rounds(kind) {
        let before = acked();
        let more = usize::try_from(seed.below(500)).unwrap();
        talkers[0].wait("got enough acked", || acked() >= before + ACKED_MIN + more);
        std::thread::sleep(Duration::from_micros(seed.below(20_000)));
        chat.kill();
        let ends = |talker: &Talker| talker.record(|record| record.in_flight.clone());
        for talker in &talkers {
            talker.wait("noticed the end", || ends(talker).len() > round);
        }
        let in_flight: usize = talkers.iter().map(|talker| ends(talker)[round]).sum();
        let acked = acked() - before;
        eprintln!("round {round}: {acked} acked, {in_flight} in flight");
        assert!(
            acked >= ACKED_MIN && in_flight > 0,
            "this round proves nothing"
        );
        let promised = |channel: &str, above: u64| -> Vec<_> {
            let of = |talker: &Talker| talker.record(|record| acked_above(record, channel, above));
            talkers.iter().flat_map(of).collect()
        };
        let promised = [
            promised(channels[0], checked[0]),
            promised(channels[1], checked[1]),
        ];
        chat.start();
        for ((channel, checked), promised) in channels.iter().zip(&mut checked).zip(promised) {
            let new = audit::dense(&ann.history_after(channel, *checked), *checked + 1);
            for (seq, id) in promised {
                let at = usize::try_from(seq - *checked - 1).unwrap();
                let kept = new.get(at).map(|entry| &entry.1);
                assert_eq!(kept, Some(&id), "acked under {seq} and lost");
            }
            *checked = new.last().map_or(*checked, |entry| entry.0);
        }
    }
    let records: Vec<_> = talkers.into_iter().map(Talker::finish).collect();
    for channel in channels {
        let history = audit::dense(&ann.history(channel), 1);
        for record in &records {
            audit::acked_is_kept(channel, &history, record);
            audit::applied_is_history(channel, &history, record);
        }
    }
}

fn acked_above(
    record: &crate::support::talker::Record,
    channel: &str,
    seq: u64,
) -> Vec<(u64, String)> {
    let of_channel = record
        .acked
        .iter()
        .filter(|((of, _), at)| of == channel && **at > seq);
    of_channel
        .map(|((_, id), seq)| (*seq, id.clone()))
        .collect()
}

/// Joins and leaves as far as the server is there; a member in the end.
fn move_about(person: &Person, channel: &str, mut seed: Seed, until: Instant) {
    let path = format!("/v1/channels/{channel}/subscription");
    let call = |method: &str| {
        let request = Request::new(method, &path).bearer(&person.token);
        person
            .site
            .try_call(&request)
            .map_or(0, |answer| answer.status)
    };
    while Instant::now() < until {
        let status = call(if seed.below(2) == 0 { "PUT" } else { "DELETE" });
        assert!([0, 200, 204, 503].contains(&status), "{status}");
        std::thread::sleep(Duration::from_micros(seed.below(8_000)));
    }
    let since = Instant::now();
    while call("PUT") != 200 {
        assert!(since.elapsed() < PATIENCE, "the server does not come back");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Crashes, drains, broken connections, people who come and go, and talk without end.
fn everything_at_once(kind: Kind) {
    const LASTS: Duration = Duration::from_secs(12);
    let mut seed = Seed::of_run();
    let mut chat = unhurried(kind);
    let [ann, bob, cleo, dan] = chat.people(["ann", "bob", "cleo", "dan"]);
    let channel = ann.create("lounge");
    bob.join(&channel);
    // Who is away for the seconds of a drain is to miss less than can be replayed.
    let manner = Manner {
        pause: Duration::from_millis(2),
        ..Manner::talks(24)
    };
    let talks = [&ann, &bob].map(|person| Talker::start(person, &[&channel], manner.clone()));
    let movers = [cleo, dan].map(|person| {
        let listener = Talker::start(&person, &[], Manner::LISTENS);
        (person, listener)
    });
    let until = Instant::now() + LASTS;
    std::thread::scope(|scope| {
        for (person, _) in &movers {
            let (own, channel) = (Seed::from(seed.next()), channel.as_str());
            scope.spawn(move || move_about(person, channel, own, until));
        }
        while Instant::now() < until {
            std::thread::sleep(Duration::from_millis(seed.below(600)));
            match seed.below(4) {
                0 => {
                    chat.kill();
                    chat.start();
                }
                1 => chat.restart(),
                2 => talks[usize::from(seed.below(2) == 0)].shake(),
                _ => movers[usize::from(seed.below(2) == 0)].1.shake(),
            }
        }
    });
    let last = ann.post(&channel, "last", &words("the last")).ok(201)["seq"].clone();
    for (_, listener) in &movers {
        listener.wait_for(&channel, last.as_u64().unwrap());
    }
    let records = talks.map(Talker::finish);
    let history = ann.history(&channel);
    let entries = audit::dense(&history, 1);
    for record in &records {
        audit::acked_is_kept(&channel, &entries, record);
        audit::applied_is_history(&channel, &entries, record);
    }
    for (person, listener) in movers {
        let record = listener.finish();
        audit::memberships_are_whole(&channel, &history, &person.name, &record);
        assert!(
            // A socket that is between two epochs asks anew: 4411.
            record
                .closes
                .iter()
                .all(|code| [1006, 4000, 4411].contains(code)),
            "{:?}",
            record.closes
        );
    }
    eprintln!("{} entries", history.len());
}
