//! The embedded database: one `SQLite` file with one writer and a few readers.
//!
//! All writes of the process take turns on one connection, in the order in which they asked:
//! `SQLite` has one write lock, and waiting for it in the database is polling. Another process
//! (`banter user …` beside a server) waits for the lock by polling, up to [`BUSY_TIMEOUT`].

pub(crate) mod row;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sqlx::migrate::Migrator;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};
use sqlx::{ConnectOptions as _, Connection as _};
use tokio::sync::{Mutex, MutexGuard};

use crate::error::{Error, Result};

/// How long a connection waits for another process's write: many times what our own commands
/// take, and short enough that a sender is refused while somebody still waits for the answer.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);
/// Readers: twice the cores, because a reader that reads from disk waits.
const READERS_MAX: u32 = 4;
/// Memory that each connection may use for pages, in KiB (negative: `SQLite`'s way to say KiB).
const CACHE_KIB: &str = "-4096";

/// The embedded database. Cloning shares it.
#[derive(Debug, Clone)]
pub struct Sqlite {
    path: PathBuf,
    readers: SqlitePool,
    writer: Arc<Mutex<SqliteConnection>>,
}

impl Sqlite {
    /// Opens the file, creates it where it is missing, and brings its schema up to date.
    ///
    /// # Errors
    /// [`Error::NewerSchema`] when a newer version wrote it, [`Error::Unavailable`] when it cannot
    /// be opened or written.
    pub async fn open(path: &Path) -> Result<Self> {
        let options = options(path);
        let mut writer = options.clone().create_if_missing(true).connect().await?;
        migrate(&mut writer).await?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS_MAX)
            .min_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
            .test_before_acquire(false)
            .acquire_timeout(BUSY_TIMEOUT)
            .connect_with(options.pragma("query_only", "on"))
            .await?;
        Ok(Self {
            path: path.to_owned(),
            readers,
            writer: Arc::new(Mutex::new(writer)),
        })
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Connections for short reads.
    pub(crate) const fn readers(&self) -> &SqlitePool {
        &self.readers
    }

    /// The connection for writes, when it is this caller's turn.
    pub(crate) async fn writer(&self) -> MutexGuard<'_, SqliteConnection> {
        let mut writer = self.writer.lock().await;
        if writer.is_in_transaction() {
            // The one before gave up in the middle. Its rollback is on its way, unless the
            // database itself has rolled back (a full disk): sqlx then counts a transaction that
            // does not exist, for ever.
            let pinged = writer.ping().await;
            if pinged.is_err() || writer.is_in_transaction() {
                let reopened = self.reopen(&mut writer).await;
                tracing::warn!(?reopened, "reopened the database after a failed write");
            }
        }
        writer
    }

    /// A connection of the caller's own, which must not write while others do.
    pub(crate) async fn connect(&self) -> Result<SqliteConnection> {
        Ok(options(&self.path).connect().await?)
    }

    /// Opens the writer anew, after a write whose outcome is unknown.
    pub(crate) async fn reopen(&self, writer: &mut SqliteConnection) -> Result<()> {
        let fresh = self.connect().await?;
        let old = std::mem::replace(writer, fresh);
        // The old connection may hold a failed transaction; closing it rolls that back.
        let _ = old.close().await;
        Ok(())
    }
}

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(BUSY_TIMEOUT)
        .foreign_keys(true)
        .statement_cache_capacity(64)
        .pragma("cache_size", CACHE_KIB)
        // The log's checkpoints are its own: automatic ones would fall into some sender's commit.
        .pragma("wal_autocheckpoint", "0")
        .disable_statement_logging()
}

static MIGRATIONS: &[(i64, &str, &str)] = &[
    (
        1,
        "accounts",
        include_str!("../migrations/sqlite/0001_accounts.sql"),
    ),
    (
        2,
        "channels",
        include_str!("../migrations/sqlite/0002_channels.sql"),
    ),
    (
        3,
        "webhooks",
        include_str!("../migrations/sqlite/0003_webhooks.sql"),
    ),
];

async fn migrate(connection: &mut SqliteConnection) -> Result<()> {
    use sqlx::migrate::{MigrateError, Migration, MigrationType};
    use std::borrow::Cow;

    let migrations = MIGRATIONS.iter().map(|(version, name, sql)| {
        Migration::new(
            *version,
            Cow::Borrowed(*name),
            MigrationType::Simple,
            sqlx::SqlStr::from_static(sql),
            false,
        )
    });
    let migrator = Migrator::with_migrations(migrations.collect());
    match migrator.run_direct(None, connection, false).await {
        Ok(()) => Ok(()),
        Err(MigrateError::VersionMissing(found)) => {
            let known = MIGRATIONS.last().map_or(0, |(version, ..)| *version);
            Err(Error::NewerSchema { found, known })
        }
        Err(other) => Err(Error::Unavailable(other.to_string())),
    }
}
