//! What only a cluster has: the queue and those who drain it, heartbeats, other gateways.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use banter_storage::log::queue::Depth;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use super::list::{Age, Histograms};
use super::{Histogram, List, Measure, Name, Reason, State, Station};

/// The stages of a heartbeat: the log has it, the bus brought it back, the database has it.
const STATIONS: [&str; 3] = ["accepted", "received", "stored"];

/// Why accepted entries cannot be stored.
const UNSTORABLE: [&str; 3] = ["unreadable", "number_taken", "sent_before"];

type Ratio = Gauge<f64, AtomicU64>;

/// See the module. Cloning shares them.
#[derive(Debug, Clone)]
pub struct ClusterMetrics {
    /// Entries that a worker found in the database already.
    pub replayed: Counter,
    /// Entries that a worker gave up because their shard has another epoch.
    pub fenced: Counter,
    /// Entries that a worker could not store.
    pub rejected: Family<Reason, Counter>,
    /// Shards that a worker drains.
    pub shards: Gauge,
    unstored_entries: Gauge,
    unstored_channels: Gauge,
    oldest_unstored: Age,
    roundtrip: Histograms<Station>,
    failures: Family<Station, Counter>,
    /// From publishing to oneself to hearing it.
    pub bus_lag: Histogram,
    variation: Family<Measure, Ratio>,
    peak: Family<Measure, Ratio>,
    peers: Family<State, Gauge>,
}

/// How unevenly something is spread over the gateways.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// Standard deviation over mean.
    pub variation: f64,
    /// Highest over mean.
    pub peak: f64,
}

impl ClusterMetrics {
    pub(super) fn register(list: &mut List<'_>) -> Self {
        let metrics = Self {
            replayed: list.counter(Name::WorkerReplayed),
            fenced: list.counter(Name::WorkerFenced),
            rejected: list.counters(Name::WorkerRejected, UNSTORABLE),
            shards: list.gauge(Name::WorkerShards),
            unstored_entries: list.gauge(Name::QueueUnstoredEntries),
            unstored_channels: list.gauge(Name::QueueUnstoredChannels),
            oldest_unstored: list.add(Name::QueueOldestUnstoredAge, Age::default()),
            roundtrip: list.histograms(Name::ProbeRoundtrip, STATIONS),
            failures: list.counters(Name::ProbeFailures, STATIONS),
            bus_lag: list.histogram(Name::BusLag),
            variation: list.add(Name::GatewayBalanceVariation, Family::default()),
            peak: list.add(Name::GatewayBalancePeak, Family::default()),
            peers: list.add(Name::GatewayPeers, Family::default()),
        };
        for measure in ["connections", "cpu"] {
            drop(metrics.variation.get_or_create(&measure.into()));
            drop(metrics.peak.get_or_create(&measure.into()));
        }
        metrics.peers(0, 0);
        metrics
    }

    /// So much waits for the database; it is looked at again after `next_look`.
    pub fn queue(&self, depth: Depth, next_look: Duration) {
        let count = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        self.unstored_entries.set(count(depth.entries));
        self.unstored_channels.set(count(depth.channels));
        match depth.oldest_age {
            _ if depth.entries == 0 => self.oldest_unstored.ended(),
            // Entries are on their way at any moment; those of now are gone long before.
            age if age < next_look => self.oldest_unstored.seen(age),
            age => self.oldest_unstored.goes_on(age),
        }
    }

    /// What waits for the database cannot be seen: what did, waits on.
    pub fn queue_is_unseen(&self) {
        if self.unstored_entries.get() > 0 {
            let age = Duration::try_from_secs_f64(self.oldest_unstored.seconds());
            self.oldest_unstored.goes_on(age.unwrap_or_default());
        }
    }

    /// Entries that wait for the database, and for how many seconds the oldest has.
    #[expect(clippy::cast_precision_loss, reason = "counts of a queue")]
    pub(crate) fn unstored(&self) -> (f64, f64) {
        (
            self.unstored_entries.get() as f64,
            self.oldest_unstored.seconds(),
        )
    }

    /// Gateways that take sockets, as this one knows them.
    #[expect(clippy::cast_precision_loss, reason = "some gateways")]
    pub(crate) fn gateways(&self) -> f64 {
        self.peers.get_or_create(&"ready".into()).get() as f64
    }

    /// A heartbeat has reached a stage, so long after it was sent.
    pub fn reached(&self, station: &'static str, took: Duration) {
        let histogram = self.roundtrip.get_or_create_owned(&station.into());
        histogram.observe_duration(took);
    }

    /// A heartbeat has not reached a stage in time.
    pub fn missed(&self, station: &'static str) {
        self.failures.get_or_create(&station.into()).inc();
    }

    /// How unevenly `measure` is spread.
    pub fn spread(&self, measure: &'static str, spread: Spread) {
        let measure = Measure::from(measure);
        self.variation.get_or_create(&measure).set(spread.variation);
        self.peak.get_or_create(&measure).set(spread.peak);
    }

    /// So many gateways are known, itself included.
    pub fn peers(&self, ready: usize, draining: usize) {
        for (state, count) in [("ready", ready), ("draining", draining)] {
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            self.peers.get_or_create(&state.into()).set(count);
        }
    }
}
