//! Failed logins, counted by all processes of a cluster together: a guesser must not get as many
//! tries as there are auth services.
//!
//! The rules are not here but with who checks passwords, as functions of the time. What they count
//! is kept here, and changed by one process at a time.

use sqlx::Row as _;
use sqlx::postgres::PgRow;

use banter_protocol::time::Timestamp;

use crate::error::Result;
use crate::postgres::{Postgres, row};

/// A hash of the name that was tried, whether or not it is an account's.
pub type Name = [u8; 16];

/// What is remembered under one name. The default is what is forgotten.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Failures {
    /// Times of the last failures, ascending, in milliseconds since 1970.
    pub recent: Vec<i64>,
    /// Failures that were not free.
    pub level: u32,
    /// When the next attempt may be made, in milliseconds since 1970.
    pub until_ms: i64,
}

/// The failed logins of a cluster. Rows are bounded by themselves: each costs a password's hash.
#[derive(Debug, Clone)]
pub struct LoginFailures {
    database: Postgres,
}

impl LoginFailures {
    /// Those in this database.
    #[must_use]
    pub fn new(database: &Postgres) -> Self {
        Self {
            database: database.clone(),
        }
    }

    /// What is remembered now. Nothing is changed.
    ///
    /// # Errors
    /// When storage fails.
    pub async fn of(&self, name: &Name) -> Result<Failures> {
        const SQL: &str = "SELECT recent, level, until FROM login_failures WHERE name = $1";
        let found = sqlx::query(SQL)
            .bind(&name[..])
            .fetch_optional(self.database.pool())
            .await?;
        found.as_ref().map_or_else(|| Ok(Failures::default()), read)
    }

    /// Changes what is remembered, and returns what `change` returns. Changes under one name come
    /// one after the other, from whatever process: each sees what the one before left. One that
    /// counts an attempt as failed before its password is looked at, and takes that back when the
    /// password was right, lets through no more guesses than the rules allow, however many
    /// processes are asked at once.
    ///
    /// # Errors
    /// When storage fails; then it is unknown whether it was changed.
    pub async fn change<T>(
        &self,
        name: &Name,
        now: Timestamp,
        change: impl FnOnce(&mut Failures) -> T + Send,
    ) -> Result<T> {
        const LOCK: &str = "INSERT INTO login_failures (name, recent, level, until, changed_at) \
                            VALUES ($1, '{}', 0, 0, $2) \
                            ON CONFLICT (name) DO UPDATE SET changed_at = $2 \
                            RETURNING recent, level, until";
        const STORE: &str = "UPDATE login_failures SET recent = $2, level = $3, until = $4 \
                             WHERE name = $1";
        let mut transaction = self.database.pool().begin().await?;
        let found = sqlx::query(LOCK)
            .bind(&name[..])
            .bind(now.as_ms())
            .fetch_one(&mut *transaction)
            .await?;
        let mut failures = read(&found)?;
        let result = change(&mut failures);
        let query = if failures == Failures::default() {
            sqlx::query("DELETE FROM login_failures WHERE name = $1").bind(&name[..])
        } else {
            sqlx::query(STORE)
                .bind(&name[..])
                .bind(failures.recent)
                .bind(i64::from(failures.level))
                .bind(failures.until_ms)
        };
        query.execute(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(result)
    }

    /// Forgets what nobody has changed since `since`, and what holds nobody up since then.
    ///
    /// # Errors
    /// When storage fails.
    pub async fn forget(&self, since: Timestamp) -> Result<()> {
        sqlx::query("DELETE FROM login_failures WHERE changed_at < $1 AND until < $1")
            .bind(since.as_ms())
            .execute(self.database.pool())
            .await?;
        Ok(())
    }
}

fn read(found: &PgRow) -> Result<Failures> {
    let level = row::unsigned(found, "level")?;
    Ok(Failures {
        recent: found.try_get("recent")?,
        level: u32::try_from(level).unwrap_or(u32::MAX),
        until_ms: found.try_get("until")?,
    })
}
