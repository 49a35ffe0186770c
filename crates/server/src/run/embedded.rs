//! Everything in one process, over one file.

use std::time::Duration;

use banter_protocol::close::Close;
use banter_storage::bus::{Bus, LocalBus};
use banter_storage::entries::Entries;
use banter_storage::log::{Log, SqliteLog};
use banter_storage::{Database, Sqlite};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::assemble::{self, Backends};
use super::{Running, StartError};
use crate::app::{App, AuthApp, Process};
use crate::broadcast::Audience;
use crate::cluster::Ear;
use crate::health::Probe;
use crate::login::Login;
use crate::metric::Dependency;

/// How long sockets and requests may take to end; below 1,000 sockets they need a fraction of it.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) async fn start(process: &Process) -> Result<Running, StartError> {
    let settings = &process.settings;
    let path = settings.sqlite_path().unwrap_or_default();
    let failed = |source| StartError::Database {
        path: path.clone(),
        source,
    };
    let sqlite = Sqlite::open(&path).await.map_err(failed)?;
    let (local, events) = LocalBus::new();
    let log = SqliteLog::open(sqlite.clone(), local.clone())
        .await
        .map_err(failed)?;
    let database = Database::from(sqlite);
    let entries = Entries::new(&database);
    let probe = Probe::File(entries.clone());
    process.watch(Dependency::Database, probe);
    process.watch(Dependency::Log, Probe::FileLog);
    let (origin, metrics) = (&process.public_origin, &process.metrics);
    let login = Login::start(settings, origin, &database, None, metrics).await?;
    let backends = Backends {
        database,
        entries,
        log: Log::Sqlite(log),
        bus: Bus::Local(local),
        events,
        ear: Ear::deaf(),
    };
    let app = assemble::app(process, login.verifier().clone(), backends)?;
    let auth = AuthApp {
        process: process.clone(),
        login,
    };
    Ok(Running::Embedded(app, auth))
}

/// No new work, every socket told to come back later, everything accepted written.
pub(super) async fn drain(app: &App, stop: &CancellationToken, servers: &TaskTracker) {
    stop.cancel();
    app.sockets.close();
    let quiet = async {
        // What was sent before the close is answered before it.
        app.appender.idle().await;
        app.broadcast.close(Audience::All, Close::Restart).await;
        servers.wait().await;
        app.sockets.wait().await;
    };
    if tokio::time::timeout(DRAIN_TIMEOUT, quiet).await.is_err() {
        tracing::warn!("some connections did not end in time");
    }
    app.appender.idle().await;
}
