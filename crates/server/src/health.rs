//! What a process needs, and whether that is there: looked at every few seconds, and when somebody
//! asks.
//!
//! Before its start is over a process is not ready. Afterwards it stays so while what it shares
//! with others fails: were all to leave the load balancer at once, there would be nobody left to
//! keep the sockets and to say why. Its own file is another matter.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use banter_storage::Redis;
use banter_storage::entries::Entries;
use futures_util::future::join_all;
use serde_json::{Map, Value, json};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use crate::app::Process;
use crate::metric::{Dependency, Metrics};
use crate::pulse;

/// How often everything is looked at when nobody asks: a scrape or two.
const INTERVAL: Duration = Duration::from_secs(5);
/// How long an answer about a dependency is waited for.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long, where somebody waits: a load balancer or an orchestrator takes an answer that comes
/// after a second for none, and would send everybody away from every gateway at once.
const QUICK: Duration = Duration::from_millis(400);

/// How a dependency does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It answers.
    Up,
    /// It does not.
    Down,
    /// It was not there yet since the process began.
    Awaited,
}

impl State {
    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
            Self::Awaited => "awaited",
        }
    }
}

/// How a dependency is asked how it does.
#[derive(Debug, Clone)]
pub enum Probe {
    /// The process's own file, without which it is of no use.
    File(Entries),
    /// The log in that file. Only a real entry tells whether it can be written: as of the last one.
    FileLog,
    /// The database that all share.
    Database(Entries),
    /// The log that all share.
    Log(Redis),
}

/// The state of something at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Condition {
    /// How it does.
    pub state: State,
    /// How long the answer took, where it was asked now.
    pub took: Option<Duration>,
}

/// The state of everything at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Whether the process can take work.
    pub ready: bool,
    /// How everything does that it needs.
    pub conditions: BTreeMap<&'static str, Condition>,
}

/// The dependencies of a process.
#[derive(Debug, Default)]
pub struct Health {
    started: AtomicBool,
    needed: Mutex<BTreeMap<&'static str, Needed>>,
}

#[derive(Debug, Clone)]
enum Needed {
    Awaited,
    /// It was there; nothing more is asked.
    Came,
    Probed(Probe),
}

impl Health {
    /// The process cannot go on before this is there.
    pub fn await_it(&self, name: &'static str) {
        self.set(name, Needed::Awaited);
    }

    /// It is there.
    pub fn came(&self, name: &'static str) {
        self.set(name, Needed::Came);
    }

    /// It is there, and is asked from now on.
    pub fn watch(&self, dependency: Dependency, probe: Probe) {
        self.set(dependency.as_str(), Needed::Probed(probe));
    }

    /// The start is over.
    pub fn started(&self) {
        self.started.store(true, Ordering::Relaxed);
    }

    /// Asks everything how it does, and counts the answers. Takes half a second at most: what has
    /// not answered by then does as it did when it was looked at last.
    pub async fn report(&self, metrics: &Metrics) -> Report {
        self.within(QUICK, metrics).await
    }

    async fn within(&self, patience: Duration, metrics: &Metrics) -> Report {
        let needed = self.lock().clone();
        let mut ready = self.started.load(Ordering::Relaxed);
        let mut conditions = BTreeMap::new();
        let answers = needed.into_iter().map(async |(name, needed)| {
            let condition = match &needed {
                Needed::Awaited => Condition::told(State::Awaited),
                Needed::Came => Condition::told(State::Up),
                Needed::Probed(probe) => ask(probe, patience, metrics).await,
            };
            (name, needed, condition)
        });
        for (name, needed, condition) in join_all(answers).await {
            let own = matches!(needed, Needed::Probed(Probe::File(_)));
            ready &= match condition.state {
                State::Up => true,
                State::Down => !own,
                State::Awaited => false,
            };
            conditions.insert(name, condition);
        }
        Report { ready, conditions }
    }

    fn set(&self, name: &'static str, needed: Needed) {
        self.lock().insert(name, needed);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, Needed>> {
        self.needed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Condition {
    const fn told(state: State) -> Self {
        Self { state, took: None }
    }
}

impl Report {
    /// Each dependency's state, for people and programs.
    #[must_use]
    pub fn described(&self) -> Value {
        let described = self.conditions.iter().map(|(name, condition)| {
            let mut state = json!({"state": condition.state.as_str()});
            if let Some(took) = condition.took {
                state["answer_ms"] = json!(milliseconds(took));
            }
            ((*name).to_owned(), state)
        });
        Value::Object(described.collect::<Map<_, _>>())
    }

    /// What is not there, with its state.
    pub fn missing(&self) -> impl Iterator<Item = (&'static str, State)> + '_ {
        let all = self.conditions.iter();
        all.filter(|(_, condition)| condition.state != State::Up)
            .map(|(name, condition)| (*name, condition.state))
    }
}

/// Begins to look, until `stop`.
///
/// # Errors
/// When a thread cannot be started.
pub fn start(process: &Process, stop: &CancellationToken) -> std::io::Result<()> {
    pulse::start(process.metrics.clone(), stop.clone())?;
    let (process, stop) = (process.clone(), stop.clone());
    tokio::spawn(async move {
        stop.run_until_cancelled(watch(process)).await;
    });
    Ok(())
}

async fn watch(process: Process) {
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut down = Vec::new();
    loop {
        ticks.tick().await;
        let report = process.health.within(PATIENCE, &process.metrics).await;
        let now: Vec<_> = report
            .missing()
            .filter(|(_, state)| *state == State::Down)
            .map(|(name, _)| name)
            .collect();
        for name in now.iter().filter(|name| !down.contains(*name)) {
            tracing::warn!("the {name} does not answer");
        }
        for name in down.iter().filter(|name| !now.contains(*name)) {
            tracing::info!("the {name} answers again");
        }
        down = now;
    }
}

async fn ask(probe: &Probe, patience: Duration, metrics: &Metrics) -> Condition {
    let begun = Instant::now();
    let (dependency, answer) = match probe {
        Probe::File(entries) | Probe::Database(entries) => {
            let answer = timeout(patience, entries.is_reachable()).await;
            (Dependency::Database, answer)
        }
        Probe::Log(redis) => {
            let answer = timeout(patience, redis.is_reachable()).await;
            (Dependency::Log, answer)
        }
        Probe::FileLog => return as_last_seen(Dependency::Log, metrics),
    };
    if answer.is_err() && patience < PATIENCE {
        return as_last_seen(dependency, metrics);
    }
    let (up, took) = (answer == Ok(true), begun.elapsed());
    metrics.asked(dependency, "ping", up, took);
    metrics.is_up(dependency, up);
    Condition {
        state: if up { State::Up } else { State::Down },
        took: Some(took),
    }
}

fn as_last_seen(dependency: Dependency, metrics: &Metrics) -> Condition {
    let up = metrics.answers(dependency);
    Condition::told(if up { State::Up } else { State::Down })
}

/// With two decimals.
fn milliseconds(took: Duration) -> f64 {
    (took.as_secs_f64() * 1e5).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_process_is_ready_when_all_it_awaits_has_come() {
        let (health, metrics) = (Health::default(), Metrics::new());
        assert!(!health.report(&metrics).await.ready);
        health.await_it("keys");
        let report = health.report(&metrics).await;
        assert_eq!(report.conditions["keys"].state, State::Awaited);
        health.started();
        assert!(!health.report(&metrics).await.ready);
        health.came("keys");
        let report = health.report(&metrics).await;
        assert!(report.ready);
        assert_eq!(report.described(), json!({"keys": {"state": "up"}}));
    }

    #[tokio::test]
    async fn what_is_not_vital_may_be_down() {
        let (health, metrics) = (Health::default(), Metrics::new());
        health.started();
        health.watch(Dependency::Log, Probe::FileLog);
        metrics.is_up(Dependency::Log, false);
        let report = health.report(&metrics).await;
        assert!(report.ready);
        assert_eq!(report.missing().collect::<Vec<_>>(), [("log", State::Down)]);
        metrics.is_up(Dependency::Log, true);
        assert_eq!(health.report(&metrics).await.missing().count(), 0);
    }

    #[test]
    fn an_answer_tells_how_long_it_took() {
        let condition = Condition {
            state: State::Up,
            took: Some(Duration::from_micros(1_234)),
        };
        let report = Report {
            ready: true,
            conditions: BTreeMap::from([("database", condition)]),
        };
        assert_eq!(
            report.described(),
            json!({"database": {"state": "up", "answer_ms": 1.23}})
        );
    }
}
