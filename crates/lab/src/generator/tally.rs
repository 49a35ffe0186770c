//! What a load has seen so far.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::statistics::Times;

/// Counts of all connections together.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally {
    pub(super) deliveries: u64,
    pub(super) acked: u64,
    pub(super) delivery: Times,
    pub(super) ack: Times,
    pub(super) faults: BTreeMap<String, u64>,
    /// Only messages that were due then are timed.
    measured: Option<(Duration, Duration)>,
}

impl Tally {
    /// Times the messages that are due from `start` to `end`.
    pub(super) fn measure(&mut self, start: Duration, end: Duration) {
        self.measured = Some((start, end));
    }

    pub(super) fn delivered(&mut self, due: Duration, now: Duration) {
        if self.is_measured(due) {
            self.delivery.record(now.saturating_sub(due));
        }
    }

    pub(super) fn acked(&mut self, due: Duration, now: Duration) {
        self.acked += 1;
        if self.is_measured(due) {
            self.ack.record(now.saturating_sub(due));
        }
    }

    pub(super) fn fault(&mut self, kind: &str, count: u64) {
        if count > 0 {
            *self.faults.entry(kind.to_owned()).or_default() += count;
        }
    }

    fn is_measured(&self, due: Duration) -> bool {
        self.measured
            .is_some_and(|(start, end)| (start..end).contains(&due))
    }
}
