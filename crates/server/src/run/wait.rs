//! Waiting for the other parts of a cluster: the order in which they start does not matter.

use std::time::{Duration, Instant};

use banter_storage::{Database, Durability, Error, Postgres, Redis, postgres};

use super::StartError;
use crate::app::Process;
use crate::health::Probe;
use crate::login;
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

/// Makes attempts until one succeeds. `name`: how readiness calls what is awaited; `what`: how the
/// log does.
///
/// # Errors
/// What waiting does not cure.
pub(super) async fn until<T>(
    process: &Process,
    name: &'static str,
    what: &str,
    mut attempt: impl AsyncFnMut() -> Result<T, Obstacle>,
) -> Result<T, StartError> {
    process.health.await_it(name);
    let mut told: Option<Instant> = None;
    loop {
        let why = match attempt().await {
            Ok(found) => {
                process.health.came(name);
                if told.is_some() {
                    tracing::info!("{what} is there");
                }
                return Ok(found);
            }
            Err(Obstacle::Lasting(error)) => return Err(error),
            Err(Obstacle::Passing(why)) => why,
        };
        // At first it is nothing strange: something has to be first.
        if told.is_none() {
            tracing::info!(why, "waiting for {what}");
            told = Some(Instant::now());
        } else if told.is_some_and(|at| at.elapsed() >= REMINDER) {
            tracing::warn!(why, "still waiting for {what}");
            told = Some(Instant::now());
        }
        tokio::time::sleep(PAUSE).await;
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
    let attempt = async || {
        let opened = Postgres::open(url.reveal(), role).await;
        opened.map_err(|error| Obstacle::of(&what, error))
    };
    let postgres = until(process, "database", &what, attempt).await?;
    let entries = banter_storage::entries::Entries::new(&Database::from(postgres.clone()));
    process.health.watch("database", Probe::Database(entries));
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
    let durability: Durability = log.durability;
    let what = format!("Redis at {}", url.place());
    let attempt = async || {
        let opened = Redis::open(url.reveal(), None, durability).await;
        opened.map_err(|error| Obstacle::of(&what, error))
    };
    let redis = until(process, "queue", &what, attempt).await?;
    process.health.watch("queue", Probe::Queue(redis.clone()));
    Ok(redis)
}

fn missing(setting: &str) -> StartError {
    StartError::Settings(format!("this part of a cluster needs {setting}"))
}
