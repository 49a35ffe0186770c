//! What operators see of a worker: the same metrics that one process has for its own log, and some
//! that only a queue between gateway and database has.

use std::time::{Duration, Instant};

use banter_storage::log::drain::{Progress, Rejects};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use crate::clock;
use crate::metric::{Age, Histogram, Metrics, Reason};

/// The metrics of a worker.
#[derive(Debug, Clone)]
pub struct PersistMetrics {
    persisted: Counter,
    replayed: Counter,
    fenced: Counter,
    rejected: Family<Reason, Counter>,
    shards: Gauge,
    last_commit: Gauge,
    oldest: Age,
    batch_rows: Histogram,
    flushed: Histogram,
    failed: Histogram,
}

impl PersistMetrics {
    /// Those of this process.
    #[must_use]
    pub fn new(metrics: &Metrics) -> Self {
        Self {
            persisted: metrics.persisted.clone(),
            replayed: metrics.cluster.replayed.clone(),
            fenced: metrics.cluster.fenced.clone(),
            rejected: metrics.cluster.rejected.clone(),
            shards: metrics.cluster.shards.clone(),
            last_commit: metrics.last_commit.clone(),
            oldest: metrics.queue_age.clone(),
            batch_rows: metrics.batch_rows.clone(),
            flushed: metrics.flush_duration(true),
            failed: metrics.flush_duration(false),
        }
    }

    /// A batch was stored.
    pub(super) fn stored(&self, progress: &Progress, took: Duration) {
        let count = |rows: usize| u64::try_from(rows).unwrap_or(u64::MAX);
        let written = progress.rows - progress.replayed.min(progress.rows);
        self.persisted.inc_by(count(written));
        self.replayed.inc_by(count(progress.replayed));
        self.fenced.inc_by(count(progress.fenced));
        self.rejected(progress.rejected);
        if progress.rows > 0 {
            #[expect(
                clippy::cast_precision_loss,
                reason = "a batch has some thousands at most"
            )]
            self.batch_rows.observe(progress.rows as f64);
            self.flushed.observe_duration(took);
            self.last_commit.set(clock::now_ms() / 1000);
        }
    }

    /// What is known of the queue after a step.
    pub(super) fn waits(&self, progress: &Progress) {
        match Instant::now().checked_sub(progress.oldest_age) {
            Some(since) if progress.behind => self.oldest.began(since),
            _ => self.oldest.ended(),
        }
    }

    pub(super) fn failed(&self, took: Duration) {
        self.failed.observe_duration(took);
    }

    fn rejected(&self, rejects: Rejects) {
        for (reason, entries) in [
            ("unreadable", rejects.unreadable),
            ("number_taken", rejects.number_taken),
            ("sent_before", rejects.sent_before),
        ] {
            let entries = u64::try_from(entries).unwrap_or(u64::MAX);
            self.rejected.get_or_create(&reason.into()).inc_by(entries);
        }
    }

    pub(super) fn leases(&self, held: usize) {
        self.shards.set(i64::try_from(held).unwrap_or(i64::MAX));
    }
}
