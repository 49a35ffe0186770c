//! Channels, their members, and who is barred from them.
//!
//! A channel exists from its first entry on: one whose creator's `joined` could not be written is
//! seen by nobody, and its name is free again, see [`Channels::abandon`]. Memberships are written
//! by the log, together with the entry that begins or ends them.

use banter_protocol::frame::User;
use banter_protocol::id::{ChannelId, Epoch, Position, Seq, UserId};
use banter_protocol::text::{ChannelName, Topic, Username};
use banter_protocol::time::Timestamp;

use crate::database::Database;
use crate::error::Result;

mod postgres;
mod seat;
mod sqlite;

pub use seat::Seat;

use seat::Seats;

/// How long a channel without an entry keeps its name, in milliseconds. Whoever made it has its
/// answer long before; only a process that died in between leaves one behind.
const UNBORN_KEEPS_NAME_MS: i64 = 60_000;

/// A channel to create.
#[derive(Debug, Clone)]
pub struct NewChannel {
    /// A fresh `UUIDv7`.
    pub id: ChannelId,
    /// Unique among public channels, under case folding.
    pub name: ChannelName,
    /// What it is about.
    pub topic: Topic,
    /// Whether only its members see it.
    pub private: bool,
    /// Who makes it.
    pub owner: UserId,
    /// Now.
    pub created_at: Timestamp,
}

/// What came of [`Channels::create`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Creation {
    /// It is there, and becomes visible with its first entry.
    Created,
    /// A public channel has this name.
    NameTaken,
}

/// A channel as one account sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Channel {
    /// Its identifier.
    pub id: ChannelId,
    /// Its name.
    pub name: ChannelName,
    /// What it is about.
    pub topic: Topic,
    /// Whether only its members see it.
    pub private: bool,
    /// Who owns it; `None` when nobody is left.
    pub owner: Option<User>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Its newest stored entry.
    pub head: Position,
    /// Whether the account that looks is a member.
    pub joined: bool,
}

/// Which of the channels that an account sees.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only those it is a member of.
    pub joined: bool,
    /// Only those with exactly this name.
    pub name: Option<String>,
}

/// Since when somebody is a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Membership {
    /// Number of the `joined` entry.
    pub seq: Seq,
    /// Its epoch.
    pub epoch: Epoch,
    /// Its time.
    pub since: Timestamp,
}

/// One of a channel's members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The account.
    pub id: UserId,
    /// Its name.
    pub username: Username,
    /// Whether it owns the channel.
    pub owner: bool,
    /// When it joined.
    pub since: Timestamp,
}

/// The stored channels. Cloning shares them, and their seats.
#[derive(Debug, Clone)]
pub struct Channels {
    store: Store,
    seats: Seats,
}

#[derive(Debug, Clone)]
enum Store {
    Sqlite(sqlite::Channels),
    Postgres(postgres::Channels),
}

impl Channels {
    /// The channels in this database.
    #[must_use]
    pub fn new(database: &Database) -> Self {
        let store = match database {
            Database::Sqlite(sqlite) => Store::Sqlite(sqlite::Channels::new(sqlite.clone())),
            Database::Postgres(postgres) => {
                Store::Postgres(postgres::Channels::new(postgres.clone()))
            }
        };
        let seats = Seats::new(database);
        Self { store, seats }
    }

    /// Waits until nobody else changes what `user` may join, in any process on this database, and
    /// keeps it so until the seat is dropped.
    ///
    /// # Errors
    /// See [`crate::Error`]; also when another process keeps the seat for seconds.
    pub async fn hold_seat(&self, user: UserId) -> Result<Seat> {
        self.seats.hold(user).await
    }

    /// Makes a channel that nobody sees before its first entry.
    ///
    /// # Errors
    /// See [`crate::Error`].
    pub async fn create(&self, new: &NewChannel) -> Result<Creation> {
        match &self.store {
            Store::Sqlite(it) => it.create(new).await,
            Store::Postgres(it) => it.create(new).await,
        }
    }

    /// Takes back a channel whose first entry failed, and tells whether that succeeded. `false`:
    /// the entry is there after all, and so is the channel.
    ///
    /// # Errors
    /// See [`crate::Error`]. The name is then free again after a minute.
    pub async fn abandon(&self, channel: ChannelId) -> Result<bool> {
        match &self.store {
            Store::Sqlite(it) => it.abandon(channel).await,
            Store::Postgres(it) => it.abandon(channel).await,
        }
    }

    /// The channel, where `viewer` may see it: public, or a member.
    ///
    /// # Errors
    /// See [`crate::Error`].
    pub async fn seen_by(&self, viewer: UserId, channel: ChannelId) -> Result<Option<Channel>> {
        match &self.store {
            Store::Sqlite(it) => it.seen_by(viewer, channel).await,
            Store::Postgres(it) => it.seen_by(viewer, channel).await,
        }
    }

    /// At most `limit` channels that `viewer` may see, in the order of their ids, those after
    /// `after`.
    ///
    /// # Errors
    /// See [`crate::Error`].
    pub async fn list(
        &self,
        viewer: UserId,
        filter: &Filter,
        after: Option<ChannelId>,
        limit: u32,
    ) -> Result<Vec<Channel>> {
        // No name has one, and PostgreSQL takes no text with one.
        if filter.name.as_ref().is_some_and(|name| name.contains('\0')) {
            return Ok(Vec::new());
        }
        match &self.store {
            Store::Sqlite(it) => it.list(viewer, filter, after, limit).await,
            Store::Postgres(it) => it.list(viewer, filter, after, limit).await,
        }
    }

    /// Since when `user` is a member; `None`: is none.
    ///
    /// # Errors
    /// See [`crate::Error`].
    pub async fn membership(&self, channel: ChannelId, user: UserId) -> Result<Option<Membership>> {
        match &self.store {
            Store::Sqlite(it) => it.membership(channel, user).await,
            Store::Postgres(it) => it.membership(channel, user).await,
        }
    }

    /// At most `limit` members, in the order of their ids, those after `after`.
    ///
    /// # Errors
    /// See [`crate::Error`].
    pub async fn members(
        &self,
        channel: ChannelId,
        after: Option<UserId>,
        limit: u32,
    ) -> Result<Vec<Member>> {
        match &self.store {
            Store::Sqlite(it) => it.members(channel, after, limit).await,
            Store::Postgres(it) => it.members(channel, after, limit).await,
        }
    }

    /// Every channel that `user` is a member of, with the number of its newest entry.
    ///
    /// # Errors
    /// See [`crate::Error`].
    pub async fn joined(&self, user: UserId) -> Result<Vec<(ChannelId, Seq)>> {
        match &self.store {
            Store::Sqlite(it) => it.joined(user).await,
            Store::Postgres(it) => it.joined(user).await,
        }
    }

    /// How many channels `user` is a member of.
    ///
    /// # Errors
    /// See [`crate::Error`].
    pub async fn count_joined(&self, user: UserId) -> Result<usize> {
        match &self.store {
            Store::Sqlite(it) => it.count_joined(user).await,
            Store::Postgres(it) => it.count_joined(user).await,
        }
    }

    /// Keeps `user` from joining. Doing it twice is no error.
    ///
    /// # Errors
    /// See [`crate::Error`].
    pub async fn bar(&self, channel: ChannelId, user: UserId) -> Result<()> {
        match &self.store {
            Store::Sqlite(it) => it.bar(channel, user).await,
            Store::Postgres(it) => it.bar(channel, user).await,
        }
    }

    /// Lets `user` join again.
    ///
    /// # Errors
    /// See [`crate::Error`].
    pub async fn unbar(&self, channel: ChannelId, user: UserId) -> Result<()> {
        match &self.store {
            Store::Sqlite(it) => it.unbar(channel, user).await,
            Store::Postgres(it) => it.unbar(channel, user).await,
        }
    }

    /// Whether `user` is kept from joining.
    ///
    /// # Errors
    /// See [`crate::Error`].
    pub async fn is_barred(&self, channel: ChannelId, user: UserId) -> Result<bool> {
        match &self.store {
            Store::Sqlite(it) => it.is_barred(channel, user).await,
            Store::Postgres(it) => it.is_barred(channel, user).await,
        }
    }
}
