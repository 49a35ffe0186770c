//! Puts a process together, and takes it apart again.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
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
use crate::{admin, http, openapi};

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

/// A process that serves.
pub struct Running {
    app: App,
    stop: CancellationToken,
    servers: TaskTracker,
    drain_asked: mpsc::Receiver<()>,
    /// Where the public listener is bound.
    pub address: SocketAddr,
}

/// Starts everything on listeners that the caller has bound.
///
/// # Errors
/// [`StartError`].
pub async fn start(
    settings: Settings,
    public: TcpListener,
    admin: TcpListener,
) -> Result<Running, StartError> {
    let address = public.local_addr()?;
    let app = assemble(settings, address).await?;
    let stop = CancellationToken::new();
    let servers = TaskTracker::new();
    let (ask_drain, drain_asked) = mpsc::channel(1);
    let router: Router = openapi::router(&app);
    servers.spawn(http::serve(public, router, stop.clone()));
    servers.spawn(http::serve(
        admin,
        admin::router(app.clone(), ask_drain),
        stop.clone(),
    ));
    servers.close();
    Ok(Running {
        app,
        stop,
        servers,
        drain_asked,
        address,
    })
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

impl Running {
    /// Returns when somebody asked over the admin address that the process go down.
    pub async fn drain_asked(&mut self) {
        if self.drain_asked.recv().await.is_none() {
            std::future::pending().await
        }
    }

    /// Goes down: no new work, every socket told to come back later, everything accepted written.
    pub async fn drain(self) {
        self.app.draining.store(true, Ordering::Relaxed);
        tracing::info!("draining");
        self.stop.cancel();
        self.app.sockets.close();
        let quiet = async {
            // What was sent before the close is answered before it.
            self.app.appender.idle().await;
            self.app
                .broadcast
                .close(Audience::All, Close::Restart)
                .await;
            self.servers.wait().await;
            self.app.sockets.wait().await;
        };
        if tokio::time::timeout(DRAIN_TIMEOUT, quiet).await.is_err() {
            tracing::warn!("some connections did not end in time");
        }
        self.app.appender.idle().await;
        tracing::info!("drained");
    }
}
