//! How gateways hear of entries: every entry of a channel that somebody here watches, in order.

mod local;
mod redis;

pub use local::LocalBus;
pub use redis::{Arrivals, Hearing, RedisBus};

use banter_protocol::id::{ChannelId, Epoch, Position, Seq, UserId};
use tokio::sync::mpsc;

use crate::entries::Record;
use crate::error::Result;
use crate::log::Shard;

/// What a gateway hears. Of one channel, everything comes in the order of the log.
#[derive(Debug)]
pub enum Event {
    /// New entries, dense in each channel.
    Entries(Vec<Record>),
    /// A membership of a watched user has begun or ended. A hint: it may come before or after the
    /// entry, more than once, and late.
    Changed(Changed),
    /// Entries up to this one are in the database. After [`Event::Lost`] of its epoch.
    Stored {
        /// The channel.
        channel: ChannelId,
        /// The newest stored entry, with its own epoch or the log's.
        position: Position,
    },
    /// The log has begun a new epoch: what was not stored may be lost.
    Lost {
        /// Of which channels.
        shard: Shard,
        /// The new epoch.
        epoch: Epoch,
    },
    /// In the new epoch the channel goes on after the newest entry that was passed on.
    Kept {
        /// The channel.
        channel: ChannelId,
        /// That entry's number, and the new epoch.
        at: Position,
    },
    /// What was passed on may be void: the channel goes on after `head`.
    Rewound {
        /// The channel.
        channel: ChannelId,
        /// The newest entry, and the new epoch.
        head: Position,
    },
    /// Somebody waits until everything before it has been passed on.
    Barrier(Barrier),
}

/// A membership that has begun or ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Changed {
    /// The channel.
    pub channel: ChannelId,
    /// Whose.
    pub user: UserId,
    /// The entry that says so.
    pub position: Position,
    /// Whether it has begun.
    pub joined: bool,
}

/// Held by everyone who still has to pass something on; the waiting side goes on when the last
/// holder has dropped it.
#[derive(Debug, Clone)]
pub struct Barrier {
    _held: mpsc::Sender<()>,
}

/// What one can listen to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Topic {
    /// The entries of a channel.
    Channel(ChannelId),
    /// The memberships of a user.
    User(UserId),
}

/// Keeps a topic coming for as long as it is held.
#[derive(Debug)]
#[must_use]
pub struct Watch(Held);

#[derive(Debug)]
enum Held {
    /// Everything of this process is heard anyway.
    Always,
    /// A count of a topic.
    Wanted(redis::Want),
}

impl Watch {
    /// Whether the topic was heard already when this was made: nothing was missed before.
    #[must_use]
    pub const fn is_heard(&self) -> bool {
        match &self.0 {
            Held::Always => true,
            Held::Wanted(want) => want.was_heard,
        }
    }
}

/// Where entries are announced.
#[derive(Debug, Clone)]
pub enum Bus {
    /// Within this process.
    Local(LocalBus),
    /// Between processes.
    Redis(RedisBus),
}

impl Bus {
    /// Listens to a topic from now on. When it really is heard, [`Self::watched`] tells.
    pub fn watch(&self, topic: Topic) -> Watch {
        match self {
            Self::Local(_) => Watch(Held::Always),
            Self::Redis(bus) => Watch(Held::Wanted(bus.want(topic))),
        }
    }

    /// Returns when a topic that somebody watches is heard, with the epoch that its channel is
    /// heard under, where epochs can change.
    ///
    /// # Errors
    /// [`crate::Error::Unavailable`] when the bus is away for longer than a moment.
    pub async fn watched(&self, topic: Topic) -> Result<Option<Epoch>> {
        match self {
            Self::Local(_) => Ok(None),
            Self::Redis(bus) => bus.watched(topic).await,
        }
    }

    /// Up to which entry a watched channel is known to be stored. [`Event::Stored`] never comes
    /// before this knows.
    #[must_use]
    pub fn stored(&self, channel: ChannelId) -> Option<Seq> {
        match self {
            Self::Local(_) => None,
            Self::Redis(bus) => bus.stored(channel),
        }
    }

    /// The newest epoch that is known of a channel's shard, where epochs can change; what was
    /// acknowledged under an older one may be lost. Never behind what [`Event`]s have told.
    #[must_use]
    pub fn epoch(&self, channel: ChannelId) -> Option<Epoch> {
        match self {
            Self::Local(_) => None,
            Self::Redis(bus) => bus.epoch(channel),
        }
    }

    /// Whether other processes announce here too, so that a word may be late.
    #[must_use]
    pub const fn is_shared(&self) -> bool {
        matches!(self, Self::Redis(_))
    }

    /// Returns when everything that was announced before this call has been passed on by this
    /// process's receiver. Between processes nothing is waited for.
    pub async fn settle(&self) {
        match self {
            Self::Local(bus) => bus.settle().await,
            Self::Redis(_) => {}
        }
    }
}
