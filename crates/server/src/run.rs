//! Puts a process together, and takes it apart again.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use banter_protocol::close::Close;
use banter_storage::Sqlite;
use banter_storage::accounts::Accounts;
use banter_storage::bus::{Bus, LocalBus};
use banter_storage::channels::Channels;
use banter_storage::entries::Entries;
use banter_storage::log::{Log, SqliteLog};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::app::{App, Parts};
use crate::broadcast::{Audience, Broadcast};
use crate::channels::Seats;
use crate::connect::Admissions;
use crate::login::Login;
use crate::metric::Metrics;
use crate::send::Appender;
use crate::settings::{DatabaseUrl, Settings};
use crate::{admin, health, http, openapi};

/// How long sockets and requests may take to end; below 1,000 sockets they need a fraction of it.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a process could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The database cannot be used.
    #[error("the database {path} cannot be used: {source}")]
    Database {
        /// The file.
        path: PathBuf,
        /// Why.
        source: banter_storage::Error,
    },
    /// The accounts' keys cannot be used.
    #[error(transparent)]
    Login(#[from] crate::login::StartError),
    /// The system refused something.
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

/// Where a process is reached, bound by the caller.
#[derive(Debug)]
pub struct Listeners {
    /// For people.
    pub public: TcpListener,
    /// For operators.
    pub admin: TcpListener,
}

/// Serves until `shutdown`, or until somebody asks for a drain over the admin address; then drains.
/// `ready` is called once requests can be answered.
///
/// # Errors
/// [`StartError`]; once it serves, nothing ends it but a drain.
pub async fn run(
    settings: Settings,
    listeners: Listeners,
    shutdown: CancellationToken,
    ready: impl FnOnce(),
) -> Result<(), StartError> {
    let app = assemble(settings, listeners.public.local_addr()?).await?;
    let (stop, servers) = (CancellationToken::new(), TaskTracker::new());
    let (ask_drain, mut drain_asked) = mpsc::channel(1);
    servers.spawn(http::serve(
        listeners.public,
        openapi::router(&app),
        app.metrics.clone(),
        stop.clone(),
    ));
    let (admin, metrics) = (admin::router(app.clone(), ask_drain)?, app.metrics.clone());
    servers.spawn(http::serve(listeners.admin, admin, metrics, stop.clone()));
    health::start(&app, &stop)?;
    servers.close();
    ready();
    tokio::select! {
        () = shutdown.cancelled() => {}
        _ = drain_asked.recv() => {}
    }
    drain(&app, &stop, &servers).await;
    Ok(())
}

/// Goes down: no new work, every socket told to come back later, everything accepted written.
async fn drain(app: &App, stop: &CancellationToken, servers: &TaskTracker) {
    tracing::info!("draining");
    app.draining.store(true, Ordering::Relaxed);
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
    tracing::info!("drained");
}

async fn assemble(settings: Settings, address: SocketAddr) -> Result<App, StartError> {
    let DatabaseUrl::Sqlite(file) = &settings.database.url;
    let path = settings.server.data_dir.join(file);
    let failed = |source| StartError::Database {
        path: path.clone(),
        source,
    };
    let database = Sqlite::open(&path).await.map_err(failed)?;
    let metrics = Metrics::new();
    let (local, events) = LocalBus::new();
    let log = SqliteLog::open(database.clone(), local.clone())
        .await
        .map_err(failed)?;
    let (log, bus) = (Log::Sqlite(log), Bus::Local(local));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let broadcast = Broadcast::start(events, cores, &metrics)?;
    let limits = &settings.limits;
    let appender = Appender::start(
        log.clone(),
        bus,
        broadcast.clone(),
        limits.channel_entries_per_second,
        metrics.clone(),
    );
    let public_origin = settings.server.public_origin(address);
    let login = Login::start(&settings, &public_origin, &database, &metrics).await?;
    let app = App::new(Parts {
        admissions: Admissions::new(limits.address_upgrades_per_second, limits.address_sockets),
        public_origin,
        accounts: Accounts::sqlite(database.clone()),
        channels: Channels::sqlite(&database),
        seats: Seats::default(),
        entries: Entries::sqlite(&database),
        log,
        login,
        appender,
        broadcast,
        metrics,
        sockets: TaskTracker::new(),
        draining: AtomicBool::new(false),
        settings,
    });
    tokio::spawn(crate::login::close_ended(
        app.login.revocations(),
        app.broadcast.clone(),
    ));
    Ok(app)
}
