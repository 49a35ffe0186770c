//! The database of a cluster: PostgreSQL, its primary server alone.
//!
//! A pool for each process, whose connections come back by themselves after the server was away.
//! Advisory locks need a session of their own, so a pooler between may pool sessions but not
//! transactions.

pub(crate) mod lock;
pub(crate) mod row;

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr as _;
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions as _, Connection as _, Row as _};

use crate::error::{Error, Result};

/// The oldest server that is tested, as the server numbers its versions.
const OLDEST: i32 = 15_00_00;
/// How long a connection may take to be there: many times what a healthy server takes, even over
/// TLS, and short enough that whoever waits for an answer is still there to hear `unavailable`.
const CONNECT_MAX: Duration = Duration::from_secs(2);
/// The server gives up a statement after so long. All of ours take milliseconds, a worker's batch
/// on a busy disk a second: one that takes longer only makes others wait.
const STATEMENT_MAX: &str = "10s";
/// The server ends a session that has left its transaction alone for so long, and with it the locks
/// of a worker that hangs.
const IDLE_IN_TRANSACTION_MAX: &str = "5s";

/// What a process needs the database for: it decides how many connections it may have. A server
/// takes 100 by default, which is room for two auth services, six gateways and four workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Logins. Hashing lets through a few dozen a second, each with some queries of a millisecond.
    Auth,
    /// Pages, lists and joins, thousands a second at a millisecond each.
    Gateway,
    /// One batch at a time, and what watches over it.
    Worker,
    /// A command of an operator.
    Command,
}

impl Role {
    const fn connections(self) -> u32 {
        match self {
            Self::Auth => 8,
            Self::Gateway => 10,
            Self::Worker => 4,
            Self::Command => 2,
        }
    }

    /// How the server's own lists of sessions name it.
    const fn application(self) -> &'static str {
        match self {
            Self::Auth => "banter auth",
            Self::Gateway => "banter gateway",
            Self::Worker => "banter worker",
            Self::Command => "banter command",
        }
    }
}

/// The database of a cluster. Cloning shares it.
#[derive(Clone)]
pub struct Postgres {
    pool: PgPool,
}

impl fmt::Debug for Postgres {
    /// The options hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let options = self.pool.connect_options();
        f.debug_struct("Postgres")
            .field("host", &options.get_host())
            .finish()
    }
}

impl Postgres {
    /// Connects to the database at `postgres://user:password@host:port/database?sslmode=…`, checks
    /// the server, and brings the schema up to date, for which several processes take turns.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when it cannot be reached now, [`Error::Settings`] when `url` is not
    /// one, [`Error::TooOld`], [`Error::NewerSchema`]. None of them repeats a password.
    pub async fn open(url: &str, role: Role) -> Result<Self> {
        let options = options(url, role)?;
        let mut first = connect(options.clone().options([("statement_timeout", "0")])).await?;
        check(&mut first).await?;
        migrate(&mut first).await?;
        let _ = first.close().await;
        // A connection is tried before it is used: after a restart of the server every idle one is
        // dead, and each would fail somebody's request.
        let pool = PgPoolOptions::new()
            .max_connections(role.connections())
            .acquire_timeout(CONNECT_MAX)
            .connect_lazy_with(options);
        Ok(Self { pool })
    }

    /// The shared connections.
    pub(crate) const fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// A connection of the caller's own.
    pub(crate) async fn connect(&self) -> Result<PgConnection> {
        let options = self.pool.connect_options();
        connect((*options).clone()).await
    }

    /// Closes every connection, when those who use them have finished.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

fn options(url: &str, role: Role) -> Result<PgConnectOptions> {
    let is_postgres = ["postgres://", "postgresql://"]
        .iter()
        .any(|scheme| url.starts_with(scheme));
    if !is_postgres {
        return Err(unreadable());
    }
    // The reason may quote what stands beside the password, or the password.
    let options = PgConnectOptions::from_str(url).map_err(|_| unreadable())?;
    Ok(options
        .application_name(role.application())
        .options([
            ("statement_timeout", STATEMENT_MAX),
            (
                "idle_in_transaction_session_timeout",
                IDLE_IN_TRANSACTION_MAX,
            ),
        ])
        .disable_statement_logging())
}

fn unreadable() -> Error {
    let shape = "postgres://user:password@host:port/database?sslmode=require";
    Error::Settings(format!("the database's address must look like {shape}"))
}

async fn connect(options: PgConnectOptions) -> Result<PgConnection> {
    let place = format!(
        "PostgreSQL at {}:{}",
        options.get_host(),
        options.get_port()
    );
    match tokio::time::timeout(CONNECT_MAX, options.connect()).await {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(error)) => Err(Error::Unavailable(format!("{place}: {error}"))),
        Err(_) => Err(Error::Unavailable(format!("{place}: no answer"))),
    }
}

/// Refuses a server that cannot hold our data, and says what it found.
async fn check(connection: &mut PgConnection) -> Result<()> {
    const SQL: &str = "SELECT current_setting('server_version'), \
                              current_setting('server_version_num')::int, \
                              current_setting('server_encoding'), pg_is_in_recovery()";
    let found = sqlx::query(SQL).fetch_one(connection).await?;
    refuse_old(found.try_get(0)?, found.try_get(1)?)?;
    let encoding: &str = found.try_get(2)?;
    if encoding != "UTF8" {
        return Err(Error::Settings(format!(
            "the database is encoded in {encoding}; create one with ENCODING 'UTF8'"
        )));
    }
    if found.try_get(3)? {
        return Err(Error::Unavailable(
            "the PostgreSQL server is a standby, which cannot be written".to_owned(),
        ));
    }
    Ok(())
}

fn refuse_old(version: &str, number: i32) -> Result<()> {
    if number < OLDEST {
        return Err(Error::TooOld {
            server: "PostgreSQL",
            found: version.to_owned(),
            needed: "15",
        });
    }
    Ok(())
}

static MIGRATIONS: &[(i64, &str, &str)] = &[
    (
        1,
        "cluster",
        include_str!("../migrations/postgres/0001_cluster.sql"),
    ),
    (
        2,
        "webhooks",
        include_str!("../migrations/postgres/0002_webhooks.sql"),
    ),
];

/// The migrator holds an advisory lock meanwhile, which ends with the connection.
async fn migrate(connection: &mut PgConnection) -> Result<()> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_server_is_named() {
        assert!(refuse_old("15.0", 15_00_00).is_ok());
        let refused = refuse_old("14.9 (Debian 14.9-1)", 14_00_09).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "PostgreSQL 14.9 (Debian 14.9-1) is too old; Banter needs 15 or newer"
        );
    }

    #[test]
    fn an_address_that_cannot_be_read_is_not_repeated() {
        for url in [
            "host=db password=hunter2",
            "postgres://ann:hunter2@db:port/banter",
            "postgres://ann:hunter2@db/banter?sslmode=hunter2",
            "postgres://ann:hunter2@[db/banter",
        ] {
            let refused = options(url, Role::Auth).unwrap_err();
            assert!(matches!(refused, Error::Settings(_)), "{refused:?}");
            assert!(
                !format!("{refused} {refused:?}").contains("hunter2"),
                "{refused}"
            );
        }
    }
}
