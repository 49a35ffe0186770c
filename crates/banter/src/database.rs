//! The stores of an installation, for commands of an operator beside its servers.

use anyhow::{Context as _, Result, bail};
use banter_server::Settings;
use banter_server::settings::{DatabaseUrl, LogUrl, ServiceUrl};
use banter_storage::postgres::Role;
use banter_storage::{Database, Durability, Postgres, Redis, Sqlite};

use crate::data_dir;

/// Why there is nothing to look at.
const NO_QUEUE: &str = "one process has no queue; for that of a cluster set database.url \
                        (postgres://…) and log.url (redis://…)";

/// Opens the database for a command that may run before the first server.
///
/// # Errors
/// When it cannot be opened.
pub(crate) async fn open(settings: &Settings) -> Result<Database> {
    let path = match &settings.database.url {
        DatabaseUrl::Sqlite(file) => settings.in_data_dir(file),
        DatabaseUrl::Postgres(url) => return Ok(postgres(url).await?.into()),
    };
    data_dir::keep_private();
    data_dir::create(&settings.server.data_dir)?;
    let opened = Sqlite::open(&path).await;
    let opened = opened.with_context(|| format!("cannot use the database {}", path.display()))?;
    Ok(opened.into())
}

/// Opens the database for a command that has no use for an empty one.
///
/// # Errors
/// When there is none, or it cannot be opened.
pub(crate) async fn open_existing(settings: &Settings) -> Result<Database> {
    if let Some(path) = settings.sqlite_path().filter(|path| !path.exists()) {
        let path = path.display();
        bail!("there is no database {path}; is it another --data-dir, or not started yet?");
    }
    open(settings).await
}

/// Opens the queue of a cluster, whether its database can be reached or not.
///
/// # Errors
/// When there is no cluster in the settings, or its Redis cannot be used.
pub(crate) async fn open_queue(settings: &Settings) -> Result<Redis> {
    let Some(LogUrl(queue)) = &settings.log.url else {
        bail!(NO_QUEUE);
    };
    // Whoever only looks may look at a server that keeps less than it should.
    let redis = Redis::open(queue.reveal(), None, Durability::None).await;
    redis.with_context(|| format!("cannot use Redis at {}", queue.place()))
}

/// Opens the database of a cluster, whether its queue can be reached or not.
///
/// # Errors
/// When there is no cluster in the settings, or its PostgreSQL cannot be used.
pub(crate) async fn open_shared(settings: &Settings) -> Result<Postgres> {
    match &settings.database.url {
        DatabaseUrl::Postgres(database) => postgres(database).await,
        DatabaseUrl::Sqlite(_) => bail!(NO_QUEUE),
    }
}

async fn postgres(url: &ServiceUrl) -> Result<Postgres> {
    let opened = Postgres::open(url.reveal(), Role::Command).await;
    opened.with_context(|| format!("cannot use the database at {}", url.place()))
}
