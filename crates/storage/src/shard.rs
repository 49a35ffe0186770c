//! Shards: how channels are spread over the log's keys. An epoch belongs to a shard.

use std::fmt;

use banter_protocol::id::ChannelId;

/// How many there are; more would undo the batching of appends.
pub const SHARDS: u8 = 16;

/// A sixteenth of all channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Shard(u8);

impl Shard {
    /// The shard of a channel: the end of a `UUIDv7` is random.
    #[must_use]
    pub const fn of(channel: ChannelId) -> Self {
        Self(channel.as_bytes()[15] % SHARDS)
    }

    /// The shard with this number; `None`: there are only so many.
    #[must_use]
    pub const fn new(number: u8) -> Option<Self> {
        if number < SHARDS {
            Some(Self(number))
        } else {
            None
        }
    }

    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..SHARDS).map(Self)
    }

    /// Its number, from 0.
    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}
