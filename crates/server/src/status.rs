//! What the status page and `banter top` show: this process, second by second, for ten minutes; and
//! in a cluster the others, which are asked when somebody looks.

mod others;
mod page;
mod sample;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use axum::extract::{RawQuery, State};
use axum::routing::get;
use axum::{Json, Router};
use banter_protocol::error::Code;
use banter_protocol::time::Timestamp;
use serde_json::{Map, Value, json};

use self::sample::{COLUMNS, Sample, Sampler};
use crate::app::Process;
use crate::clock;
use crate::metric::{Dependency, Metrics};
use crate::problem::Problem;
use crate::settings::Role;

/// Seconds that are kept: long enough to see what came before an alarm. Some 60 KiB.
const KEPT: usize = 600;
/// Between two samples.
const INTERVAL: Duration = Duration::from_secs(1);

/// The last ten minutes. Cloning shares them.
#[derive(Debug, Clone)]
pub(crate) struct Status(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    name: String,
    machine: String,
    began: Timestamp,
    samples: Mutex<VecDeque<Sample>>,
}

impl Status {
    /// Begins to take samples, from a thread of its own, until the process ends.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub(crate) fn start(process: &Process) -> std::io::Result<Self> {
        let status = Self(Arc::new(Shared {
            name: name(process),
            machine: host().unwrap_or_default(),
            began: clock::now(),
            samples: Mutex::default(),
        }));
        let (shared, metrics) = (Arc::downgrade(&status.0), process.metrics.clone());
        let sampler = Sampler::new(metrics, process.role);
        let thread = std::thread::Builder::new().name("status".into());
        thread.spawn(move || take_samples(sampler, &shared))?;
        tokio::spawn(others::tell(process.clone(), status.clone()));
        Ok(status)
    }

    /// The time after which the last `count` samples were taken, in seconds since 1970.
    fn since(&self, count: usize) -> i64 {
        let samples = self.0.lock();
        let first = samples.len().checked_sub(count + 1);
        first.map_or(i64::MIN, |first| samples[first].at)
    }

    /// What is shown of this process: how it is, and its samples after a time, in seconds since
    /// 1970.
    fn of_process(&self, process: &Process, after: i64) -> Value {
        let samples = self.0.lock();
        let first = samples.partition_point(|sample| sample.at <= after);
        let at: Vec<_> = samples.range(first..).map(|sample| sample.at).collect();
        let column = |(index, name): (usize, &&str)| {
            let values = samples.range(first..).map(|sample| sample.value(index));
            ((*name).to_owned(), Value::from_iter(values))
        };
        let series: Map<_, _> = COLUMNS.iter().enumerate().map(column).collect();
        json!({
            "name": self.0.name,
            "role": process.role.to_string(),
            "version": env!("CARGO_PKG_VERSION"),
            "pid": std::process::id(),
            "started_at": self.0.began,
            "state": if process.is_draining() { "draining" } else { "serving" },
            "machine": self.0.machine,
            "cores": std::thread::available_parallelism().map_or(1, usize::from),
            "dependencies": dependencies(&process.metrics),
            "at": at,
            "series": series,
        })
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, VecDeque<Sample>> {
        self.samples.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, sample: Sample) {
        let mut samples = self.lock();
        samples.push_back(sample);
        while samples.len() > KEPT {
            samples.pop_front();
        }
    }
}

/// What a process is called. All gateways of a cluster are reached under one origin: they are told
/// apart by their role and their own address.
fn name(process: &Process) -> String {
    let server = &process.settings.server;
    let own = match process.role {
        Role::All => return process.public_origin.to_string(),
        Role::Auth | Role::Gateway => server.listen,
        Role::Worker => server.admin_listen,
    };
    match own.ip().is_unspecified().then(host).flatten() {
        Some(host) => format!("{} {host}:{}", process.role, own.port()),
        None => format!("{} {own}", process.role),
    }
}

/// The machine's name, where the system tells it.
fn host() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    Some(name.trim().to_owned()).filter(|name| !name.is_empty())
}

fn take_samples(mut sampler: Sampler, shared: &Weak<Shared>) {
    loop {
        std::thread::sleep(INTERVAL);
        let Some(shared) = shared.upgrade() else {
            return;
        };
        shared.keep(sampler.take());
    }
}

/// As they were when they were last asked.
fn dependencies(metrics: &Metrics) -> Value {
    let state = |dependency: &Dependency| {
        let up = metrics.answers(*dependency);
        let state = if up { "up" } else { "down" };
        (dependency.as_str().to_owned(), json!(state))
    };
    Value::Object(Dependency::ALL.iter().map(state).collect())
}

/// The page, and the figures that it shows.
pub(crate) fn routes(status: Status) -> Router<Process> {
    let figures = async move |State(process): State<Process>, RawQuery(query): RawQuery| {
        let after = after(query.as_deref())?;
        let others = match process.board.get() {
            Some(board) => others::hear(board, after).await,
            None => Some(Vec::new()),
        };
        // First the process itself.
        let mut peers = vec![status.of_process(&process, after)];
        let complete = others.is_some();
        peers.extend(others.into_iter().flatten());
        let interval_s = INTERVAL.as_secs();
        Ok::<_, Problem>(Json(
            json!({ "interval_s": interval_s, "complete": complete, "peers": peers }),
        ))
    };
    Router::new()
        .route("/", get(page::page))
        .route("/status.json", get(figures))
}

/// The `after` of a query: only what came later, in seconds since 1970.
fn after(query: Option<&str>) -> Result<i64, Problem> {
    let mut parts = query.unwrap_or_default().split('&');
    let Some(value) = parts.find_map(|part| part.strip_prefix("after=")) else {
        return Ok(i64::MIN);
    };
    let invalid = |_| Problem::from(Code::ParameterInvalid).field("after");
    value.parse().map_err(invalid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_minutes_are_kept_and_no_more() {
        let shared = Shared {
            name: String::new(),
            machine: String::new(),
            began: Timestamp::from_ms(0),
            samples: Mutex::default(),
        };
        let mut sampler = Sampler::new(Metrics::new(), Role::All);
        for at in 0..1_000 {
            shared.keep(Sample {
                at,
                ..sampler.take()
            });
        }
        let samples = shared.lock();
        assert_eq!((samples.len(), samples[0].at), (KEPT, 400));
    }
}
