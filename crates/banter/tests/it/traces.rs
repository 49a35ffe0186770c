//! Traces: a collector is told where the time of an entry went, from its frame to the database,
//! and nothing that anybody wrote.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::trace::v1::Span;

use crate::support::PATIENCE;
use crate::support::collector::{Collector, Told};
use crate::support::fixture::{Fixture, Kind, Setup, for_every_kind, free_address};
use crate::support::hook::Hook;
use crate::support::message::{fresh_id, words};

for_every_kind! {
    one_trace_follows_a_message_to_the_database,
    a_collector_that_is_away_harms_nobody,
}

/// A chat that tells all it does.
fn told_to(kind: Kind, collector: &str) -> Setup {
    Fixture::setup(kind)
        .set("telemetry.otlp_endpoint", collector)
        .set("telemetry.trace_one_in", "1")
}

fn number(span: &Span, name: &str) -> i64 {
    let found = span.attributes.iter().find(|pair| pair.key == name);
    match found.and_then(|pair| pair.value.as_ref()?.value.as_ref()) {
        Some(Any::IntValue(number)) => *number,
        other => panic!("{name} is {other:?}"),
    }
}

/// The spans of the entry with this number, by name.
fn of_entry(told: &[Told], seq: i64) -> BTreeMap<String, Told> {
    let of_it = |told: &&Told| number(&told.span, "banter.seq") == seq;
    let spans = told.iter().filter(of_it);
    spans
        .map(|told| (told.span.name.clone(), told.clone()))
        .collect()
}

fn one_trace_follows_a_message_to_the_database(kind: Kind) {
    let collector = Collector::start();
    let mut chat = told_to(kind, &collector.url()).start();
    let ann = chat.register("ann");
    let channel = ann.create("lounge");
    let mut socket = ann.connect();
    // What comes before the socket is live is read for it, and delivered to nobody.
    let mut before = 1;
    while chat.metric("banter_gateway_deliveries_total") < 1.0 {
        ann.post(&channel, &fresh_id(), &words("live?")).ok(201);
        before += 1;
    }
    socket.tell(&channel, &fresh_id(), &words("over the socket"));
    let again = fresh_id();
    for _ in 0..2 {
        ann.post(&channel, &again, &words("over HTTP")).ok(201);
    }
    Hook::make(&ann, &channel, "build").say(&words("by a webhook"));
    ann.leave(&channel);
    socket.find("left");
    // What waits is told before the end.
    chat.stop();

    let told = collector.told();
    let names = ["message", "message", "join", "message", "leave"];
    for (seq, name) in (before + 1..).zip(names) {
        is_one_trace(kind, name, &of_entry(&told, seq));
    }
    let later = |told: &&Told| number(&told.span, "banter.seq") > before;
    let spans = names.len() * if kind == Kind::Cluster { 4 } else { 3 };
    let extra = told.iter().filter(later).count() - spans;
    assert_eq!(extra, 0, "a retry is no entry: {told:#?}");
    collector.kept_secrets();
}

/// The spans of an entry that one socket got live.
#[track_caller]
fn is_one_trace(kind: Kind, name: &str, spans: &BTreeMap<String, Told>) {
    let (gateway, worker) = match kind {
        Kind::Embedded => ("banter", None),
        Kind::Cluster => ("banter-gateway", Some("banter-worker")),
    };
    let services = |name: &str| spans.get(name).map(|told| &*told.service);
    assert_eq!(services(name), Some(gateway), "{spans:?}");
    assert_eq!(services("append"), Some(gateway));
    assert_eq!(services("deliver"), Some(gateway));
    assert_eq!(services("store"), worker);
    let root = &spans[name].span;
    assert!(root.parent_span_id.is_empty(), "{root:?}");
    assert!(root.trace_id.len() == 16 && number(root, "banter.batch") >= 1);
    let begun = spans["append"].span.start_time_unix_nano;
    assert!(root.start_time_unix_nano <= begun);
    assert!(spans["append"].span.end_time_unix_nano <= root.end_time_unix_nano);
    assert_eq!(number(&spans["deliver"].span, "banter.sockets"), 1);
    let mut ids = BTreeSet::new();
    for Told { span, .. } in spans.values() {
        assert_eq!(span.trace_id, root.trace_id);
        assert!(ids.insert(&span.span_id), "{spans:?}");
        assert!(span.start_time_unix_nano <= span.end_time_unix_nano);
        assert!(span.end_time_unix_nano > begun);
        assert!(span.name == name || span.parent_span_id == root.span_id);
    }
}

fn a_collector_that_is_away_harms_nobody(kind: Kind) {
    let away = format!("http://{}", free_address());
    let chat = told_to(kind, &away)
        .expect_log("the collector takes no traces")
        .start();
    let ann = chat.register("ann");
    let channel = ann.create("lounge");
    for n in 0..50 {
        ann.post(&channel, &fresh_id(), &words(n)).ok(201);
    }
    assert_eq!(ann.history(&channel).len(), 51);
    let since = Instant::now();
    // What was lost is counted, and told once.
    while chat.metric("banter_trace_spans_total") < 2.0 {
        assert!(since.elapsed() < PATIENCE, "not counted");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn one_in_so_many_is_told_and_nothing_unless_asked_for() {
    let collector = Collector::start();
    let chat = told_to(Kind::Embedded, &collector.url())
        .set("telemetry.trace_one_in", "1000000000")
        .start();
    let ann = chat.register("ann");
    let channel = ann.create("lounge");
    for n in 0..20 {
        ann.post(&channel, &fresh_id(), &words(n)).ok(201);
    }
    drop(chat);
    assert_eq!(collector.told().len(), 0);

    let plain = Fixture::new();
    plain.register("ann").create("lounge");
    assert!(plain.metric("banter_trace_spans_total") < 1.0);
    let refused = plain.command(&["config"]).succeeded();
    assert!(refused.contains("trace_one_in = 100"), "{refused}");
}

#[test]
fn an_address_that_is_none_is_refused() {
    let chat = Fixture::setup(Kind::Embedded)
        .set("telemetry.otlp_endpoint", "localhost:4318")
        .prepare();
    let line = chat.command(&["config"]).failed();
    assert!(line.contains("TELEMETRY__OTLP_ENDPOINT"), "{line}");
    assert!(line.contains("http://127.0.0.1:4318"), "{line}");
}
