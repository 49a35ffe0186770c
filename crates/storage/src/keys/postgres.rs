//! Signing keys in PostgreSQL. Several auth services may want to change them at once: those who
//! change take turns, and who reads waits for nobody.

use banter_protocol::time::Timestamp;
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{PgTransaction, Row as _};

use super::{Key, NewKey, State};
use crate::error::{Error, Result};
use crate::postgres::Postgres;
use crate::revocations::Change;
use crate::revocations::postgres::announce;

const NEXT: i16 = 1;
const ACTIVE: i16 = 2;
const RETIRED: i16 = 3;

/// The signing keys of one database.
#[derive(Debug, Clone)]
pub struct Keys {
    database: Postgres,
}

impl Keys {
    pub(super) const fn new(database: Postgres) -> Self {
        Self { database }
    }

    pub(super) async fn all(&self) -> Result<Vec<Key>> {
        const SQL: &str = "SELECT kid, state, public, sealed, created_at, since FROM signing_keys \
                           ORDER BY created_at, state DESC";
        let rows = sqlx::query(SQL).fetch_all(self.database.pool()).await?;
        rows.iter().map(key).collect()
    }

    pub(super) async fn found(&self, active: &NewKey, next: &NewKey, now: Timestamp) -> Result<()> {
        let mut transaction = self.begin().await?;
        let count: i64 = sqlx::query_scalar("SELECT count(*) FROM signing_keys WHERE state <> 3")
            .fetch_one(&mut *transaction)
            .await?;
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
        const DUE: &str = "SELECT count(*) FROM signing_keys WHERE state = 2 AND since < $1";
        const SQL: &str = "UPDATE signing_keys SET state = $1, since = $2 WHERE state = $3";
        let mut transaction = self.begin().await?;
        let due: i64 = sqlx::query_scalar(DUE)
            .bind(since.map_or(i64::MAX, Timestamp::as_ms))
            .fetch_one(&mut *transaction)
            .await?;
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
        let mut transaction = self.begin().await?;
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
        let forgotten = sqlx::query("DELETE FROM signing_keys WHERE state = 3 AND since < $1")
            .bind(since.as_ms())
            .execute(self.database.pool())
            .await?;
        Ok(forgotten.rows_affected() > 0)
    }

    /// A transaction of the only one who changes keys.
    async fn begin(&self) -> Result<PgTransaction<'static>> {
        let mut transaction = self.database.pool().begin().await?;
        sqlx::query("LOCK TABLE signing_keys IN SHARE ROW EXCLUSIVE MODE")
            .execute(&mut *transaction)
            .await?;
        Ok(transaction)
    }
}

async fn insert(
    connection: &mut PgConnection,
    key: &NewKey,
    state: i16,
    now: Timestamp,
) -> Result<()> {
    const SQL: &str = "INSERT INTO signing_keys (kid, state, public, sealed, created_at, since) \
                       VALUES ($1, $2, $3, $4, $5, $5)";
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

fn key(found: &PgRow) -> Result<Key> {
    let public: &[u8] = found.try_get("public")?;
    Ok(Key {
        kid: found.try_get("kid")?,
        state: match found.try_get("state")? {
            NEXT => State::Next,
            ACTIVE => State::Active,
            RETIRED => State::Retired,
            other => return Err(Error::Corrupt(format!("a signing key in state {other}"))),
        },
        public: public
            .try_into()
            .map_err(|_| Error::Corrupt("a public key of another length".to_owned()))?,
        sealed: found.try_get("sealed")?,
        created_at: Timestamp::from_ms(found.try_get("created_at")?),
        since: Timestamp::from_ms(found.try_get("since")?),
    })
}
