//! Waiting for the other parts of a cluster: the order in which they start does not matter.

use std::time::{Duration, Instant};

use banter_storage::board::Board;
use banter_storage::log::RedisLog;
use banter_storage::{Database, Error, Postgres, Redis, postgres};
use uuid::Uuid;

use super::StartError;
use crate::app::Process;
use crate::health::Probe;
use crate::login;
use crate::metric::Dependency;
use crate::settings::{DatabaseUrl, LogUrl};

/// Pause between two attempts: a part that comes up is used soon.
const PAUSE: Duration = Duration::from_millis(250);
/// How often the log tells that the waiting goes on.
const REMINDER: Duration = Duration::from_secs(10);

/// Why an attempt failed.
pub(super) enum Obstacle {
    /// It may pass.
    Passing(String),
    /// It will not.
    Lasting(StartError),
}

impl Obstacle {
    /// Sorts an error of `what`.
    pub(super) fn of(what: &str, error: Error) -> Self {
        match error {
            Error::Unavailable(_) | Error::Overloaded => Self::Passing(error.to_string()),
            source => Self::Lasting(StartError::Service {
                what: what.to_owned(),
                source,
            }),
        }
    }
}

impl From<login::StartError> for Obstacle {
    fn from(error: login::StartError) -> Self {
        match error {
            login::StartError::Storage(Error::Unavailable(_) | Error::Overloaded) => {
                Self::Passing(error.to_string())
            }
            lasting => Self::Lasting(lasting.into()),
        }
    }
}

/// One thing that a process waits for.
pub(super) struct Wait<'p> {
    process: &'p Process,
    name: &'static str,
    what: String,
    told: Option<Instant>,
}

impl<'p> Wait<'p> {
    /// `name`: how readiness calls it; `what`: how the log does.
    pub(super) fn new(process: &'p Process, name: &'static str, what: String) -> Self {
        process.health.await_it(name);
        Self {
            process,
            name,
            what,
            told: None,
        }
    }

    /// It is there.
    pub(super) fn over(self) {
        self.process.health.came(self.name);
        if self.told.is_some() {
            tracing::info!("the wait for {} is over", self.what);
        }
    }

    /// An attempt has failed: pauses, unless waiting does not help.
    ///
    /// # Errors
    /// What lasts.
    pub(super) async fn again(&mut self, obstacle: Obstacle) -> Result<(), StartError> {
        let why = match obstacle {
            Obstacle::Lasting(error) => return Err(error),
            Obstacle::Passing(why) => why,
        };
        // At first it is nothing strange: something has to be first.
        if self.told.is_none() {
            tracing::info!(why, "waiting for {}", self.what);
            self.told = Some(Instant::now());
        } else if self.told.is_some_and(|at| at.elapsed() >= REMINDER) {
            tracing::warn!(why, "still waiting for {}", self.what);
            self.told = Some(Instant::now());
        }
        tokio::time::sleep(PAUSE).await;
        Ok(())
    }
}

/// The database that all share.
///
/// # Errors
/// When it must not be used.
pub(super) async fn database(
    process: &Process,
    role: postgres::Role,
) -> Result<Postgres, StartError> {
    let DatabaseUrl::Postgres(url) = &process.settings.database.url else {
        return Err(missing("database.url (postgres://…)"));
    };
    let what = format!("PostgreSQL at {}", url.place());
    let mut wait = Wait::new(process, Dependency::Database.as_str(), what.clone());
    let postgres = loop {
        match Postgres::open(url.reveal(), role).await {
            Ok(postgres) => break postgres,
            Err(error) => wait.again(Obstacle::of(&what, error)).await?,
        }
    };
    wait.over();
    let entries = banter_storage::entries::Entries::new(&Database::from(postgres.clone()));
    process.watch(Dependency::Database, Probe::Database(entries));
    Ok(postgres)
}

/// The queue that all share.
///
/// # Errors
/// When it must not be used.
pub(super) async fn queue(process: &Process) -> Result<Redis, StartError> {
    let log = &process.settings.log;
    let Some(LogUrl(url)) = &log.url else {
        return Err(missing("log.url (redis://…)"));
    };
    let what = format!("Redis at {}", url.place());
    let mut wait = Wait::new(process, Dependency::Log.as_str(), what.clone());
    let redis = loop {
        match Redis::open(url.reveal(), None, log.durability).await {
            Ok(redis) => break redis.patient(log.deadline),
            Err(error) => wait.again(Obstacle::of(&what, error)).await?,
        }
    };
    wait.over();
    process.watch(Dependency::Log, Probe::Log(redis.clone()));
    // There is one for the life of the process.
    let _ = process
        .board
        .set(Board::new(redis.clone(), Uuid::now_v7().to_string()));
    Ok(redis)
}

/// The log on the queue, which has to begin its epochs where Redis is new or was restarted.
///
/// # Errors
/// When it cannot be used.
pub(super) async fn epochs(process: &Process, log: &RedisLog) -> Result<(), StartError> {
    let mut wait = Wait::new(process, "epochs", "the epochs of the log".to_owned());
    while let Err(error) = log.prepare().await {
        wait.again(Obstacle::of("the log in Redis", error)).await?;
    }
    wait.over();
    Ok(())
}

fn missing(setting: &str) -> StartError {
    StartError::Settings(format!("this part of a cluster needs {setting}"))
}
