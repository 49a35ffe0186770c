//! Traces: a collector is told where the time of an entry went, from its frame to the database,
//! and nothing that anybody wrote.

use std::collections::BTreeMap;
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
    socket.tell(&channel, &fresh_id(), &words("over the socket"));
    let again = fresh_id();
    for _ in 0..2 {
        ann.post(&channel, &again, &words("over HTTP")).ok(201);
    }
    Hook::make(&ann, &channel, "build").say(&words("by a webhook"));
    ann.leave(&channel);
    drop(socket);
    // What waits is told before the end.
    chat.stop();

    let (gateway, worker) = match kind {
        Kind::Embedded => ("banter", None),
        Kind::Cluster => ("banter-gateway", Some("banter-worker")),
    };
    let told = collector.told();
    let names = ["join", "message", "message", "join", "message", "leave"];
    for (seq, name) in (1..).zip(names) {
        let spans = of_entry(&told, seq);
        let (whole, append) = (&spans[name], &spans["append"]);
        assert_eq!(
            (whole.service.as_str(), append.service.as_str()),
            (gateway, gateway)
        );
        let root = &whole.span;
        assert!(
            root.parent_span_id.is_empty() && root.trace_id.len() == 16,
            "{root:?}"
        );
        assert_eq!(append.span.parent_span_id, root.span_id);
        assert!(root.start_time_unix_nano <= append.span.start_time_unix_nano);
        assert!(append.span.start_time_unix_nano <= append.span.end_time_unix_nano);
        assert!(append.span.end_time_unix_nano <= root.end_time_unix_nano);
        let store = spans.get("store");
        assert_eq!(store.map(|store| store.service.as_str()), worker);
        if let Some(store) = store {
            assert_eq!(store.span.parent_span_id, root.span_id);
            assert_ne!(store.span.span_id, append.span.span_id);
            assert!(store.span.end_time_unix_nano > append.span.start_time_unix_nano);
        }
        let traces: Vec<_> = spans.values().map(|told| &told.span.trace_id).collect();
        assert!(
            traces.iter().all(|trace| **trace == root.trace_id),
            "{spans:?}"
        );
        assert!(number(root, "banter.batch") >= 1);
    }
    assert_eq!(of_entry(&told, 7).len(), 0);
    let spans = names.len() * (2 + usize::from(worker.is_some()));
    let extra = told.len() - spans;
    assert_eq!(extra, 0, "a retry is no entry: {told:#?}");
    collector.kept_secrets();
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
