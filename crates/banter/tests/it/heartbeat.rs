//! What a cluster tells of itself when nobody talks.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::PATIENCE;
use crate::support::fixture::{Fixture, Kind};
use crate::support::http::Request;
use crate::support::message::{fresh_id, words};

/// A channel of heartbeats.
const RESERVED: &str = "00000000-0000-7000-8000-000000000003";

/// Waits until a sum over all processes is as it should be.
#[track_caller]
fn until(chat: &Fixture, name: &str, is_so: impl Fn(f64) -> bool) {
    let since = Instant::now();
    loop {
        let value = chat.metric(name);
        if is_so(value) {
            return;
        }
        assert!(since.elapsed() < PATIENCE, "{name} is {value}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn heartbeats_get_through_and_nobody_sees_them() {
    let chat = Fixture::of(Kind::Cluster);
    let ann = chat.register("ann");
    let mut socket = ann.connect();
    until(&chat, "banter_probe_roundtrip_seconds_count", |beats| {
        beats >= 12.0
    });
    until(&chat, "banter_bus_lag_seconds_count", |heard| heard >= 2.0);
    assert!(chat.metric("banter_bus_messages_total") >= 4.0);
    for unseen in [
        "banter_gateway_messages_accepted_total",
        "banter_gateway_deliveries_total",
        "banter_gateway_ack_duration_seconds_count",
        "banter_queue_unstored_entries",
    ] {
        assert!(chat.metric(unseen).abs() < 1e-9, "{unseen}");
    }
    assert_eq!(
        ann.call(Request::get("/v1/channels")).ok(200)["items"],
        json!([])
    );
    let path = |rest: &str| format!("/v1/channels/{RESERVED}{rest}");
    for request in [
        Request::get(path("")),
        Request::get(path("/history")),
        Request::get(path("/members")),
        Request::put(path("/subscription")),
        Request::post(path("/messages")).json(&json!({"body": words("x")})),
    ] {
        ann.call(request).refused(404, "channel_not_found");
    }
    let error = socket.refused(RESERVED, &fresh_id(), &words("x"));
    assert_eq!(error["code"], "channel_not_found");
    let (mut resumed, _) = ann.resume(&json!({RESERVED: {"seq": 0, "epoch": 1}}));
    let reset = resumed.find("reset");
    assert_eq!(
        (&reset["channel"], &reset["reason"]),
        (&json!(RESERVED), &json!("unavailable"))
    );
}

#[test]
fn a_heartbeat_that_is_not_stored_is_told() {
    let mut chat = Fixture::of(Kind::Cluster);
    let ann = chat.register("ann");
    let channel = ann.create("lounge");
    until(&chat, "banter_worker_shards", |shards| {
        (shards - 16.0).abs() < 1e-9
    });
    chat.end("worker", Signal::TERM);
    let failures = |stage: &str| {
        let name = format!("banter_probe_failures_total{{stage=\"{stage}\"}}");
        chat.series(&name)
    };
    let received = failures("received");
    let since = Instant::now();
    while failures("stored") < 2.0 {
        assert!(since.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!((failures("received") - received).abs() < 1e-9);
    let request = Request::post(format!("/v1/channels/{channel}/messages"))
        .header("Prefer", "respond-async")
        .json(&json!({"body": words("waits")}));
    ann.call(request).ok(202);
    until(&chat, "banter_queue_unstored_entries", |all| {
        // Both gateways tell the same.
        (all - 2.0).abs() < 1e-9
    });
    chat.spawn("worker");
    chat.ready("worker");
    until(&chat, "banter_queue_unstored_entries", |all| all < 1e-9);
}

#[test]
fn each_part_shows_all_of_them() {
    let mut chat = Fixture::of(Kind::Cluster);
    let _socket = chat.register("ann").connect();
    // Who is asked first waits for the others' first words.
    let first = chat.admin(&Request::get("/status.json")).ok(200);
    assert_eq!(roles(&first)[0], "gateway", "it tells of itself first");
    // Those that have just begun have not told of a whole second yet.
    let told = shown(&chat, |told| {
        roles(told).len() == 5 && (sockets(told) - 1.0).abs() < 1e-9
    });
    let mut all = roles(&told);
    all.sort_unstable();
    assert_eq!(all, ["auth", "gateway", "gateway", "worker", "worker"]);
    let peers = told["peers"].as_array().unwrap();
    let names: BTreeSet<_> = peers
        .iter()
        .map(|it| it["name"].as_str().unwrap())
        .collect();
    assert_eq!(names.len(), 5, "{told:#}");
    let top = chat.command(&["top", "--admin", &chat.admin_url()]);
    let table = top.succeeded();
    assert!(
        table.lines().any(|line| line.starts_with("all ")),
        "{table}"
    );
    chat.end("worker", Signal::TERM);
    let told = shown(&chat, |told| roles(told).len() == 3);
    assert_eq!(told["complete"], true);
}

/// Open sockets of all processes.
fn sockets(told: &Value) -> f64 {
    let of = |peer: &Value| peer["series"]["connections"].as_array()?.last()?.as_f64();
    let peers = told["peers"].as_array();
    peers.into_iter().flatten().filter_map(of).sum()
}

/// What is shown once it is as awaited.
#[track_caller]
fn shown(chat: &Fixture, is_so: impl Fn(&Value) -> bool) -> Value {
    let since = Instant::now();
    loop {
        let told = chat.admin(&Request::get("/status.json")).ok(200);
        if is_so(&told) {
            return told;
        }
        assert!(since.elapsed() < PATIENCE, "{told:#}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn roles(told: &Value) -> Vec<&str> {
    let peers = told["peers"].as_array().unwrap().iter();
    peers.map(|it| it["role"].as_str().unwrap()).collect()
}

#[test]
fn every_part_has_every_documented_metric() {
    let chat = Fixture::of(Kind::Cluster);
    let _socket = chat.register("ann").connect();
    until(&chat, "banter_gateway_peers", |known| {
        (known - 4.0).abs() < 1e-9
    });
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/metrics.md");
    let page = std::fs::read_to_string(page).expect("it is there");
    let documented: BTreeSet<_> = page
        .lines()
        .filter_map(|line| Some(line.strip_prefix("| `")?.split_once("` | ")?.0))
        .collect();
    let scrapes = chat.scrapes();
    let all: BTreeSet<_> = scrapes
        .iter()
        .flat_map(|text| text.lines())
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
        .map(|(name, _)| name)
        .collect();
    assert_eq!(documented, all);
}
