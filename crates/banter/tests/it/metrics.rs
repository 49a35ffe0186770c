//! What operators see: metrics as documented, and counted right.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::fixture::Fixture;
use crate::support::http::Request;
use crate::support::message::{fresh_id, words};
use crate::support::socket::Socket;
use crate::support::{PASSWORD, PATIENCE};

/// A metric: its type, its meaning, the labels of its series.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Described {
    kind: String,
    help: String,
    labels: BTreeSet<String>,
}

/// What the documentation says of each metric.
fn documented() -> BTreeMap<String, Described> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/metrics.md");
    let text = std::fs::read_to_string(path).expect("it is there");
    let mut documented = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with('|')) {
        let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [name, kind, labels, help] = cells[..] else {
            continue;
        };
        if name == "name" || name.starts_with('-') {
            continue;
        }
        let labels = labels.split(", ").map(|label| label.trim_matches('`'));
        let described = Described {
            kind: kind.to_owned(),
            help: help.to_owned(),
            labels: labels
                .filter(|l| !l.is_empty())
                .map(str::to_owned)
                .collect(),
        };
        let before = documented.insert(name.trim_matches('`').to_owned(), described);
        assert_eq!(before, None, "{name} stands twice");
    }
    documented
}

/// What a scrape says of each metric; every sample must belong to one.
fn scraped(text: &str) -> BTreeMap<String, Described> {
    let mut scraped = BTreeMap::<String, Described>::new();
    let mut labelled = BTreeMap::<String, BTreeSet<String>>::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').expect("a help text");
            let help = help.trim_end_matches('.').to_owned();
            scraped.entry(name.to_owned()).or_default().help = help;
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a type");
            scraped.entry(name.to_owned()).or_default().kind = kind.to_owned();
        } else {
            let (series, value) = line.rsplit_once(' ').expect("a sample");
            value.parse::<f64>().expect("a number");
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            let labels = labels.trim_end_matches('}').split("\",");
            let names = labels.filter_map(|label| label.split_once('=').map(|(name, _)| name));
            let names = names.filter(|name| *name != "le").map(str::to_owned);
            labelled.entry(name.to_owned()).or_default().extend(names);
        }
    }
    for (sample, labels) in labelled {
        let histogram = ["_bucket", "_sum", "_count"].iter().find_map(|end| {
            let name = sample.strip_suffix(end)?;
            scraped.get(name).filter(|it| it.kind == "histogram")?;
            Some(name.to_owned())
        });
        let name = histogram.unwrap_or(sample);
        let described = scraped.get_mut(&name);
        let described = described.unwrap_or_else(|| panic!("{name} has no description"));
        described.labels.extend(labels);
    }
    scraped
}

#[test]
fn every_metric_is_documented_and_every_documented_metric_exists() {
    let chat = Fixture::new();
    let ann = chat.register("ann");
    let channel = ann.create("lounge");
    let mut socket = ann.connect();
    socket.tell(&channel, &fresh_id(), &words("counted"));
    ann.history(&channel);
    let text = chat.admin(&Request::get("/metrics")).text();
    let (documented, scraped) = (documented(), scraped(&text));
    let names = |of: &BTreeMap<String, Described>| of.keys().cloned().collect::<BTreeSet<_>>();
    let (said, seen) = (names(&documented), names(&scraped));
    let missing: Vec<_> = said.difference(&seen).collect();
    let unknown: Vec<_> = seen.difference(&said).collect();
    assert!(missing.is_empty(), "documented, but not there: {missing:?}");
    assert!(unknown.is_empty(), "there, but not documented: {unknown:?}");
    for (name, described) in &scraped {
        assert_eq!(described, &documented[name], "{name}");
    }
}

#[test]
fn a_scrape_comes_in_the_format_that_is_asked_for() {
    let chat = Fixture::new();
    let plain = chat.admin(&Request::get("/metrics"));
    let media_type = plain.header("content-type").unwrap();
    assert!(media_type.starts_with("text/plain; version=0.0.4"));
    assert!(
        plain
            .text()
            .contains("# TYPE banter_gateway_deliveries_total counter\n")
    );
    let open = Request::get("/metrics").header("Accept", "application/openmetrics-text;q=0.9,*/*");
    let open = chat.admin(&open);
    let media_type = open.header("content-type").unwrap();
    assert!(media_type.starts_with("application/openmetrics-text"));
    assert!(open.text().ends_with("# EOF\n"));
}

/// The value of one series.
#[track_caller]
fn series(chat: &Fixture, series: &str) -> f64 {
    let text = chat.admin(&Request::get("/metrics")).text();
    let lines = text.lines().filter_map(|line| line.rsplit_once(' '));
    let value = lines.into_iter().find(|(name, _)| *name == series);
    let (_, value) = value.unwrap_or_else(|| panic!("no {series}"));
    value.parse().expect("a number")
}

/// Waits until a series has this value: what is counted beside an answer may come after it.
#[track_caller]
fn becomes(chat: &Fixture, name: &str, expected: f64) {
    let since = Instant::now();
    loop {
        let value = series(chat, name);
        if (value - expected).abs() < 1e-9 {
            return;
        }
        let waited = since.elapsed();
        assert!(waited < PATIENCE, "{name} is {value}, not {expected}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn sockets_and_what_they_do_are_counted() {
    let chat = Fixture::new();
    let [ann, ben] = chat.people(["ann", "ben"]);
    let channel = ann.create("lounge");
    ben.join(&channel);
    let state = |state| format!("banter_gateway_connections{{state=\"{state}\"}}");
    let stranger = Socket::open(chat.address(), chat.site().contract);
    becomes(&chat, &state("unauthenticated"), 1.0);
    let mut socket = ann.connect();
    let _second = ann.connect();
    let _third = ben.connect();
    becomes(&chat, &state("ready"), 3.0);
    becomes(&chat, "banter_gateway_channels", 1.0);
    becomes(&chat, "banter_gateway_subscriptions", 3.0);
    let fanout = "banter_gateway_fanout_recipients";
    let (entries, reached) = (
        series(&chat, &format!("{fanout}_count")),
        series(&chat, &format!("{fanout}_sum")),
    );
    let delivered = series(&chat, "banter_gateway_deliveries_total");
    let read = series(&chat, "banter_gateway_bytes_total{direction=\"in\"}");
    for _ in 0..5 {
        socket.tell(&channel, &fresh_id(), &words("counted"));
    }
    becomes(&chat, &format!("{fanout}_count"), entries + 5.0);
    becomes(&chat, &format!("{fanout}_sum"), reached + 15.0);
    becomes(&chat, "banter_gateway_deliveries_total", delivered + 15.0);
    assert!(series(&chat, "banter_gateway_bytes_total{direction=\"in\"}") >= read + 5.0 * 80.0);
    assert!(series(&chat, "banter_gateway_delivery_latency_seconds_count") >= 5.0);
    becomes(&chat, "banter_gateway_send_queue_bytes", 0.0);
    becomes(&chat, "banter_queue_entries", 0.0);
    becomes(&chat, "banter_queue_oldest_entry_age_seconds", 0.0);
    let id = fresh_id();
    for _ in 0..3 {
        ann.post(&channel, &id, &words("repeated")).ok(201);
    }
    becomes(&chat, "banter_worker_duplicates_total", 2.0);
    socket.say(&json!({"type": "dance"}));
    socket.find("error");
    becomes(
        &chat,
        "banter_gateway_error_frames_total{code=\"unknown_type\"}",
        1.0,
    );
    ben.leave(&channel);
    becomes(&chat, "banter_gateway_subscriptions", 2.0);
    drop(stranger);
    becomes(&chat, &state("unauthenticated"), 0.0);
    becomes(
        &chat,
        "banter_gateway_connections_closed_total{reason=\"gone\"}",
        1.0,
    );
    let opened = chat.metric("banter_gateway_connections_opened_total");
    let closed = chat.metric("banter_gateway_connections_closed_total");
    assert!((opened - closed - 3.0).abs() < 1e-9, "{opened} {closed}");
}

#[test]
fn refusals_are_counted_by_reason() {
    let chat = Fixture::new();
    let ann = chat.register("ann");
    let wrong = json!({"username": "ann", "password": format!("{PASSWORD}!")});
    chat.call(&Request::post("/v1/auth/login").json(&wrong))
        .refused(401, "login_failed");
    becomes(
        &chat,
        "banter_http_problems_total{code=\"login_failed\"}",
        1.0,
    );
    becomes(&chat, "banter_auth_logins_total{outcome=\"failed\"}", 1.0);
    let refused =
        |reason| format!("banter_gateway_handshake_failures_total{{reason=\"{reason}\"}}");
    let upgrade = Request::get("/v1/connect");
    chat.call(&upgrade).refused(426, "upgrade_required");
    becomes(&chat, &refused("upgrade_required"), 1.0);
    let mut stranger = Socket::open(chat.address(), chat.site().contract);
    stranger.hello("nonsense", &Value::Null);
    stranger.ended();
    becomes(&chat, &refused("token_invalid"), 1.0);
    becomes(
        &chat,
        "banter_gateway_connections_closed_total{reason=\"token_invalid\"}",
        1.0,
    );
    let foreign = fresh_id();
    let mut socket = ann.connect();
    socket.refused(&foreign, &fresh_id(), &words("nowhere"));
    becomes(
        &chat,
        "banter_gateway_messages_rejected_total{reason=\"channel_not_found\"}",
        1.0,
    );
    // Every send that is refused is counted once, whichever way it came and whoever refused it.
    let channel = ann.create("lounge");
    let rejected =
        |reason| format!("banter_gateway_messages_rejected_total{{reason=\"{reason}\"}}");
    socket.refused(&channel, &fresh_id(), " ");
    becomes(&chat, &rejected("body_invalid"), 1.0);
    socket.refused(&channel, "a b", &words("bad id"));
    becomes(&chat, &rejected("id_invalid"), 1.0);
    socket.say(&json!({"type": "auth", "token": "nonsense"}));
    socket.find("error");
    becomes(
        &chat,
        "banter_gateway_error_frames_total{code=\"token_invalid\"}",
        1.0,
    );
    let stranger = Socket::open(chat.address(), chat.site().contract);
    drop(stranger);
    becomes(&chat, &refused("gone"), 1.0);
    let all = chat.metric("banter_gateway_messages_rejected_total");
    assert!((all - 3.0).abs() < 1e-9, "{all}");
    ann.log_out();
    socket.ended();
    becomes(
        &chat,
        "banter_gateway_connections_closed_total{reason=\"session_ended\"}",
        1.0,
    );
    assert!(chat.metric("banter_gateway_revocation_lag_seconds_count") >= 1.0);
}

#[test]
fn readiness_tells_the_state_of_everything_it_needs() {
    let mut chat = Fixture::new();
    let ready = chat.admin(&Request::get("/readyz?verbose")).ok(200);
    assert_eq!(ready["status"], "ready");
    let needed = ready["dependencies"].as_object().expect("an object");
    assert_eq!(needed.keys().collect::<Vec<_>>(), ["database", "log"]);
    for (name, state) in needed {
        assert_eq!(state["state"], "up", "{name}");
        becomes(
            &chat,
            &format!("banter_dependency_up{{dependency=\"{name}\"}}"),
            1.0,
        );
    }
    assert!(chat.metric("banter_runtime_poll_delay_seconds_count") >= 1.0);
    chat.stop();
}

/// The figures of the one process.
#[track_caller]
fn figures(chat: &Fixture, query: &str) -> Value {
    let figures = chat
        .admin(&Request::get(format!("/status.json{query}")))
        .ok(200);
    assert_eq!(figures["peers"].as_array().map(Vec::len), Some(1));
    figures["peers"][0].clone()
}

#[test]
fn the_status_tells_of_every_second() {
    let chat = Fixture::new();
    let ann = chat.register("ann");
    let channel = ann.create("lounge");
    let mut socket = ann.connect();
    let told = loop {
        socket.tell(&channel, &fresh_id(), &words("counted"));
        let told = figures(&chat, "");
        if told["at"].as_array().expect("a list").len() >= 2 {
            break told;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let at = told["at"].as_array().expect("a list");
    let series = told["series"].as_object().expect("an object");
    for (name, values) in series {
        assert_eq!(values.as_array().map(Vec::len), Some(at.len()), "{name}");
    }
    let last = |name: &str| series[name].as_array().and_then(|it| it.last()?.as_f64());
    assert_eq!(last("connections"), Some(1.0));
    for busy in [
        "messages",
        "deliveries",
        "ack_p99_ms",
        "delivery_p50_ms",
        "memory_bytes",
    ] {
        assert!(
            last(busy).is_some_and(|value| value > 0.0),
            "{busy}: {told}"
        );
    }
    assert_eq!(told["state"], "serving");
    assert_eq!(told["dependencies"], json!({"database": "up", "log": "up"}));
    let newest = at.last().expect("a sample");
    let none_later = figures(&chat, &format!("?after={}", newest.as_i64().unwrap() + 60));
    assert_eq!(none_later["at"], json!([]));
    chat.admin(&Request::get("/status.json?after=soon"))
        .refused(422, "parameter_invalid");
    chat.call(&Request::get("/status.json"))
        .refused(404, "route_not_found");
}

#[test]
fn the_status_page_may_do_nothing_but_ask_its_own_server() {
    let chat = Fixture::new();
    let page = chat.admin(&Request::get("/"));
    assert_eq!(page.status, 200);
    let policy = page.header("content-security-policy").expect("a policy");
    assert!(policy.starts_with("default-src 'none';"), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
    assert!(page.text().contains("fetch(`status.json"));
}

#[test]
fn top_shows_the_same_in_a_pipe() {
    let chat = Fixture::new();
    let _socket = chat.register("ann").connect();
    while figures(&chat, "")["at"].as_array().map_or(0, Vec::len) < 2 {
        std::thread::sleep(Duration::from_millis(20));
    }
    let url = chat.admin_url();
    let table = chat.command(&["top", "--admin", &url]).succeeded();
    let row = table.lines().nth(1).expect("a row");
    assert!(row.starts_with(&chat.base_url()), "{table}");
    let words: Vec<_> = row.split_whitespace().collect();
    assert_eq!((words[1], words[3]), ("serving", "1"), "{table}");
    let bare = url.trim_start_matches("http://");
    let both = [
        "top",
        "--once",
        "--json",
        "--admin",
        bare,
        "--admin",
        "127.0.0.1:9",
    ];
    let line: Value = serde_json::from_str(&chat.command(&both).succeeded()).expect("a line");
    assert_eq!(
        (&line["connections"], &line["state"]),
        (&json!(1.0), &json!("serving"))
    );
    let nobody = chat.command(&["top", "--admin", "127.0.0.1:9"]).failed();
    assert!(
        nobody.contains("http://127.0.0.1:9") && nobody.contains("--admin"),
        "{nobody}"
    );
    let wrong = chat.command(&["top", "--admin", "ftp://x"]).refused();
    assert!(wrong.contains("--admin"), "{wrong}");
}
