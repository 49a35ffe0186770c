//! Signing keys: the next one, published so that everybody knows it in time; the active one; and
//! retired ones, whose tokens are still about.

pub mod postgres;
mod published;
pub mod sqlite;

use banter_protocol::time::Timestamp;

pub use published::Published;

use crate::database::Database;
use crate::error::Result;

/// What a key is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Published, signs nothing yet.
    Next,
    /// Signs.
    Active,
    /// Signs no more.
    Retired,
}

/// A key as it is stored. Its private part is encrypted by who made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Its name in tokens.
    pub kid: String,
    /// What it is used for.
    pub state: State,
    /// The public key.
    pub public: [u8; 32],
    /// The encrypted private key.
    pub sealed: Vec<u8>,
    /// When it was made and published.
    pub created_at: Timestamp,
    /// When it came into its state.
    pub since: Timestamp,
}

/// A key to be stored.
#[derive(Debug, Clone)]
pub struct NewKey {
    /// Its name in tokens.
    pub kid: String,
    /// The public key.
    pub public: [u8; 32],
    /// The encrypted private key.
    pub sealed: Vec<u8>,
}

/// The signing keys of this installation.
#[derive(Debug, Clone)]
pub enum Keys {
    /// In the embedded database.
    Sqlite(sqlite::Keys),
    /// In PostgreSQL.
    Postgres(postgres::Keys),
}

impl Keys {
    /// Those in this database.
    #[must_use]
    pub fn new(database: &Database) -> Self {
        match database {
            Database::Sqlite(sqlite) => Self::Sqlite(sqlite::Keys::new(sqlite.clone())),
            Database::Postgres(postgres) => Self::Postgres(postgres::Keys::new(postgres.clone())),
        }
    }

    /// All of them.
    ///
    /// # Errors
    /// When storage fails.
    pub async fn all(&self) -> Result<Vec<Key>> {
        match self {
            Self::Sqlite(keys) => keys.all().await,
            Self::Postgres(keys) => keys.all().await,
        }
    }

    /// Stores the first two keys, unless there are keys already.
    ///
    /// # Errors
    /// When storage fails.
    pub async fn found(&self, active: &NewKey, next: &NewKey, now: Timestamp) -> Result<()> {
        match self {
            Self::Sqlite(keys) => keys.found(active, next, now).await,
            Self::Postgres(keys) => keys.found(active, next, now).await,
        }
    }

    /// Retires the active key, makes the next one active, and `next` the next. With `since`, only
    /// if the active key is active since before that time. Returns whether it was done.
    ///
    /// # Errors
    /// When storage fails.
    pub async fn rotate(
        &self,
        next: &NewKey,
        now: Timestamp,
        since: Option<Timestamp>,
    ) -> Result<bool> {
        match self {
            Self::Sqlite(keys) => keys.rotate(next, now, since).await,
            Self::Postgres(keys) => keys.rotate(next, now, since).await,
        }
    }

    /// Forgets all keys for these two.
    ///
    /// # Errors
    /// When storage fails.
    pub async fn replace(&self, active: &NewKey, next: &NewKey, now: Timestamp) -> Result<()> {
        match self {
            Self::Sqlite(keys) => keys.replace(active, next, now).await,
            Self::Postgres(keys) => keys.replace(active, next, now).await,
        }
    }

    /// Forgets keys that were retired before `since`. Returns whether there were any.
    ///
    /// # Errors
    /// When storage fails.
    pub async fn forget_retired(&self, since: Timestamp) -> Result<bool> {
        match self {
            Self::Sqlite(keys) => keys.forget_retired(since).await,
            Self::Postgres(keys) => keys.forget_retired(since).await,
        }
    }
}
