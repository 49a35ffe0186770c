//! What happens, second by second.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::statistics::Times;

/// What is timed, each from the moment at which it should have begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// From a message's time to its ack.
    Ack,
    /// From a message's time to its delivery, for each who receives it live.
    Delivery,
    /// From the time at which a socket should be back to its `welcome`.
    Connect,
    /// A login.
    Login,
    /// A page of history.
    History,
    /// The list of one's channels.
    Channels,
    /// A renewal of tokens.
    Refresh,
    /// How late the generator itself was.
    Late,
}

impl Measure {
    /// All of them, in the order of the table.
    pub const ALL: [Self; 8] = [
        Self::Ack,
        Self::Delivery,
        Self::Connect,
        Self::Login,
        Self::History,
        Self::Channels,
        Self::Refresh,
        Self::Late,
    ];

    /// Its name in reports and demands.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ack => "ack",
            Self::Delivery => "delivery",
            Self::Connect => "connect",
            Self::Login => "login",
            Self::History => "history",
            Self::Channels => "channels",
            Self::Refresh => "refresh",
            Self::Late => "late",
        }
    }
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Count {
    /// Actions that were due.
    Due,
    /// Messages that were sent.
    Sent,
    /// Messages that were acked.
    Acked,
    /// Messages that were delivered.
    Deliveries,
    /// HTTP calls that were answered well.
    Calls,
    /// Sockets that have had their `welcome`.
    Connects,
}

/// One second of one generator, or of all together.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Sample {
    /// Seconds since the load began; those after its end belong to the last one.
    pub second: u32,
    /// What was counted.
    pub counts: BTreeMap<Count, u64>,
    /// What was timed: microseconds and how often.
    pub times: BTreeMap<Measure, Vec<(u64, u64)>>,
    /// What went wrong, by kind.
    pub errors: BTreeMap<String, u64>,
    /// Sockets that are open.
    pub open: u32,
    /// Longest time, in nanoseconds, in which nothing was acked, of those that ended meanwhile.
    #[serde(default)]
    pub silence_ns: u64,
}

/// What is counted and timed until the next sample is taken.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// What is due in this time is timed.
    pub(super) measured: Option<(u64, u64)>,
    counts: BTreeMap<Count, u64>,
    times: BTreeMap<Measure, Times>,
    errors: BTreeMap<String, u64>,
    /// When something was acked last.
    acked_at: Option<u64>,
    silence_ns: u64,
}

impl Tally {
    /// A message was acked.
    pub(super) fn acked(&mut self, now: u64) {
        let silence = now.saturating_sub(self.acked_at.unwrap_or(now));
        self.silence_ns = self.silence_ns.max(silence);
        self.acked_at = Some(now);
        self.count(Count::Acked);
    }

    pub(super) fn count(&mut self, what: Count) {
        *self.counts.entry(what).or_default() += 1;
    }

    pub(super) fn error(&mut self, kind: &str) {
        match self.errors.get_mut(kind) {
            Some(count) => *count += 1,
            None => drop(self.errors.insert(kind.to_owned(), 1)),
        }
    }

    /// Times what should have happened at `due` and happened `now`.
    pub(super) fn time(&mut self, what: Measure, due: u64, now: u64) {
        if self
            .measured
            .is_some_and(|(from, to)| (from..to).contains(&due))
        {
            let took = Duration::from_nanos(now.saturating_sub(due));
            self.times.entry(what).or_default().record(took);
        }
    }

    /// What was found since the last time.
    pub(super) fn sample(&mut self, second: u32, open: u32) -> Sample {
        let times = self.times.iter_mut().map(|(what, times)| {
            let counts = times.counts();
            times.clear();
            (*what, counts)
        });
        Sample {
            second,
            times: times.filter(|(_, counts)| !counts.is_empty()).collect(),
            counts: std::mem::take(&mut self.counts),
            errors: std::mem::take(&mut self.errors),
            open,
            silence_ns: std::mem::take(&mut self.silence_ns),
        }
    }
}
