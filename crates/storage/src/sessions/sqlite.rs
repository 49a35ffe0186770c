//! Sessions in the embedded database.

use std::time::Duration;

use banter_protocol::id::{SessionId, UserId};
use banter_protocol::text::Username;
use banter_protocol::time::Timestamp;
use sqlx::sqlite::SqliteConnection;
use sqlx::{Connection as _, Row as _};

use super::{Found, Generation, Lifetimes, NewSession, Refreshed, Seed, Standing};
use crate::accounts::Account;
use crate::accounts::sqlite::sixteen;
use crate::error::{Error, Result};
use crate::revocations::Change;
use crate::revocations::sqlite::announce;
use crate::sqlite::Sqlite;

/// The sessions of one file.
#[derive(Debug, Clone)]
pub struct Sessions {
    database: Sqlite,
}

impl Sessions {
    pub(super) const fn new(database: Sqlite) -> Self {
        Self { database }
    }

    pub(super) async fn begin(&self, session: &NewSession) -> Result<bool> {
        let mut writer = self.database.writer().await;
        insert(&mut writer, session).await
    }

    pub(super) async fn seed(&self, id: SessionId) -> Result<Option<Seed>> {
        let row = sqlx::query("SELECT seed FROM sessions WHERE id = ?")
            .bind(&id.as_bytes()[..])
            .fetch_optional(self.database.readers())
            .await?;
        row.map(|row| {
            let seed: &[u8] = row.try_get(0)?;
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
        const SQL: &str = "UPDATE sessions SET generation = ?, rotated_at = ? \
                           WHERE id = ? AND generation = ?";
        let mut writer = self.database.writer().await;
        let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await?;
        let Some(found) = find(&mut transaction, id).await? else {
            transaction.rollback().await?;
            return Ok(Refreshed::Over);
        };
        let answer = match found.standing(presented, now, lifetimes) {
            Standing::Newest => {
                let next = presented + 1;
                sqlx::query(SQL)
                    .bind(next)
                    .bind(now.as_ms())
                    .bind(&id.as_bytes()[..])
                    .bind(presented)
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
        let mut writer = self.database.writer().await;
        let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await?;
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
        const SQL: &str = "DELETE FROM sessions WHERE rotated_at < ? OR created_at < ?";
        let before = |duration: Duration| {
            let length = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
            since.as_ms().saturating_sub(length)
        };
        let mut writer = self.database.writer().await;
        sqlx::query(SQL)
            .bind(before(lifetimes.idle))
            .bind(before(lifetimes.absolute))
            .execute(&mut *writer)
            .await?;
        Ok(())
    }
}

/// Begins a session unless its account is disabled.
pub(crate) async fn insert(
    connection: &mut SqliteConnection,
    session: &NewSession,
) -> Result<bool> {
    const SQL: &str = "INSERT INTO sessions (id, user, seed, generation, created_at, rotated_at) \
                       SELECT ?1, id, ?3, 1, ?4, ?4 FROM accounts WHERE id = ?2 AND disabled = 0";
    let inserted = sqlx::query(SQL)
        .bind(&session.id.as_bytes()[..])
        .bind(&session.user.as_bytes()[..])
        .bind(&session.seed[..])
        .bind(session.created_at.as_ms())
        .execute(connection)
        .await?;
    Ok(inserted.rows_affected() == 1)
}

async fn find(connection: &mut SqliteConnection, id: SessionId) -> Result<Option<Found>> {
    const SQL: &str = "SELECT s.generation, s.created_at, s.rotated_at, \
                              a.id, a.username, a.created_at, a.disabled \
                       FROM sessions s JOIN accounts a ON a.id = s.user WHERE s.id = ?";
    let row = sqlx::query(SQL)
        .bind(&id.as_bytes()[..])
        .fetch_optional(connection)
        .await?;
    row.map(|row| {
        Ok(Found {
            generation: row.try_get(0)?,
            created_at: Timestamp::from_ms(row.try_get(1)?),
            rotated_at: Timestamp::from_ms(row.try_get(2)?),
            account: Account {
                id: UserId::from_bytes(sixteen(row.try_get(3)?)?),
                username: Username::from_stored(row.try_get::<String, _>(4)?),
                created_at: Timestamp::from_ms(row.try_get(5)?),
                disabled: row.try_get(6)?,
            },
        })
    })
    .transpose()
}

async fn delete(connection: &mut SqliteConnection, id: SessionId, now: Timestamp) -> Result<()> {
    sqlx::query("DELETE FROM sessions WHERE id = ?")
        .bind(&id.as_bytes()[..])
        .execute(&mut *connection)
        .await?;
    announce(connection, &Change::SessionEnded(id), now).await
}
