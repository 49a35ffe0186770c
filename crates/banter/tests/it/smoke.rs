//! The shortest way through everything: two people talk, read back, and retry.

use serde_json::Value;

use crate::support::fixture::{Fixture, Kind, for_every_kind};
use crate::support::message::{fresh_id, words};

for_every_kind!(two_people_talk);

fn two_people_talk(kind: Kind) {
    let chat = Fixture::of(kind);
    let level = chat.capabilities().level;
    let [ann, bob] = chat.people(["ann", "bob"]);
    let channel = ann.create("lounge");
    let mut hers = ann.connect();
    let joined = bob.join(&channel);
    assert_eq!(joined["seq"], 2);
    assert_eq!(hers.expect("joined")["user"], "bob");
    let mut his = bob.connect();

    let (id, body) = (fresh_id(), words("good morning"));
    let ack = hers.tell(&channel, &id, &body);
    assert_eq!((&ack["seq"], &ack["level"]), (&3.into(), &level.into()));
    let message = his.expect("message");
    for (field, value) in [("seq", Value::from(3)), ("id", id.as_str().into())] {
        assert_eq!(message[field], value);
    }
    assert_eq!(
        (&message["author"], &message["body"]),
        (&"ann".into(), &body.as_str().into())
    );
    assert_eq!(message["sent_at"], ack["sent_at"]);
    // In either order, both arrive.
    his.send(&channel, "mine", &words("hello"));
    let mut answers = [his.next(), his.next()].map(|frame| frame["type"].clone());
    answers.sort_by_key(Value::to_string);
    assert_eq!(answers, ["ack", "message"]);

    // A retry, on either path, by either socket, gets the first answer.
    let mut again = hers.tell(&channel, &id, &words("something else"));
    if chat.capabilities().level == "queued" && again["level"] == "stored" {
        // It is in the database by now.
        again["level"] = ack["level"].clone();
    }
    assert_eq!(again, ack);
    let over_http = ann.post(&channel, &id, &words("something else")).ok(201);
    for field in ["seq", "epoch", "id", "sent_at", "channel"] {
        assert_eq!(over_http[field], ack[field]);
    }

    let history = ann.history(&channel);
    let seen: Vec<_> = history
        .iter()
        .map(|entry| {
            (
                entry["type"].as_str().unwrap(),
                entry["seq"].as_u64().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        seen,
        [("joined", 1), ("joined", 2), ("message", 3), ("message", 4)]
    );
    assert_eq!(history[2], message);
    assert_eq!(bob.history(&channel), history);
}
