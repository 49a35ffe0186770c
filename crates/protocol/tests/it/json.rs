//! JSON at its edges: what a frame may hold, and what no reader must trip over.

use banter_protocol::entry::{Entry, Kind};
use banter_protocol::frame::{ClientFrame, Unreadable};
use banter_protocol::id::{ChannelId, MessageId};
use banter_protocol::limit;
use banter_protocol::text::{Body, Username};
use banter_protocol::time::Timestamp;
use proptest::prelude::*;

fn ping_with(value: &str) -> Result<ClientFrame, Unreadable> {
    ClientFrame::parse(&format!(r#"{{"type":"ping","x":{value}}}"#))
}

#[test]
fn unknown_fields_of_any_depth_are_passed_over() {
    let depth = (limit::FRAME_BYTES_MAX - 100) / 2;
    for (open, close) in [("[", "]"), (r#"{"a":"#, "}")] {
        let depth = depth / open.len();
        let deep = open.repeat(depth) + "1" + &close.repeat(depth);
        assert!(ping_with(&deep) == Ok(ClientFrame::Ping), "{open}");
        let cut = open.repeat(depth);
        assert!(ping_with(&cut) == Err(Unreadable::BadFrame), "{open}");
    }
}

#[test]
fn depth_where_another_type_belongs_is_refused() {
    let deep = "[".repeat(30_000) + &"]".repeat(30_000);
    for text in [
        deep.clone(),
        format!(r#"{{"type":{deep}}}"#),
        format!(r#"{{"type":"hello","token":{deep}}}"#),
        format!(r#"{{"type":"hello","token":"t","resume":{{"x":{deep}}}}}"#),
        format!(r#"{{"type":"send","id":"a","channel":"b","body":{deep}}}"#),
    ] {
        assert!(ClientFrame::parse(&text) == Err(Unreadable::BadFrame));
    }
}

#[test]
fn numbers_of_any_size_may_stand_in_unknown_fields() {
    for number in [
        "1e400",
        "-1e400",
        "1E+400",
        "0.1e-400",
        &"9".repeat(10_000),
        "-0",
    ] {
        assert!(ping_with(number) == Ok(ClientFrame::Ping), "{number:.20}");
    }
    for bad in ["+1", "01", ".5", "1.", "0x1", "Infinity", "1e", "--1"] {
        assert!(ping_with(bad) == Err(Unreadable::BadFrame), "{bad}");
    }
}

#[test]
fn escapes_are_read_wherever_they_stand() {
    let escaped = r#"{"\u0074ype":"p\u0069ng"}"#;
    assert!(ClientFrame::parse(escaped) == Ok(ClientFrame::Ping));
    let pair = r#"{"type":"send","id":"a","channel":"b","body":"\\\ud83d\uDE00\\ud800"}"#;
    let Ok(ClientFrame::Send(send)) = ClientFrame::parse(pair) else {
        panic!("not read");
    };
    assert_eq!(send.body, "\\😀\\ud800");
}

#[test]
fn a_zero_reaches_the_rule_that_refuses_it() {
    let text = r#"{"type":"send","id":"a","channel":"b","body":"\u0000"}"#;
    let Ok(ClientFrame::Send(send)) = ClientFrame::parse(text) else {
        panic!("not read");
    };
    assert_eq!(send.body, "\0");
    assert!(Body::parse(&send.body).is_err());
}

#[test]
fn white_space_around_a_frame_is_json() {
    assert!(ClientFrame::parse(" \t\r\n{ \"type\" : \"ping\" } \n") == Ok(ClientFrame::Ping));
    assert!(ClientFrame::parse("\u{a0}{\"type\":\"ping\"}") == Err(Unreadable::BadFrame));
}

/// One piece of a string as JSON writes it, and whether a reader must refuse it.
fn piece() -> impl Strategy<Value = (String, bool)> {
    let unit = |high: bool| {
        if high {
            0xd800..0xdc00u32
        } else {
            0xdc00..0xe000
        }
    };
    prop_oneof![
        any::<char>().prop_map(|c| (serde_json::to_string(&c).unwrap(), false)),
        (unit(true), unit(false)).prop_map(|(a, b)| (format!("\"\\u{a:04x}\\u{b:04X}\""), false)),
        unit(true).prop_map(|a| (format!("\"\\u{a:04X}x\""), true)),
        unit(false).prop_map(|b| (format!("\"x\\u{b:04x}\""), true)),
        Just(("\"\\\\ud800\"".to_owned(), false)),
    ]
    .prop_map(|(quoted, lone)| (quoted[1..quoted.len() - 1].to_owned(), lone))
}

proptest! {
    /// The parser that decodes every string is the judge.
    #[test]
    fn lone_surrogates_are_found_everywhere(
        pieces in prop::collection::vec(piece(), 0..6),
        place in 0..3usize,
    ) {
        let string: String = pieces.iter().map(|(text, _)| text.as_str()).collect();
        let lone = pieces.iter().any(|(_, lone)| *lone);
        let frame = match place {
            0 => format!(r#"{{"type":"ping","x":"{string}"}}"#),
            1 => format!(r#"{{"type":"ping","x":[{{"{string}":1}}]}}"#),
            _ => format!(r#"{{"type":"send","id":"a","channel":"b","body":"{string}"}}"#),
        };
        let decodes = serde_json::from_str::<String>(&format!("\"{string}\"")).is_ok();
        prop_assert_eq!(decodes, !lone);
        prop_assert_eq!(ClientFrame::parse(&frame).is_ok(), decodes, "{}", frame);
    }

    #[test]
    fn no_text_trips_the_reader(text in any::<String>()) {
        let _ = ClientFrame::parse(&text);
        let _ = ping_with(&text);
        let _ = ping_with(&format!("\"{text}\""));
    }

    /// What was sent is what members read, whatever it holds.
    #[test]
    fn bodies_cross_the_wire_verbatim(text in any::<String>(), id in "[!-~]{1,64}") {
        prop_assume!(Body::parse(&text).is_ok());
        let frame = serde_json::json!({"type": "send", "id": id, "channel": "c", "body": text});
        let Ok(ClientFrame::Send(send)) = ClientFrame::parse(&frame.to_string()) else {
            panic!("not read");
        };
        prop_assert_eq!(&send.body, &text);
        let entry = Entry {
            channel: ChannelId::from_bytes([1; 16]),
            seq: 1,
            epoch: 1,
            sent_at: Timestamp::from_ms(0),
            kind: Kind::Message {
                id: send.id.parse::<MessageId>().unwrap(),
                author: Username::parse("ann").unwrap(),
                body: Body::parse(&send.body).unwrap(),
            },
        };
        let written = String::from(&entry);
        prop_assert!(!written.contains('\n'));
        let read: serde_json::Value = serde_json::from_str(&written).unwrap();
        prop_assert_eq!(read["body"].as_str(), Some(text.as_str()));
        prop_assert_eq!(read["id"].as_str(), Some(id.as_str()));
    }
}
