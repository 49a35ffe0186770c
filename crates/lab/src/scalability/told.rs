//! What is read of the reports of `banter load` and `banter stress`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::machine::Machine;

/// What an experiment found, as it is kept.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Kept {
    /// Its runs, in their order.
    pub(super) reports: Vec<(String, Told)>,
}

/// The report of one command.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Told {
    pub(super) command: String,
    pub(super) started_at: String,
    pub(super) machine: Machine,
    pub(super) stress: Option<Stress>,
    pub(super) runs: Vec<Ran>,
}

/// What a stress came to.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Stress {
    pub(super) confirmed: Option<usize>,
    pub(super) broken: Option<usize>,
    pub(super) limit: Option<Limit>,
    pub(super) failure: Option<String>,
    pub(super) recovered: Option<bool>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Limit {
    pub(super) resource: String,
    pub(super) evidence: String,
}

/// One run.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Ran {
    pub(super) profile: String,
    pub(super) users: u32,
    pub(super) rate: f64,
    pub(super) seconds: u32,
    pub(super) counts: BTreeMap<String, f64>,
    pub(super) errors_percent: f64,
    pub(super) times: Vec<Times>,
    pub(super) processes: Vec<Process>,
    pub(super) generator_cores: f64,
    pub(super) others: f64,
    pub(super) load: [f64; 3],
    pub(super) stored: Option<f64>,
    pub(super) audit: Audit,
    pub(super) verdict: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Times {
    pub(super) measure: String,
    /// Median, p90, p95, p99, p99.9 and maximum, in milliseconds.
    pub(super) ms: [f64; 6],
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Process {
    pub(super) role: String,
    pub(super) cores: f64,
    pub(super) cpu_seconds: f64,
    pub(super) memory_max: f64,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Audit {
    pub(super) violations: f64,
}

/// What brings a message to those who read it.
pub(super) const WAY: [&str; 4] = ["serve", "gateway", "redis", "nginx"];
/// What writes it into the database.
pub(super) const STORE: [&str; 2] = ["worker", "postgres"];
/// Place of a time among [`Times::ms`].
pub(super) const P50: usize = 0;
/// The same of the slowest hundredth.
pub(super) const P99: usize = 3;

impl Ran {
    /// What was counted, a second.
    pub(super) fn per_second(&self, count: &str) -> Option<f64> {
        let counted = self.counts.get(count).filter(|counted| **counted > 0.0)?;
        Some(counted / f64::from(self.seconds.max(1)))
    }

    /// A time, in milliseconds.
    pub(super) fn time(&self, measure: &str, place: usize) -> Option<f64> {
        let times = self.times.iter().find(|times| times.measure == measure)?;
        times.ms.get(place).copied()
    }

    /// Cores that the processes of a role kept busy together; `None`: there is none.
    pub(super) fn cores(&self, role: &str) -> Option<f64> {
        let cores = self.processes.iter().filter(|it| it.role == role);
        cores.map(|it| it.cores).reduce(|all, more| all + more)
    }

    /// Cores of everything that serves.
    pub(super) fn all_cores(&self) -> f64 {
        self.processes.iter().map(|it| it.cores).sum()
    }

    /// CPU microseconds of these roles for each of so many.
    pub(super) fn us(&self, roles: &[&str], each: Option<f64>) -> Option<f64> {
        let of = |it: &&Process| roles.contains(&it.role.as_str());
        let seconds = self.processes.iter().filter(of).map(|it| it.cpu_seconds);
        let seconds = seconds.reduce(|all, more| all + more)?;
        Some(seconds * 1e6 / (each? * f64::from(self.seconds)))
    }

    /// CPU microseconds of the way to the readers for each delivery.
    pub(super) fn us_per_delivery(&self) -> Option<f64> {
        self.us(&WAY, self.per_second("deliveries"))
    }

    /// CPU microseconds of worker and database for each row.
    pub(super) fn us_per_row(&self) -> Option<f64> {
        self.us(&STORE, self.stored)
    }
}
