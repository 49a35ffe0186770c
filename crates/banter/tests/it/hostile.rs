//! Sockets that break every rule: the specified answer, no memory lost, nobody else disturbed.

use serde_json::Value;

use crate::support::audit;
use crate::support::fixture::{Fixture, Kind};
use crate::support::message::words;
use crate::support::person::Person;
use crate::support::socket::{BINARY, CLOSE, CONTINUATION, FIN, PING, PONG, Socket, TEXT, frame};
use crate::support::talker::{Manner, Talker};

/// What the memory of a server may grow by.
const GROWTH_KIB_MAX: u64 = 8 * 1024;

/// Headers and sequences of frames that RFC 6455 forbids: 1002.
fn forbidden_frames() -> Vec<(&'static str, Vec<u8>)> {
    let mut all = vec![
        ("unmasked text", vec![0x81, 2, b'{', b'}']),
        ("unmasked ping", vec![0x89, 0]),
        ("unmasked close", vec![0x88, 0]),
        ("reserved bit 1", frame(FIN | 0x40 | TEXT, b"{}")),
        ("reserved bit 2", frame(FIN | 0x20 | TEXT, b"{}")),
        ("reserved bit 3", frame(FIN | 0x10 | PING, b"")),
        ("fragmented ping", frame(PING, b"")),
        ("fragmented close", frame(CLOSE, b"\x03\xe8")),
        ("ping of 126 bytes", frame(FIN | PING, &[b'x'; 126])),
        ("pong of 126 bytes", frame(FIN | PONG, &[b'x'; 126])),
        ("close of 126 bytes", frame(FIN | CLOSE, &[b'x'; 126])),
        ("close of 1 byte", frame(FIN | CLOSE, b"x")),
        ("continuation first", frame(FIN | CONTINUATION, b"{}")),
        (
            "text inside a message",
            both(frame(TEXT, b"{"), frame(FIN | TEXT, b"}")),
        ),
        (
            "binary inside a message",
            both(frame(TEXT, b"{"), frame(FIN | BINARY, b"}")),
        ),
        (
            "length not minimal, 16 bit",
            vec![0x81, 0xfe, 0, 5, 0, 0, 0, 0],
        ),
        (
            "length not minimal, 64 bit",
            vec![0x81, 0xff, 0, 0, 0, 0, 0, 0, 1, 0],
        ),
        (
            "length below zero",
            vec![0x81, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 1],
        ),
        (
            "TLS",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        ),
        ("HTTP", b"GET / HTTP/1.1\r\n\r\n".to_vec()),
    ];
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        all.push(("reserved opcode", frame(FIN | opcode, b"")));
    }
    for code in [
        0_u16, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535,
    ] {
        all.push(("close code", frame(FIN | CLOSE, &code.to_be_bytes())));
    }
    all
}

/// Payloads that cannot be: not UTF-8, 1007.
fn not_utf8() -> Vec<(&'static str, Vec<u8>)> {
    let split = both(
        frame(TEXT, b"{\"\xe2\x82"),
        frame(FIN | CONTINUATION, b"\x28\"}"),
    );
    vec![
        ("whole", frame(FIN | TEXT, b"{\"\xff\"}")),
        ("overlong", frame(FIN | TEXT, b"\xc0\xaf")),
        ("a surrogate", frame(FIN | TEXT, b"\xed\xa0\x80")),
        ("beyond the end", frame(FIN | TEXT, b"\xf4\x90\x80\x80")),
        ("cut at the end", frame(FIN | TEXT, b"{\"\xc3")),
        ("in a first fragment", frame(TEXT, b"{\"\xff")),
        ("split over fragments", split),
        ("close reason", frame(FIN | CLOSE, b"\x03\xe8\xff")),
    ]
}

/// Binary frames, 1003.
fn binary() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("whole", frame(FIN | BINARY, b"{}")),
        ("a fragment", frame(BINARY, b"{")),
    ]
}

/// Messages over the limit, 1009.
fn oversize() -> Vec<(&'static str, Vec<u8>)> {
    let half = [b' '; 40_000];
    vec![
        ("whole", frame(FIN | TEXT, &[b' '; 65_537])),
        (
            "in fragments",
            both(frame(TEXT, &half), frame(CONTINUATION, &half)),
        ),
        (
            "1 GiB",
            vec![0x81, 0xff, 0, 0, 0, 0, 0x40, 0, 0, 0, 1, 2, 3, 4],
        ),
    ]
}

fn both(first: Vec<u8>, second: Vec<u8>) -> Vec<u8> {
    [first, second].concat()
}

/// Texts that are no frame of the protocol: closed with 4500.
fn unreadable() -> Vec<String> {
    let deep = |open: &str, close: &str| open.repeat(5_000) + &close.repeat(5_000);
    vec![
        r#"{"type":"send","id":"a","channel":"b","body":"\ud800"}"#.to_owned(),
        r#"{"type":"ping","x":"\udc00\ud800"}"#.to_owned(),
        r#"{"type":"ping","\ud800":1}"#.to_owned(),
        deep("[", "]"),
        deep("{\"a\":", "}"),
        "[".repeat(65_536),
        "{\"type\":\"ping\",\"x\":".to_owned() + &"[".repeat(60_000),
        format!("1{}", "0".repeat(400)),
        "\u{0}".to_owned(),
        format!(r#"{{"type":1{}}}"#, "0".repeat(400)),
    ]
}

/// Strange, and allowed: the socket lives.
fn harmless(channel: &str) -> Vec<(String, Value)> {
    let refused = |code: &str| serde_json::json!({"type": "error", "code": code});
    let pong = || serde_json::json!({"type": "pong"});
    let zeros = "0".repeat(400);
    vec![
        (format!(r#"{{"type":"ping","x":1{zeros}}}"#), pong()),
        (format!(r#"{{"type":"ping","x":-1e{zeros}}}"#), pong()),
        (r#"{"type":"ping","x":"\u0000"}"#.to_owned(), pong()),
        (
            format!(
                r#"{{"type":"ping","x":{}{}}}"#,
                "[".repeat(20_000),
                "]".repeat(20_000)
            ),
            pong(),
        ),
        (r#"{"type":"\u0000"}"#.to_owned(), refused("unknown_type")),
        (
            format!(r#"{{"type":"send","id":"a","channel":"{channel}","body":"\u0000"}}"#),
            refused("body_invalid"),
        ),
        (
            format!(r#"{{"type":"send","id":"\u0000","channel":"{channel}","body":"x"}}"#),
            refused("id_invalid"),
        ),
        (
            r#"{"type":"send","id":"a","channel":"\u0000","body":"x"}"#.to_owned(),
            refused("channel_not_found"),
        ),
    ]
}

fn attack(person: &Person, channel: &str) {
    let kinds = [
        (1002, forbidden_frames()),
        (1003, binary()),
        (1007, not_utf8()),
        (1009, oversize()),
    ];
    let all = kinds.into_iter().flat_map(|(code, violations)| {
        violations
            .into_iter()
            .map(move |(what, bytes)| (code, what, bytes))
    });
    for (code, what, bytes) in all {
        for greeted in [true, false] {
            let mut socket = if greeted {
                person.connect()
            } else {
                Socket::open(person.site.address, person.site.contract)
            };
            socket.raw(&bytes);
            let ended = socket.ended();
            assert_eq!(
                (ended.code, ended.error()),
                (code, None),
                "{what}, greeted: {greeted}"
            );
        }
    }
    for text in unreadable() {
        let mut socket = person.connect();
        socket.text(&text);
        let ended = socket.ended();
        assert_eq!(
            (ended.code, ended.error()),
            (4500, Some("bad_frame")),
            "{text:.80}"
        );
    }
    let mut socket = person.connect();
    for (text, expected) in harmless(channel) {
        socket.text(&text);
        let answer = socket
            .until(|frame| frame["type"] == expected["type"])
            .pop()
            .unwrap();
        for (field, value) in expected.as_object().unwrap() {
            assert_eq!(answer[field], *value, "{text:.80}");
        }
    }
    // Control frames may stand between fragments, and characters may be cut by them.
    let text = r#"{"type":"ping","x":"é漢👋"}"#.as_bytes();
    for (number, byte) in text.iter().enumerate() {
        socket.frame(if number == 0 { TEXT } else { CONTINUATION }, &[*byte]);
        if number % 8 == 0 {
            socket.frame(FIN | PONG, b"between");
        }
    }
    socket.frame(FIN | CONTINUATION, &[]);
    socket.find("pong");
    // What comes after a close is not read.
    socket.frame(FIN | CLOSE, &4123_u16.to_be_bytes());
    socket.raw(&[0xff; 1000]);
    assert_eq!(socket.ended().code, 4123);
}

/// A million empty fragments, as far as the server takes them.
fn empty_fragments(person: &Person) -> u16 {
    let mut socket = person.connect();
    socket.frame(TEXT, b"{");
    let thousand = frame(CONTINUATION, &[]).repeat(1_000);
    for _ in 0..1_000 {
        socket.raw(&thousand);
    }
    socket.frame(FIN | CONTINUATION, b"");
    let ended = socket.ended();
    ended.code
}

#[test]
fn hostile_sockets_get_their_answer_and_nothing_else() {
    let chat = Fixture::setup(Kind::Embedded)
        .set("limits.channel_entries_per_second", "100000")
        .start();
    let [ann, bob, eve] = chat.people(["ann", "bob", "eve"]);
    let channel = ann.create("lounge");
    bob.join(&channel);
    eve.join(&channel);
    let talks = Talker::start(
        &ann,
        &[&channel],
        Manner {
            pause: std::time::Duration::from_millis(3),
            ..Manner::talks(16)
        },
    );
    let listens = Talker::start(&bob, &[&channel], Manner::LISTENS);
    // Once to warm up; what it takes then is taken for good.
    attack(&eve, &channel);
    assert_eq!(empty_fragments(&eve), 4429);
    let before = chat.memory();
    for _ in 0..4 {
        attack(&eve, &channel);
    }
    assert_eq!(empty_fragments(&eve), 4429);
    let grown = chat.memory().saturating_sub(before);
    eprintln!("the server's memory: {before} KiB, and {grown} KiB more");
    assert!(grown < GROWTH_KIB_MAX, "{grown} KiB");
    let last = ann.post(&channel, "last", &words("the last")).ok(201)["seq"]
        .as_u64()
        .unwrap();
    talks.wait_for(&channel, last);
    listens.wait_for(&channel, last);
    let records = [talks.finish(), listens.finish()];
    let history = audit::dense(&ann.history(&channel), 1);
    for record in &records {
        assert_eq!(
            record.closes, [0_u16; 0],
            "a well-behaved socket was closed"
        );
        audit::acked_is_kept(&channel, &history, record);
        audit::applied_is_history(&channel, &history, record);
    }
    assert!(
        records[0].acked.len() > 20,
        "the well-behaved one hardly spoke"
    );
}

#[test]
fn a_million_empty_fragments_cost_nothing_but_time() {
    // With the limit on frames out of the way, memory is what is left to attack.
    let chat = Fixture::setup(Kind::Embedded)
        .set("limits.socket_frames_per_second", "1000000")
        .start();
    let ann = chat.register("ann");
    ann.connect().is_alive();
    let before = chat.memory();
    let code = empty_fragments(&ann);
    let grown = chat.memory().saturating_sub(before);
    assert!(grown < GROWTH_KIB_MAX, "{grown} KiB");
    // The message that they make up is no frame.
    assert!([4500, 4429].contains(&code), "{code}");
}
