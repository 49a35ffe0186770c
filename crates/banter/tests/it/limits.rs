//! Limits: what is over one gets the answer that the interface promises, and nothing else suffers.

use std::io::Write as _;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::PASSWORD;
use crate::support::fixture::{Fixture, Kind, for_every_kind, for_one_process};
use crate::support::http::{Connection, Request};
use crate::support::message::{fresh_id, words};
use crate::support::socket::{FIN, Heard, PING, Socket, TEXT, upgrade};

for_every_kind!(
    a_channel_takes_so_many_entries_a_second,
    a_socket_that_sends_too_fast_is_closed,
    a_message_over_64_kib_is_too_big,
    the_largest_message_passes_however_it_is_escaped,
    a_body_over_64_kib_is_too_large,
    logins_of_an_address_are_counted,
    nobody_is_believed_but_trusted_proxies,
    outbound_bytes_can_be_set,
);
for_one_process!(
    upgrades_and_sockets_of_an_address_are_counted: "NGINX counts before the gateways; nginx has it",
);

fn a_channel_takes_so_many_entries_a_second(kind: Kind) {
    let chat = Fixture::setup(kind)
        .set("limits.channel_entries_per_second", "10")
        .start();
    let [ann, bob] = chat.people(["ann", "bob"]);
    let (channel, other) = (ann.create("lounge"), ann.create("other"));
    let mut socket = ann.connect();
    let mut refused = None;
    let mut taken = 0;
    let since = Instant::now();
    while refused.is_none() {
        let id = fresh_id();
        socket.send(&channel, &id, &words(taken));
        let answer = socket.until(|frame| frame["id"] == id.as_str() && frame["type"] != "message");
        match answer.last().unwrap() {
            ack if ack["type"] == "ack" => taken += 1,
            error => refused = Some(error.clone()),
        }
    }
    let refused = refused.unwrap();
    assert_eq!(refused["code"], "slow_down", "{refused}");
    let wait = refused["retry_after_ms"].as_u64().unwrap();
    assert!((1..=2_000).contains(&wait), "{refused}");
    // The burst is twice the rate; the join took one.
    let earned = since.elapsed().as_secs_f64() * 10.0;
    assert!(
        (15.0..=21.0 + earned).contains(&f64::from(taken)),
        "{taken}"
    );
    let over_http = ann.post(&channel, &fresh_id(), &words(1));
    if over_http.status != 201 {
        over_http.refused(429, "slow_down");
    }
    // Joins are entries as well, and another channel is another matter.
    let mut joined = bob.try_join(&channel);
    let since = Instant::now();
    while joined.status != 200 {
        joined.refused(429, "slow_down");
        assert!(since.elapsed() < Duration::from_secs(10));
        std::thread::sleep(Duration::from_millis(20));
        joined = bob.try_join(&channel);
    }
    socket.tell(&other, &fresh_id(), &words(1));
}

fn a_socket_that_sends_too_fast_is_closed(kind: Kind) {
    let chat = Fixture::of(kind);
    let ann = chat.register("ann");
    let mut calm = ann.connect();
    let ping = crate::support::socket::frame(FIN | PING, &[]);
    let pong = crate::support::socket::frame(FIN | 10, &[]);
    let empty = crate::support::socket::frame(0, &[]);
    let app_ping = crate::support::socket::frame(FIN | TEXT, br#"{"type":"ping"}"#);
    let begin = crate::support::socket::frame(TEXT, b"{");
    for (first, flood) in [
        (None, &ping),
        (None, &pong),
        (None, &app_ping),
        (Some(begin), &empty),
    ] {
        let mut socket = ann.connect();
        if let Some(first) = first {
            socket.raw(&first);
        }
        socket.raw(&flood.repeat(3_000));
        let ended = socket.ended();
        ended.with(4429, Some("too_fast"));
        let error = ended.frames.last().unwrap();
        assert!(error["retry_after_ms"].as_u64().unwrap() > 0, "{error}");
    }
    // The same before hello.
    let mut socket = Socket::open(chat.address(), chat.site().contract);
    socket.raw(&ping.repeat(3_000));
    socket.ended().with(4429, Some("too_fast"));
    // The burst is allowed.
    calm.raw(&app_ping.repeat(900));
    for _ in 0..900 {
        calm.expect("pong");
    }
}

fn a_message_over_64_kib_is_too_big(kind: Kind) {
    let chat = Fixture::of(kind);
    let ann = chat.register("ann");
    let pad = |length: usize| {
        let empty = r#"{"type":"ping","pad":""}"#.len();
        format!(
            r#"{{"type":"ping","pad":"{}"}}"#,
            "x".repeat(length - empty)
        )
    };
    let mut socket = ann.connect();
    socket.text(&pad(65_536));
    socket.expect("pong");
    socket.text(&pad(65_537));
    assert_eq!(socket.ended().code, 1009);
    // In fragments it is as long as all of them.
    let whole = pad(65_536).into_bytes();
    let mut socket = ann.connect();
    let mut pieces = whole.chunks(20_000).peekable();
    let mut opcode = TEXT;
    while let Some(piece) = pieces.next() {
        let fin = if pieces.peek().is_none() { FIN } else { 0 };
        socket.frame(fin | opcode, piece);
        opcode = 0;
    }
    socket.expect("pong");
    let mut socket = ann.connect();
    socket.frame(TEXT, &whole[..40_000]);
    socket.frame(0, &whole[..40_000]);
    assert_eq!(socket.ended().code, 1009);
    // The header alone tells, and before hello as well.
    for welcome in [true, false] {
        let mut socket = if welcome {
            ann.connect()
        } else {
            Socket::open(chat.address(), chat.site().contract)
        };
        socket.raw(&[
            FIN | TEXT,
            0x80 | 127,
            0,
            0,
            0,
            0,
            0x40,
            0,
            0,
            0,
            1,
            2,
            3,
            4,
        ]);
        assert_eq!(socket.ended().code, 1009);
    }
}

fn the_largest_message_passes_however_it_is_escaped(kind: Kind) {
    let chat = Fixture::of(kind);
    let ann = chat.register("ann");
    let channel = ann.create("lounge");
    let mut socket = ann.connect();
    // 10,000 characters as \u00XX are 60,000 bytes: allowed; as many more are not.
    let escaped = |count: usize| {
        format!(
            r#"{{"type":"send","id":"e{count}","channel":"{channel}","body":"{}"}}"#,
            "\\u0001x".repeat(count)
        )
    };
    socket.text(&escaped(8_192));
    let frames = socket.until(|frame| frame["type"] == "message");
    let body = frames.last().unwrap()["body"].as_str().unwrap().len();
    assert_eq!(body, 16_384);
    socket.text(&escaped(10_000));
    assert_eq!(socket.ended().code, 1009);
}

fn a_body_over_64_kib_is_too_large(kind: Kind) {
    let chat = Fixture::of(kind);
    let ann = chat.register("ann");
    let path = "/v1/channels";
    let form = |length: usize| {
        let empty = r#"{"name":"lounge","pad":""}"#.len();
        format!(
            r#"{{"name":"lounge","pad":"{}"}}"#,
            "x".repeat(length - empty)
        )
    };
    let send = |body: &str| ann.call(Request::post(path).text("application/json", body));
    send(&form(65_537)).refused(413, "too_large");
    send(&form(1_000_000)).refused(413, "too_large");
    // Announced, and never sent.
    let announced = Request::post(path)
        .header("Content-Type", "application/json")
        .header("Content-Length", "99999999999")
        .bearer(&ann.token);
    Connection::open(chat.address())
        .call(&announced)
        .refused(413, "too_large");
    // In chunks nothing is announced.
    let mut connection = Connection::open(chat.address());
    let chunked = Request::post(path)
        .header("Content-Type", "application/json")
        .header("Transfer-Encoding", "chunked")
        .bearer(&ann.token);
    let head = chunked.encode(chat.address());
    connection.stream.write_all(&head).unwrap();
    for _ in 0..9 {
        let _ = connection
            .stream
            .write_all(format!("2000\r\n{}\r\n", "x".repeat(8192)).as_bytes());
    }
    let _ = connection.stream.write_all(b"0\r\n\r\n");
    connection.answer().unwrap().refused(413, "too_large");
    send(&form(65_536)).ok(201);
}

fn forwarded(chat: &Fixture, request: Request, address: &str) -> crate::support::http::Answer {
    chat.call(&request.header("X-Forwarded-For", address))
}

fn login(username: &str) -> Request {
    let form = json!({"username": username, "password": PASSWORD});
    Request::post("/v1/auth/login").json(&form)
}

fn logins_of_an_address_are_counted(kind: Kind) {
    let chat = Fixture::setup(kind)
        .set("limits.address_logins_per_minute", "10")
        .start();
    chat.register("ann");
    let ann = |address: &str| forwarded(&chat, login("ann"), address);
    for number in 0..30 {
        let answer = ann("203.0.113.7");
        assert_eq!(answer.status, 200, "{number}: {}", answer.text());
    }
    let refused = (0..12)
        .map(|_| ann("203.0.113.7"))
        .find(|answer| answer.status != 200);
    let refused = refused.expect("30 at once, then one in 6 s");
    refused.refused(429, "too_many_requests");
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=6).contains(&wait), "{wait}");
    let form = json!({"username": "bob", "password": PASSWORD});
    let register = Request::post("/v1/auth/register").json(&form);
    forwarded(&chat, register, "203.0.113.7").refused(429, "too_many_requests");
    // The last address that is no proxy's counts, whatever the client wrote before it.
    for chain in [
        "198.51.100.1, 203.0.113.7",
        "127.0.0.1, 203.0.113.7",
        "203.0.113.7, 127.0.0.1",
        "203.0.113.7, ::1",
        "nonsense, 203.0.113.7",
        "203.0.113.7:4711",
    ] {
        ann(chain).refused(429, "too_many_requests");
    }
    // Others, and this machine itself, go on.
    for free in [
        "203.0.113.8",
        "203.0.113.7, 203.0.113.9",
        "2001:db8::1",
        "127.0.0.1",
        "",
    ] {
        assert_eq!(ann(free).status, 200, "{free}");
    }
    assert_eq!(chat.call(&login("ann")).status, 200);
}

fn nobody_is_believed_but_trusted_proxies(kind: Kind) {
    let chat = Fixture::setup(kind)
        .set("limits.address_logins_per_minute", "1")
        .set("server.trusted_proxies", "203.0.113.0/24")
        .start();
    chat.register("ann");
    // This machine is exempt, and no longer a proxy: what it forwards is not read.
    for _ in 0..40 {
        assert_eq!(forwarded(&chat, login("ann"), "198.51.100.7").status, 200);
    }
}

fn upgrades_and_sockets_of_an_address_are_counted(kind: Kind) {
    let chat = Fixture::setup(kind)
        .set("limits.address_upgrades_per_second", "1")
        .set("limits.address_sockets", "3")
        .start();
    let open = |address: &str| {
        let request = upgrade().header("X-Forwarded-For", address);
        Socket::request(chat.address(), &request)
    };
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(open("203.0.113.7").expect("a socket"));
    }
    let refused = open("203.0.113.7").unwrap_err();
    refused.refused(429, "too_many_requests");
    assert!(refused.header("retry-after").is_some());
    open("203.0.113.8").expect("a socket");
    for _ in 0..20 {
        Socket::request(chat.address(), &upgrade()).expect("this machine is exempt");
    }
    held.clear();
    let since = Instant::now();
    while open("203.0.113.7").is_err() {
        assert!(
            since.elapsed() < Duration::from_secs(20),
            "the places are not given back"
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn outbound_bytes_can_be_set(kind: Kind) {
    let chat = Fixture::setup(kind)
        .set("limits.outbound_bytes", "131072")
        .set("limits.channel_entries_per_second", "100000")
        .start();
    let [ann, bob] = chat.people(["ann", "bob"]);
    let channel = ann.create("lounge");
    bob.join(&channel);
    // The largest frame there is fits, and the next one when it was read.
    let mut socket = bob.connect();
    for number in 0..5 {
        let body = "\u{1}".repeat(10_000) + "x";
        ann.post(&channel, &format!("{number}"), &body).ok(201);
        assert_eq!(socket.expect("message")["body"], body.as_str());
    }
    assert!(!matches!(
        socket.hear_within(Duration::from_millis(100)),
        Heard::Close(_)
    ));
}
