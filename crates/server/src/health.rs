//! What a process needs, and whether that is there.
//!
//! Before its start is over a process is not ready. Afterwards it stays so while what it shares
//! with others fails: were all to leave the load balancer at once, there would be nobody left to
//! keep the sockets and to say why. Its own file is another matter.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use banter_storage::Redis;
use banter_storage::entries::Entries;

/// How long an answer about a dependency is waited for.
const PATIENCE: Duration = Duration::from_secs(1);

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
    /// The database that all share.
    Database(Entries),
    /// The queue that all share.
    Queue(Redis),
}

/// The state of everything at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Whether the process can take work.
    pub ready: bool,
    /// Each dependency's state.
    pub states: BTreeMap<&'static str, State>,
}

/// The dependencies of a process.
#[derive(Debug, Default)]
pub struct Health {
    started: AtomicBool,
    dependencies: Mutex<BTreeMap<&'static str, Dependency>>,
}

#[derive(Debug, Clone)]
enum Dependency {
    Awaited,
    /// It was there; nothing more is asked.
    Came,
    Probed(Probe),
}

impl Health {
    /// The process cannot go on before this is there.
    pub fn await_it(&self, name: &'static str) {
        self.set(name, Dependency::Awaited);
    }

    /// It is there.
    pub fn came(&self, name: &'static str) {
        self.set(name, Dependency::Came);
    }

    /// It is there, and is asked from now on.
    pub fn watch(&self, name: &'static str, probe: Probe) {
        self.set(name, Dependency::Probed(probe));
    }

    /// The start is over.
    pub fn started(&self) {
        self.started.store(true, Ordering::Relaxed);
    }

    /// Asks everything how it does, which takes a second at most.
    pub async fn report(&self) -> Report {
        let dependencies = self.lock().clone();
        let mut ready = self.started.load(Ordering::Relaxed);
        let mut states = BTreeMap::new();
        for (name, dependency) in dependencies {
            let state = match &dependency {
                Dependency::Awaited => State::Awaited,
                Dependency::Came => State::Up,
                Dependency::Probed(probe) => ask(probe).await,
            };
            let own = matches!(dependency, Dependency::Probed(Probe::File(_)));
            ready &= state == State::Up || (state == State::Down && !own);
            states.insert(name, state);
        }
        Report { ready, states }
    }

    fn set(&self, name: &'static str, dependency: Dependency) {
        self.lock().insert(name, dependency);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<&'static str, Dependency>> {
        self.dependencies
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

async fn ask(probe: &Probe) -> State {
    let answer = async {
        match probe {
            Probe::File(entries) | Probe::Database(entries) => entries.is_reachable().await,
            Probe::Queue(redis) => redis.is_reachable().await,
        }
    };
    match tokio::time::timeout(PATIENCE, answer).await {
        Ok(true) => State::Up,
        Ok(false) | Err(_) => State::Down,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_process_is_ready_when_all_it_awaits_has_come() {
        let health = Health::default();
        assert!(!health.report().await.ready);
        health.await_it("keys");
        let report = health.report().await;
        assert_eq!(report.states["keys"], State::Awaited);
        health.started();
        assert!(!health.report().await.ready);
        health.came("keys");
        let report = health.report().await;
        assert!(report.ready);
        assert_eq!(report.states["keys"], State::Up);
    }
}
