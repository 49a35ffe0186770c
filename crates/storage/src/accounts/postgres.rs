//! Accounts in PostgreSQL.
//!
//! Whoever takes several locks takes them in one order: account, its sessions, revocations.

use banter_protocol::id::UserId;
use banter_protocol::text::Username;
use banter_protocol::time::Timestamp;
use sqlx::Row as _;
use sqlx::postgres::{PgConnection, PgRow};
use uuid::Uuid;

use super::{Account, Credentials, NewAccount};
use crate::error::Result;
use crate::postgres::{Postgres, row};
use crate::revocations::Change;
use crate::revocations::postgres::{announce, announce_ends};
use crate::sessions::NewSession;
use crate::sessions::postgres::insert;

/// The accounts of one database.
#[derive(Debug, Clone)]
pub struct Accounts {
    database: Postgres,
}

impl Accounts {
    pub(super) const fn new(database: Postgres) -> Self {
        Self { database }
    }

    pub(super) async fn create(
        &self,
        account: &NewAccount,
        session: Option<&NewSession>,
    ) -> Result<bool> {
        const SQL: &str = "INSERT INTO accounts (id, username, password, created_at) \
                           VALUES ($1, $2, $3, $4) ON CONFLICT (username) DO NOTHING";
        let mut transaction = self.database.pool().begin().await?;
        let inserted = sqlx::query(SQL)
            .bind(Uuid::from_bytes(*account.id.as_bytes()))
            .bind(account.username.as_str())
            .bind(account.password.as_str())
            .bind(account.created_at.as_ms())
            .execute(&mut *transaction)
            .await?;
        if inserted.rows_affected() == 0 {
            transaction.rollback().await?;
            return Ok(false);
        }
        if let Some(session) = session {
            insert(&mut transaction, session).await?;
        }
        transaction.commit().await?;
        Ok(true)
    }

    pub(super) async fn credentials(&self, username: &Username) -> Result<Option<Credentials>> {
        const SQL: &str = "SELECT id, username, created_at, disabled, password FROM accounts \
                           WHERE username = $1";
        let found = sqlx::query(SQL)
            .bind(username.as_str())
            .fetch_optional(self.database.pool())
            .await?;
        found
            .map(|found| {
                Ok(Credentials {
                    account: account(&found)?,
                    password: found.try_get("password")?,
                })
            })
            .transpose()
    }

    pub(super) async fn by_id(&self, id: UserId) -> Result<Option<Account>> {
        const SQL: &str = "SELECT id, username, created_at, disabled FROM accounts WHERE id = $1";
        let found = sqlx::query(SQL)
            .bind(Uuid::from_bytes(*id.as_bytes()))
            .fetch_optional(self.database.pool())
            .await?;
        found.as_ref().map(account).transpose()
    }

    pub(super) async fn page(&self, after: Option<&Username>, limit: u32) -> Result<Vec<Account>> {
        const SQL: &str = "SELECT id, username, created_at, disabled FROM accounts \
                           WHERE username > $1 ORDER BY username LIMIT $2";
        let found = sqlx::query(SQL)
            .bind(after.map_or("", Username::as_str))
            .bind(i64::from(limit))
            .fetch_all(self.database.pool())
            .await?;
        found.iter().map(account).collect()
    }

    pub(super) async fn set_disabled(
        &self,
        username: &Username,
        disabled: bool,
        now: Timestamp,
    ) -> Result<Option<Account>> {
        const SET: &str = "UPDATE accounts SET disabled = $1 WHERE username = $2 \
                           AND disabled <> $1";
        const FIND: &str = "SELECT id, username, created_at, disabled FROM accounts \
                            WHERE username = $1";
        let mut transaction = self.database.pool().begin().await?;
        let changed = sqlx::query(SET)
            .bind(disabled)
            .bind(username.as_str())
            .execute(&mut *transaction)
            .await?
            .rows_affected();
        let found = sqlx::query(FIND)
            .bind(username.as_str())
            .fetch_optional(&mut *transaction)
            .await?;
        let Some(found) = found.as_ref().map(account).transpose()? else {
            transaction.rollback().await?;
            return Ok(None);
        };
        if changed > 0 && disabled {
            let sessions = lock_sessions(&mut transaction, found.id).await?;
            // First the account: its sockets are told that, not merely that their session ended.
            announce(&mut transaction, &Change::Disabled(found.id), now).await?;
            announce_ends(&mut transaction, &sessions, now).await?;
            delete_sessions(&mut transaction, &sessions).await?;
        } else if changed > 0 {
            announce(&mut transaction, &Change::Enabled(found.id), now).await?;
        }
        transaction.commit().await?;
        Ok(Some(found))
    }

    pub(super) async fn rehash(&self, id: UserId, old: &str, new: &str) -> Result<()> {
        sqlx::query("UPDATE accounts SET password = $1 WHERE id = $2 AND password = $3")
            .bind(new)
            .bind(Uuid::from_bytes(*id.as_bytes()))
            .bind(old)
            .execute(self.database.pool())
            .await?;
        Ok(())
    }
}

/// The sessions of an account that has just been disabled, so that none begins meanwhile: all of
/// them end, and tokens from before stay refused when it is enabled again.
async fn lock_sessions(transaction: &mut PgConnection, user: UserId) -> Result<Vec<Uuid>> {
    const SQL: &str = "SELECT id FROM sessions WHERE account = $1 ORDER BY id FOR UPDATE";
    let sessions = sqlx::query_scalar(SQL)
        .bind(Uuid::from_bytes(*user.as_bytes()))
        .fetch_all(transaction)
        .await?;
    Ok(sessions)
}

async fn delete_sessions(transaction: &mut PgConnection, sessions: &[Uuid]) -> Result<()> {
    sqlx::query("DELETE FROM sessions WHERE id = ANY($1)")
        .bind(sessions)
        .execute(transaction)
        .await?;
    Ok(())
}

/// Reads id, username, time and state.
pub(crate) fn account(found: &PgRow) -> Result<Account> {
    Ok(Account {
        id: UserId::from_bytes(row::id(found, "id")?),
        username: row::username(found, "username")?,
        created_at: Timestamp::from_ms(found.try_get("created_at")?),
        disabled: found.try_get("disabled")?,
    })
}
