//! Signing keys in the embedded database.

use banter_protocol::time::Timestamp;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{Connection as _, Row as _};

use super::{Key, NewKey, State};
use crate::error::{Error, Result};
use crate::revocations::Change;
use crate::revocations::sqlite::announce;
use crate::sqlite::Sqlite;

const NEXT: i64 = 1;
const ACTIVE: i64 = 2;
const RETIRED: i64 = 3;

/// The signing keys of one file.
#[derive(Debug, Clone)]
pub struct Keys {
    database: Sqlite,
}

impl Keys {
    pub(super) const fn new(database: Sqlite) -> Self {
        Self { database }
    }

    pub(super) async fn all(&self) -> Result<Vec<Key>> {
        const SQL: &str = "SELECT kid, state, public, sealed, created_at, since FROM signing_keys \
                           ORDER BY created_at, state DESC";
        let rows = sqlx::query(SQL).fetch_all(self.database.readers()).await?;
        rows.iter().map(key).collect()
    }

    pub(super) async fn found(&self, active: &NewKey, next: &NewKey, now: Timestamp) -> Result<()> {
        let mut writer = self.database.writer().await;
        let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await?;
        let count: i64 = sqlx::query("SELECT count(*) FROM signing_keys WHERE state <> 3")
            .fetch_one(&mut *transaction)
            .await?
            .try_get(0)?;
        if count == 0 {
            insert(&mut transaction, active, ACTIVE, now).await?;
            insert(&mut transaction, next, NEXT, now).await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    pub(super) async fn rotate(
        &self,
        next: &NewKey,
        now: Timestamp,
        since: Option<Timestamp>,
    ) -> Result<bool> {
        const SQL: &str = "UPDATE signing_keys SET state = ?, since = ? WHERE state = ?";
        let mut writer = self.database.writer().await;
        let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await?;
        let due: i64 =
            sqlx::query("SELECT count(*) FROM signing_keys WHERE state = 2 AND since < ?")
                .bind(since.map_or(i64::MAX, Timestamp::as_ms))
                .fetch_one(&mut *transaction)
                .await?
                .try_get(0)?;
        if due == 0 {
            transaction.rollback().await?;
            return Ok(false);
        }
        for (from, to) in [(ACTIVE, RETIRED), (NEXT, ACTIVE)] {
            sqlx::query(SQL)
                .bind(to)
                .bind(now.as_ms())
                .bind(from)
                .execute(&mut *transaction)
                .await?;
        }
        insert(&mut transaction, next, NEXT, now).await?;
        announce(&mut transaction, &Change::KeysRotated, now).await?;
        transaction.commit().await?;
        Ok(true)
    }

    pub(super) async fn replace(
        &self,
        active: &NewKey,
        next: &NewKey,
        now: Timestamp,
    ) -> Result<()> {
        let mut writer = self.database.writer().await;
        let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await?;
        sqlx::query("DELETE FROM signing_keys")
            .execute(&mut *transaction)
            .await?;
        insert(&mut transaction, active, ACTIVE, now).await?;
        insert(&mut transaction, next, NEXT, now).await?;
        announce(&mut transaction, &Change::KeysReplaced, now).await?;
        transaction.commit().await?;
        Ok(())
    }

    pub(super) async fn forget_retired(&self, since: Timestamp) -> Result<bool> {
        let mut writer = self.database.writer().await;
        let forgotten = sqlx::query("DELETE FROM signing_keys WHERE state = 3 AND since < ?")
            .bind(since.as_ms())
            .execute(&mut *writer)
            .await?;
        Ok(forgotten.rows_affected() > 0)
    }
}

async fn insert(
    connection: &mut SqliteConnection,
    key: &NewKey,
    state: i64,
    now: Timestamp,
) -> Result<()> {
    const SQL: &str = "INSERT INTO signing_keys (kid, state, public, sealed, created_at, since) \
                       VALUES (?1, ?2, ?3, ?4, ?5, ?5)";
    sqlx::query(SQL)
        .bind(key.kid.as_str())
        .bind(state)
        .bind(&key.public[..])
        .bind(key.sealed.as_slice())
        .bind(now.as_ms())
        .execute(connection)
        .await?;
    Ok(())
}

fn key(row: &SqliteRow) -> Result<Key> {
    let public: &[u8] = row.try_get(2)?;
    Ok(Key {
        kid: row.try_get(0)?,
        state: match row.try_get::<i64, _>(1)? {
            NEXT => State::Next,
            ACTIVE => State::Active,
            RETIRED => State::Retired,
            other => return Err(Error::Corrupt(format!("a signing key in state {other}"))),
        },
        public: public
            .try_into()
            .map_err(|_| Error::Corrupt("a public key of another length".to_owned()))?,
        sealed: row.try_get(3)?,
        created_at: Timestamp::from_ms(row.try_get(4)?),
        since: Timestamp::from_ms(row.try_get(5)?),
    })
}
