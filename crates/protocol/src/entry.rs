//! Entries: everything that happens in a channel, numbered 1, 2, 3 …

use serde::{Deserialize, Serialize};

use crate::id::{ChannelId, Epoch, MessageId, Position, Seq};
use crate::text::{Body, Username};
use crate::time::Timestamp;

/// How safe an accepted entry is when its sender hears of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Fsynced in the log.
    Queued,
    /// In the database.
    Stored,
}

/// One entry of a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The channel.
    pub channel: ChannelId,
    /// Its number in the channel.
    pub seq: Seq,
    /// The epoch it was written in.
    pub epoch: Epoch,
    /// When the server took it.
    pub sent_at: Timestamp,
    /// What happened.
    pub kind: Kind,
}

/// What an entry says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// Somebody wrote.
    Message {
        /// The author's own id for it.
        id: MessageId,
        /// Who wrote.
        author: Username,
        /// What.
        body: Body,
    },
    /// Somebody became a member.
    Joined {
        /// Who.
        user: Username,
    },
    /// Somebody's membership ended.
    Left {
        /// Whose.
        user: Username,
        /// The owner who ended it; absent when the member left.
        by: Option<Username>,
    },
    /// An accepted entry whose content cannot be stored.
    Tombstone,
}

impl Entry {
    /// The position of a member who has applied this entry.
    #[must_use]
    pub const fn position(&self) -> Position {
        Position {
            seq: self.seq,
            epoch: self.epoch,
        }
    }
}

impl Serialize for Entry {
    /// The frame of the socket and the item of a history page alike.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let mut frame = serializer.serialize_struct("Entry", 8)?;
        let kind = match &self.kind {
            Kind::Message { .. } => "message",
            Kind::Joined { .. } => "joined",
            Kind::Left { .. } => "left",
            Kind::Tombstone => "tombstone",
        };
        frame.serialize_field("type", kind)?;
        frame.serialize_field("channel", &self.channel)?;
        frame.serialize_field("seq", &self.seq)?;
        frame.serialize_field("epoch", &self.epoch)?;
        match &self.kind {
            Kind::Message { id, author, body } => {
                frame.serialize_field("id", id)?;
                frame.serialize_field("author", author)?;
                frame.serialize_field("body", body)?;
            }
            Kind::Joined { user } => frame.serialize_field("user", user)?,
            Kind::Left { user, by } => {
                frame.serialize_field("user", user)?;
                if let Some(by) = by {
                    frame.serialize_field("by", by)?;
                }
            }
            Kind::Tombstone => {}
        }
        frame.serialize_field("sent_at", &self.sent_at)?;
        frame.end()
    }
}
