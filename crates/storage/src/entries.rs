//! Stored entries, read by their numbers.
//!
//! Numbers are dense, so a page is a range of them that can be computed before anything is read;
//! reading it walks the primary key and nothing else, wherever in the channel it lies.

use banter_protocol::entry::Entry;
use banter_protocol::id::{ChannelId, Epoch, Position, Seq, UserId};

use crate::database::Database;
use crate::error::Result;
use crate::log::RedisLog;
use crate::postgres::Postgres;

pub(crate) mod postgres;
pub(crate) mod queued;
pub(crate) mod sqlite;
mod window;

pub(crate) use postgres::write;

use window::Window;

/// An entry, and whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// As members see it.
    pub entry: Entry,
    /// The author, or whose membership changed; `None` for a tombstone.
    pub user: Option<UserId>,
}

/// Where in a channel a page lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Anchor {
    /// The newest entries.
    Newest,
    /// The newest entries below this number.
    Before(Seq),
    /// The oldest entries above this number.
    After(Seq),
    /// This entry and those on both sides of it.
    Around(Seq),
}

/// A page of a channel's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Ascending by number, without a gap.
    pub records: Vec<Record>,
    /// Whether the channel has entries below this page.
    pub has_older: bool,
    /// Whether the channel has entries above this page.
    pub has_newer: bool,
    /// `false`: what is not stored yet cannot be read now, and newer entries may exist.
    pub complete: bool,
}

/// A record that was not written because something stands in its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// The record's channel.
    pub channel: ChannelId,
    /// The record's number.
    pub seq: Seq,
    /// What stands there.
    pub standing: Standing,
}

/// What stands in a record's way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// The record itself: it was written before.
    Same,
    /// Another entry has its number.
    Other(Record),
    /// Its number is free, but its author's message of that id has this one.
    Sent(Position),
}

/// Writes `records` that were numbered elsewhere, those of a channel ascending, and the memberships
/// that they begin and end, in one transaction. What stands there already is passed over, and told.
///
/// # Errors
/// See [`crate::Error`]; then nothing was written, unless the outcome is unknown.
pub async fn import(database: &Postgres, records: &[Record]) -> Result<Vec<Conflict>> {
    let mut transaction = database.pool().begin().await?;
    let conflicts = postgres::write(&mut transaction, records).await?;
    transaction.commit().await?;
    Ok(conflicts)
}

/// The stored entries.
#[derive(Debug, Clone)]
pub enum Entries {
    /// In the embedded database.
    Sqlite(sqlite::Entries),
    /// In PostgreSQL.
    Postgres(postgres::Entries),
    /// In PostgreSQL, and on their way there in Redis.
    Queued(queued::Entries),
}

impl Entries {
    /// The entries in this database.
    #[must_use]
    pub fn new(database: &Database) -> Self {
        match database {
            Database::Sqlite(sqlite) => Self::Sqlite(sqlite::Entries::new(sqlite.clone())),
            Database::Postgres(postgres) => {
                Self::Postgres(postgres::Entries::new(postgres.clone()))
            }
        }
    }

    /// The entries in the database and in the log that is drained into it.
    #[must_use]
    pub const fn queued(database: Postgres, log: RedisLog) -> Self {
        Self::Queued(queued::Entries::new(postgres::Entries::new(database), log))
    }

    /// At most `limit` entries at `anchor`, and fewer only where the channel has no more there.
    ///
    /// # Errors
    /// See [`crate::Error`].
    pub async fn page(&self, channel: ChannelId, anchor: Anchor, limit: u32) -> Result<Page> {
        if let Self::Queued(it) = self {
            return it.page(channel, anchor, limit).await;
        }
        let head = self.head(channel).await?.seq;
        let window = Window::new(anchor, head, limit);
        let records = self
            .range(channel, window.after, Some(window.up_to), limit)
            .await?;
        Ok(Page {
            records,
            has_older: window.has_older(),
            has_newer: window.has_newer(head),
            complete: true,
        })
    }

    /// At most `limit` entries with numbers above `after` and not above `up_to`, ascending.
    ///
    /// # Errors
    /// See [`crate::Error`]; [`crate::Error::Corrupt`] when one of them is missing;
    /// [`crate::Error::Unavailable`] where what is not stored yet cannot be read and is asked for.
    pub async fn range(
        &self,
        channel: ChannelId,
        after: Seq,
        up_to: Option<Seq>,
        limit: u32,
    ) -> Result<Vec<Record>> {
        let up_to = up_to.unwrap_or(Seq::MAX);
        if after >= up_to || limit == 0 {
            return Ok(Vec::new());
        }
        let records = match self {
            Self::Sqlite(it) => it.range(channel, after, up_to, limit).await?,
            Self::Postgres(it) => it.range(channel, after, up_to, limit).await?,
            Self::Queued(it) => return it.range(channel, after, up_to, limit).await,
        };
        window::refuse_holes(after, &records)?;
        Ok(records)
    }

    /// Whether entries can be read now.
    pub async fn is_reachable(&self) -> bool {
        match self {
            Self::Sqlite(it) => it.is_reachable().await,
            Self::Postgres(it) => it.is_reachable().await,
            Self::Queued(it) => it.is_reachable().await,
        }
    }

    /// The newest entry's position; 0 in the current epoch where there is none.
    ///
    /// # Errors
    /// See [`crate::Error`].
    pub async fn head(&self, channel: ChannelId) -> Result<Position> {
        match self {
            Self::Sqlite(it) => it.head(channel).await,
            Self::Postgres(it) => it.head(channel).await,
            Self::Queued(it) => it.head(channel).await,
        }
    }

    /// The epoch that entry `seq` was written in; `None`: there is no such entry.
    ///
    /// # Errors
    /// See [`crate::Error`].
    pub async fn epoch_of(&self, channel: ChannelId, seq: Seq) -> Result<Option<Epoch>> {
        match self {
            Self::Sqlite(it) => it.epoch_of(channel, seq).await,
            Self::Postgres(it) => it.epoch_of(channel, seq).await,
            Self::Queued(it) => it.epoch_of(channel, seq).await,
        }
    }
}
