//! Delivery: to members alone, everything once and in order, live and on resume.

use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::audit;
use crate::support::fixture::{Fixture, Kind, for_every_kind};
use crate::support::message::{fresh_id, words};
use crate::support::person::Person;
use crate::support::socket::Socket;
use crate::support::talker::{Manner, Talker};

mod membership;

for_every_kind!(
    a_join_is_live_on_all_sockets_at_once,
    nothing_comes_after_left,
    a_position_is_resumed_or_reset,
    ten_thousand_missed_are_replayed_and_more_are_reset,
    a_resume_meets_live_entries,
    a_reader_that_stops_harms_nobody,
);

/// A chat whose rates are out of the way of a load.
fn unhurried(kind: Kind) -> Fixture {
    Fixture::setup(kind)
        .set("limits.channel_entries_per_second", "1000000")
        .set("limits.socket_frames_per_second", "1000000")
        .start()
}

#[track_caller]
fn number(value: &Value) -> u64 {
    value.as_u64().expect("a number")
}

/// The number of an entry.
#[track_caller]
fn seq_of(frame: &Value) -> u64 {
    frame["seq"]
        .as_u64()
        .unwrap_or_else(|| panic!("no entry: {frame}"))
}

/// Fills a channel up to this number.
fn fill(person: &Person, channel: &str, up_to: u64) {
    let head = number(&person.page(channel, "limit=1")["items"][0]["seq"]);
    let sends = usize::try_from(up_to - head).unwrap();
    let talker = Talker::start(
        person,
        &[channel],
        Manner {
            sends,
            ..Manner::talks(500)
        },
    );
    talker.wait_for(channel, up_to);
    talker.finish();
}

fn a_join_is_live_on_all_sockets_at_once(kind: Kind) {
    let chat = Fixture::of(kind);
    let [ann, bob] = chat.people(["ann", "bob"]);
    let channel = ann.create("lounge");
    let mut sockets = [bob.connect(), bob.connect()];
    for round in 0..20 {
        let joined = bob.join(&channel);
        thread::sleep(chat.capabilities().settling);
        let sent = ann.post(&channel, &fresh_id(), &words(round)).ok(201);
        for socket in &mut sockets {
            let first = socket.expect("joined");
            assert_eq!(
                (&first["seq"], &first["user"]),
                (&joined["seq"], &json!("bob"))
            );
            let second = socket.expect("message");
            assert_eq!(second["seq"], sent["seq"]);
            assert_eq!(seq_of(&sent), seq_of(&joined) + 1);
            socket.tell(&channel, &fresh_id(), &words("and may send"));
        }
        sockets[0].until(|frame| seq_of(frame) == seq_of(&sent) + 2);
        bob.leave(&channel);
        for socket in &mut sockets {
            socket.until(|frame| frame["type"] == "left");
        }
    }
}

fn nothing_comes_after_left(kind: Kind) {
    let chat = Fixture::of(kind);
    let [ann, bob] = chat.people(["ann", "bob"]);
    let (channel, other) = (ann.create("lounge"), bob.create("other"));
    for round in 0..20 {
        bob.join(&channel);
        let mut socket = bob.connect();
        let by = round % 2 == 1;
        if by {
            assert_eq!(ann.remove(&channel, "bob").status, 204);
        } else {
            bob.leave(&channel);
        }
        thread::sleep(chat.capabilities().settling);
        ann.post(&channel, &fresh_id(), &words("not for bob"))
            .ok(201);
        let left = socket.expect("left");
        assert_eq!(left.get("by").is_some(), by, "{left}");
        socket.send(&channel, "x", &words(1));
        assert_eq!(socket.expect("error")["code"], "not_a_member");
        let mark = bob.post(&other, &fresh_id(), &words("mark")).ok(201);
        assert_eq!(socket.expect("message")["seq"], mark["seq"]);
        if by {
            assert_eq!(ann.add(&channel, "bob").status, 204);
        }
    }
}

fn a_position_is_resumed_or_reset(kind: Kind) {
    let mut chat = Fixture::of(kind);
    let [ann, bob] = chat.people(["ann", "bob"]);
    let (channel, hidden) = (ann.create("lounge"), bob.create_private("hidden"));
    for number in 2..=10 {
        ann.post(&channel, &fresh_id(), &words(number)).ok(201);
    }
    let history = ann.history(&channel);
    for crashed in [false, true] {
        let (_, welcome) = ann.resume(&Value::Null);
        let epoch = number(&welcome["channels"][&channel]["epoch"]);
        // Resumed: everything after the position, and then live.
        for seq in [0, 1, 5, 9, 10] {
            let position = json!({channel.as_str(): {"seq": seq, "epoch": epoch}});
            let (mut socket, welcome) = ann.resume(&position);
            assert_eq!(welcome["channels"][&channel]["seq"], 10);
            let mut entries = Vec::new();
            while seq + (entries.len() as u64) < 10 {
                entries.push(socket.next());
            }
            assert_eq!(entries, history[usize::try_from(seq).unwrap()..]);
            socket.is_alive();
        }
        // Another history, or the future: reset, and live goes on at the head.
        for position in [
            json!({"seq": 11, "epoch": epoch}),
            json!({"seq": 9_007_199_254_740_991_u64, "epoch": epoch}),
            json!({"seq": 5, "epoch": epoch + 1}),
            json!({"seq": 0, "epoch": epoch + 1}),
            json!({"seq": 10, "epoch": 0}),
        ] {
            let (mut socket, _) = ann.resume(&json!({channel.as_str(): position}));
            let reset = socket.expect("reset");
            assert_eq!(
                reset,
                json!({"type": "reset", "channel": channel, "reason": "epoch", "seq": 10, "epoch": epoch}),
                "{position}"
            );
            socket.is_alive();
        }
        // Not there, not a member, no id at all: told alike.
        for name in [
            "01931a2e-7c00-7a41-8f3e-2b6d9c4e1a07",
            &hidden,
            "lounge",
            "",
        ] {
            let (mut socket, _) = ann.resume(&json!({name: {"seq": 1, "epoch": epoch}}));
            let reset = socket.expect("reset");
            let expected = json!({"type": "reset", "channel": name, "reason": "unavailable"});
            assert_eq!(reset, expected);
        }
        // A channel that is not named is live from its head.
        let (mut socket, _) = ann.resume(&json!({}));
        socket.is_alive();
        if !crashed {
            chat.kill();
            chat.start();
        }
    }
}

fn ten_thousand_missed_are_replayed_and_more_are_reset(kind: Kind) {
    let chat = unhurried(kind);
    let [ann, bob] = chat.people(["ann", "bob"]);
    let channel = ann.create("lounge");
    let joined = bob.join(&channel);
    let (first, epoch) = (seq_of(&joined), number(&joined["epoch"]));
    let head = first + 10_000;
    fill(&ann, &channel, head);
    let resume = |seq: u64| {
        let mut socket = Socket::open(chat.address(), chat.site().contract);
        socket.hello(
            &bob.token,
            &json!({channel.as_str(): {"seq": seq, "epoch": epoch}}),
        );
        assert_eq!(socket.expect("welcome")["channels"][&channel]["seq"], head);
        socket
    };
    let mut socket = resume(first);
    for seq in first + 1..=head {
        assert_eq!(socket.expect("message")["seq"], seq);
    }
    ann.post(&channel, &fresh_id(), &words("live")).ok(201);
    assert_eq!(socket.expect("message")["seq"], head + 1);
    // One more is too far: what lies between is paged.
    let mut far = Socket::open(chat.address(), chat.site().contract);
    far.hello(
        &bob.token,
        &json!({channel.as_str(): {"seq": first, "epoch": epoch}}),
    );
    far.expect("welcome");
    let reset = far.expect("reset");
    assert_eq!(
        reset,
        json!({"type": "reset", "channel": channel, "reason": "too_far", "seq": head + 1, "epoch": epoch})
    );
    ann.post(&channel, &fresh_id(), &words("live")).ok(201);
    assert_eq!(far.expect("message")["seq"], head + 2);
    let paged = audit::dense(&bob.history_after(&channel, first), first + 1);
    assert_eq!(paged.last().unwrap().0, head + 2);
}

/// A client that reads slowly while the channel goes on: the replay and what is live fit together.
fn a_resume_meets_live_entries(kind: Kind) {
    let chat = unhurried(kind);
    let [ann, bob] = chat.people(["ann", "bob"]);
    let channel = ann.create("lounge");
    let joined = bob.join(&channel);
    let (first, epoch) = (seq_of(&joined), number(&joined["epoch"]));
    fill(&ann, &channel, first + 3_000);
    let talker = Talker::start(&ann, &[&channel], Manner::talks(32));
    for _ in 0..10 {
        let head = number(&bob.page(&channel, "limit=1")["items"][0]["seq"]);
        let from = head - 3_000;
        let position = json!({channel.as_str(): {"seq": from, "epoch": epoch}});
        let (mut socket, welcome) = bob.resume(&position);
        let until = number(&welcome["channels"][&channel]["seq"]) + 200;
        for seq in from + 1..=until {
            assert_eq!(seq_of(&socket.next()), seq);
            if seq % 500 == 0 {
                thread::sleep(Duration::from_millis(5));
            }
        }
        socket.drop_connection();
    }
    let record = talker.finish();
    let history = audit::dense(&ann.history(&channel), 1);
    audit::acked_is_kept(&channel, &history, &record);
    audit::applied_is_history(&channel, &history, &record);
}

fn a_reader_that_stops_harms_nobody(kind: Kind) {
    const MESSAGES: usize = 20_000;
    let chat = unhurried(kind);
    let [ann, bob, cleo] = chat.people(["ann", "bob", "cleo"]);
    let channel = ann.create("lounge");
    bob.join(&channel);
    let joined = cleo.join(&channel);
    let listens = Talker::start(&bob, &[&channel], Manner::LISTENS);
    let mut stopped = cleo.connect();
    // What the kernel keeps for the client is not what is tested.
    let _ = socket2::SockRef::from(&stopped.stream).set_recv_buffer_size(64 * 1024);
    let manner = Manner {
        sends: MESSAGES,
        body_bytes: 1024,
        ..Manner::talks(64)
    };
    let talks = Talker::start(&ann, &[&channel], manner);
    // What the load takes by itself is not what is tested.
    talks.wait("are under way", || talks.acked() >= MESSAGES / 10);
    let before = chat.memory();
    // Kernels, and a balancer between them, keep many megabytes for a client that does not read.
    talks.wait("sent more than they keep", || {
        chat.metric("banter_gateway_slow_consumers_total") > 0.0
    });
    // The close is there for whoever takes it within 5 s.
    let ended = stopped.ended();
    assert_eq!((ended.code, ended.reason.as_str()), (4408, "slow_consumer"));
    let last = ended
        .frames
        .last()
        .map_or(seq_of(&joined), |entry| seq_of(entry));
    for (entry, seq) in ended.frames.iter().zip(seq_of(&joined) + 1..) {
        assert_eq!(seq_of(entry), seq, "a gap before the close");
    }
    talks.wait("sent everything", || talks.acked() == MESSAGES);
    let grown = chat.memory().saturating_sub(before);
    eprintln!("the server's memory: {before} KiB, and {grown} KiB more");
    assert!(grown < 12 * 1024, "{grown} KiB more");
    let head = seq_of(&joined) + MESSAGES as u64;
    listens.wait_for(&channel, head);
    let history = audit::dense(&ann.history(&channel), 1);
    for record in [talks.finish(), listens.finish()] {
        assert_eq!(record.closes, [0_u16; 0], "somebody else was closed");
        audit::acked_is_kept(&channel, &history, &record);
        audit::applied_is_history(&channel, &history, &record);
    }
    // It comes back: everything, in pieces of what may be replayed.
    let epoch = number(&joined["epoch"]);
    let paged_to = head - 10_000;
    let mut next = last + 1;
    if last < paged_to {
        next = paged_to + 1;
    }
    let position = json!({channel.as_str(): {"seq": next - 1, "epoch": epoch}});
    let (mut again, _) = cleo.resume(&position);
    for seq in next..=head {
        assert_eq!(seq_of(&again.expect("message")), seq);
    }
}
