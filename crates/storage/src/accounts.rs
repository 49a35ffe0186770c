//! Accounts: who may log in.

pub mod postgres;
pub mod sqlite;

use banter_protocol::id::UserId;
use banter_protocol::text::Username;
use banter_protocol::time::Timestamp;

use crate::database::Database;
use crate::error::Result;
use crate::sessions::NewSession;

/// Somebody who may log in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// For ever.
    pub id: UserId,
    /// For ever too.
    pub username: Username,
    /// When it was made.
    pub created_at: Timestamp,
    /// Whether logging in is forbidden.
    pub disabled: bool,
}

/// An account with what proves that somebody is its owner.
#[derive(Clone)]
pub struct Credentials {
    /// Whose.
    pub account: Account,
    /// The password's hash, as a PHC string.
    pub password: String,
}

/// An account to be made.
#[derive(Clone)]
pub struct NewAccount {
    /// A fresh id.
    pub id: UserId,
    /// Its name.
    pub username: Username,
    /// The password's hash, as a PHC string.
    pub password: String,
    /// Now.
    pub created_at: Timestamp,
}

/// The accounts of this installation.
#[derive(Debug, Clone)]
pub enum Accounts {
    /// In the embedded database.
    Sqlite(sqlite::Accounts),
    /// In PostgreSQL.
    Postgres(postgres::Accounts),
}

impl Accounts {
    /// Those in this database.
    #[must_use]
    pub fn new(database: &Database) -> Self {
        match database {
            Database::Sqlite(sqlite) => Self::Sqlite(sqlite::Accounts::new(sqlite.clone())),
            Database::Postgres(postgres) => {
                Self::Postgres(postgres::Accounts::new(postgres.clone()))
            }
        }
    }

    /// Makes an account and, with it, the session of who registered. False: the username is taken.
    ///
    /// # Errors
    /// When storage fails; then it is unknown whether the account exists.
    pub async fn create(&self, account: &NewAccount, session: Option<&NewSession>) -> Result<bool> {
        match self {
            Self::Sqlite(accounts) => accounts.create(account, session).await,
            Self::Postgres(accounts) => accounts.create(account, session).await,
        }
    }

    /// The account of that name with its password's hash.
    ///
    /// # Errors
    /// When storage fails.
    pub async fn credentials(&self, username: &Username) -> Result<Option<Credentials>> {
        match self {
            Self::Sqlite(accounts) => accounts.credentials(username).await,
            Self::Postgres(accounts) => accounts.credentials(username).await,
        }
    }

    /// The account with that id.
    ///
    /// # Errors
    /// When storage fails.
    pub async fn by_id(&self, id: UserId) -> Result<Option<Account>> {
        match self {
            Self::Sqlite(accounts) => accounts.by_id(id).await,
            Self::Postgres(accounts) => accounts.by_id(id).await,
        }
    }

    /// The account of that name.
    ///
    /// # Errors
    /// When storage fails.
    pub async fn by_username(&self, username: &Username) -> Result<Option<Account>> {
        let found = self.credentials(username).await?;
        Ok(found.map(|credentials| credentials.account))
    }

    /// Up to `limit` accounts whose names follow `after`, by name.
    ///
    /// # Errors
    /// When storage fails.
    pub async fn page(&self, after: Option<&Username>, limit: u32) -> Result<Vec<Account>> {
        match self {
            Self::Sqlite(accounts) => accounts.page(after, limit).await,
            Self::Postgres(accounts) => accounts.page(after, limit).await,
        }
    }

    /// Disables an account, which ends all its sessions, or enables it again. `None`: there is no
    /// such account. Doing it twice changes nothing.
    ///
    /// # Errors
    /// When storage fails; then it is unknown whether it was done.
    pub async fn set_disabled(
        &self,
        username: &Username,
        disabled: bool,
        now: Timestamp,
    ) -> Result<Option<Account>> {
        match self {
            Self::Sqlite(accounts) => accounts.set_disabled(username, disabled, now).await,
            Self::Postgres(accounts) => accounts.set_disabled(username, disabled, now).await,
        }
    }

    /// Replaces a password's hash by another hash of the same password, unless somebody else has
    /// replaced it meanwhile.
    ///
    /// # Errors
    /// When storage fails.
    pub async fn rehash(&self, id: UserId, old: &str, new: &str) -> Result<()> {
        match self {
            Self::Sqlite(accounts) => accounts.rehash(id, old, new).await,
            Self::Postgres(accounts) => accounts.rehash(id, old, new).await,
        }
    }
}
