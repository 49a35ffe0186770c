//! Puts a process together, and takes it apart again.

mod assemble;
mod auth;
mod embedded;
mod gateway;
mod wait;
mod worker;

use std::path::PathBuf;

use axum::Router;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::app::{App, AuthApp, Process};
use crate::http::{self, Routes};
use crate::persist::Persist;
use crate::settings::{Role, Settings};
use crate::{admin, health, openapi};

/// Why a process could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The database's file cannot be used.
    #[error("the database {path} cannot be used")]
    Database {
        /// The file.
        path: PathBuf,
        /// Why.
        source: banter_storage::Error,
    },
    /// A server of the cluster must not be used; waiting for it does not help.
    #[error("{what} cannot be used")]
    Service {
        /// Which.
        what: String,
        /// Why.
        source: banter_storage::Error,
    },
    /// The accounts' keys cannot be used.
    #[error(transparent)]
    Login(#[from] crate::login::StartError),
    /// The settings are not those of this role.
    #[error("{0}")]
    Settings(String),
    /// The system refused something.
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

/// Where a process is reached, bound by the caller.
#[derive(Debug)]
pub struct Listeners {
    /// For people; only where the role answers them.
    pub public: Option<TcpListener>,
    /// For operators.
    pub admin: TcpListener,
}

/// A process that does its work.
enum Running {
    Embedded(App, AuthApp),
    Auth(AuthApp),
    Gateway(App),
    Worker(Persist),
}

/// Serves until `shutdown`, or until somebody asks for a drain over the admin address; then drains.
/// `ready` is called once requests can be answered. Until then a part of a cluster waits for the
/// others, and says so to whoever asks.
///
/// # Errors
/// [`StartError`]; once it serves, nothing ends it but a drain.
pub async fn run(
    role: Role,
    settings: Settings,
    listeners: Listeners,
    shutdown: CancellationToken,
    ready: impl FnOnce(),
) -> Result<(), StartError> {
    settings.suit(role).map_err(StartError::Settings)?;
    let reached = listeners.public.as_ref().unwrap_or(&listeners.admin);
    let public_origin = settings.server.public_origin(reached.local_addr()?);
    let process = Process::new(role, settings, public_origin).map_err(StartError::Settings)?;
    let (stop, servers) = (CancellationToken::new(), TaskTracker::new());
    let _stop_on_error = stop.clone().drop_guard();
    let (ask_drain, mut drain_asked) = mpsc::channel(1);
    let admin = Routes::new(admin::router(&process, ask_drain)?);
    let metrics = process.metrics.clone();
    servers.spawn(http::serve(
        listeners.admin,
        admin,
        metrics.clone(),
        stop.clone(),
    ));
    health::start(&process, &stop)?;
    let public = Routes::new(openapi::waiting(&process));
    // One process starts at once: whoever knocks meanwhile waits in the listener.
    let mut answering = listeners
        .public
        .map(|listener| http::serve(listener, public.clone(), metrics, stop.clone()));
    let asked = async {
        tokio::select! {
            () = shutdown.cancelled() => {}
            _ = drain_asked.recv() => {}
        }
    };
    tokio::pin!(asked);
    let running = match role {
        Role::All => embedded::start(&process).await?,
        _ => {
            if let Some(answering) = answering.take() {
                servers.spawn(answering);
            }
            tokio::select! {
                started = start(role, &process) => started?,
                () = &mut asked => return Ok(()),
            }
        }
    };
    public.replace(running.router(&process));
    if let Some(answering) = answering {
        servers.spawn(answering);
    }
    process.health.started();
    servers.close();
    ready();
    asked.await;
    tracing::info!("draining");
    process.begin_drain();
    running.drain(&stop, &servers).await;
    process.traces.finish().await;
    tracing::info!("drained");
    Ok(())
}

async fn start(role: Role, process: &Process) -> Result<Running, StartError> {
    Ok(match role {
        Role::All => embedded::start(process).await?,
        Role::Auth => Running::Auth(auth::start(process).await?),
        Role::Gateway => Running::Gateway(gateway::start(process).await?),
        Role::Worker => Running::Worker(worker::start(process).await?),
    })
}

impl Running {
    /// What is answered on the public address.
    fn router(&self, process: &Process) -> Router {
        let calls = match self {
            Self::Embedded(app, auth) => openapi::all(app, auth),
            Self::Auth(auth) => openapi::entrance(auth),
            Self::Gateway(app) => openapi::gateway(app),
            Self::Worker(_) => Router::new(),
        };
        openapi::router(process, calls)
    }

    /// Goes down: no new work, everything accepted done.
    async fn drain(self, stop: &CancellationToken, servers: &TaskTracker) {
        match self {
            Self::Embedded(app, _) => embedded::drain(&app, stop, servers).await,
            Self::Auth(_) => auth::drain(stop, servers).await,
            Self::Gateway(app) => gateway::drain(&app, stop, servers).await,
            Self::Worker(persist) => worker::drain(persist, stop, servers).await,
        }
    }
}
