//! Revocations: what every process that accepts access tokens must hear of. They are written in
//! the transaction of what they tell, so that none is lost, and followed by their number.

pub mod postgres;
pub(crate) mod redis;
pub mod sqlite;

use banter_protocol::id::{SessionId, UserId};
use banter_protocol::time::Timestamp;

pub use redis::Stream;

use crate::database::Database;
use crate::error::Result;

/// What has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// A session is over, and so are its access tokens.
    SessionEnded(SessionId),
    /// An account may not be used any more. Its sessions' ends follow.
    Disabled(UserId),
    /// An account may be used again.
    Enabled(UserId),
    /// The next signing key has become the active one.
    KeysRotated,
    /// All signing keys are new; what the old ones signed is good no more.
    KeysReplaced,
}

/// One of them, numbered in the order of the transactions that wrote them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Revocation {
    /// Its number, from 1.
    pub id: i64,
    /// When it was written.
    pub at: Timestamp,
    /// What has happened.
    pub change: Change,
}

/// The revocations of this installation.
#[derive(Debug, Clone)]
pub enum Revocations {
    /// In the embedded database.
    Sqlite(sqlite::Revocations),
    /// In PostgreSQL.
    Postgres(postgres::Revocations),
}

impl Revocations {
    /// Those in this database.
    #[must_use]
    pub fn new(database: &Database) -> Self {
        match database {
            Database::Sqlite(sqlite) => Self::Sqlite(sqlite::Revocations::new(sqlite.clone())),
            Database::Postgres(postgres) => {
                Self::Postgres(postgres::Revocations::new(postgres.clone()))
            }
        }
    }

    /// Up to `limit` of those after number `after`, in order.
    ///
    /// # Errors
    /// When storage fails.
    pub async fn after(&self, after: i64, limit: u32) -> Result<Vec<Revocation>> {
        match self {
            Self::Sqlite(revocations) => revocations.after(after, limit).await,
            Self::Postgres(revocations) => revocations.after(after, limit).await,
        }
    }

    /// Forgets those from before `since`: no access token lives so long.
    ///
    /// # Errors
    /// When storage fails.
    pub async fn forget(&self, since: Timestamp) -> Result<()> {
        match self {
            Self::Sqlite(revocations) => revocations.forget(since).await,
            Self::Postgres(revocations) => revocations.forget(since).await,
        }
    }
}
