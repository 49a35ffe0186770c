//! Incoming webhooks in PostgreSQL.
//!
//! Whoever takes several locks takes them in one order: channel, webhook, account.

use banter_protocol::frame::User;
use banter_protocol::id::{ChannelId, UserId, WebhookId};
use banter_protocol::time::Timestamp;
use sqlx::Row as _;
use sqlx::postgres::{PgConnection, PgRow};
use uuid::Uuid;

use super::{Creation, NewWebhook, Permit, Webhook, author};
use crate::error::{Error, Result};
use crate::postgres::{Postgres, row};

/// The webhooks of one database.
#[derive(Debug, Clone)]
pub struct Webhooks {
    database: Postgres,
}

impl Webhooks {
    pub(super) const fn new(database: Postgres) -> Self {
        Self { database }
    }

    pub(super) async fn create(&self, new: &NewWebhook, most: u32) -> Result<Creation> {
        // Two who make the last one at the same moment take turns.
        const LOCK: &str = "SELECT 1 FROM channels WHERE id = $1 FOR NO KEY UPDATE";
        const COUNT: &str = "SELECT count(*) FROM webhooks WHERE channel = $1 AND id IS NOT NULL";
        let channel = Uuid::from_bytes(*new.channel.as_bytes());
        let mut transaction = self.database.pool().begin().await?;
        sqlx::query(LOCK)
            .bind(channel)
            .execute(&mut *transaction)
            .await?;
        let there: i64 = sqlx::query_scalar(COUNT)
            .bind(channel)
            .fetch_one(&mut *transaction)
            .await?;
        if there >= i64::from(most) {
            transaction.rollback().await?;
            return Ok(Creation::TooMany);
        }
        let account = match make(&mut transaction, new).await? {
            Some(made) => Some(made),
            None => reuse(&mut transaction, new).await?,
        };
        let Some(account) = account else {
            transaction.rollback().await?;
            return Ok(Creation::NameTaken);
        };
        transaction.commit().await?;
        Ok(Creation::Created(account))
    }

    pub(super) async fn delete(&self, id: WebhookId) -> Result<bool> {
        const DELETE: &str = "UPDATE webhooks SET id = NULL, secret = NULL WHERE id = $1 \
                              RETURNING account";
        let mut transaction = self.database.pool().begin().await?;
        let account: Option<Uuid> = sqlx::query_scalar(DELETE)
            .bind(Uuid::from_bytes(*id.as_bytes()))
            .fetch_optional(&mut *transaction)
            .await?;
        sqlx::query("UPDATE accounts SET disabled = true WHERE id = $1")
            .bind(account)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(account.is_some())
    }

    pub(super) async fn list(
        &self,
        channel: ChannelId,
        after: Option<WebhookId>,
        limit: u32,
    ) -> Result<Vec<Webhook>> {
        const SQL: &str = "SELECT w.id, w.created_at, w.account, a.username FROM webhooks AS w \
                           JOIN accounts AS a ON a.id = w.account \
                           WHERE w.channel = $1 AND w.id > $2 ORDER BY w.id LIMIT $3";
        let after = after.map_or_else(Uuid::nil, |id| Uuid::from_bytes(*id.as_bytes()));
        let found = sqlx::query(SQL)
            .bind(Uuid::from_bytes(*channel.as_bytes()))
            .bind(after)
            .bind(i64::from(limit))
            .fetch_all(self.database.pool())
            .await?;
        found.iter().map(webhook).collect()
    }

    pub(super) async fn author(&self, channel: ChannelId, id: WebhookId) -> Result<Option<User>> {
        const SQL: &str = "SELECT w.account, a.username FROM webhooks AS w \
                           JOIN accounts AS a ON a.id = w.account \
                           WHERE w.id = $1 AND w.channel = $2";
        let found = sqlx::query(SQL)
            .bind(Uuid::from_bytes(*id.as_bytes()))
            .bind(Uuid::from_bytes(*channel.as_bytes()))
            .fetch_optional(self.database.pool())
            .await?;
        found.as_ref().map(user).transpose()
    }

    pub(super) async fn permit(&self, id: WebhookId) -> Result<Option<Permit>> {
        const SQL: &str = "SELECT w.channel, w.secret, w.account, a.username FROM webhooks AS w \
                           JOIN accounts AS a ON a.id = w.account \
                           JOIN channels AS c ON c.id = w.channel \
                           WHERE w.id = $1 AND NOT a.disabled \
                             AND (NOT c.private OR c.owner IS NOT NULL)";
        let found = sqlx::query(SQL)
            .bind(Uuid::from_bytes(*id.as_bytes()))
            .fetch_optional(self.database.pool())
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
        let found = sqlx::query("SELECT channel FROM webhooks WHERE account = $1")
            .bind(Uuid::from_bytes(*account.as_bytes()))
            .fetch_optional(self.database.pool())
            .await?;
        let channel = found.as_ref().map(|found| row::id(found, "channel"));
        Ok(channel.transpose()?.map(ChannelId::from_bytes))
    }
}

/// Makes a webhook with an account of its own; `None`: there is an account of this name.
async fn make(transaction: &mut PgConnection, new: &NewWebhook) -> Result<Option<UserId>> {
    const ACCOUNT: &str = "INSERT INTO accounts (id, username, password, created_at) \
                           VALUES ($1, $2, $3, $4) ON CONFLICT (username) DO NOTHING";
    const WEBHOOK: &str = "INSERT INTO webhooks (account, channel, id, secret, created_at) \
                           VALUES ($1, $2, $3, $4, $5)";
    let account = Uuid::from_bytes(*new.account.id.as_bytes());
    let made = sqlx::query(ACCOUNT)
        .bind(account)
        .bind(new.account.username.as_str())
        .bind(new.account.password.as_str())
        .bind(new.account.created_at.as_ms())
        .execute(&mut *transaction)
        .await?;
    if made.rows_affected() == 0 {
        return Ok(None);
    }
    sqlx::query(WEBHOOK)
        .bind(account)
        .bind(Uuid::from_bytes(*new.channel.as_bytes()))
        .bind(Uuid::from_bytes(*new.id.as_bytes()))
        .bind(&new.secret[..])
        .bind(new.account.created_at.as_ms())
        .execute(transaction)
        .await?;
    Ok(Some(new.account.id))
}

/// Makes a webhook with the account of a deleted one of the same channel and name, if there is one.
async fn reuse(transaction: &mut PgConnection, new: &NewWebhook) -> Result<Option<UserId>> {
    const WEBHOOK: &str = "UPDATE webhooks SET id = $3, secret = $4, created_at = $5 \
                           WHERE id IS NULL AND channel = $2 AND account = \
                             (SELECT id FROM accounts WHERE username = $1) RETURNING account";
    let account: Option<Uuid> = sqlx::query_scalar(WEBHOOK)
        .bind(new.account.username.as_str())
        .bind(Uuid::from_bytes(*new.channel.as_bytes()))
        .bind(Uuid::from_bytes(*new.id.as_bytes()))
        .bind(&new.secret[..])
        .bind(new.account.created_at.as_ms())
        .fetch_optional(&mut *transaction)
        .await?;
    sqlx::query("UPDATE accounts SET disabled = false WHERE id = $1")
        .bind(account)
        .execute(transaction)
        .await?;
    Ok(account.map(|id| UserId::from_bytes(id.into_bytes())))
}

fn webhook(found: &PgRow) -> Result<Webhook> {
    Ok(Webhook {
        id: WebhookId::from_bytes(row::id(found, "id")?),
        author: user(found)?,
        created_at: Timestamp::from_ms(found.try_get("created_at")?),
    })
}

fn user(found: &PgRow) -> Result<User> {
    Ok(author(
        row::id(found, "account")?,
        row::username(found, "username")?,
    ))
}
