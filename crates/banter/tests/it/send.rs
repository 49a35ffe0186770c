//! Sending: what is accepted, what is refused, and that an id is for ever.

use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::fixture::{Fixture, Kind, for_every_kind};
use crate::support::http::Request;
use crate::support::message::{fresh_id, id_ahead, words, words_of};

for_every_kind!(
    bodies_are_kept_to_the_byte,
    bad_messages_are_refused_and_the_socket_lives,
    one_id_is_one_message,
    an_id_is_of_a_channel_and_an_author,
    acks_come_in_the_order_of_the_sends,
    only_members_send,
);

fn bodies_are_kept_to_the_byte(kind: Kind) {
    let chat = Fixture::of(kind);
    let ann = chat.register("ann");
    let channel = ann.create("lounge");
    let mut socket = ann.connect();
    let control: String = (1..0x20)
        .map(char::from)
        .chain(['\u{7f}', '\u{85}', 'x'])
        .collect();
    for body in [
        words_of(16_384),
        "é".repeat(8_192),
        // Six bytes each when escaped, and 64 KiB are the most.
        "\u{1}x".repeat(8_192),
        "  outer space kept \n".to_owned(),
        "e\u{301} is not \u{e9}".to_owned(),
        "👩‍👩‍👧 \u{202e}ltr \u{feff}".to_owned(),
        "\"\\/</script><img src=x onerror=alert(1)>".to_owned(),
        control,
        "\u{10ffff}\u{fffd}\u{fffe}".to_owned(),
    ] {
        let id = fresh_id();
        let mut frames = {
            socket.send(&channel, &id, &body);
            let mut open = 2;
            socket.until(|frame| {
                assert_ne!(frame["type"], "error", "{frame}");
                open -= u8::from(frame["id"] == id.as_str());
                open == 0
            })
        };
        frames.retain(|frame| frame["type"] == "message");
        assert_eq!(frames[0]["body"], body.as_str());
        let over_http = ann.post(&channel, &fresh_id(), &body).ok(201);
        let seq = over_http["seq"].as_u64().unwrap();
        let page = ann.page(&channel, &format!("around={seq}&limit=1"));
        assert_eq!(page["items"][0]["body"], body.as_str());
        socket.until(|frame| frame["seq"] == seq);
    }
}

fn bad_messages_are_refused_and_the_socket_lives(kind: Kind) {
    let chat = Fixture::of(kind);
    let ann = chat.register("ann");
    let channel = ann.create("lounge");
    let mut socket = ann.connect();
    for body in [
        "",
        " ",
        "\n\t\u{3000}\u{a0}",
        "a\u{0}b",
        &words_of(16_385),
        &"é".repeat(8_193),
    ] {
        let error = socket.refused(&channel, "bad", body);
        assert_eq!(error["code"], "body_invalid");
        ann.post(&channel, "bad", body).refused(422, "body_invalid");
    }
    let ahead = id_ahead(Duration::from_secs(5 * 60 + 30));
    for id in ["a b", "é", "a\u{7f}", "a\n", &"x".repeat(65), &ahead, ""] {
        let error = socket.refused(&channel, id, &words(1));
        assert_eq!(error["code"], "id_invalid", "{id:?}");
    }
    for id in ["a b", "\u{e9}", &"x".repeat(65), &ahead, ""] {
        ann.post(&channel, id, &words(1)).refused(422, "id_invalid");
    }
    let path = format!("/v1/channels/{channel}/messages");
    let twice = Request::post(&path)
        .header("Idempotency-Key", "a")
        .header("Idempotency-Key", "b");
    ann.call(twice.json(&json!({"body": words(1)})))
        .refused(422, "id_invalid");
    for (text, code) in [
        (json!({}), "field_missing"),
        (json!({"body": 1}), "field_type"),
    ] {
        ann.call(Request::post(&path).json(&text))
            .refused(422, code);
    }
    for unknown in [
        "01931a2e-7c00-7a41-8f3e-2b6d9c4e1a07",
        "lounge",
        "",
        &channel.to_uppercase(),
    ] {
        let error = socket.refused(unknown, "a", &words(1));
        assert_eq!(error["code"], "channel_not_found");
    }
    // At their bounds they are taken.
    for id in [
        "!",
        &"~".repeat(64),
        &id_ahead(Duration::from_secs(5 * 60 - 30)),
    ] {
        socket.tell(&channel, id, &words(1));
    }
    assert_eq!(ann.history(&channel).len(), 4);
    // Without a key the server makes one.
    let answer = ann
        .call(Request::post(&path).json(&json!({"body": words(2)})))
        .ok(201);
    let page = ann.page(&channel, "limit=1");
    assert_eq!(page["items"][0]["id"], answer["id"]);
    let respond_async = Request::post(&path).header("Prefer", "respond-async");
    ann.call(respond_async.json(&json!({"body": words(3)})))
        .ok(chat.capabilities().respond_async);
}

/// The same message five times at once over two sockets and HTTP; then again after a restart, and
/// after a crash.
fn one_id_is_one_message(kind: Kind) {
    let mut chat = Fixture::of(kind);
    let ann = chat.register("ann");
    let channel = ann.create("lounge");
    let ids: Vec<_> = (0..20)
        .flat_map(|number| [fresh_id(), format!("own {number}").replace(' ', "/")])
        .collect();
    let mut first: Vec<Value> = Vec::new();
    for round in 0..3 {
        let mut answers = Vec::new();
        for id in &ids {
            answers.push(send_five_times(&ann, &channel, id));
        }
        for (position, given) in answers.into_iter().enumerate() {
            for answer in &given {
                for field in ["seq", "epoch", "sent_at", "id", "channel"] {
                    assert_eq!(answer[field], given[0][field], "round {round}: {given:?}");
                }
            }
            match first.get(position) {
                Some(first) => assert_eq!(given[0]["seq"], first["seq"]),
                None => first.push(given[0].clone()),
            }
        }
        assert_eq!(ann.history(&channel).len(), 1 + ids.len());
        match round {
            0 => chat.restart(),
            _ => {
                chat.kill();
                chat.start();
            }
        }
    }
}

/// Five answers: two of one socket, two of another, one of HTTP.
fn send_five_times(ann: &crate::support::person::Person, channel: &str, id: &str) -> Vec<Value> {
    let sockets = [ann.connect(), ann.connect()];
    thread::scope(|scope| {
        let over_http = scope.spawn(|| vec![ann.post(channel, id, &words(id)).ok(201)]);
        let talks = sockets.map(|mut socket| {
            scope.spawn(move || {
                for _ in 0..2 {
                    socket.send(channel, id, &words(id));
                }
                let mut acks = 0;
                let mut frames = socket.until(|frame| {
                    acks += u8::from(frame["type"] == "ack");
                    acks == 2
                });
                frames.retain(|frame| frame["type"] == "ack");
                frames
            })
        });
        let mut answers = over_http.join().unwrap();
        for talk in talks {
            answers.extend(talk.join().unwrap());
        }
        answers
    })
}

fn an_id_is_of_a_channel_and_an_author(kind: Kind) {
    let chat = Fixture::of(kind);
    let [ann, bob] = chat.people(["ann", "bob"]);
    let (one, two) = (ann.create("one"), ann.create("two"));
    bob.join(&one);
    for id in ["same", &fresh_id()] {
        let mine = ann.post(&one, id, &words(1)).ok(201);
        let other = ann.post(&two, id, &words(2)).ok(201);
        let his = bob.post(&one, id, &words(3)).ok(201);
        assert_ne!(mine["seq"], his["seq"]);
        assert_eq!(ann.post(&one, id, &words(4)).ok(201)["seq"], mine["seq"]);
        assert_eq!(ann.post(&two, id, &words(4)).ok(201)["seq"], other["seq"]);
        assert_eq!(bob.post(&one, id, &words(4)).ok(201)["seq"], his["seq"]);
    }
    // Ids are compared to the letter.
    assert_ne!(
        ann.post(&one, "Case", &words(1)).ok(201)["seq"],
        ann.post(&one, "case", &words(1)).ok(201)["seq"]
    );
}

fn acks_come_in_the_order_of_the_sends(kind: Kind) {
    let chat = Fixture::of(kind);
    let ann = chat.register("ann");
    let channels = [ann.create("one"), ann.create("two")];
    let mut socket = ann.connect();
    for number in 0..400 {
        let channel = &channels[number % 2];
        socket.send(channel, &format!("{number}"), &words(number));
    }
    let (mut acks, mut entries) = (0, 0);
    let frames = socket.until(|frame| {
        acks += u32::from(frame["type"] == "ack");
        entries += u32::from(frame["type"] == "message");
        acks == 400 && entries == 400
    });
    for channel in &channels {
        for kind in ["ack", "message"] {
            let of = |frame: &&Value| frame["type"] == kind && frame["channel"] == *channel;
            let numbers: Vec<_> = frames
                .iter()
                .filter(of)
                .map(|frame| {
                    let id = frame["id"].as_str().unwrap().parse::<u64>().unwrap();
                    (id, frame["seq"].as_u64().unwrap())
                })
                .collect();
            assert_eq!(numbers.len(), 200);
            assert!(numbers.is_sorted(), "{kind}: {numbers:?}");
        }
    }
}

fn only_members_send(kind: Kind) {
    let chat = Fixture::of(kind);
    let [ann, bob] = chat.people(["ann", "bob"]);
    let channel = ann.create("lounge");
    let mut socket = bob.connect();
    assert_eq!(
        socket.refused(&channel, "a", &words(1))["code"],
        "not_a_member"
    );
    bob.post(&channel, "a", &words(1))
        .refused(403, "not_a_member");
    bob.join(&channel);
    socket.tell(&channel, "a", &words(1));
    bob.leave(&channel);
    // Checked before a retry is recognised.
    assert_eq!(
        socket.refused(&channel, "a", &words(1))["code"],
        "not_a_member"
    );
    bob.post(&channel, "a", &words(1))
        .refused(403, "not_a_member");
    ann.remove(&channel, "bob");
    assert_eq!(
        socket.refused(&channel, "a", &words(1))["code"],
        "not_a_member"
    );
}
