//! What is counted where entries are handed to the log.

use std::time::{Duration, Instant};

use banter_protocol::entry::Level;
use banter_protocol::error::Code;
use banter_storage::Result;
use banter_storage::log::{Answer, Receipt};

use super::Refusal;
use crate::clock;
use crate::metric::{Dependency, Histogram, Metrics};

/// The counters of the task that writes batches.
#[derive(Debug)]
pub(super) struct Counts {
    metrics: Metrics,
    level: Level,
    ack_duration: Histogram,
    flushed: Histogram,
    failed: Histogram,
}

impl Counts {
    /// For a log whose answers stand for this level.
    pub(super) fn new(metrics: Metrics, level: Level) -> Self {
        metrics.is_up(Dependency::Log, true);
        Self {
            ack_duration: metrics.ack_duration(level),
            flushed: metrics.flush_duration(true),
            failed: metrics.flush_duration(false),
            metrics,
            level,
        }
    }

    /// The entry that has waited longest was sent then.
    pub(super) fn oldest(&self, begun: Instant) {
        self.metrics.queue_age.began(begun);
    }

    /// Everything of a batch was answered; whether nothing waits now.
    pub(super) fn idle(&self, idle: bool) {
        if idle {
            self.metrics.queue_age.ended();
        }
    }

    /// So many entries were taken from the queue.
    pub(super) fn taken(&self, entries: usize) {
        let entries = i64::try_from(entries).unwrap_or(i64::MAX);
        self.metrics.queue_entries.dec_by(entries);
    }

    /// The log has answered a batch.
    #[expect(
        clippy::cast_precision_loss,
        reason = "a batch has at most 1,000 entries"
    )]
    pub(super) fn flushed(&self, entries: usize, answers: &Result<Vec<Answer>>, took: Duration) {
        let ok = answers.is_ok();
        self.metrics.batch_rows.observe(entries as f64);
        let duration = if ok { &self.flushed } else { &self.failed };
        duration.observe_duration(took);
        self.metrics.is_up(Dependency::Log, ok);
        self.metrics.asked(Dependency::Log, "append", ok, took);
        if ok && self.level == Level::Stored {
            self.metrics.last_commit.set(clock::now_ms() / 1000);
        }
    }

    /// Somebody is told what became of an entry.
    pub(super) fn answered(&self, answer: &std::result::Result<Receipt, Refusal>, took: Duration) {
        let code = match answer {
            Ok(receipt) => return self.kept(receipt.fresh, took),
            Err(refusal) => refusal.code(),
        };
        self.metrics.refuse(code);
        if code == Code::SlowDown {
            self.metrics.limited("channel_entries");
        }
    }

    fn kept(&self, fresh: bool, took: Duration) {
        self.ack_duration.observe_duration(took);
        if !fresh {
            self.metrics.duplicates.inc();
            return;
        }
        self.metrics.accepted.inc();
        if self.level == Level::Stored {
            self.metrics.persisted.inc();
            self.metrics.persist_latency.observe_duration(took);
        }
    }
}
