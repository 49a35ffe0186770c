//! What the process counts, as Prometheus reads it. [`Name`] lists every metric.

mod cluster;
mod dependency;
mod histogram;
mod label;
mod list;
mod name;
mod process;
mod readings;
mod stage;

use std::sync::Arc;

use banter_protocol::close::Close;
use banter_protocol::entry::Level;
use banter_protocol::error::Code;
use prometheus_client::encoding::{prometheus_text, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

pub use cluster::{ClusterMetrics, Spread};
pub use dependency::Dependency;
pub use histogram::Histogram;
pub(crate) use histogram::Snapshot;
pub use label::{
    Action, Cause, Direction, Errand, ErrorCode, Measure, Needed, Outcome, Reason, Repaired,
    Request, Route, Safety, Scope, State, Station, Version,
};
pub(crate) use list::List;
pub use list::{Age, Histograms};
pub use name::{Kind, Name, Unit};
pub(crate) use process::{cpu_seconds, resident_bytes};
pub use readings::Readings;
pub use stage::{Counted, Stage};

use crate::login::metric::LoginMetrics;

/// All metrics. Cloning shares them.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    /// What the log and the bus count themselves.
    pub readings: Readings,
    /// Sockets by [`Stage`]; see [`Counted`].
    pub connections: [Gauge; 3],
    /// Connections that became sockets.
    pub opened: Counter,
    /// Sockets that ended, by the server's reason.
    pub closed: Family<Reason, Counter>,
    /// How long sockets lived.
    pub connection_age: Histogram,
    /// Upgrades and `hello`s that failed.
    pub handshake_failures: Family<Reason, Counter>,
    /// From the upgrade to `welcome`.
    pub handshake_duration: Histogram,
    shed: Family<Cause, Counter>,
    /// Channels of all sockets together.
    pub subscriptions: Gauge,
    /// Channels that at least one socket takes part in.
    pub channels: Gauge,
    /// Frames received.
    pub frames_in: Counter,
    /// Bytes received.
    pub bytes_in: Counter,
    /// What goes out of sockets.
    pub traffic: Arc<Traffic>,
    /// Messages that were acknowledged as new.
    pub accepted: Counter,
    /// Sends that were refused.
    pub rejected: Family<Reason, Counter>,
    /// `error` frames that answer anything but a send.
    pub error_frames: Family<ErrorCode, Counter>,
    ack_duration: Histograms<Safety>,
    /// Entries written to sockets.
    pub deliveries: Counter,
    /// From an entry's `sent_at` to its write.
    pub delivery_latency: Histogram,
    /// Live sockets that an entry went to.
    pub fanout: Histogram,
    /// From a ping to its pong.
    pub ping_rtt: Histogram,
    /// Resumed channels, by outcome.
    pub resumes: Family<Outcome, Counter>,
    /// Channels that were reset on live sockets.
    pub live_resets: Counter,
    /// Sockets that were asked to send again.
    pub resends: Counter,
    /// Entries that were missing in a live channel, and were read from the log.
    pub gaps: Counter,
    /// Replays from the log that could not go on.
    pub replays_failed: Counter,
    /// Requests and frames over a limit.
    pub rate_limited: Family<Scope, Counter>,
    /// Posts to webhooks, by what became of them.
    pub webhook_posts: Family<Outcome, Counter>,
    /// Entries that wait for the log.
    pub queue_entries: Gauge,
    /// How long the oldest of them has waited.
    pub queue_age: Age,
    /// Entries written to the database.
    pub persisted: Counter,
    /// Entries of a batch of the log.
    pub batch_rows: Histogram,
    flush_duration: Histograms<Outcome>,
    /// From taking an entry to the commit that stores it.
    pub persist_latency: Histogram,
    /// Sends that were repeated.
    pub duplicates: Counter,
    /// When entries were last committed, in seconds since 1970.
    pub last_commit: Gauge,
    /// What only a cluster has.
    pub cluster: ClusterMetrics,
    /// Answers by route.
    pub requests: Family<Request, Counter>,
    /// From a request's head to the head of its answer, by route.
    pub request_duration: Histograms<Route>,
    /// Refused requests, by code.
    pub problems: Family<ErrorCode, Counter>,
    /// Connections that were not accepted, or cut.
    pub dropped: Family<Reason, Counter>,
    dependency_up: Family<Needed, Gauge>,
    dependency_duration: Histograms<Errand>,
    /// Spans of traces, by what became of them.
    pub spans: Family<Outcome, Counter>,
    /// From a task being ready to its run.
    pub poll_delay: Histogram,
    /// Logins and what they cost.
    pub login: LoginMetrics,
}

/// What all sockets write. They share it, so that each holds but one pointer.
#[derive(Debug)]
pub struct Traffic {
    /// Frames handed to sockets.
    pub frames: Counter,
    /// Bytes that kernels have taken.
    pub bytes: Counter,
    /// Bytes that wait for kernels.
    pub waiting: Gauge,
    /// Sockets that were told to go because too much waited.
    pub slow_closed: Counter,
    /// Sockets that were cut because they did not read even that.
    pub slow_cut: Counter,
}

impl Metrics {
    /// Every metric, at 0.
    #[must_use]
    pub fn new() -> Self {
        let mut root = Registry::default();
        root.register_collector(Box::new(process::Process::new()));
        let readings = Readings::default();
        root.register_collector(Box::new(readings.clone()));
        let list = &mut List::new(root.sub_registry_with_prefix(name::PREFIX));
        let states: Family<State, Gauge> = list.add(Name::GatewayConnections, Family::default());
        let frames = list.counters::<Direction, _>(Name::GatewayFrames, ["in", "out"]);
        let bytes = list.counters::<Direction, _>(Name::GatewayBytes, ["in", "out"]);
        let gaps = list.counters::<Repaired, _>(Name::GatewayGapsDetected, ["true", "false"]);
        let slow = list.counters::<Action, _>(Name::GatewaySlowConsumers, ["closed", "cut"]);
        tell_version(list);
        let traffic = Traffic {
            frames: frames.get_or_create_owned(&"out".into()),
            bytes: bytes.get_or_create_owned(&"out".into()),
            waiting: list.gauge(Name::GatewaySendQueue),
            slow_closed: slow.get_or_create_owned(&"closed".into()),
            slow_cut: slow.get_or_create_owned(&"cut".into()),
        };
        Self {
            connections: Stage::ALL.map(|stage| states.get_or_create_owned(&stage.as_str().into())),
            opened: list.counter(Name::GatewayConnectionsOpened),
            closed: list.counters(Name::GatewayConnectionsClosed, reasons()),
            connection_age: list.histogram(Name::GatewayConnectionAge),
            handshake_failures: list.counters(Name::GatewayHandshakeFailures, refusals()),
            handshake_duration: list.histogram(Name::GatewayHandshakeDuration),
            shed: list.counters(Name::GatewayShedConnections, ["drain", "rebalance"]),
            subscriptions: list.gauge(Name::GatewaySubscriptions),
            channels: list.gauge(Name::GatewayChannels),
            frames_in: frames.get_or_create_owned(&"in".into()),
            bytes_in: bytes.get_or_create_owned(&"in".into()),
            traffic: Arc::new(traffic),
            accepted: list.counter(Name::GatewayMessagesAccepted),
            rejected: list.counters(Name::GatewayMessagesRejected, rejections()),
            error_frames: list
                .counters(Name::GatewayErrorFrames, ["unknown_type", "token_invalid"]),
            ack_duration: list.histograms::<_, &str>(Name::GatewayAckDuration, []),
            deliveries: list.counter(Name::GatewayDeliveries),
            delivery_latency: list.histogram(Name::GatewayDeliveryLatency),
            fanout: list.histogram(Name::GatewayFanoutRecipients),
            ping_rtt: list.histogram(Name::GatewayPingRtt),
            resumes: list.counters(Name::GatewayResumes, RESUMES),
            live_resets: list.counter(Name::GatewayLiveResets),
            resends: list.counter(Name::GatewayResends),
            gaps: gaps.get_or_create_owned(&"true".into()),
            replays_failed: gaps.get_or_create_owned(&"false".into()),
            rate_limited: list.counters(Name::GatewayRateLimited, SCOPES),
            webhook_posts: list.counters(Name::GatewayWebhookPosts, posts()),
            queue_entries: list.gauge(Name::QueueEntries),
            queue_age: list.add(Name::QueueOldestEntryAge, Age::default()),
            persisted: list.counter(Name::WorkerMessagesPersisted),
            batch_rows: list.histogram(Name::WorkerBatchRows),
            flush_duration: list.histograms(Name::WorkerFlushDuration, ["ok", "error"]),
            persist_latency: list.histogram(Name::WorkerPersistLatency),
            duplicates: list.counter(Name::WorkerDuplicates),
            last_commit: list.gauge(Name::WorkerLastCommit),
            cluster: ClusterMetrics::register(list),
            requests: list.add(Name::HttpRequests, Family::default()),
            request_duration: list.histograms::<_, Route>(Name::HttpRequestDuration, []),
            problems: list.counters(Name::HttpProblems, Code::ALL.iter().map(|c| c.as_str())),
            dropped: list.counters(Name::HttpConnectionsDropped, DROPPED),
            dependency_up: list.add(Name::DependencyUp, Family::default()),
            dependency_duration: list.histograms::<_, Errand>(Name::DependencyRequestDuration, []),
            spans: list.counters(Name::TraceSpans, ["told", "lost", "dropped"]),
            poll_delay: list.histogram(Name::RuntimePollDelay),
            login: LoginMetrics::register(list),
            registry: Arc::new(root),
            readings,
        }
    }

    /// Sockets past `hello` that were not told to go.
    #[must_use]
    pub fn ready(&self) -> i64 {
        self.connections[Stage::Ready as usize].get()
    }

    /// From a send to an acknowledgement of this level.
    #[must_use]
    pub fn ack_duration(&self, level: Level) -> Histogram {
        let level = match level {
            Level::Queued => "queued",
            Level::Stored => "stored",
        };
        self.ack_duration.get_or_create_owned(&level.into())
    }

    /// From taking a batch to its commit, or to its failure.
    #[must_use]
    pub fn flush_duration(&self, ok: bool) -> Histogram {
        let outcome = if ok { "ok" } else { "error" };
        self.flush_duration.get_or_create_owned(&outcome.into())
    }

    /// A socket was told to close; counted when it is to go elsewhere.
    pub fn told(&self, close: Close) {
        let cause = match close {
            Close::Restart => "drain",
            Close::Rebalance => "rebalance",
            _ => return,
        };
        self.shed.get_or_create(&cause.into()).inc();
    }

    /// A send was refused.
    pub fn refuse(&self, code: Code) {
        self.rejected.get_or_create(&code.as_str().into()).inc();
    }

    /// Sends that were refused so far, for whatever reason.
    #[must_use]
    pub fn refused(&self) -> u64 {
        let counter = |reason: &'static str| self.rejected.get_or_create_owned(&reason.into());
        rejections().map(|reason| counter(reason).get()).sum()
    }

    /// Something went over a limit.
    pub fn limited(&self, scope: &'static str) {
        self.rate_limited.get_or_create(&scope.into()).inc();
    }

    /// What Prometheus scrapes: its own text format, understood by everything.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut written = String::new();
        // Writing to a string cannot fail.
        let _ = prometheus_text::encode(&mut written, &self.registry);
        written
    }

    /// The same as OpenMetrics, for those who ask for it.
    #[must_use]
    pub fn encode_openmetrics(&self) -> String {
        let mut written = String::new();
        // Writing to a string cannot fail.
        let _ = text::encode(&mut written, &self.registry);
        written
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

fn tell_version(list: &mut List<'_>) {
    let build: Family<Version, Gauge> = list.add(Name::BuildInfo, Family::default());
    build
        .get_or_create(&env!("CARGO_PKG_VERSION").into())
        .set(1);
}

/// How a resumed channel went on.
const RESUMES: [&str; 5] = ["empty", "replayed", "too_old", "epoch_changed", "failed"];

/// Limits that are counted where they are met.
const SCOPES: [&str; 7] = [
    "channel_entries",
    "socket_frames",
    "address_upgrades",
    "address_sockets",
    "address_webhooks",
    "address_new_webhooks",
    "webhook_messages",
];

/// Why connections are not served on.
const DROPPED: [&str; 3] = ["not_accepted", "idle", "head_too_slow"];

/// Why sockets end: the server's reasons, and `gone`.
fn reasons() -> impl Iterator<Item = &'static str> {
    Close::ALL
        .iter()
        .map(|close| close.reason())
        .chain(["gone"])
}

/// Why upgrades and `hello`s are refused.
fn refusals() -> impl Iterator<Item = &'static str> {
    const CODES: [Code; 5] = [
        Code::OriginRefused,
        Code::UpgradeRequired,
        Code::RequestMalformed,
        Code::TooManyRequests,
        Code::Draining,
    ];
    let closes = Close::ALL.iter().filter(|close| close.code() >= 4000);
    let codes = CODES.iter().map(|code| code.as_str());
    let closes = closes.map(|close| close.reason());
    closes.chain(codes).chain(["gone"])
}

/// Why sends are refused.
fn rejections() -> impl Iterator<Item = &'static str> {
    const CODES: [Code; 7] = [
        Code::NotAMember,
        Code::ChannelNotFound,
        Code::BodyInvalid,
        Code::IdInvalid,
        Code::SlowDown,
        Code::Overloaded,
        Code::Unavailable,
    ];
    CODES.iter().map(|code| code.as_str())
}

/// What becomes of posts to webhooks.
fn posts() -> impl Iterator<Item = &'static str> {
    const CODES: [Code; 17] = [
        Code::WebhookNotFound,
        Code::NotAMember,
        Code::IdInvalid,
        Code::MediaType,
        Code::TooLarge,
        Code::RequestTimeout,
        Code::RequestMalformed,
        Code::BodyMalformed,
        Code::NotAnObject,
        Code::FieldMissing,
        Code::FieldType,
        Code::BodyInvalid,
        Code::SlowDown,
        Code::TooManyRequests,
        Code::Overloaded,
        Code::Unavailable,
        Code::Internal,
    ];
    CODES.iter().map(|code| code.as_str()).chain(["accepted"])
}

#[cfg(test)]
mod tests;
