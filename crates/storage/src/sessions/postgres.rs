//! Sessions in PostgreSQL. What becomes of a refresh token is decided while its session's row is
//! locked.

use std::time::Duration;

use banter_protocol::id::SessionId;
use banter_protocol::time::Timestamp;
use sqlx::Row as _;
use sqlx::postgres::PgConnection;
use uuid::Uuid;

use super::{Found, Generation, Lifetimes, NewSession, Refreshed, Seed, Standing};
use crate::accounts::postgres::account;
use crate::error::{Error, Result};
use crate::postgres::Postgres;
use crate::revocations::Change;
use crate::revocations::postgres::announce;

/// The sessions of one database.
#[derive(Debug, Clone)]
pub struct Sessions {
    database: Postgres,
}

impl Sessions {
    pub(super) const fn new(database: Postgres) -> Self {
        Self { database }
    }

    pub(super) async fn begin(&self, session: &NewSession) -> Result<bool> {
        let mut connection = self.database.pool().acquire().await?;
        insert(&mut connection, session).await
    }

    pub(super) async fn seed(&self, id: SessionId) -> Result<Option<Seed>> {
        let found = sqlx::query("SELECT seed FROM sessions WHERE id = $1")
            .bind(uuid(id))
            .fetch_optional(self.database.pool())
            .await?;
        found
            .map(|found| {
                let seed: &[u8] = found.try_get(0)?;
                seed.try_into()
                    .map_err(|_| Error::Corrupt("a session's seed of another length".to_owned()))
            })
            .transpose()
    }

    pub(super) async fn refresh(
        &self,
        id: SessionId,
        presented: Generation,
        now: Timestamp,
        lifetimes: &Lifetimes,
    ) -> Result<Refreshed> {
        const SQL: &str = "UPDATE sessions SET generation = $1, rotated_at = $2 WHERE id = $3";
        let mut transaction = self.database.pool().begin().await?;
        let Some(found) = find(&mut transaction, id).await? else {
            transaction.rollback().await?;
            return Ok(Refreshed::Over);
        };
        let answer = match found.standing(presented, now, lifetimes) {
            Standing::Newest => {
                let next = presented + 1;
                sqlx::query(SQL)
                    .bind(i64::from(next))
                    .bind(now.as_ms())
                    .bind(uuid(id))
                    .execute(&mut *transaction)
                    .await?;
                found.successor(next, false)
            }
            Standing::Repeated => found.successor(presented + 1, true),
            Standing::Reused => {
                delete(&mut transaction, id, now).await?;
                Refreshed::Reused
            }
            Standing::Over => Refreshed::Over,
        };
        transaction.commit().await?;
        Ok(answer)
    }

    pub(super) async fn end(
        &self,
        id: SessionId,
        presented: Generation,
        now: Timestamp,
        lifetimes: &Lifetimes,
    ) -> Result<bool> {
        let mut transaction = self.database.pool().begin().await?;
        let Some(found) = find(&mut transaction, id).await? else {
            transaction.rollback().await?;
            return Ok(false);
        };
        let standing = found.standing(presented, now, lifetimes);
        if standing != Standing::Over {
            delete(&mut transaction, id, now).await?;
        }
        transaction.commit().await?;
        Ok(matches!(standing, Standing::Newest | Standing::Repeated))
    }

    pub(super) async fn forget_over(&self, since: Timestamp, lifetimes: &Lifetimes) -> Result<()> {
        const SQL: &str = "DELETE FROM sessions WHERE rotated_at < $1 OR created_at < $2";
        let before = |duration: Duration| {
            let length = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
            since.as_ms().saturating_sub(length)
        };
        sqlx::query(SQL)
            .bind(before(lifetimes.idle))
            .bind(before(lifetimes.absolute))
            .execute(self.database.pool())
            .await?;
        Ok(())
    }
}

fn uuid(id: SessionId) -> Uuid {
    Uuid::from_bytes(*id.as_bytes())
}

/// Begins a session unless its account is disabled, which nobody does meanwhile.
pub(crate) async fn insert(connection: &mut PgConnection, session: &NewSession) -> Result<bool> {
    const SQL: &str = "INSERT INTO sessions \
                         (id, account, seed, generation, created_at, rotated_at) \
                       SELECT $1, id, $3, 1, $4, $4 FROM accounts \
                       WHERE id = $2 AND NOT disabled FOR SHARE";
    let inserted = sqlx::query(SQL)
        .bind(uuid(session.id))
        .bind(Uuid::from_bytes(*session.user.as_bytes()))
        .bind(&session.seed[..])
        .bind(session.created_at.as_ms())
        .execute(connection)
        .await?;
    Ok(inserted.rows_affected() == 1)
}

/// Finds a session and locks its row until the transaction has ended.
async fn find(connection: &mut PgConnection, id: SessionId) -> Result<Option<Found>> {
    const SQL: &str = "SELECT s.generation, s.created_at AS began_at, s.rotated_at, \
                              a.id, a.username, a.created_at, a.disabled \
                       FROM sessions AS s JOIN accounts AS a ON a.id = s.account \
                       WHERE s.id = $1 FOR UPDATE OF s";
    let found = sqlx::query(SQL)
        .bind(uuid(id))
        .fetch_optional(connection)
        .await?;
    found
        .map(|found| {
            let generation: i64 = found.try_get("generation")?;
            Ok(Found {
                generation: Generation::try_from(generation)
                    .map_err(|_| Error::Corrupt("sessions.generation: out of range".to_owned()))?,
                created_at: Timestamp::from_ms(found.try_get("began_at")?),
                rotated_at: Timestamp::from_ms(found.try_get("rotated_at")?),
                account: account(&found)?,
            })
        })
        .transpose()
}

async fn delete(connection: &mut PgConnection, id: SessionId, now: Timestamp) -> Result<()> {
    sqlx::query("DELETE FROM sessions WHERE id = $1")
        .bind(uuid(id))
        .execute(&mut *connection)
        .await?;
    announce(connection, &Change::SessionEnded(id), now).await
}
