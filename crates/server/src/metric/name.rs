//! Every metric's name, kind, labels and help, in one list. `docs/metrics.md` shows it to people,
//! and a test holds both against a running server.

/// Latencies, in seconds: from a quick commit to a stall that somebody will have noticed.
const LATENCY: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];
/// The same, for what may wait out an outage.
const LONG_LATENCY: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0,
];
/// Delays of a ready task, in seconds: below a millisecond all is well, at one second nothing is.
const DELAY: &[f64] = &[
    0.0001, 0.000_25, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0,
];
/// Lives of sockets, in seconds: from a blink to a day.
const AGE: &[f64] = &[
    1.0, 10.0, 60.0, 300.0, 900.0, 1800.0, 3600.0, 7200.0, 21_600.0, 86_400.0,
];
/// Time to hash a password, in seconds: some 25 ms alone, more when cores are shared.
const HASH: &[f64] = &[0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5];
/// Entries of a batch.
const BATCH: &[f64] = &[
    1.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 2000.0,
];
/// Sockets that get an entry: from a talk of two to a company's announcements.
const RECIPIENTS: &[f64] = &[
    1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 5000.0, 10_000.0,
];

/// What kind of number a metric is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// Only grows; its name ends in `_total`.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts by size, with these upper bounds.
    Histogram(&'static [f64]),
}

/// What a metric is measured in; part of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Things.
    Count,
    /// Seconds.
    Seconds,
    /// Bytes.
    Bytes,
}

impl Unit {
    /// How the unit ends a name; empty for [`Unit::Count`].
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Count => "",
            Self::Seconds => "seconds",
            Self::Bytes => "bytes",
        }
    }
}

macro_rules! names {
    ($($variant:ident = $stem:literal, $kind:expr, $unit:ident, $labels:expr, $help:literal;)*) => {
        /// A metric. Its full name is `banter_`, the stem, the unit, and `_total` for a counter.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Name {
            $(#[doc = $help] $variant,)*
        }

        impl Name {
            /// Every metric, in the order of the documentation.
            pub const ALL: &'static [Name] = &[$(Name::$variant,)*];

            /// The name without prefix, unit and suffix.
            #[must_use]
            pub const fn stem(self) -> &'static str {
                match self { $(Name::$variant => $stem,)* }
            }

            /// What kind of number it is.
            #[must_use]
            pub const fn kind(self) -> Kind {
                use Kind::{Counter, Gauge, Histogram};
                match self { $(Name::$variant => $kind,)* }
            }

            /// What it is measured in.
            #[must_use]
            pub const fn unit(self) -> Unit {
                match self { $(Name::$variant => Unit::$unit,)* }
            }

            /// The labels that its series differ by. Their values come from lists of the server's
            /// own, never from a client.
            #[must_use]
            pub const fn labels(self) -> &'static [&'static str] {
                match self { $(Name::$variant => &$labels,)* }
            }

            /// One sentence for people, without its full stop.
            #[must_use]
            pub const fn help(self) -> &'static str {
                match self { $(Name::$variant => $help,)* }
            }
        }
    };
}

names! {
    GatewayConnections = "gateway_connections", Gauge, Count, ["state"],
        "Sockets: before hello, ready, or told to go";
    GatewayConnectionsOpened = "gateway_connections_opened", Counter, Count, [],
        "Connections that became sockets";
    GatewayConnectionsClosed = "gateway_connections_closed", Counter, Count, ["reason"],
        "Sockets that ended, by the server's reason; gone: the client went away";
    GatewayConnectionAge = "gateway_connection_age", Histogram(AGE), Seconds, [],
        "How long sockets lived";
    GatewayHandshakeFailures = "gateway_handshake_failures", Counter, Count, ["reason"],
        "Upgrades and hellos that were refused";
    GatewayHandshakeDuration = "gateway_handshake_duration", Histogram(LATENCY), Seconds, [],
        "From the upgrade to welcome";
    GatewayShedConnections = "gateway_shed_connections", Counter, Count, ["cause"],
        "Sockets that were asked to go elsewhere";
    GatewaySubscriptions = "gateway_subscriptions", Gauge, Count, [],
        "Channels of all sockets together: what fan-out works on";
    GatewayChannels = "gateway_channels", Gauge, Count, [],
        "Channels that at least one socket takes part in";
    GatewayFrames = "gateway_frames", Counter, Count, ["direction"],
        "WebSocket frames, control frames and fragments included";
    GatewayBytes = "gateway_bytes", Counter, Count, ["direction"],
        "Bytes of sockets after the upgrade, as read from and written to the kernel";
    GatewayMessagesAccepted = "gateway_messages_accepted", Counter, Count, [],
        "Entries acknowledged as new";
    GatewayMessagesRejected = "gateway_messages_rejected", Counter, Count, ["reason"],
        "Sends that were refused";
    GatewayErrorFrames = "gateway_error_frames", Counter, Count, ["code"],
        "Error frames that answer anything but a send";
    GatewayAckDuration = "gateway_ack_duration", Histogram(LATENCY), Seconds, ["level"],
        "From taking a send to its acknowledgement";
    GatewayDeliveries = "gateway_deliveries", Counter, Count, [],
        "Entries handed to live sockets";
    GatewayDeliveryLatency = "gateway_delivery_latency", Histogram(LATENCY), Seconds, [],
        "From an entry's sent_at to its write to the sockets; one observation per entry and pump";
    GatewayFanoutRecipients = "gateway_fanout_recipients", Histogram(RECIPIENTS), Count, [],
        "Live sockets of this process that an entry went to";
    GatewaySendQueue = "gateway_send_queue", Gauge, Bytes, [],
        "Bytes that wait because kernels take no more, of all sockets together";
    GatewaySlowConsumers = "gateway_slow_consumers", Counter, Count, ["action"],
        "Sockets too far behind: told so and closed, or cut because they did not read even that";
    GatewayPingRtt = "gateway_ping_rtt", Histogram(LATENCY), Seconds, [],
        "From a ping to its pong";
    GatewayResumes = "gateway_resumes", Counter, Count, ["outcome"],
        "Resumed channels";
    GatewayLiveResets = "gateway_live_resets", Counter, Count, [],
        "Resets of a channel of a live socket, because the log has lost entries of it";
    GatewayResends = "gateway_resends", Counter, Count, [],
        "Sockets asked to send again what the log has lost";
    GatewayGapsDetected = "gateway_gaps_detected", Counter, Count, ["repaired"],
        "Gaps in a live channel, and replays from the log that could not go on";
    GatewayRateLimited = "gateway_rate_limited", Counter, Count, ["scope"],
        "Frames, entries, upgrades, sockets and calls of webhooks over a limit";
    GatewayRevocationLag = "gateway_revocation_lag", Histogram(LATENCY), Seconds, [],
        "From a revocation to its effect in this process";
    GatewayJwksRefreshed = "gateway_jwks_refreshed_timestamp", Gauge, Seconds, [],
        "When the keys that tokens are verified with were last read or known to be current";
    GatewayWebhookPosts = "gateway_webhook_posts", Counter, Count, ["outcome"],
        "Posts to incoming webhooks: accepted, or the code of the refusal";
    QueueEntries = "queue_entries", Gauge, Count, [],
        "Entries that wait for the log";
    QueueOldestEntryAge = "queue_oldest_entry_age", Gauge, Seconds, [],
        "How long the oldest entry that the log has not answered has waited";
    QueueUnstoredEntries = "queue_unstored_entries", Gauge, Count, [],
        "Entries in the log that are not in the database, of the whole cluster: all tell the same";
    QueueUnstoredChannels = "queue_unstored_channels", Gauge, Count, [],
        "Channels with such entries";
    QueueOldestUnstoredAge = "queue_oldest_unstored_age", Gauge, Seconds, [],
        "How long the oldest of them has waited; 0: none waits";
    QueueBackpressure = "queue_backpressure", Gauge, Count, [],
        "1 while this process refuses sends because the log's memory is nearly full";
    QueueEpochChanges = "queue_epoch_changes", Counter, Count, ["cause"],
        "Shards for which this process began an epoch in place of another";
    WorkerMessagesPersisted = "worker_messages_persisted", Counter, Count, [],
        "Entries written to the database";
    WorkerBatchRows = "worker_batch_rows", Histogram(BATCH), Count, [],
        "Entries of a batch of the log";
    WorkerFlushDuration = "worker_flush_duration", Histogram(LATENCY), Seconds, ["outcome"],
        "From taking a batch to its commit";
    WorkerPersistLatency = "worker_persist_latency", Histogram(LONG_LATENCY), Seconds, [],
        "From taking an entry to the commit that stores it";
    WorkerDuplicates = "worker_duplicates", Counter, Count, [],
        "Sends that were recognised as repeated and got the first answer";
    WorkerLastCommit = "worker_last_commit_timestamp", Gauge, Seconds, [],
        "When entries were last committed; 0: not since the start";
    WorkerReplayed = "worker_replayed", Counter, Count, [],
        "Entries taken again that were stored already: their batch was interrupted after its commit";
    WorkerFenced = "worker_fenced", Counter, Count, [],
        "Entries given up because their shard has another epoch";
    WorkerRejected = "worker_rejected", Counter, Count, ["reason"],
        "Accepted entries that could not be stored; a tombstone stands in their place";
    WorkerShards = "worker_shards", Gauge, Count, [],
        "Shards that this worker drains";
    ProbeRoundtrip = "probe_roundtrip", Histogram(LATENCY), Seconds, ["stage"],
        "From sending a heartbeat to its stage";
    ProbeFailures = "probe_failures", Counter, Count, ["stage"],
        "Heartbeats that did not reach their stage in time";
    BusMessages = "bus_messages", Counter, Count, [],
        "Messages heard from the bus, before any filter";
    BusUnwantedMessages = "bus_unwanted_messages", Counter, Count, [],
        "Those of them that were of channels which nobody here wanted any more";
    BusDroppedMessages = "bus_dropped_messages", Counter, Count, [],
        "Those of them that did not fit and were made good by reading";
    BusTopics = "bus_topics", Gauge, Count, [],
        "Channels and users that this process listens to";
    BusLag = "bus_lag", Histogram(LATENCY), Seconds, [],
        "From publishing to oneself to hearing it";
    GatewayBalanceVariation = "gateway_balance_variation", Gauge, Count, ["measure"],
        "Standard deviation over mean of all gateways that take sockets, as this one knows them";
    GatewayBalancePeak = "gateway_balance_peak", Gauge, Count, ["measure"],
        "Highest over mean of all gateways that take sockets, as this one knows them";
    GatewayPeers = "gateway_peers", Gauge, Count, ["state"],
        "Gateways that this one knows, itself included";
    AuthLogins = "auth_logins", Counter, Count, ["outcome"],
        "Logins";
    AuthRefreshes = "auth_refreshes", Counter, Count, ["outcome"],
        "Refreshed sessions";
    AuthThrottled = "auth_throttled", Counter, Count, ["rule"],
        "Logins and registrations refused by a throttle";
    AuthPasswordHashDuration = "auth_password_hash_duration", Histogram(HASH), Seconds, [],
        "Time to hash a password, without waiting for a core";
    AuthPasswordHashWaiting = "auth_password_hash_waiting", Gauge, Count, [],
        "Passwords that wait for a core";
    AuthSigningKeyCreated = "auth_signing_key_created_timestamp", Gauge, Seconds, [],
        "When the active signing key was made";
    HttpRequests = "http_requests", Counter, Count, ["route", "method", "code"],
        "HTTP requests of the public address, by the route's template";
    HttpRequestDuration = "http_request_duration", Histogram(LATENCY), Seconds, ["route"],
        "From a request's head to the head of its answer";
    HttpProblems = "http_problems", Counter, Count, ["code"],
        "HTTP requests that were refused, by the code of the problem";
    HttpConnectionsDropped = "http_connections_dropped", Counter, Count, ["reason"],
        "Connections that could not be accepted, or were cut because they dawdled";
    DependencyUp = "dependency_up", Gauge, Count, ["dependency"],
        "Whether what this process needs answered the last time it was asked: 1 or 0";
    DependencyRequestDuration = "dependency_request_duration", Histogram(LATENCY), Seconds,
        ["dependency", "operation", "outcome"],
        "Requests to what this process needs";
    RuntimePollDelay = "runtime_poll_delay", Histogram(DELAY), Seconds, [],
        "From a task being ready to its run: how far behind the event loop is";
    TraceSpans = "trace_spans", Counter, Count, ["outcome"],
        "Spans of traces: told to the collector, lost because it did not take them, or dropped \
         because too many waited";
    BuildInfo = "build_info", Gauge, Count, ["version"],
        "Always 1; the label tells the running version";
}

impl Name {
    /// The name as it stands in a scrape, for a histogram without `_bucket` and the like.
    #[must_use]
    pub fn full(self) -> String {
        let mut name = format!("{PREFIX}_{}", self.stem());
        if self.unit() != Unit::Count {
            name.push('_');
            name.push_str(self.unit().as_str());
        }
        if self.kind() == Kind::Counter {
            name.push_str("_total");
        }
        name
    }

    /// The upper bounds of a histogram; none for other kinds.
    pub(super) const fn bounds(self) -> &'static [f64] {
        match self.kind() {
            Kind::Histogram(bounds) => bounds,
            Kind::Counter | Kind::Gauge => &[],
        }
    }
}

/// What every name begins with.
pub(super) const PREFIX: &str = "banter";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_to_the_conventions() {
        let mut seen = std::collections::BTreeSet::new();
        for name in Name::ALL {
            let full = name.full();
            assert!(seen.insert(full.clone()), "{full} stands twice");
            let plain = |c: char| c.is_ascii_lowercase() || c == '_';
            assert!(full.chars().all(plain), "{full}");
            assert!(!name.help().ends_with('.'), "{full}");
            for label in name.labels() {
                assert!(!full.contains(&format!("_by_{label}")), "{full}");
            }
        }
    }
}
