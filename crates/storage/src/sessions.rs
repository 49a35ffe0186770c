//! Sessions: one login each, prolonged by refresh tokens of which only the newest is good.

pub mod postgres;
pub mod sqlite;

use std::time::Duration;

use banter_protocol::id::{SessionId, UserId};
use banter_protocol::time::Timestamp;

use crate::accounts::Account;
use crate::database::Database;
use crate::error::Result;

/// What a session's refresh tokens are derived from, besides the server's secret.
pub type Seed = [u8; 32];

/// Number of a refresh token in its session, from 1.
pub type Generation = u32;

/// A session to be begun; its first refresh token is generation 1.
#[derive(Clone)]
pub struct NewSession {
    /// A fresh id.
    pub id: SessionId,
    /// Whose.
    pub user: UserId,
    /// Fresh random bytes.
    pub seed: Seed,
    /// Now.
    pub created_at: Timestamp,
}

/// How long sessions and their refresh tokens last.
#[derive(Debug, Clone, Copy)]
pub struct Lifetimes {
    /// Longest time without a refresh.
    pub idle: Duration,
    /// Longest time altogether.
    pub absolute: Duration,
    /// How long the predecessor of the newest refresh token still answers.
    pub grace: Duration,
}

/// What becomes of a refresh token that was presented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// The newest: to be replaced by its successor.
    Newest,
    /// The one before it, shortly after it was replaced: the answer may have been lost.
    Repeated,
    /// An older one: somebody has copied it.
    Reused,
    /// The session is over, or the token is one that this database has not issued yet (it was
    /// restored from a backup).
    Over,
}

/// Decides about the refresh token of `presented` generation, from the session's newest generation
/// and its times.
#[must_use]
pub fn standing(
    presented: Generation,
    newest: Generation,
    created_at: Timestamp,
    rotated_at: Timestamp,
    now: Timestamp,
    lifetimes: &Lifetimes,
) -> Standing {
    let within = |since: Timestamp, duration: Duration| {
        let length = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        now.as_ms().saturating_sub(since.as_ms()) < length
    };
    if !within(rotated_at, lifetimes.idle) || !within(created_at, lifetimes.absolute) {
        Standing::Over
    } else if presented == newest {
        Standing::Newest
    } else if presented > newest {
        Standing::Over
    } else if presented + 1 == newest && within(rotated_at, lifetimes.grace) {
        Standing::Repeated
    } else {
        Standing::Reused
    }
}

/// What a refresh came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refreshed {
    /// The session goes on with the refresh token of this generation.
    Successor {
        /// Its number.
        generation: Generation,
        /// Whose session it is.
        account: Account,
        /// Whether the same answer was given before.
        repeated: bool,
    },
    /// An old refresh token: the session has been ended.
    Reused,
    /// There is no such session any more.
    Over,
}

/// A session with its account, as a store finds it.
struct Found {
    generation: Generation,
    created_at: Timestamp,
    rotated_at: Timestamp,
    account: Account,
}

impl Found {
    fn standing(&self, presented: Generation, now: Timestamp, lifetimes: &Lifetimes) -> Standing {
        let (created_at, rotated_at) = (self.created_at, self.rotated_at);
        standing(
            presented,
            self.generation,
            created_at,
            rotated_at,
            now,
            lifetimes,
        )
    }

    fn successor(self, generation: Generation, repeated: bool) -> Refreshed {
        Refreshed::Successor {
            generation,
            account: self.account,
            repeated,
        }
    }
}

/// The sessions of this installation.
#[derive(Debug, Clone)]
pub enum Sessions {
    /// In the embedded database.
    Sqlite(sqlite::Sessions),
    /// In PostgreSQL.
    Postgres(postgres::Sessions),
}

impl Sessions {
    /// Those in this database.
    #[must_use]
    pub fn new(database: &Database) -> Self {
        match database {
            Database::Sqlite(sqlite) => Self::Sqlite(sqlite::Sessions::new(sqlite.clone())),
            Database::Postgres(postgres) => {
                Self::Postgres(postgres::Sessions::new(postgres.clone()))
            }
        }
    }

    /// Begins a session. False: the account has been disabled meanwhile.
    ///
    /// # Errors
    /// When storage fails.
    pub async fn begin(&self, session: &NewSession) -> Result<bool> {
        match self {
            Self::Sqlite(sessions) => sessions.begin(session).await,
            Self::Postgres(sessions) => sessions.begin(session).await,
        }
    }

    /// What the refresh tokens of this session are derived from.
    ///
    /// # Errors
    /// When storage fails.
    pub async fn seed(&self, id: SessionId) -> Result<Option<Seed>> {
        match self {
            Self::Sqlite(sessions) => sessions.seed(id).await,
            Self::Postgres(sessions) => sessions.seed(id).await,
        }
    }

    /// Takes a genuine refresh token's generation; replaces it, repeats its successor, or ends the
    /// session, in one transaction.
    ///
    /// # Errors
    /// When storage fails; the same call may then be repeated within the grace time.
    pub async fn refresh(
        &self,
        id: SessionId,
        presented: Generation,
        now: Timestamp,
        lifetimes: &Lifetimes,
    ) -> Result<Refreshed> {
        match self {
            Self::Sqlite(sessions) => sessions.refresh(id, presented, now, lifetimes).await,
            Self::Postgres(sessions) => sessions.refresh(id, presented, now, lifetimes).await,
        }
    }

    /// Ends a session at the wish of who presents a genuine refresh token. False: the token was
    /// good no more; an old one ends the session all the same.
    ///
    /// # Errors
    /// When storage fails; then it is unknown whether the session has ended.
    pub async fn end(
        &self,
        id: SessionId,
        presented: Generation,
        now: Timestamp,
        lifetimes: &Lifetimes,
    ) -> Result<bool> {
        match self {
            Self::Sqlite(sessions) => sessions.end(id, presented, now, lifetimes).await,
            Self::Postgres(sessions) => sessions.end(id, presented, now, lifetimes).await,
        }
    }

    /// Forgets sessions that were over before `since` and need no announcement any more.
    ///
    /// # Errors
    /// When storage fails.
    pub async fn forget_over(&self, since: Timestamp, lifetimes: &Lifetimes) -> Result<()> {
        match self {
            Self::Sqlite(sessions) => sessions.forget_over(since, lifetimes).await,
            Self::Postgres(sessions) => sessions.forget_over(since, lifetimes).await,
        }
    }
}
