//! What operators see of a worker.

use std::time::Duration;

use banter_storage::log::drain::Progress;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// The metrics of a worker. Cloning shares them.
#[derive(Debug, Clone, Default)]
pub struct PersistMetrics {
    rows: Counter,
    replayed: Counter,
    rejected: Counter,
    failures: Counter,
    leases: Gauge,
    oldest_age: Gauge<f64, std::sync::atomic::AtomicU64>,
    batch: Option<(Histogram, Histogram)>,
}

impl PersistMetrics {
    /// Registers them under `worker_` and `queue_`; batches are observed in the histograms that
    /// one process has for its own log: rows, and seconds to the commit.
    #[must_use]
    pub fn register(registry: &mut Registry, batch_rows: &Histogram, flush: &Histogram) -> Self {
        let metrics = Self {
            batch: Some((batch_rows.clone(), flush.clone())),
            ..Self::default()
        };
        let worker = registry.sub_registry_with_prefix("worker");
        worker.register("rows", "Entries stored", metrics.rows.clone());
        worker.register(
            "rows_replayed",
            "Entries that were stored already: batches that were interrupted",
            metrics.replayed.clone(),
        );
        worker.register(
            "rows_rejected",
            "Entries that cannot be stored; a tombstone stands in their place",
            metrics.rejected.clone(),
        );
        worker.register(
            "failures",
            "Batches that failed and are tried again",
            metrics.failures.clone(),
        );
        worker.register(
            "shard_leases",
            "Shards that this worker drains",
            metrics.leases.clone(),
        );
        registry.register_with_unit(
            "queue_oldest_entry_age",
            "How long the oldest entry of the last batch had waited",
            Unit::Seconds,
            metrics.oldest_age.clone(),
        );
        metrics
    }

    pub(super) fn stepped(&self, progress: &Progress, took: Duration) {
        let count = |rows: usize| u64::try_from(rows).unwrap_or(u64::MAX);
        self.rows
            .inc_by(count(progress.rows - progress.replayed.min(progress.rows)));
        self.replayed.inc_by(count(progress.replayed));
        self.rejected.inc_by(count(progress.rejected));
        self.oldest_age.set(progress.oldest_age.as_secs_f64());
        if let (Some((rows, seconds)), 1..) = (&self.batch, progress.rows) {
            #[expect(
                clippy::cast_precision_loss,
                reason = "a batch has some thousands at most"
            )]
            rows.observe(progress.rows as f64);
            seconds.observe(took.as_secs_f64());
        }
    }

    pub(super) fn failed(&self) {
        self.failures.inc();
    }

    pub(super) fn leases(&self, held: usize) {
        self.leases.set(i64::try_from(held).unwrap_or(i64::MAX));
    }
}
