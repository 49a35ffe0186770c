//! The log: takes entries, numbers them, keeps them, announces them. The seam between one process
//! and a cluster.

pub mod redis;
mod sqlite;

pub(crate) use redis::SCRIPTS;
pub use redis::{Cause, RedisLog, SHARDS, Shard, Tail, drain, queue};
pub use sqlite::SqliteLog;

use std::collections::HashMap;
use std::time::Duration;

use banter_protocol::entry::Level;
use banter_protocol::id::{ChannelId, Epoch, MessageId, Position, Seq, UserId};
use banter_protocol::text::{Body, Username};
use banter_protocol::time::Timestamp;

use crate::error::Result;

/// An entry that somebody wants to have in a channel.
#[derive(Debug, Clone)]
pub struct Append {
    /// The channel, which exists.
    pub channel: ChannelId,
    /// The author, or whose membership changes.
    pub user: UserId,
    /// Their name.
    pub username: Username,
    /// What happens.
    pub act: Act,
}

/// What an entry does.
#[derive(Debug, Clone)]
pub enum Act {
    /// Writes a message.
    Message {
        /// The author's id for it.
        id: MessageId,
        /// What.
        body: Body,
    },
    /// Makes `user` a member. A member already: answered with the first join.
    Join,
    /// Ends the membership of `user`.
    Leave {
        /// The owner who ends it, where it is not the member.
        by: Option<(UserId, Username)>,
    },
}

/// Proof that an entry is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// Its number.
    pub seq: Seq,
    /// Its epoch.
    pub epoch: Epoch,
    /// When it was taken.
    pub sent_at: Timestamp,
    /// How safe it is.
    pub level: Level,
    /// Whether this call wrote it; `false` for a retry, which gets the first answer again.
    pub fresh: bool,
}

/// Why the log did not take an entry. Nothing was written for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// The author is no member of the channel; or there is no membership to end.
    NotAMember,
    /// The channel took too many entries just now.
    SlowDown {
        /// When it will take one again.
        retry_after_ms: u64,
    },
    /// It needs the database, which is away.
    Unavailable,
}

/// A membership that began or ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// Number of the entry that says so.
    pub seq: Seq,
    /// Whether it began.
    pub joined: bool,
}

/// A channel as the log has it for one user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recent {
    /// Its newest entry's number, and the epoch that new ones are written under.
    pub head: Position,
    /// The last change of the user's membership that the database may not have yet.
    pub change: Option<Change>,
}

/// What the log says to one entry of a batch.
pub type Answer = std::result::Result<Receipt, Refused>;

/// The log in use, decided once at start.
#[derive(Debug, Clone)]
pub enum Log {
    /// The `SQLite` file itself.
    Sqlite(SqliteLog),
    /// Lists in Redis, which workers drain into the database.
    Redis(RedisLog),
}

impl Log {
    /// Takes a batch: all its entries are kept, numbered densely in their channels, and announced,
    /// or none is. The answers stand in the order of the batch.
    ///
    /// # Errors
    /// [`crate::Error::Unavailable`]: the outcome is unknown, a retry with the same id finds out.
    pub async fn append(&self, batch: Vec<Append>) -> Result<Vec<Answer>> {
        match self {
            Self::Sqlite(log) => log.append(batch).await,
            Self::Redis(log) => log.append(batch).await,
        }
    }

    /// What an acknowledgement of this log stands for.
    #[must_use]
    pub const fn level(&self) -> Level {
        match self {
            Self::Sqlite(_) => Level::Stored,
            Self::Redis(_) => Level::Queued,
        }
    }

    /// The epoch that new entries are written under; 0 where each channel has its own, see
    /// [`Self::heads`].
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        match self {
            Self::Sqlite(log) => log.epoch(),
            Self::Redis(_) => 0,
        }
    }

    /// The newest entry's number of each channel, and the epoch that new ones are written under.
    ///
    /// # Errors
    /// [`crate::Error::Unavailable`].
    pub async fn heads(&self, channels: &[ChannelId]) -> Result<HashMap<ChannelId, Position>> {
        match self {
            Self::Sqlite(log) => log.heads(channels).await,
            Self::Redis(log) => log.heads(channels).await,
        }
    }

    /// Each channel as it is now for `user`, whatever the database has yet: those that the database
    /// shows as `joined`, and those that somebody has `named` and the log knows.
    ///
    /// # Errors
    /// [`crate::Error::Unavailable`].
    pub async fn recent(
        &self,
        user: UserId,
        joined: &[ChannelId],
        named: &[ChannelId],
    ) -> Result<HashMap<ChannelId, Recent>> {
        match self {
            Self::Sqlite(log) => {
                let heads = log.heads(joined).await?;
                let recent = |(channel, head)| (channel, Recent { head, change: None });
                Ok(heads.into_iter().map(recent).collect())
            }
            Self::Redis(log) => log.recent(user, joined, named).await,
        }
    }

    /// How many entries of a channel are not in the database yet.
    ///
    /// # Errors
    /// [`crate::Error::Unavailable`].
    pub async fn unstored(&self, channel: ChannelId) -> Result<u64> {
        match self {
            // Nothing is answered before it is.
            Self::Sqlite(_) => Ok(0),
            Self::Redis(log) => {
                let tail = log.tail(channel, 0, 1).await?;
                Ok(tail.top.saturating_sub(tail.stored))
            }
        }
    }

    /// Returns when the entry at `position` is in the database.
    ///
    /// # Errors
    /// [`crate::Error::Unavailable`]: it is not, after `within`; or the log has lost it.
    pub async fn stored(
        &self,
        channel: ChannelId,
        position: Position,
        within: Duration,
    ) -> Result<()> {
        match self {
            // Nothing is answered before it is.
            Self::Sqlite(_) => Ok(()),
            Self::Redis(log) => log.stored(channel, position, within).await,
        }
    }
}
