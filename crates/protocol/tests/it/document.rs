//! `docs/protocol.md` shows what the frozen frames show, and its tables are those of the code.

use std::collections::BTreeSet;
use std::time::Duration;

use banter_protocol::close::{Close, may_reconnect};
use banter_protocol::error::Code;
use banter_protocol::limit;

use crate::frozen::folder;

const DOCUMENT: &str = include_str!("../../../../docs/protocol.md");

/// The lines of every JSON block.
fn examples() -> BTreeSet<&'static str> {
    let blocks = DOCUMENT.split("```json\n").skip(1);
    blocks
        .flat_map(|rest| rest.split("\n```").next().unwrap().lines())
        .collect()
}

/// The cells of every row of the table below this heading.
fn table(heading: &str) -> Vec<Vec<&'static str>> {
    let (_, section) = DOCUMENT.split_once(&format!("\n## {heading}\n")).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with('|')).skip(2);
    rows.map(|row| row.trim_matches('|').split('|').map(str::trim).collect())
        .collect()
}

#[test]
fn every_example_is_a_frozen_frame() {
    let frozen: BTreeSet<String> = ["client", "server", "newer"]
        .into_iter()
        .flat_map(|name| folder(name).into_values())
        .collect();
    for example in examples() {
        assert!(frozen.contains(example), "no frozen frame is {example}");
    }
}

#[test]
fn every_frame_of_the_server_is_an_example() {
    let examples = examples();
    for (name, text) in folder("server") {
        assert!(examples.contains(text.as_str()), "{name} is not shown");
    }
}

#[test]
fn every_frame_of_a_client_has_an_example() {
    let examples = examples();
    for kind in ["hello", "send", "auth", "ping"] {
        let text = &folder("client")[kind];
        assert!(examples.contains(text.as_str()), "{kind} is not shown");
    }
}

#[test]
fn the_error_codes_are_those_of_the_code() {
    let expected: Vec<String> = Code::ALL
        .iter()
        .map(|code| format!("| `{code}` | {} | {} |", code.status(), code.title()))
        .collect();
    let rows = table("Error codes");
    let shown: Vec<String> = rows
        .iter()
        .map(|r| format!("| {} |", r.join(" | ")))
        .collect();
    assert_eq!(
        shown,
        expected,
        "the table should be:\n{}\n",
        expected.join("\n")
    );
}

#[test]
fn the_close_codes_are_those_of_the_code() {
    let row = |close: &Close| {
        let come_back = if may_reconnect(close.code()) {
            "yes"
        } else {
            "no"
        };
        format!("{} `{}` {come_back}", close.code(), close.reason())
    };
    let expected: Vec<String> = Close::ALL.iter().map(row).collect();
    let rows = table("Close codes");
    let shown: Vec<String> = rows.iter().map(|r| r[..3].join(" ")).collect();
    assert_eq!(shown, expected);
}

#[test]
fn the_limits_are_those_of_the_code() {
    let expected = [texts_and_paces(), addresses_and_sockets(), webhooks()].concat();
    let rows = table("Limits");
    let names: Vec<&str> = rows.iter().map(|row| row[0]).collect();
    let expected_names: Vec<&str> = expected.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, expected_names);
    for (row, (name, numbers)) in rows.iter().zip(&expected) {
        let mut rest = row[1];
        for number in numbers {
            let Some((_, behind)) = rest.split_once(number.as_str()) else {
                panic!("{name}: {number} is missing in {:?}", row[1]);
            };
            rest = behind;
        }
    }
}

/// Each row's name, and the numbers in it from left to right.
fn texts_and_paces() -> Vec<(&'static str, Vec<String>)> {
    let pace = |rate: u32| vec![grouped(rate), grouped(rate * limit::BURST_FACTOR)];
    vec![
        ("body of a message", vec![grouped(limit::BODY_BYTES_MAX)]),
        (
            "frame or HTTP body from a client",
            vec![grouped(limit::FRAME_BYTES_MAX)],
        ),
        (
            "username",
            vec![
                grouped(limit::USERNAME_CHARS_MIN),
                grouped(limit::USERNAME_CHARS_MAX),
            ],
        ),
        (
            "password",
            vec![
                grouped(limit::PASSWORD_CHARS_MIN),
                grouped(limit::PASSWORD_BYTES_MAX),
            ],
        ),
        ("channel name", vec![grouped(limit::CHANNEL_NAME_CHARS_MAX)]),
        ("topic", vec![grouped(limit::TOPIC_CHARS_MAX)]),
        (
            "message id, `Idempotency-Key`",
            vec![
                grouped(limit::MESSAGE_ID_BYTES_MAX),
                minutes(limit::MESSAGE_ID_AHEAD_MAX),
            ],
        ),
        (
            "page",
            vec![grouped(limit::PAGE_MAX), grouped(limit::PAGE_DEFAULT)],
        ),
        (
            "channels of a user",
            vec![grouped(limit::CHANNELS_PER_USER)],
        ),
        (
            "entries of a channel",
            pace(limit::CHANNEL_ENTRIES_PER_SECOND),
        ),
        (
            "frames of a socket, control frames and fragments included",
            pace(limit::SOCKET_FRAMES_PER_SECOND),
        ),
    ]
}

/// See [`texts_and_paces`].
fn addresses_and_sockets() -> Vec<(&'static str, Vec<String>)> {
    vec![
        ("sockets of a user", vec![grouped(limit::SOCKETS_PER_USER)]),
        (
            "sockets of an address",
            vec![grouped(limit::ADDRESS_SOCKETS)],
        ),
        (
            "upgrades of an address",
            vec![
                grouped(limit::ADDRESS_UPGRADES_PER_SECOND),
                grouped(limit::ADDRESS_UPGRADES_BURST),
            ],
        ),
        (
            "logins and registrations of an address",
            vec![
                grouped(limit::ADDRESS_LOGINS_PER_MINUTE),
                grouped(limit::ADDRESS_LOGINS_BURST),
            ],
        ),
        (
            "failed logins of an account",
            vec![
                grouped(limit::LOGIN_FAILURES_FREE),
                minutes(limit::LOGIN_FAILURES_WINDOW),
                seconds(limit::LOGIN_WAIT_MIN),
                minutes(limit::LOGIN_WAIT_MAX),
            ],
        ),
        (
            "bytes waiting for a socket beyond the kernel's buffers",
            vec![grouped(limit::OUTBOUND_BYTES)],
        ),
        ("replay on resume", vec![grouped(limit::REPLAY_ENTRIES_MAX)]),
        (
            "time from the upgrade to `hello`",
            vec![seconds(limit::HELLO_TIMEOUT)],
        ),
        (
            "pings of the server",
            vec![
                seconds(limit::PING_INTERVAL),
                grouped(limit::PONG_TIMEOUT.as_secs()),
            ],
        ),
        (
            "life of a socket beyond its token",
            vec![seconds(limit::TOKEN_GRACE)],
        ),
        ("access token", vec![grouped(limit::TOKEN_BYTES_MAX)]),
        ("outbox of a client", vec![grouped(limit::OUTBOX_MAX)]),
        (
            "time for an HTTP head, for a body",
            vec![
                seconds(limit::HTTP_HEAD_TIMEOUT),
                seconds(limit::HTTP_BODY_TIMEOUT),
            ],
        ),
        (
            "idle HTTP connection",
            vec![seconds(limit::HTTP_IDLE_TIMEOUT)],
        ),
    ]
}

/// See [`texts_and_paces`].
fn webhooks() -> Vec<(&'static str, Vec<String>)> {
    vec![
        (
            "webhooks of a channel",
            vec![grouped(limit::WEBHOOKS_PER_CHANNEL)],
        ),
        (
            "messages of a webhook",
            vec![
                grouped(limit::WEBHOOK_MESSAGES_PER_SECOND),
                grouped(limit::WEBHOOK_MESSAGES_PER_SECOND * limit::BURST_FACTOR),
            ],
        ),
        (
            "posts to webhooks from an address",
            vec![
                grouped(limit::ADDRESS_WEBHOOKS_PER_SECOND),
                grouped(limit::ADDRESS_WEBHOOKS_BURST),
            ],
        ),
    ]
}

fn seconds(duration: Duration) -> String {
    format!("{} second", duration.as_secs())
}

fn minutes(duration: Duration) -> String {
    format!("{} minutes", duration.as_secs() / 60)
}

/// The number as people write it: `16,384`.
fn grouped<N: TryInto<u64>>(number: N) -> String {
    let digits = number.try_into().unwrap_or(u64::MAX).to_string();
    let mut text = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
