//! What the handlers and sockets of a process can reach.

use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use axum::extract::FromRef;
use banter_storage::accounts::Accounts;
use banter_storage::board::Board;
use banter_storage::bus::Bus;
use banter_storage::channels::Channels;
use banter_storage::entries::Entries;
use banter_storage::log::Log;
use banter_storage::webhooks::Webhooks;
use tokio_util::task::TaskTracker;

use crate::broadcast::Broadcast;
use crate::channels::WebhookGate;
use crate::connect::Admissions;
use crate::health::{Health, Probe};
use crate::login::{Login, Verifier};
use crate::metric::{Dependency, Metrics};
use crate::send::Appender;
use crate::settings::{Origin, Role, Settings};
use crate::trace::Traces;

/// What a process of any role has. Cloning shares it.
#[derive(Clone)]
pub struct Process(Arc<ProcessParts>);

/// See [`Process`].
pub struct ProcessParts {
    /// Which part of the server it is.
    pub role: Role,
    /// What the operator set.
    pub settings: Settings,
    /// The origin under which people reach this server.
    pub public_origin: Origin,
    /// What is counted.
    pub metrics: Metrics,
    /// Where the time of entries goes.
    pub traces: Traces,
    /// What it needs, and whether that is there.
    pub health: Health,
    /// What the other processes of a cluster see of this one, once it has a log that they share.
    pub board: OnceLock<Board>,
    draining: AtomicBool,
}

impl Process {
    /// A process that begins.
    ///
    /// # Errors
    /// What of the settings cannot be used.
    pub fn new(role: Role, settings: Settings, public_origin: Origin) -> Result<Self, String> {
        let metrics = Metrics::new();
        let traces = Traces::start(&settings.telemetry, role, &metrics)?;
        Ok(Self(Arc::new(ProcessParts {
            role,
            settings,
            public_origin,
            metrics,
            traces,
            health: Health::default(),
            board: OnceLock::new(),
            draining: AtomicBool::new(false),
        })))
    }
}

impl Deref for Process {
    type Target = ProcessParts;

    fn deref(&self) -> &ProcessParts {
        &self.0
    }
}

impl ProcessParts {
    /// Whether the process is going down.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Something it needs is there, and is asked from now on how it does.
    pub fn watch(&self, dependency: Dependency, probe: Probe) {
        self.metrics.is_up(dependency, true);
        self.health.watch(dependency, probe);
    }

    /// Takes no more work from now on.
    pub fn begin_drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Whether a page of this origin may use the server: our own, under the name it was reached by
    /// or the public one, or one on the list.
    #[must_use]
    pub fn allows_origin(&self, origin: &str, host: Option<&str>) -> bool {
        let own = host.is_some_and(|host| {
            let authority = origin.split_once("://").map(|(_, authority)| authority);
            authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host))
        });
        own || origin == self.public_origin.to_string()
            || self
                .settings
                .server
                .allowed_origins
                .iter()
                .any(|o| o.to_string() == origin)
    }
}

/// What letting people in needs. Cloning shares it.
#[derive(Clone)]
pub struct AuthApp {
    /// The process.
    pub process: Process,
    /// Passwords, sessions and what they are given.
    pub login: Arc<Login>,
}

impl Deref for AuthApp {
    type Target = ProcessParts;

    fn deref(&self) -> &ProcessParts {
        &self.process
    }
}

impl FromRef<AuthApp> for Process {
    fn from_ref(app: &AuthApp) -> Self {
        app.process.clone()
    }
}

/// What everything behind a login needs. Cloning shares it.
#[derive(Clone)]
pub struct App(Arc<Parts>);

/// See [`App`].
pub struct Parts {
    /// The process.
    pub process: Process,
    /// Tells whose token is good.
    pub verifier: Arc<Verifier>,
    /// Accounts.
    pub accounts: Accounts,
    /// Channels and members.
    pub channels: Channels,
    /// Incoming webhooks.
    pub webhooks: Webhooks,
    /// How often they may be made and used.
    pub webhook_gate: WebhookGate,
    /// Stored entries.
    pub entries: Entries,
    /// Where entries go.
    pub log: Log,
    /// Where entries are announced.
    pub bus: Bus,
    /// The way into the log.
    pub appender: Appender,
    /// The way to the sockets.
    pub broadcast: Broadcast,
    /// Places for sockets.
    pub admissions: Admissions,
    /// Tasks of sockets.
    pub sockets: TaskTracker,
}

impl App {
    /// Puts the parts together.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }
}

impl Deref for App {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl Deref for Parts {
    type Target = ProcessParts;

    fn deref(&self) -> &ProcessParts {
        &self.process
    }
}

impl FromRef<App> for Process {
    fn from_ref(app: &App) -> Self {
        app.process.clone()
    }
}
