//! Revocations in PostgreSQL.

use banter_protocol::id::{SessionId, UserId};
use banter_protocol::time::Timestamp;
use sqlx::Row as _;
use sqlx::postgres::{PgConnection, PgRow};
use uuid::Uuid;

use super::{Change, Revocation};
use crate::error::{Error, Result};
use crate::postgres::{Postgres, lock, row};

const SESSION_ENDED: i16 = 1;
const DISABLED: i16 = 2;
const ENABLED: i16 = 3;
const KEYS_ROTATED: i16 = 4;
const KEYS_REPLACED: i16 = 5;

/// The revocations of one database.
#[derive(Debug, Clone)]
pub struct Revocations {
    database: Postgres,
}

impl Revocations {
    pub(super) const fn new(database: Postgres) -> Self {
        Self { database }
    }

    pub(super) async fn after(&self, after: i64, limit: u32) -> Result<Vec<Revocation>> {
        const SQL: &str = "SELECT id, at, kind, subject FROM revocations \
                           WHERE id > $1 ORDER BY id LIMIT $2";
        let rows = sqlx::query(SQL)
            .bind(after)
            .bind(i64::from(limit))
            .fetch_all(self.database.pool())
            .await?;
        rows.iter().map(revocation).collect()
    }

    pub(super) async fn forget(&self, since: Timestamp) -> Result<()> {
        sqlx::query("DELETE FROM revocations WHERE at < $1")
            .bind(since.as_ms())
            .execute(self.database.pool())
            .await?;
        Ok(())
    }
}

/// Writes one, in the transaction of what it tells. Whatever else the transaction must wait for
/// comes before: from here on every other announcement waits for its commit.
pub(crate) async fn announce(
    connection: &mut PgConnection,
    change: &Change,
    now: Timestamp,
) -> Result<()> {
    let (kind, subject) = match change {
        Change::SessionEnded(session) => (SESSION_ENDED, Some(session.as_bytes())),
        Change::Disabled(user) => (DISABLED, Some(user.as_bytes())),
        Change::Enabled(user) => (ENABLED, Some(user.as_bytes())),
        Change::KeysRotated => (KEYS_ROTATED, None),
        Change::KeysReplaced => (KEYS_REPLACED, None),
    };
    lock::in_transaction(connection, lock::REVOCATIONS).await?;
    sqlx::query("INSERT INTO revocations (at, kind, subject) VALUES ($1, $2, $3)")
        .bind(now.as_ms())
        .bind(kind)
        .bind(subject.map(|bytes| Uuid::from_bytes(*bytes)))
        .execute(connection)
        .await?;
    Ok(())
}

/// Writes the ends of many sessions, in the transaction that ends them.
pub(crate) async fn announce_ends(
    connection: &mut PgConnection,
    sessions: &[Uuid],
    now: Timestamp,
) -> Result<()> {
    const SQL: &str = "INSERT INTO revocations (at, kind, subject) \
                       SELECT $1, $2, * FROM UNNEST($3::uuid[])";
    lock::in_transaction(connection, lock::REVOCATIONS).await?;
    sqlx::query(SQL)
        .bind(now.as_ms())
        .bind(SESSION_ENDED)
        .bind(sessions)
        .execute(connection)
        .await?;
    Ok(())
}

fn revocation(found: &PgRow) -> Result<Revocation> {
    let subject = || row::id(found, "subject");
    let change = match found.try_get("kind")? {
        SESSION_ENDED => Change::SessionEnded(SessionId::from_bytes(subject()?)),
        DISABLED => Change::Disabled(UserId::from_bytes(subject()?)),
        ENABLED => Change::Enabled(UserId::from_bytes(subject()?)),
        KEYS_ROTATED => Change::KeysRotated,
        KEYS_REPLACED => Change::KeysReplaced,
        other => return Err(Error::Corrupt(format!("a revocation of kind {other}"))),
    };
    Ok(Revocation {
        id: found.try_get("id")?,
        at: Timestamp::from_ms(found.try_get("at")?),
        change,
    })
}
