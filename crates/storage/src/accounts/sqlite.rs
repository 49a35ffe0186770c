//! Accounts in the embedded database.

use banter_protocol::id::UserId;
use banter_protocol::text::Username;
use banter_protocol::time::Timestamp;
use sqlx::sqlite::SqliteRow;
use sqlx::{Connection as _, Row as _};

use super::{Account, Credentials, NewAccount};
use crate::error::{Error, Result, is_conflict};
use crate::revocations::Change;
use crate::revocations::sqlite::announce;
use crate::sessions::NewSession;
use crate::sessions::sqlite::insert;
use crate::sqlite::Sqlite;

/// The accounts of one file.
#[derive(Debug, Clone)]
pub struct Accounts {
    database: Sqlite,
}

impl Accounts {
    pub(super) const fn new(database: Sqlite) -> Self {
        Self { database }
    }

    pub(super) async fn create(
        &self,
        account: &NewAccount,
        session: Option<&NewSession>,
    ) -> Result<bool> {
        const SQL: &str = "INSERT INTO accounts (id, username, password, created_at) \
                           VALUES (?, ?, ?, ?)";
        let mut writer = self.database.writer().await;
        let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await?;
        let inserted = sqlx::query(SQL)
            .bind(&account.id.as_bytes()[..])
            .bind(account.username.as_str())
            .bind(account.password.as_str())
            .bind(account.created_at.as_ms())
            .execute(&mut *transaction)
            .await;
        match inserted {
            Err(error) if is_conflict(&error, "accounts.username") => {
                transaction.rollback().await?;
                return Ok(false);
            }
            other => other?,
        };
        if let Some(session) = session {
            insert(&mut transaction, session).await?;
        }
        transaction.commit().await?;
        Ok(true)
    }

    pub(super) async fn credentials(&self, username: &Username) -> Result<Option<Credentials>> {
        const SQL: &str = "SELECT id, username, created_at, disabled, password FROM accounts \
                           WHERE username = ?";
        let row = sqlx::query(SQL)
            .bind(username.as_str())
            .fetch_optional(self.database.readers())
            .await?;
        row.map(|row| {
            Ok(Credentials {
                account: account(&row)?,
                password: row.try_get(4)?,
            })
        })
        .transpose()
    }

    pub(super) async fn by_id(&self, id: UserId) -> Result<Option<Account>> {
        const SQL: &str = "SELECT id, username, created_at, disabled FROM accounts WHERE id = ?";
        let row = sqlx::query(SQL)
            .bind(&id.as_bytes()[..])
            .fetch_optional(self.database.readers())
            .await?;
        row.as_ref().map(account).transpose()
    }

    pub(super) async fn page(&self, after: Option<&Username>, limit: u32) -> Result<Vec<Account>> {
        const SQL: &str = "SELECT id, username, created_at, disabled FROM accounts \
                           WHERE username > ? ORDER BY username LIMIT ?";
        let rows = sqlx::query(SQL)
            .bind(after.map_or("", Username::as_str))
            .bind(limit)
            .fetch_all(self.database.readers())
            .await?;
        rows.iter().map(account).collect()
    }

    pub(super) async fn set_disabled(
        &self,
        username: &Username,
        disabled: bool,
        now: Timestamp,
    ) -> Result<Option<Account>> {
        const SET: &str = "UPDATE accounts SET disabled = ?1 WHERE username = ?2 \
                           AND disabled <> ?1";
        const FIND: &str = "SELECT id, username, created_at, disabled FROM accounts \
                            WHERE username = ?";
        let mut writer = self.database.writer().await;
        let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await?;
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
            // First the account: its sockets are told that, not merely that their session ended.
            announce(&mut transaction, &Change::Disabled(found.id), now).await?;
            end_all(&mut transaction, found.id, now).await?;
        } else if changed > 0 {
            announce(&mut transaction, &Change::Enabled(found.id), now).await?;
        }
        transaction.commit().await?;
        Ok(Some(found))
    }

    pub(super) async fn rehash(&self, id: UserId, old: &str, new: &str) -> Result<()> {
        const SQL: &str = "UPDATE accounts SET password = ? WHERE id = ? AND password = ?";
        let mut writer = self.database.writer().await;
        sqlx::query(SQL)
            .bind(new)
            .bind(&id.as_bytes()[..])
            .bind(old)
            .execute(&mut *writer)
            .await?;
        Ok(())
    }
}

/// Ends every session of an account, so that tokens from before stay refused when it is enabled
/// again.
async fn end_all(
    transaction: &mut sqlx::SqliteConnection,
    user: UserId,
    now: Timestamp,
) -> Result<()> {
    const ANNOUNCE: &str = "INSERT INTO revocations (at, kind, subject) \
                            SELECT ?, 1, id FROM sessions WHERE user = ?";
    sqlx::query(ANNOUNCE)
        .bind(now.as_ms())
        .bind(&user.as_bytes()[..])
        .execute(&mut *transaction)
        .await?;
    sqlx::query("DELETE FROM sessions WHERE user = ?")
        .bind(&user.as_bytes()[..])
        .execute(&mut *transaction)
        .await?;
    Ok(())
}

/// Reads id, username, time and state, which come first in every query here.
fn account(row: &SqliteRow) -> Result<Account> {
    Ok(Account {
        id: UserId::from_bytes(sixteen(row.try_get(0)?)?),
        username: Username::from_stored(row.try_get::<String, _>(1)?),
        created_at: Timestamp::from_ms(row.try_get(2)?),
        disabled: row.try_get(3)?,
    })
}

/// An id's bytes.
pub(crate) fn sixteen(bytes: &[u8]) -> Result<[u8; 16]> {
    bytes
        .try_into()
        .map_err(|_| Error::Corrupt(format!("an id of {} bytes", bytes.len())))
}
