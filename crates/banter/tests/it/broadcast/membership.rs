//! Members who come and go while others talk: each membership is delivered whole, and nothing else.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{fill, number, seq_of, unhurried};
use crate::support::audit;
use crate::support::fixture::{Kind, for_every_kind};
use crate::support::message::words;
use crate::support::person::Person;
use crate::support::seed::Seed;
use crate::support::socket::{Heard, Socket};
use crate::support::talker::{Manner, Talker};

for_every_kind!(
    a_membership_counts_from_its_answer_on,
    who_leaves_during_a_replay_gets_it_up_to_there,
    members_come_and_go_in_a_storm,
    connections_come_and_go_in_a_storm,
);

/// Once a join is answered, every socket of the user may send; once a leave is, none may.
fn a_membership_counts_from_its_answer_on(kind: Kind) {
    let chat = unhurried(kind);
    let [ann, bob] = chat.people(["ann", "bob"]);
    let channel = ann.create("lounge");
    // Others make the pumps busy.
    let talks = Talker::start(&ann, &[&channel], Manner::talks(64));
    let mut socket = bob.connect();
    let settling = chat.capabilities().settling;
    // Waiting for a cluster takes longer than trying it.
    let rounds = if settling.is_zero() { 100 } else { 5 };
    for round in 0..rounds {
        bob.join(&channel);
        thread::sleep(settling);
        socket.tell(&channel, &format!("in/{round}"), &words(round));
        bob.leave(&channel);
        thread::sleep(settling);
        let error = socket.refused(&channel, &format!("out/{round}"), &words(round));
        assert_eq!(error["code"], "not_a_member");
    }
    talks.finish();
}

/// Hundreds of joins, leaves and removals while others talk: each membership is whole.
fn members_come_and_go_in_a_storm(kind: Kind) {
    // Each waits for the database, which takes longer in a cluster.
    let rounds = match kind {
        Kind::Embedded => 200,
        Kind::Cluster => 60,
    };
    let mut seed = Seed::of_run();
    let chat = unhurried(kind);
    let [ann, bob, cleo] = chat.people(["ann", "bob", "cleo"]);
    let channel = ann.create("lounge");
    cleo.join(&channel);
    let talks = [
        Talker::start(&ann, &[&channel], Manner::talks(16)),
        Talker::start(&cleo, &[&channel], Manner::talks(16)),
    ];
    let sockets = [bob.connect(), bob.connect()];
    let mark = bob.create("mark");
    let readers = sockets.map(|socket| {
        let (channel, mark) = (channel.clone(), mark.clone());
        thread::spawn(move || memberships(socket, &channel, &mark))
    });
    for _ in 0..rounds {
        bob.join(&channel);
        thread::sleep(Duration::from_micros(seed.below(3_000)));
        if seed.below(2) == 0 {
            bob.leave(&channel);
        } else {
            assert_eq!(ann.remove(&channel, "bob").status, 204);
            assert_eq!(ann.add(&channel, "bob").status, 204);
            thread::sleep(Duration::from_micros(seed.below(1_000)));
            bob.leave(&channel);
        }
    }
    bob.post(&mark, "the-end", &words("the end")).ok(201);
    for talker in talks {
        talker.finish();
    }
    let history = ann.history(&channel);
    audit::dense(&history, 1);
    let mut expected = Vec::new();
    let mut member = false;
    for entry in &history {
        let his = entry["user"] == "bob";
        member |= his && entry["type"] == "joined";
        if member {
            expected.push(seq_of(entry));
        }
        member &= !(his && entry["type"] == "left");
    }
    for reader in readers {
        let delivered = reader.join().expect("it read on");
        assert_eq!(delivered.len(), expected.len());
        assert_eq!(
            delivered, expected,
            "a gap, a repeat, or something after left"
        );
    }
    eprintln!(
        "{rounds} rounds, {} entries, {} of them delivered",
        history.len(),
        expected.len()
    );
}

/// Numbers of the entries that came of a channel, until something comes of another.
fn memberships(mut socket: Socket, channel: &str, mark: &str) -> Vec<u64> {
    let mut entries = Vec::new();
    let until = Instant::now() + Duration::from_secs(120);
    while Instant::now() < until {
        match socket.hear() {
            Heard::Frame(frame) if frame["channel"] == *channel => {
                entries.push(seq_of(&frame));
            }
            Heard::Frame(frame) if frame["channel"] == *mark => {
                if frame["type"] == "message" {
                    return entries;
                }
            }
            other => panic!("{other:?}"),
        }
    }
    panic!("the mark did not come");
}

/// Joins and leaves until then; a member in the end.
fn come_and_go(owner: &Person, person: &Person, channel: &str, mut seed: Seed, until: Instant) {
    while Instant::now() < until {
        person.join(channel);
        thread::sleep(Duration::from_micros(seed.below(4_000)));
        if seed.below(3) == 0 {
            assert_eq!(owner.remove(channel, &person.name).status, 204);
            assert_eq!(owner.add(channel, &person.name).status, 204);
        }
        person.leave(channel);
        thread::sleep(Duration::from_micros(seed.below(1_000)));
    }
    person.join(channel);
}

/// The same, while connections break and resume, and fresh ones look in for a moment.
fn connections_come_and_go_in_a_storm(kind: Kind) {
    const STORM: Duration = Duration::from_secs(8);
    let mut seed = Seed::of_run();
    let chat = unhurried(kind);
    let [ann, bob, cleo, dan] = chat.people(["ann", "bob", "cleo", "dan"]);
    let channel = ann.create("lounge");
    let talks = Talker::start(&ann, &[&channel], Manner::talks(24));
    let members = [bob, cleo, dan].map(|person| {
        person.join(&channel);
        let listener = Talker::start(&person, &[&channel], Manner::LISTENS);
        (person, listener)
    });
    let until = Instant::now() + STORM;
    let visits = thread::scope(|scope| {
        let (ann, channel) = (&ann, channel.as_str());
        let visitors = members.each_ref().map(|(person, listener)| {
            let (own, mut others) = (Seed::from(seed.next()), Seed::from(seed.next()));
            scope.spawn(move || come_and_go(ann, person, channel, own, until));
            scope.spawn(move || {
                let mut visits = 0;
                while Instant::now() < until {
                    if others.below(4) == 0 {
                        listener.shake();
                    }
                    visit(person, channel, others.below(30), kind == Kind::Cluster);
                    visits += 1;
                }
                visits
            })
        });
        visitors.map(|visitor| visitor.join().expect("every visit went well"))
    });
    let last = ann.post(&channel, "last", &words("the last")).ok(201);
    talks.finish();
    let history = ann.history(&channel);
    audit::dense(&history, 1);
    for (person, listener) in members {
        listener.wait_for(&channel, seq_of(&last));
        audit::memberships_are_whole(&channel, &history, &person.name, &listener.finish());
    }
    eprintln!("{} entries, {visits:?} visits", history.len());
}

/// Connects, and holds what comes against what `welcome` said, for some entries.
fn visit(person: &Person, channel: &str, entries: u64, is_shared: bool) {
    let (mut socket, welcome) = person.resume(&Value::Null);
    socket.contract = None;
    let head = welcome["channels"].get(channel);
    // The last entry, if this is a membership; else the `left`, if one came.
    let mut member = head.map(|head| seq_of(head));
    for _ in 0..entries {
        let frame = match socket.hear_within(Duration::from_millis(5)) {
            // The leave has crossed the welcome, by another gateway: it is told to come again.
            Heard::Frame(frame) if is_shared && frame["code"] == "unavailable" => break,
            Heard::Frame(frame) => frame,
            Heard::Silence => break,
            other => panic!("{other:?}"),
        };
        let (seq, mine) = (seq_of(&frame), frame["user"] == person.name.as_str());
        match member {
            Some(last) => assert_eq!(seq, last + 1, "a gap or a repeat: {frame}"),
            None => assert!(mine && frame["type"] == "joined", "no member: {frame}"),
        }
        member = (!(mine && frame["type"] == "left")).then_some(seq);
    }
    socket.drop_connection();
}

/// The client reads so slowly that a long replay is still under way when its user leaves.
fn who_leaves_during_a_replay_gets_it_up_to_there(kind: Kind) {
    let chat = unhurried(kind);
    let [ann, bob] = chat.people(["ann", "bob"]);
    let channel = ann.create("lounge");
    let joined = bob.join(&channel);
    let (first, epoch) = (seq_of(&joined), number(&joined["epoch"]));
    // Some 9 MB: more than the kernel takes for a client that does not read.
    let sends = Manner {
        sends: 7_500,
        body_bytes: 1024,
        ..Manner::talks(200)
    };
    let talker = Talker::start(&ann, &[&channel], sends);
    talker.wait_for(&channel, first + 7_500);
    talker.finish();
    for comes_back in [false, true] {
        let position = json!({channel.as_str(): {"seq": first, "epoch": epoch}});
        let mut socket = Socket::open(chat.address(), chat.site().contract);
        let _ = socket2::SockRef::from(&socket.stream).set_recv_buffer_size(64 * 1024);
        socket.hello(&bob.token, &position);
        socket.expect("welcome");
        // From here on the replay runs.
        assert_eq!(seq_of(&socket.next()), first + 1);
        bob.leave(&channel);
        let left = number(&ann.page(&channel, "limit=1")["items"][0]["seq"]);
        fill(&ann, &channel, left + 50);
        let mut last = left;
        if comes_back {
            bob.join(&channel);
            fill(&ann, &channel, left + 100);
            last = left + 100;
        }
        for seq in first + 2..=last {
            assert_eq!(seq_of(&socket.next()), seq);
        }
        if comes_back {
            ann.post(&channel, "live", &words("live")).ok(201);
            assert_eq!(socket.next()["id"], "live");
        } else {
            let error = socket.refused(&channel, "x", &words(1));
            assert_eq!(error["code"], "not_a_member");
            let quiet = socket.hear_within(Duration::from_millis(300));
            assert_eq!(quiet, Heard::Silence, "after left");
            bob.join(&channel);
        }
    }
}
