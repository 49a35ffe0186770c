//! What the process counts, in Prometheus' text format. Names in one place, each with its help.

mod bus;
mod process;

use std::sync::Arc;

use banter_storage::bus::RedisBus;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::login::metric::LoginMetrics;
use crate::persist::PersistMetrics;

/// Latencies, in seconds: from a quick commit to a stall that somebody will have noticed.
const LATENCY: [f64; 13] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];
/// Lives of sockets, in seconds: from a blink to a day.
const AGE: [f64; 10] = [
    1.0, 10.0, 60.0, 300.0, 900.0, 1800.0, 3600.0, 7200.0, 21_600.0, 86_400.0,
];
/// Entries a batch.
const BATCH: [f64; 10] = [
    1.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 2000.0,
];

/// One label: why.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Reason {
    /// From a list of the server's own; never a client's text.
    pub reason: &'static str,
}

/// One label: which way.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Direction {
    /// `in` or `out`.
    pub direction: &'static str,
}

/// One label: how it went.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Outcome {
    /// From a list of the server's own.
    pub outcome: &'static str,
}

/// A request's labels. Paths are the routes' templates.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Request {
    /// The route, or `unmatched`.
    pub route: String,
    /// The method.
    pub method: &'static str,
    /// The status.
    pub code: u16,
}

/// One label: which route.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Route {
    /// The route's template, or `unmatched`.
    pub route: String,
}

/// All metrics. Cloning shares them.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    bus: bus::Bus,
    /// Sockets that are open, and past `hello`.
    pub connections: Gauge,
    /// Sockets that were opened.
    pub opened: Counter,
    /// Sockets that ended, by the server's reason.
    pub closed: Family<Reason, Counter>,
    /// Upgrades and `hello`s that failed.
    pub handshake_failures: Family<Reason, Counter>,
    /// From the upgrade to `welcome`.
    pub handshake_duration: Histogram,
    /// Frames of the sockets.
    pub frames: Family<Direction, Counter>,
    /// Messages that were acknowledged as new.
    pub accepted: Counter,
    /// Sends that were refused.
    pub rejected: Family<Reason, Counter>,
    /// From a send to its acknowledgement.
    pub ack_duration: Histogram,
    /// Entries written to sockets.
    pub deliveries: Counter,
    /// Resumed channels, by outcome.
    pub resumes: Family<Outcome, Counter>,
    /// Entries that were missing in a live channel.
    pub gaps: Counter,
    /// Requests and frames over a limit.
    pub rate_limited: Family<Reason, Counter>,
    /// Entries of a batch of the log.
    pub batch_rows: Histogram,
    /// From taking a batch to its commit.
    pub flush_duration: Histogram,
    /// Entries that wait for the log.
    pub queue_entries: Gauge,
    /// Answers by route.
    pub requests: Family<Request, Counter>,
    /// From a request's head to the head of its answer, by route.
    pub request_duration: Family<Route, Histogram, fn() -> Histogram>,
    /// How long sockets lived.
    pub connection_age: Histogram,
    /// Logins and what they cost.
    pub login: LoginMetrics,
    /// What a worker stores.
    pub persist: PersistMetrics,
}

impl Metrics {
    /// Registers everything once.
    #[must_use]
    #[expect(clippy::too_many_lines, reason = "one line a metric, in one list")]
    pub fn new() -> Self {
        let mut root = Registry::default();
        root.register_collector(Box::new(process::Process::new()));
        let bus = bus::Bus::default();
        root.register_collector(Box::new(bus.clone()));
        let registry = root.sub_registry_with_prefix("banter");
        macro_rules! register {
            ($name:literal, $help:literal, $metric:expr) => {{
                let metric = $metric;
                registry.register($name, $help, metric.clone());
                metric
            }};
            ($name:literal, $help:literal, $metric:expr, $unit:expr) => {{
                let metric = $metric;
                registry.register_with_unit($name, $help, $unit, metric.clone());
                metric
            }};
        }
        let latency = || Histogram::new(LATENCY);
        let connections = register!(
            "gateway_connections",
            "Sockets past hello",
            Gauge::default()
        );
        let opened = register!(
            "gateway_connections_opened",
            "Sockets that were opened",
            Counter::default()
        );
        let closed = register!(
            "gateway_connections_closed",
            "Sockets that ended, by reason",
            Family::<Reason, Counter>::default()
        );
        let handshake_failures = register!(
            "gateway_handshake_failures",
            "Upgrades and hellos that failed, by reason",
            Family::<Reason, Counter>::default()
        );
        let handshake_duration = register!(
            "gateway_handshake_duration",
            "From the upgrade to welcome",
            latency(),
            Unit::Seconds
        );
        let frames = register!(
            "gateway_frames",
            "Frames received",
            Family::<Direction, Counter>::default()
        );
        let accepted = register!(
            "gateway_messages_accepted",
            "Messages acknowledged as new",
            Counter::default()
        );
        let rejected = register!(
            "gateway_messages_rejected",
            "Sends that were refused, by reason",
            Family::<Reason, Counter>::default()
        );
        let ack_duration = register!(
            "gateway_ack_duration",
            "From a send to its acknowledgement",
            latency(),
            Unit::Seconds
        );
        let deliveries = register!(
            "gateway_deliveries",
            "Entries written to sockets",
            Counter::default()
        );
        let resumes = register!(
            "gateway_resumes",
            "Resumed channels, by outcome",
            Family::<Outcome, Counter>::default()
        );
        let gaps = register!(
            "gateway_gaps_detected",
            "Gaps in a live channel, repaired from the log",
            Counter::default()
        );
        let rate_limited = register!(
            "gateway_rate_limited",
            "Frames and requests over a limit, by rule",
            Family::<Reason, Counter>::default()
        );
        let batch_rows = register!(
            "worker_batch_rows",
            "Entries of a batch of the log",
            Histogram::new(BATCH)
        );
        let flush_duration = register!(
            "worker_flush_duration",
            "From taking a batch to its commit",
            latency(),
            Unit::Seconds
        );
        let queue_entries = register!(
            "queue_entries",
            "Entries that wait for the log",
            Gauge::default()
        );
        let requests = register!(
            "http_requests",
            "HTTP requests by route, method and status",
            Family::<Request, Counter>::default()
        );
        let request_duration = register!(
            "http_request_duration",
            "From a request's head to the head of its answer",
            Family::<Route, Histogram, fn() -> Histogram>::new_with_constructor(|| {
                Histogram::new(LATENCY)
            }),
            Unit::Seconds
        );
        let connection_age = register!(
            "gateway_connection_age",
            "How long sockets lived",
            Histogram::new(AGE),
            Unit::Seconds
        );
        let login = LoginMetrics::register(registry);
        let persist = PersistMetrics::register(registry, &batch_rows, &flush_duration);
        let build = prometheus_client::metrics::info::Info::new(vec![(
            "version",
            env!("CARGO_PKG_VERSION"),
        )]);
        registry.register("build", "The running version", build);
        Self {
            registry: Arc::new(root),
            bus,
            connections,
            opened,
            closed,
            handshake_failures,
            handshake_duration,
            frames,
            accepted,
            rejected,
            ack_duration,
            deliveries,
            resumes,
            gaps,
            rate_limited,
            batch_rows,
            flush_duration,
            queue_entries,
            requests,
            request_duration,
            connection_age,
            login,
            persist,
        }
    }

    /// From now on what arrives on this bus is told too.
    pub fn watch_bus(&self, bus: RedisBus) {
        // There is one for the life of the process.
        let _ = self.bus.0.set(bus);
    }

    /// The text that Prometheus scrapes.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = prometheus_client::encoding::text::encode(&mut text, &self.registry);
        text
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}
