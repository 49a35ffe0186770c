//! Revocations in the embedded database.

use banter_protocol::id::{SessionId, UserId};
use banter_protocol::time::Timestamp;
use sqlx::Row as _;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use super::{Change, Revocation};
use crate::accounts::sqlite::sixteen;
use crate::error::{Error, Result};
use crate::sqlite::Sqlite;

const SESSION_ENDED: i64 = 1;
const DISABLED: i64 = 2;
const ENABLED: i64 = 3;
const KEYS_ROTATED: i64 = 4;
const KEYS_REPLACED: i64 = 5;

/// The revocations of one file.
#[derive(Debug, Clone)]
pub struct Revocations {
    database: Sqlite,
}

impl Revocations {
    pub(super) const fn new(database: Sqlite) -> Self {
        Self { database }
    }

    pub(super) async fn after(&self, after: i64, limit: u32) -> Result<Vec<Revocation>> {
        const SQL: &str = "SELECT id, at, kind, subject FROM revocations \
                           WHERE id > ? ORDER BY id LIMIT ?";
        let rows = sqlx::query(SQL)
            .bind(after)
            .bind(limit)
            .fetch_all(self.database.readers())
            .await?;
        rows.iter().map(revocation).collect()
    }

    pub(super) async fn forget(&self, since: Timestamp) -> Result<()> {
        let mut writer = self.database.writer().await;
        sqlx::query("DELETE FROM revocations WHERE at < ?")
            .bind(since.as_ms())
            .execute(&mut *writer)
            .await?;
        Ok(())
    }
}

/// Writes one, in the transaction of what it tells.
pub(crate) async fn announce(
    connection: &mut SqliteConnection,
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
    sqlx::query("INSERT INTO revocations (at, kind, subject) VALUES (?, ?, ?)")
        .bind(now.as_ms())
        .bind(kind)
        .bind(subject.map(|bytes| &bytes[..]))
        .execute(connection)
        .await?;
    Ok(())
}

fn revocation(row: &SqliteRow) -> Result<Revocation> {
    let subject = || sixteen(row.try_get(3)?);
    let change = match row.try_get::<i64, _>(2)? {
        SESSION_ENDED => Change::SessionEnded(SessionId::from_bytes(subject()?)),
        DISABLED => Change::Disabled(UserId::from_bytes(subject()?)),
        ENABLED => Change::Enabled(UserId::from_bytes(subject()?)),
        KEYS_ROTATED => Change::KeysRotated,
        KEYS_REPLACED => Change::KeysReplaced,
        other => return Err(Error::Corrupt(format!("a revocation of kind {other}"))),
    };
    Ok(Revocation {
        id: row.try_get(0)?,
        at: Timestamp::from_ms(row.try_get(1)?),
        change,
    })
}
