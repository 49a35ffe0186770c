//! How far a socket has come: counted in exactly one state from its upgrade to its end.

use prometheus_client::metrics::gauge::Gauge;

use super::{Metrics, Reason};

/// The states of a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Its `hello` is not answered yet.
    Unauthenticated,
    /// It takes part.
    Ready,
    /// It was told to go, and has not gone yet.
    Draining,
}

impl Stage {
    /// Every state, in the order in which a socket comes through them.
    pub const ALL: [Self; 3] = [Self::Unauthenticated, Self::Ready, Self::Draining];

    /// The label's value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unauthenticated => "unauthenticated",
            Self::Ready => "ready",
            Self::Draining => "draining",
        }
    }
}

/// A socket in the census. It leaves it when this is dropped.
#[derive(Debug)]
pub struct Counted<'a> {
    metrics: &'a Metrics,
    stage: Stage,
}

impl<'a> Counted<'a> {
    /// A new socket.
    #[must_use]
    pub fn begin(metrics: &'a Metrics) -> Self {
        let counted = Self {
            metrics,
            stage: Stage::Unauthenticated,
        };
        counted.gauge().inc();
        counted
    }

    /// It has come further.
    pub fn set(&mut self, stage: Stage) {
        if self.stage != stage {
            self.gauge().dec();
            self.stage = stage;
            self.gauge().inc();
        }
    }

    /// It has ended, for this reason.
    pub fn end(self, reason: &'static str) {
        let closed = &self.metrics.closed;
        closed.get_or_create(&Reason { reason }).inc();
    }

    fn gauge(&self) -> &Gauge {
        &self.metrics.connections[self.stage as usize]
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.gauge().dec();
    }
}
