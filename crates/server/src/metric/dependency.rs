//! What this process needs, and how it fares with it.

use std::time::{Duration, Instant};

use super::{Errand, Metrics, Needed};

/// Something this process needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dependency {
    /// Where accounts, channels and history are.
    Database,
    /// Where entries go.
    Log,
}

impl Dependency {
    /// Everything that a process may need.
    pub const ALL: [Self; 2] = [Self::Database, Self::Log];

    /// Its name in labels and answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Database => "database",
            Self::Log => "log",
        }
    }
}

impl Metrics {
    /// Asks a dependency for something, and counts how long it took and whether it went well.
    ///
    /// # Errors
    /// That of the work.
    pub async fn ask<T, E>(
        &self,
        dependency: Dependency,
        operation: &'static str,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let begun = Instant::now();
        let answer = work.await;
        self.asked(dependency, operation, answer.is_ok(), begun.elapsed());
        answer
    }

    /// Counts a request to a dependency.
    pub fn asked(&self, dependency: Dependency, operation: &'static str, ok: bool, took: Duration) {
        let dependency = dependency.as_str();
        let errand = Errand {
            dependency,
            operation,
            outcome: if ok { "ok" } else { "error" },
        };
        let duration = self.dependency_duration.get_or_create_owned(&errand);
        duration.observe_duration(took);
    }

    /// Whether a dependency answered the last time.
    #[must_use]
    pub fn answers(&self, dependency: Dependency) -> bool {
        let dependency = Needed::from(dependency.as_str());
        self.dependency_up.get_or_create(&dependency).get() == 1
    }

    /// Tells whether a dependency answers.
    pub fn is_up(&self, dependency: Dependency, up: bool) {
        let dependency = Needed::from(dependency.as_str());
        self.dependency_up
            .get_or_create(&dependency)
            .set(i64::from(up));
    }
}
