//! What every handler and socket of the process can reach.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use banter_storage::accounts::Accounts;
use banter_storage::channels::Channels;
use banter_storage::entries::Entries;
use banter_storage::log::Log;
use tokio_util::task::TaskTracker;

use crate::broadcast::Broadcast;
use crate::connect::Admissions;
use crate::login::Login;
use crate::metric::Metrics;
use crate::send::Appender;
use crate::settings::{Origin, Settings};

/// The parts of a running process. Cloning shares them.
#[derive(Clone)]
pub struct App(Arc<Parts>);

/// See [`App`].
pub struct Parts {
    /// What the operator set.
    pub settings: Settings,
    /// The origin under which people reach this server.
    pub public_origin: Origin,
    /// Accounts.
    pub accounts: Accounts,
    /// Channels and members.
    pub channels: Channels,
    /// Stored entries.
    pub entries: Entries,
    /// Where entries go.
    pub log: Log,
    /// Passwords, tokens, sessions.
    pub login: Arc<Login>,
    /// The way into the log.
    pub appender: Appender,
    /// The way to the sockets.
    pub broadcast: Broadcast,
    /// Places for sockets.
    pub admissions: Admissions,
    /// What is counted.
    pub metrics: Metrics,
    /// Tasks of sockets.
    pub sockets: TaskTracker,
    /// Set once the process is going down.
    pub draining: AtomicBool,
}

impl App {
    /// Puts the parts together.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    /// Whether the process is going down.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
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

impl Deref for App {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}
