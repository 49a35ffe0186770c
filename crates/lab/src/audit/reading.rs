//! What one client has applied of one channel: runs of numbers, and where they begin.

use banter_protocol::id::Seq;
use serde::{Deserialize, Serialize};

use super::Flaw;

/// From one promise of continuity to the next.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Stretch {
    /// Everything that follows this number is expected.
    pub(super) after: Seq,
    /// First and last number of what came without a gap.
    pub(super) runs: Vec<(Seq, Seq)>,
}

/// A client's place in a channel, over reconnects.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Reading {
    pub(super) stretches: Vec<Stretch>,
    /// Whether it was given the time to hear everything.
    pub(super) settled: bool,
}

impl Reading {
    /// What follows this number is expected from now on.
    pub(super) fn begin(&mut self, after: Seq) {
        self.stretches.push(Stretch {
            after,
            runs: Vec::new(),
        });
    }

    /// The number after which it begins.
    pub(super) fn start(&self) -> Seq {
        let after = self.stretches.iter().map(|stretch| stretch.after).min();
        after.unwrap_or(Seq::MAX)
    }

    pub(super) fn settle(&mut self) {
        self.settled = true;
    }

    /// Applies an entry. One's own `joined` may follow a `welcome` that knew it already.
    pub(super) fn take(&mut self, seq: Seq, joins: bool) -> Result<(), (Flaw, &'static str)> {
        if self.stretches.is_empty() {
            self.begin(seq.saturating_sub(1));
        }
        let Some(stretch) = self.stretches.last_mut() else {
            return Ok(());
        };
        let last = stretch.runs.last().map_or(stretch.after, |run| run.1);
        if seq <= last {
            if joins && seq == stretch.after && stretch.runs.is_empty() {
                return Ok(());
            }
            let within = |run: &(Seq, Seq)| (run.0..=run.1).contains(&seq);
            return Err(if stretch.runs.iter().any(within) || seq <= stretch.after {
                (Flaw::Repeated, "delivered again")
            } else {
                (Flaw::Reordered, "delivered after a later one")
            });
        }
        match stretch.runs.last_mut() {
            Some(run) if run.1 + 1 == seq => run.1 = seq,
            _ => stretch.runs.push((seq, seq)),
        }
        Ok(())
    }
}

impl Stretch {
    /// What lies between the runs, and before the first; with `end`, up to that number too.
    pub(super) fn gaps(&self, end: Option<Seq>) -> Vec<(Seq, Seq)> {
        let mut gaps = Vec::new();
        let mut next = self.after + 1;
        for (from, to) in &self.runs {
            if next < *from {
                gaps.push((next, from - 1));
            }
            next = to + 1;
        }
        if let Some(end) = end
            && next <= end
        {
            gaps.push((next, end));
        }
        gaps
    }
}
