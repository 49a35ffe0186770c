//! The AsyncAPI document says what the frozen frames show.

use std::collections::BTreeSet;

use banter_protocol::close::{Close, may_reconnect};
use banter_protocol::frame::ClientFrame;
use banter_protocol::{ASYNCAPI, limit};
use serde_json::{Value, json};

use crate::frozen::folder;
use crate::schema::{follow, validate};

fn document() -> Value {
    serde_json::from_str(ASYNCAPI).unwrap()
}

fn schema_of<'a>(document: &'a Value, message: &str) -> Option<&'a Value> {
    let payload = document.pointer(&format!("/components/messages/{message}/payload/$ref"))?;
    Some(follow(document, payload))
}

fn messages(document: &Value) -> BTreeSet<String> {
    let messages = document["components"]["messages"].as_object().unwrap();
    messages.keys().cloned().collect()
}

/// The messages that are valid where `text` stands; at most one of them, as each has its `type`.
fn valid_as(document: &Value, text: &str) -> Vec<String> {
    let Ok(value) = serde_json::from_str(text) else {
        return Vec::new();
    };
    let is_valid = |name: &String| validate(document, schema_of(document, name).unwrap(), &value);
    messages(document)
        .into_iter()
        .filter(|name| is_valid(name).is_ok())
        .collect()
}

#[test]
fn every_frozen_frame_is_valid_as_its_message_alone() {
    let document = document();
    let mut seen = BTreeSet::new();
    for side in ["client", "server"] {
        for (name, text) in folder(side) {
            // `1e400` is good JSON and no number of this test's reader.
            let text = text.replace("1e400", "0");
            let value: Value = serde_json::from_str(&text).unwrap();
            let message = value["type"].as_str().unwrap();
            let schema = schema_of(&document, message).unwrap_or_else(|| panic!("{name}: none"));
            assert_eq!(validate(&document, schema, &value), Ok(()), "{name}");
            assert_eq!(valid_as(&document, &text), [message], "{name}");
            seen.insert(message.to_owned());
        }
    }
    assert_eq!(
        seen,
        messages(&document),
        "every message has a frozen frame"
    );
}

#[test]
fn every_field_of_the_server_is_described_and_every_field_described_is_shown() {
    let document = document();
    let mut undescribed = Vec::new();
    let mut unseen: BTreeSet<(String, String)> = BTreeSet::new();
    for message in messages(&document) {
        let fields = schema_of(&document, &message).unwrap()["properties"]
            .as_object()
            .unwrap();
        unseen.extend(fields.keys().map(|field| (message.clone(), field.clone())));
    }
    for side in ["client", "server"] {
        for (name, text) in folder(side) {
            if name.contains("newer") {
                continue;
            }
            let value: Value = serde_json::from_str(&text).unwrap();
            let message = value["type"].as_str().unwrap();
            for field in value.as_object().unwrap().keys() {
                if schema_of(&document, message).unwrap()["properties"]
                    .get(field)
                    .is_none()
                {
                    undescribed.push(format!("{name}.{field}"));
                }
                unseen.remove(&(message.to_owned(), field.clone()));
            }
        }
    }
    assert!(undescribed.is_empty(), "{undescribed:?}");
    assert!(unseen.is_empty(), "{unseen:?}");
}

#[test]
fn refused_texts_are_invalid_where_a_schema_can_tell() {
    let document = document();
    for (name, text) in folder("refused") {
        let refused: Value = serde_json::from_str(&text).unwrap();
        // The state of the socket, the clock and repeated fields are beyond a schema.
        let beyond = name.ends_with("_first")
            || name.ends_with("_again")
            || name.ends_with("_twice")
            || name == "send_id_future"
            || name == "type_of_the_server";
        let valid = valid_as(&document, refused["frame"].as_str().unwrap());
        assert_eq!(
            valid.is_empty(),
            !beyond || name.contains("surrogate"),
            "{name}: {valid:?}"
        );
    }
}

#[test]
fn a_newer_field_is_valid() {
    let newer = folder("newer");
    assert_eq!(valid_as(&document(), &newer["field"]), ["joined"]);
}

#[test]
fn every_message_is_part_of_an_operation() {
    let document = document();
    let mut used = BTreeSet::new();
    for operation in document["operations"].as_object().unwrap().values() {
        follow(&document, &operation["channel"]["$ref"]);
        let replies = operation
            .pointer("/reply/messages")
            .cloned()
            .unwrap_or(json!([]));
        for list in [&operation["messages"], &replies] {
            for message in list.as_array().unwrap() {
                let channel = follow(&document, &message["$ref"]);
                let component = follow(&document, &channel["$ref"]);
                let name = component["name"].as_str().unwrap().to_owned();
                let own = ClientFrame::parse(&format!(r#"{{"type":"{name}"}}"#));
                let from_client = own != Err(banter_protocol::frame::Unreadable::UnknownType);
                let received = operation["action"] == "receive" && list == &operation["messages"];
                assert_eq!(received, from_client, "{name}");
                used.insert(name);
            }
        }
    }
    assert_eq!(used, messages(&document));
}

#[test]
fn its_numbers_are_those_of_the_code() {
    let document = document();
    let schema = |name: &str, keyword: &str| &document["components"]["schemas"][name][keyword];
    assert_eq!(schema("Body", "maxLength"), limit::BODY_BYTES_MAX);
    assert_eq!(
        schema("MessageId", "maxLength"),
        limit::MESSAGE_ID_BYTES_MAX
    );
    for number in ["Seq", "Epoch", "Seconds", "Milliseconds"] {
        assert_eq!(schema(number, "maximum"), limit::INTEGER_MAX);
    }
    let token = &document["components"]["schemas"]["HelloFrame"]["properties"]["token"];
    assert_eq!(token["maxLength"], limit::TOKEN_BYTES_MAX);
    let closes: Vec<Value> = Close::ALL
        .iter()
        .map(|close| {
            let (code, reason) = (close.code(), close.reason());
            json!({"code": code, "reason": reason, "come_back": may_reconnect(code)})
        })
        .collect();
    assert_eq!(document["x-close-codes"], Value::Array(closes));
}
