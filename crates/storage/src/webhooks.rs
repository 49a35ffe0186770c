//! Incoming webhooks: each has an account of its own, which is a member of one channel, and a
//! secret, of which only the hash is kept.
//!
//! A deleted webhook leaves its account behind, disabled, for its messages are still there. The
//! channel that it was made for may have a webhook of that name again, with another id and secret.

mod postgres;
mod sqlite;

use std::fmt;

use banter_protocol::frame::User;
use banter_protocol::id::{ChannelId, UserId, WebhookId};
use banter_protocol::text::Username;
use banter_protocol::time::Timestamp;

use crate::accounts::NewAccount;
use crate::database::Database;
use crate::error::Result;

/// SHA-256 of the secret in a webhook's URL.
pub type SecretHash = [u8; 32];

/// A webhook to make.
#[derive(Clone)]
pub struct NewWebhook {
    /// A fresh `UUIDv7`.
    pub id: WebhookId,
    /// The channel that it posts into.
    pub channel: ChannelId,
    /// The account that it posts as, where the channel never had a webhook of this name.
    pub account: NewAccount,
    /// What its secret hashes to.
    pub secret: SecretHash,
}

/// What came of [`Webhooks::create`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Creation {
    /// It is there, and posts as this account, once that is a member.
    Created(UserId),
    /// The name belongs to somebody.
    NameTaken,
    /// The channel has as many as it may.
    TooMany,
}

/// A webhook as lists show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// Its identifier.
    pub id: WebhookId,
    /// The account that it posts as.
    pub author: User,
    /// When it was made.
    pub created_at: Timestamp,
}

/// What a webhook may do for whoever knows its secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Permit {
    /// Where it posts.
    pub channel: ChannelId,
    /// As whom.
    pub author: User,
    /// What its secret hashes to.
    pub secret: SecretHash,
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Permit({} in {})", self.author.username, self.channel)
    }
}

/// The webhooks of this installation. Cloning shares them.
#[derive(Debug, Clone)]
pub enum Webhooks {
    /// In the embedded database.
    Sqlite(sqlite::Webhooks),
    /// In PostgreSQL.
    Postgres(postgres::Webhooks),
}

impl Webhooks {
    /// Those in this database.
    #[must_use]
    pub fn new(database: &Database) -> Self {
        match database {
            Database::Sqlite(sqlite) => Self::Sqlite(sqlite::Webhooks::new(sqlite.clone())),
            Database::Postgres(postgres) => {
                Self::Postgres(postgres::Webhooks::new(postgres.clone()))
            }
        }
    }

    /// Makes a webhook where its channel has fewer than `most`, and its account; the account of a
    /// deleted one of this channel and name is used again.
    ///
    /// # Errors
    /// When storage fails; then it is unknown whether it was made.
    pub async fn create(&self, new: &NewWebhook, most: u32) -> Result<Creation> {
        match self {
            Self::Sqlite(webhooks) => webhooks.create(new, most).await,
            Self::Postgres(webhooks) => webhooks.create(new, most).await,
        }
    }

    /// Deletes a webhook and disables its account. False: there is none.
    ///
    /// # Errors
    /// When storage fails; then it is unknown whether it was done.
    pub async fn delete(&self, id: WebhookId) -> Result<bool> {
        match self {
            Self::Sqlite(webhooks) => webhooks.delete(id).await,
            Self::Postgres(webhooks) => webhooks.delete(id).await,
        }
    }

    /// At most `limit` webhooks of a channel, in the order in which they were made, those after
    /// `after`.
    ///
    /// # Errors
    /// When storage fails.
    pub async fn list(
        &self,
        channel: ChannelId,
        after: Option<WebhookId>,
        limit: u32,
    ) -> Result<Vec<Webhook>> {
        match self {
            Self::Sqlite(webhooks) => webhooks.list(channel, after, limit).await,
            Self::Postgres(webhooks) => webhooks.list(channel, after, limit).await,
        }
    }

    /// The account of this webhook of a channel, whether or not it may post now.
    ///
    /// # Errors
    /// When storage fails.
    pub async fn author(&self, channel: ChannelId, id: WebhookId) -> Result<Option<User>> {
        match self {
            Self::Sqlite(webhooks) => webhooks.author(channel, id).await,
            Self::Postgres(webhooks) => webhooks.author(channel, id).await,
        }
    }

    /// What this webhook may do. `None`: it was deleted or never made, its account is disabled, or
    /// its channel is a private one that nobody will read again.
    ///
    /// # Errors
    /// When storage fails.
    pub async fn permit(&self, id: WebhookId) -> Result<Option<Permit>> {
        match self {
            Self::Sqlite(webhooks) => webhooks.permit(id).await,
            Self::Postgres(webhooks) => webhooks.permit(id).await,
        }
    }

    /// The only channel that an account may be in, where it was made for a webhook.
    ///
    /// # Errors
    /// When storage fails.
    pub async fn channel_of(&self, account: UserId) -> Result<Option<ChannelId>> {
        match self {
            Self::Sqlite(webhooks) => webhooks.channel_of(account).await,
            Self::Postgres(webhooks) => webhooks.channel_of(account).await,
        }
    }
}

fn author(id: [u8; 16], username: Username) -> User {
    User {
        id: UserId::from_bytes(id),
        username,
    }
}
