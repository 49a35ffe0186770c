//! Shards: what one script, one epoch and one lease cover.

use std::collections::BTreeMap;

use banter_protocol::id::ChannelId;

/// How many there are, for ever: enough for as many workers, and few enough that a batch of a
/// gateway stays a batch.
pub const SHARDS: u8 = 16;

/// A share of the channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Shard(u8);

impl Shard {
    /// All of them.
    pub fn all() -> impl ExactSizeIterator<Item = Self> + Clone {
        (0..SHARDS).map(Self)
    }

    /// The shard of a channel. The end of a `UUIDv7` is random.
    #[must_use]
    pub const fn of(channel: ChannelId) -> Self {
        Self(channel.as_bytes()[15] & (SHARDS - 1))
    }

    /// The shard with this number, below [`SHARDS`].
    #[must_use]
    pub const fn numbered(number: u8) -> Option<Self> {
        if number < SHARDS {
            Some(Self(number))
        } else {
            None
        }
    }

    /// Its number.
    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }

    /// Its place in an array of all.
    pub(super) const fn index(self) -> usize {
        self.0 as usize
    }

    /// The key of something of it; the braces keep a shard on one node of a Redis Cluster.
    pub(super) fn key(self, name: &str) -> String {
        format!("{{b{}}}:{name}", self.0)
    }
}

/// The places of items, by shard, in their order.
pub(super) fn grouped<T>(
    items: &[T],
    channel: impl Fn(&T) -> ChannelId,
) -> BTreeMap<Shard, Vec<usize>> {
    let mut groups = BTreeMap::<_, Vec<_>>::new();
    for (place, item) in items.iter().enumerate() {
        groups
            .entry(Shard::of(channel(item)))
            .or_default()
            .push(place);
    }
    groups
}
