//! Deadlines: whoever keeps the server waiting too long is told or cut.
//!
//! These tests wait rather than work, so they wait together.

use std::io::{Read as _, Write as _};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::fixture::{Fixture, Kind};
use crate::support::http::{Connection, Request};
use crate::support::person::Person;
use crate::support::socket::{FIN, Heard, PING, Socket};
use crate::support::talker::{Manner, Talker};

#[test]
fn deadlines_are_kept() {
    let checks: [(&str, fn()); 6] = [
        ("hello", a_hello_is_waited_for_five_seconds),
        ("renewal", a_token_is_renewed_in_place),
        ("pong", a_socket_that_answers_no_ping_is_closed),
        ("slow request", slow_requests_are_cut),
        ("idle connection", an_idle_connection_is_cut_after_a_minute),
        (
            "refresh token",
            a_used_refresh_token_is_refused_after_ten_seconds,
        ),
    ];
    let running = checks.map(|(name, check)| (name, thread::spawn(check)));
    let failed: Vec<_> = running
        .into_iter()
        .filter_map(|(name, check)| check.join().is_err().then_some(name))
        .collect();
    assert!(failed.is_empty(), "{failed:?}");
}

fn open(chat: &Fixture) -> Socket {
    Socket::open(chat.address(), chat.site().contract)
}

fn a_hello_is_waited_for_five_seconds() {
    let chat = Fixture::new();
    let (mut silent, mut pinging, mut slow) = (open(&chat), open(&chat), open(&chat));
    let since = Instant::now();
    pinging.frame(FIN | PING, b"are you there");
    assert_eq!(pinging.hear(), Heard::Pong(b"are you there".to_vec()));
    // The beginning of a frame is no hello.
    slow.raw(&[FIN | 1, 0x80 | 100, 1, 2, 3, 4, 5]);
    for socket in [&mut silent, &mut pinging, &mut slow] {
        socket.ended().with(4502, Some("hello_timeout"));
        let waited = since.elapsed();
        assert!(waited >= Duration::from_millis(4_900), "{waited:?}");
        assert!(waited <= Duration::from_secs(9), "{waited:?}");
    }
}

fn a_token_is_renewed_in_place() {
    let chat = Fixture::setup(Kind::Embedded)
        .set("auth.access_token_ttl", "3s")
        .start();
    let mut ann = chat.register("ann");
    let [bob] = chat.people(["bob"]);
    let mut other = Person::log_in(chat.site(), "ann");
    let (mut renewing, welcome) = ann.resume(&Value::Null);
    assert!(welcome["expires_in"].as_u64().unwrap() <= 3, "{welcome}");
    let mut lapsing = ann.connect();
    let since = Instant::now();
    // Another session or another user is no renewal; the socket goes on.
    other.refresh().ok(200);
    for token in [other.token.as_str(), &bob.token, "x", ""] {
        renewing.say(&json!({"type": "auth", "token": token}));
        assert_eq!(renewing.expect("error")["code"], "token_invalid");
    }
    while since.elapsed() < Duration::from_secs(29) {
        ann.refresh().ok(200);
        renewing.say(&json!({"type": "auth", "token": ann.token}));
        let renewed = renewing.expect("renewed");
        assert!(
            (1..=3).contains(&renewed["expires_in"].as_u64().unwrap()),
            "{renewed}"
        );
        if since.elapsed() > Duration::from_secs(4) {
            lapsing.is_alive();
        }
        if since.elapsed() > Duration::from_secs(24) {
            break;
        }
        std::thread::sleep(Duration::from_secs(2));
    }
    // What was left of the token's 3 s, and 25 s of grace.
    lapsing.ended().with(4401, Some("token_expired"));
    let lasted = since.elapsed();
    assert!((25..=33).contains(&lasted.as_secs()), "{lasted:?}");
    renewing.is_alive();
}

fn a_socket_that_answers_no_ping_is_closed() {
    let chat = Fixture::new();
    let ann = chat.register("ann");
    let mut deaf = ann.connect();
    deaf.answers_pings = false;
    let answering = Talker::start(&ann, &[], Manner::LISTENS);
    let since = Instant::now();
    assert!(matches!(
        deaf.hear_within(Duration::from_secs(32)),
        Heard::Ping(_)
    ));
    let pinged = since.elapsed();
    assert!((20..=30).contains(&pinged.as_secs()), "{pinged:?}");
    let since = Instant::now();
    let ended = deaf.ended_within(Duration::from_secs(20));
    ended.with(4410, None);
    assert_eq!(ended.reason, "no_pong");
    let waited = since.elapsed();
    assert!((8..=13).contains(&waited.as_secs()), "{waited:?}");
    assert_eq!(answering.finish().closes, [0_u16; 0]);
}

fn slow_requests_are_cut() {
    let chat = Fixture::new();
    let head = b"POST /v1/auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n";
    let mut stuck = Connection::open(chat.address());
    stuck.stream.write_all(head).unwrap();
    let mut dripping = Connection::open(chat.address());
    let mut slow_body = Connection::open(chat.address());
    slow_body.stream.write_all(head).unwrap();
    slow_body
        .stream
        .write_all(b"Content-Length: 50\r\n\r\n{\"user")
        .unwrap();
    let since = Instant::now();
    let (mut drips, mut cut) = (head.iter(), None);
    dripping
        .stream
        .set_read_timeout(Some(Duration::from_millis(500)))
        .unwrap();
    while cut.is_none() {
        assert!(
            since.elapsed() < Duration::from_secs(25),
            "a dripping head goes on for ever"
        );
        if let Some(drip) = drips.next() {
            let _ = dripping.stream.write_all(&[*drip]);
        }
        match dripping.stream.read(&mut [0; 512]) {
            Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock) => {}
            _ => cut = Some(since.elapsed()),
        }
    }
    let cut = cut.unwrap();
    assert!((9..=14).contains(&cut.as_secs()), "{cut:?}");
    // 408, or just cut.
    if let Ok(answer) = stuck.answer() {
        answer.refused(408, "request_timeout");
    }
    if let Ok(answer) = slow_body.answer() {
        answer.refused(408, "request_timeout");
    }
    let waited = since.elapsed();
    assert!((28..=36).contains(&waited.as_secs()), "{waited:?}");
}

fn an_idle_connection_is_cut_after_a_minute() {
    let chat = Fixture::new();
    let mut fresh = Connection::open(chat.address());
    let mut used = Connection::open(chat.address());
    used.call(&Request::get("/livez"));
    let since = Instant::now();
    for connection in [&mut fresh, &mut used] {
        connection
            .stream
            .set_read_timeout(Some(Duration::from_secs(80)))
            .unwrap();
        assert_eq!(connection.stream.read(&mut [0; 16]).unwrap_or(0), 0);
        let waited = since.elapsed();
        assert!((58..=70).contains(&waited.as_secs()), "{waited:?}");
    }
}

fn a_used_refresh_token_is_refused_after_ten_seconds() {
    let chat = Fixture::setup(Kind::Embedded)
        .expect_log("an old refresh token was used")
        .start();
    let mut ann = chat.register("ann");
    let mut first = ann.clone();
    let rotated = Instant::now();
    ann.refresh().ok(200);
    std::thread::sleep(Duration::from_millis(10_200).saturating_sub(rotated.elapsed()));
    first.refresh().refused(401, "refresh_invalid");
    ann.refresh().refused(401, "refresh_invalid");
    ann.call(Request::get("/v1/me"))
        .refused(401, "token_invalid");
}
