//! Incoming webhooks in the embedded database.

use banter_protocol::frame::User;
use banter_protocol::id::{ChannelId, UserId, WebhookId};
use banter_protocol::time::Timestamp;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{Connection as _, Row as _};

use super::{Creation, NewWebhook, Permit, Webhook, author};
use crate::error::{Error, Result};
use crate::sqlite::{Sqlite, row};

/// The webhooks of one file.
#[derive(Debug, Clone)]
pub struct Webhooks {
    database: Sqlite,
}

impl Webhooks {
    pub(super) const fn new(database: Sqlite) -> Self {
        Self { database }
    }

    pub(super) async fn create(&self, new: &NewWebhook, most: u32) -> Result<Creation> {
        const COUNT: &str = "SELECT count(*) FROM webhooks WHERE channel = ? AND id IS NOT NULL";
        const MAKE: &str = "INSERT INTO webhooks (account, channel, id, secret, created_at) \
                            VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (account) DO UPDATE \
                            SET id = ?3, secret = ?4, created_at = ?5";
        let mut writer = self.database.writer().await;
        let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await?;
        let there: u32 = sqlx::query_scalar(COUNT)
            .bind(&new.channel.as_bytes()[..])
            .fetch_one(&mut *transaction)
            .await?;
        if there >= most {
            transaction.rollback().await?;
            return Ok(Creation::TooMany);
        }
        let Some(account) = account(&mut transaction, new).await? else {
            transaction.rollback().await?;
            return Ok(Creation::NameTaken);
        };
        sqlx::query(MAKE)
            .bind(&account.as_bytes()[..])
            .bind(&new.channel.as_bytes()[..])
            .bind(&new.id.as_bytes()[..])
            .bind(&new.secret[..])
            .bind(new.account.created_at.as_ms())
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(Creation::Created(account))
    }

    pub(super) async fn delete(&self, id: WebhookId) -> Result<bool> {
        const DISABLE: &str = "UPDATE accounts SET disabled = 1 \
                               WHERE id = (SELECT account FROM webhooks WHERE id = ?)";
        const DELETE: &str = "UPDATE webhooks SET id = NULL, secret = NULL WHERE id = ?";
        let mut writer = self.database.writer().await;
        let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await?;
        let mut changed = 0;
        for sql in [DISABLE, DELETE] {
            changed = sqlx::query(sql)
                .bind(&id.as_bytes()[..])
                .execute(&mut *transaction)
                .await?
                .rows_affected();
        }
        transaction.commit().await?;
        Ok(changed > 0)
    }

    pub(super) async fn list(
        &self,
        channel: ChannelId,
        after: Option<WebhookId>,
        limit: u32,
    ) -> Result<Vec<Webhook>> {
        const SQL: &str = "SELECT w.id, w.created_at, w.account, a.username FROM webhooks AS w \
                           JOIN accounts AS a ON a.id = w.account \
                           WHERE w.channel = ?1 AND w.id > ?2 ORDER BY w.id LIMIT ?3";
        let after = after.map_or([0; 16], |id| *id.as_bytes());
        sqlx::query(SQL)
            .bind(&channel.as_bytes()[..])
            .bind(&after[..])
            .bind(limit)
            .fetch_all(self.database.readers())
            .await?
            .iter()
            .map(webhook)
            .collect()
    }

    pub(super) async fn author(&self, channel: ChannelId, id: WebhookId) -> Result<Option<User>> {
        const SQL: &str = "SELECT w.account, a.username FROM webhooks AS w \
                           JOIN accounts AS a ON a.id = w.account \
                           WHERE w.id = ?1 AND w.channel = ?2";
        let found = sqlx::query(SQL)
            .bind(&id.as_bytes()[..])
            .bind(&channel.as_bytes()[..])
            .fetch_optional(self.database.readers())
            .await?;
        found.as_ref().map(user).transpose()
    }

    pub(super) async fn permit(&self, id: WebhookId) -> Result<Option<Permit>> {
        const SQL: &str = "SELECT w.channel, w.secret, w.account, a.username FROM webhooks AS w \
                           JOIN accounts AS a ON a.id = w.account \
                           JOIN channels AS c ON c.id = w.channel \
                           WHERE w.id = ?1 AND a.disabled = 0 \
                             AND (c.private = 0 OR c.owner IS NOT NULL)";
        let found = sqlx::query(SQL)
            .bind(&id.as_bytes()[..])
            .fetch_optional(self.database.readers())
            .await?;
        let Some(found) = found else { return Ok(None) };
        let secret: &[u8] = found.try_get("secret")?;
        let wrong = |_| Error::Corrupt("secret: not 32 bytes".to_owned());
        Ok(Some(Permit {
            channel: ChannelId::from_bytes(row::id(&found, "channel")?),
            author: user(&found)?,
            secret: secret.try_into().map_err(wrong)?,
        }))
    }

    pub(super) async fn channel_of(&self, account: UserId) -> Result<Option<ChannelId>> {
        let found = sqlx::query("SELECT channel FROM webhooks WHERE account = ?")
            .bind(&account.as_bytes()[..])
            .fetch_optional(self.database.readers())
            .await?;
        let channel = found.as_ref().map(|found| row::id(found, "channel"));
        Ok(channel.transpose()?.map(ChannelId::from_bytes))
    }
}

/// The account that a new webhook posts as; `None`: the name belongs to somebody else.
async fn account(transaction: &mut SqliteConnection, new: &NewWebhook) -> Result<Option<UserId>> {
    const MAKE: &str = "INSERT INTO accounts (id, username, password, created_at) \
                        VALUES (?, ?, ?, ?) ON CONFLICT (username) DO NOTHING";
    const REUSE: &str = "UPDATE accounts SET disabled = 0 WHERE username = ?1 AND id IN \
                           (SELECT account FROM webhooks WHERE channel = ?2 AND id IS NULL) \
                         RETURNING id";
    let made = sqlx::query(MAKE)
        .bind(&new.account.id.as_bytes()[..])
        .bind(new.account.username.as_str())
        .bind(new.account.password.as_str())
        .bind(new.account.created_at.as_ms())
        .execute(&mut *transaction)
        .await?;
    if made.rows_affected() > 0 {
        return Ok(Some(new.account.id));
    }
    let found = sqlx::query(REUSE)
        .bind(new.account.username.as_str())
        .bind(&new.channel.as_bytes()[..])
        .fetch_optional(transaction)
        .await?;
    let id = found.as_ref().map(|found| row::id(found, "id"));
    Ok(id.transpose()?.map(UserId::from_bytes))
}

fn webhook(found: &SqliteRow) -> Result<Webhook> {
    Ok(Webhook {
        id: WebhookId::from_bytes(row::id(found, "id")?),
        author: user(found)?,
        created_at: Timestamp::from_ms(found.try_get("created_at")?),
    })
}

fn user(found: &SqliteRow) -> Result<User> {
    Ok(author(
        row::id(found, "account")?,
        row::username(found, "username")?,
    ))
}
