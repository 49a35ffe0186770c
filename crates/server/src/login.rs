//! Who somebody is: accounts, passwords, sessions, tokens.

pub mod keys;
pub mod password;
pub mod refresh;
pub mod secret;
pub mod throttle;
pub mod token;

use std::sync::Arc;

use banter_protocol::session::Identity;
use banter_storage::Sqlite;

use crate::broadcast::Broadcast;
use crate::metric::Metrics;
use crate::settings::{Origin, Settings};

/// Why a token is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denied {
    /// Not ours, or broken.
    Invalid,
    /// Its time is over.
    Expired,
    /// Its session was ended.
    SessionEnded,
    /// Its account is disabled.
    AccountDisabled,
}

/// Whose sockets end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Revoked {
    /// One session's.
    Session(banter_protocol::id::SessionId),
    /// All of a user's.
    User(banter_protocol::id::UserId),
}

/// Why logins cannot be served.
#[derive(Debug, thiserror::Error)]
#[error("keys")]
pub struct StartError;

/// Logins.
#[derive(Debug)]
pub struct Login;

impl Login {
    /// Starts.
    pub async fn start(
        _: &Settings,
        _: &Origin,
        _: &Sqlite,
        _: &Metrics,
    ) -> Result<Arc<Self>, StartError> {
        Err(StartError)
    }
    /// Checks a token.
    pub fn verify(&self, _token: &str, _now_ms: i64) -> Result<Identity, Denied> {
        Err(Denied::Invalid)
    }
    /// Checks whether a session still stands.
    pub fn standing(&self, _identity: &Identity) -> Result<(), Denied> {
        Err(Denied::Invalid)
    }
    /// Tells what was revoked.
    pub fn revocations(&self) -> tokio::sync::broadcast::Receiver<Revoked> {
        tokio::sync::broadcast::channel(1).1
    }
}

/// Closes sockets of ended sessions.
pub async fn close_ended(_: tokio::sync::broadcast::Receiver<Revoked>, _: Broadcast) {}
