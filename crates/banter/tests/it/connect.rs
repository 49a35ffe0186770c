//! Sockets from their upgrade to their close.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::PATIENCE;
use crate::support::fixture::{Fixture, Kind, for_every_kind, for_one_process};
use crate::support::http::{Connection, Request};
use crate::support::message::{fresh_id, words};

use crate::support::socket::{CLOSE, FIN, Heard, Socket, upgrade};

for_every_kind!(
    welcome_tells_who_and_where,
    origins_are_the_own_one_or_listed,
    the_first_frame_is_hello,
    frames_that_cannot_be_read_close_with_4500,
    resume_positions_are_checked,
    closes_are_answered_as_given,
    a_drain_answers_what_was_sent_and_closes_with_4000,
);
for_one_process!(
    only_a_good_upgrade_is_one: "NGINX writes the headers of an upgrade anew",
    a_user_has_32_sockets_at_most: "each gateway counts its own; races has it for both",
    an_operator_can_ask_for_the_drain: "one gateway is asked; cluster::life has it",
    a_second_signal_ends_it_at_once: "a signal is for one process",
);

fn open(chat: &Fixture) -> Socket {
    Socket::open(chat.address(), chat.site().contract)
}

fn welcome_tells_who_and_where(kind: Kind) {
    let chat = Fixture::of(kind);
    let [ann, bob] = chat.people(["ann", "bob"]);
    let (one, two) = (ann.create("one"), ann.create_private("two"));
    bob.create("three");
    ann.post(&one, "a", &words(1)).ok(201);
    let (_socket, welcome) = ann.resume(&Value::Null);
    let (_, claims) = crate::token::decode(&ann.token);
    assert_eq!(welcome["user"], json!({"id": ann.id, "username": "ann"}));
    assert_eq!(welcome["session"], claims["sid"]);
    assert_eq!(welcome["level"], chat.capabilities().level);
    assert!(
        (590..=600).contains(&welcome["expires_in"].as_u64().unwrap()),
        "{welcome}"
    );
    let epoch = welcome["channels"][&one]["epoch"].clone();
    assert_eq!(
        welcome["channels"],
        json!({one: {"seq": 2, "epoch": epoch}, two: {"seq": 1, "epoch": epoch}})
    );
}

fn only_a_good_upgrade_is_one(kind: Kind) {
    let chat = Fixture::of(kind);
    let without = |left_out: &str| {
        let mut request = Request::get("/v1/connect");
        for (name, value) in [
            ("Connection", "Upgrade"),
            ("Upgrade", "websocket"),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ] {
            if name != left_out {
                request = request.header(name, value);
            }
        }
        request
    };
    for left_out in ["Connection", "Upgrade", "Sec-WebSocket-Version"] {
        let answer = chat.call(&without(left_out));
        answer.refused(426, "upgrade_required");
        assert_eq!(
            answer.header("sec-websocket-version"),
            Some("13"),
            "{left_out}"
        );
    }
    let version = without("Sec-WebSocket-Version").header("Sec-WebSocket-Version", "8");
    chat.call(&version).refused(426, "upgrade_required");
    for key in [
        "",
        "x",
        "AAAA",
        "dGhlIHNhbXBsZSBub25jZQ",
        "!!!!!!!!!!!!!!!!!!!!!!==",
    ] {
        let request = without("Sec-WebSocket-Key").header("Sec-WebSocket-Key", key);
        chat.call(&request).refused(400, "request_malformed");
    }
    chat.call(&without("Sec-WebSocket-Key"))
        .refused(400, "request_malformed");
    let twice = upgrade().header("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA==");
    chat.call(&twice).refused(400, "request_malformed");
    let posted = Request::post("/v1/connect");
    assert_eq!(
        chat.call(&posted)
            .header("allow")
            .map(|a| a.contains("GET")),
        Some(true)
    );
    // Names and values in any case, in lists, with offers that are not taken.
    let fancy = without("Connection")
        .header("connection", "keep-alive, uPgRaDe")
        .header(
            "Sec-WebSocket-Extensions",
            "permessage-deflate; client_max_window_bits",
        )
        .header("Sec-WebSocket-Protocol", "graphql, chat");
    Socket::request(chat.address(), &fancy).expect("a socket");
}

fn origins_are_the_own_one_or_listed(kind: Kind) {
    let chat = Fixture::setup(kind)
        .set(
            "server.allowed_origins",
            "https://chat.example,http://localhost:5173",
        )
        .start();
    let own = chat.base_url();
    for origin in [
        own.as_str(),
        "https://chat.example",
        "http://localhost:5173",
    ] {
        let request = upgrade().header("Origin", origin);
        assert!(
            Socket::request(chat.address(), &request).is_ok(),
            "{origin}"
        );
    }
    for origin in [
        "https://evil.example",
        "https://chat.example.evil.example",
        "https://chat.example:443",
        "http://chat.example",
        "https://chat.example/",
        "https://CHAT.example.",
        "null",
        "",
        "chat.example",
        "http://127.0.0.1",
    ] {
        let answer = Socket::request(chat.address(), &upgrade().header("Origin", origin));
        answer
            .map(|_| origin)
            .unwrap_err()
            .refused(403, "origin_refused");
    }
    let twice = upgrade().header("Origin", &own).header("Origin", &own);
    Socket::request(chat.address(), &twice)
        .unwrap_err()
        .refused(403, "origin_refused");
    // The own host is the one that the client reached.
    let named = upgrade()
        .header("Host", "chat.lan:8080")
        .header("Origin", "http://chat.lan:8080");
    assert!(Socket::request(chat.address(), &named).is_ok());
}

fn the_first_frame_is_hello(kind: Kind) {
    let chat = Fixture::of(kind);
    let ann = chat.register("ann");
    let hello = json!({"type": "hello", "token": ann.token}).to_string();
    for (text, code, error) in [
        (r#"{"type":"ping"}"#, 4501, "hello_expected"),
        (r#"{"type":"auth","token":"x"}"#, 4501, "hello_expected"),
        (
            r#"{"type":"send","id":"a","channel":"b","body":"c"}"#,
            4501,
            "hello_expected",
        ),
        (r#"{"type":"sing"}"#, 4501, "hello_expected"),
        (r#"{"type":"hello"}"#, 4500, "bad_frame"),
        (r#"{"type":"hello","token":1}"#, 4500, "bad_frame"),
        (r#"{"type":"hello","token":null}"#, 4500, "bad_frame"),
        (r#"{"type":"send"}"#, 4500, "bad_frame"),
        ("{", 4500, "bad_frame"),
        ("", 4500, "bad_frame"),
        ("[]", 4500, "bad_frame"),
        (r#""hello""#, 4500, "bad_frame"),
        (r#"{"type":"hello","token":"\ud800"}"#, 4500, "bad_frame"),
        (r#"{"type":"hello","token":"x"}"#, 4503, "token_invalid"),
        (r#"{"type":"hello","token":""}"#, 4503, "token_invalid"),
    ] {
        let mut socket = open(&chat);
        socket.text(text);
        let ended = socket.ended();
        assert_eq!((ended.code, ended.error()), (code, Some(error)), "{text}");
        assert_eq!(ended.reason, error);
        assert_eq!(socket.hear(), Heard::End);
    }
    // Two frames in one write, and a second hello.
    let mut socket = open(&chat);
    socket.text(&hello);
    socket.text(&hello);
    let ended = socket.ended();
    assert_eq!(ended.frames[0]["type"], "welcome");
    ended.with(4500, Some("bad_frame"));
    // The hello right behind the upgrade, in one segment.
    let mut connection = Connection::open(chat.address());
    let mut early = upgrade().encode(chat.address());
    early.extend(crate::support::socket::frame(FIN | 1, hello.as_bytes()));
    std::io::Write::write_all(&mut connection.stream, &early).unwrap();
    assert_eq!(connection.answer().unwrap().status, 101);
    assert_eq!(
        Socket::from(connection).expect("welcome")["user"]["id"],
        ann.id
    );
}

fn frames_that_cannot_be_read_close_with_4500(kind: Kind) {
    let chat = Fixture::of(kind);
    let ann = chat.register("ann");
    let channel = ann.create("lounge");
    for text in [
        "{",
        "[]",
        "null",
        "1",
        "\"x\"",
        "{} {}",
        "{\"type\":1}",
        "{}",
        "\u{feff}{\"type\":\"ping\"}",
        r#"{"type":"send","id":1,"channel":"c","body":"b"}"#,
        r#"{"type":"send","id":"1","channel":"c"}"#,
        r#"{"type":"send","id":"1","channel":"c","body":"\udc00"}"#,
        r#"{"type":"ping","x":"\ud800"}"#,
        r#"{"type":"auth"}"#,
        r#"{"type":"auth","token":["x"]}"#,
        r#"{"type":"hello","token":"x"}"#,
        r#"{"type":"ping",}"#,
        r#"{"type":"ping","type":"ping"}"#,
    ] {
        let mut socket = ann.connect();
        socket.text(text);
        let ended = socket.ended();
        assert_eq!(
            (ended.code, ended.error()),
            (4500, Some("bad_frame")),
            "{text}"
        );
    }
    // What is unknown is no reason to close.
    let mut socket = ann.connect();
    for text in [
        r#"{"type":"sing"}"#,
        r#"{"type":"","x":{}}"#,
        r#"{"type":"message"}"#,
    ] {
        socket.text(text);
        assert_eq!(socket.expect("error")["code"], "unknown_type", "{text}");
    }
    let deep = "[".repeat(100) + &"]".repeat(100);
    socket.text(&format!(
        "{{\"x\":{deep},\"y\":1e400,\"type\":\"ping\",\"z\":null}}"
    ));
    socket.expect("pong");
    socket.text(" {\"type\" : \"ping\"}\n");
    socket.expect("pong");
    socket.tell(&channel, "a", &words(1));
}

fn resume_positions_are_checked(kind: Kind) {
    let chat = Fixture::of(kind);
    let ann = chat.register("ann");
    let channel = ann.create("lounge");
    let epoch = ann.join(&channel)["epoch"].clone();
    for position in [
        json!(1),
        json!(null),
        json!([1, 1]),
        json!({}),
        json!({"seq": 1}),
        json!({"epoch": 1}),
        json!({"seq": -1, "epoch": epoch}),
        json!({"seq": "1", "epoch": epoch}),
        json!({"seq": 1.0, "epoch": epoch}),
        json!({"seq": 9_007_199_254_740_992_u64, "epoch": epoch}),
        json!({"seq": 1, "epoch": null}),
    ] {
        let mut socket = open(&chat);
        socket.hello(&ann.token, &json!({channel.as_str(): position}));
        let ended = socket.ended();
        assert_eq!(
            (ended.code, ended.error()),
            (4500, Some("bad_frame")),
            "{position}"
        );
    }
    for resume in [json!([]), json!("x"), json!(1)] {
        let mut socket = open(&chat);
        socket.hello(&ann.token, &resume);
        socket.ended().with(4500, Some("bad_frame"));
    }
}

fn a_user_has_32_sockets_at_most(kind: Kind) {
    let chat = Fixture::of(kind);
    let [ann, bob] = chat.people(["ann", "bob"]);
    let mut sockets: Vec<_> = (0..32).map(|_| ann.connect()).collect();
    let mut one_more = open(&chat);
    one_more.hello(&ann.token, &Value::Null);
    one_more.ended().with(4509, Some("too_many_sockets"));
    bob.connect().is_alive();
    sockets[0].is_alive();
    sockets.pop().unwrap().close();
    // Its place is free once the server has seen it go.
    let since = Instant::now();
    loop {
        let mut next = open(&chat);
        next.hello(&ann.token, &Value::Null);
        match next.next()["type"].as_str() {
            Some("welcome") => break,
            _ => assert!(since.elapsed() < PATIENCE),
        }
    }
}

fn closes_are_answered_as_given(kind: Kind) {
    let chat = Fixture::of(kind);
    let ann = chat.register("ann");
    for code in [1000_u16, 1001, 1003, 1007, 1011, 1014, 3000, 4123, 4999] {
        let mut socket = ann.connect();
        let mut payload = code.to_be_bytes().to_vec();
        payload.extend_from_slice(b"going");
        socket.frame(FIN | CLOSE, &payload);
        match socket.hear() {
            Heard::Close(Some((answered, _))) => assert_eq!(answered, code),
            other => panic!("{code}: {other:?}"),
        }
        assert_eq!(socket.hear(), Heard::End);
    }
    let mut socket = ann.connect();
    socket.frame(FIN | CLOSE, &[]);
    assert_eq!(socket.hear(), Heard::Close(None));
    assert_eq!(socket.hear(), Heard::End);
    // Before hello, too.
    let mut socket = open(&chat);
    socket.frame(FIN | CLOSE, &1000_u16.to_be_bytes());
    assert!(matches!(socket.hear(), Heard::Close(Some((1000, _)))));
}

fn a_drain_answers_what_was_sent_and_closes_with_4000(kind: Kind) {
    let mut chat = Fixture::of(kind);
    let ann = chat.register("ann");
    let channel = ann.create("lounge");
    let mut sockets: Vec<_> = (0..20).map(|_| ann.connect()).collect();
    for number in 0..200 {
        sockets[0].send(&channel, &fresh_id(), &words(number));
    }
    sockets[0].until(|frame| frame["type"] == "ack");
    let since = Instant::now();
    chat.signal(Signal::TERM);
    let mut ends = Vec::new();
    for socket in &mut sockets {
        let ended = socket.ended();
        ended.with(4000, None);
        ends.push(ended);
    }
    let status = chat.wait();
    assert_eq!(status.code(), Some(0));
    assert!(
        since.elapsed() < Duration::from_secs(5),
        "{:?}",
        since.elapsed()
    );
    let acked = ends[0]
        .frames
        .iter()
        .filter(|frame| frame["type"] == "ack")
        .count();
    chat.start();
    let stored = ann.history(&channel).len() - 1;
    assert_eq!(
        stored,
        1 + acked,
        "what was stored was acked, and the other way round"
    );
}

fn an_operator_can_ask_for_the_drain(kind: Kind) {
    let mut chat = Fixture::of(kind);
    let ann = chat.register("ann");
    let mut socket = ann.connect();
    let ready = chat.admin(&Request::get("/readyz?verbose")).ok(200);
    assert_eq!(ready["status"], "ready");
    assert_eq!(chat.admin(&Request::get("/livez")).status, 200);
    assert_eq!(chat.admin(&Request::post("/drain")).status, 202);
    socket.ended().with(4000, None);
    assert_eq!(chat.wait().code(), Some(0));
    chat.start();
}

fn a_second_signal_ends_it_at_once(kind: Kind) {
    let mut chat = Fixture::setup(kind).expect_log("stopped at once").start();
    let ann = chat.register("ann");
    // A connection in the middle of a request keeps the drain waiting.
    let mut slow = Connection::open(chat.address());
    std::io::Write::write_all(
        &mut slow.stream,
        b"POST /v1/auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{",
    )
    .unwrap();
    let mut socket = ann.connect();
    let since = Instant::now();
    chat.signal(Signal::TERM);
    socket.ended().with(4000, None);
    chat.signal(Signal::TERM);
    assert_eq!(chat.wait().code(), Some(1));
    assert!(
        since.elapsed() < Duration::from_secs(4),
        "{:?}",
        since.elapsed()
    );
    chat.start();
}
