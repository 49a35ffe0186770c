//! Entries that nobody sends and nobody sees: by them a cluster measures the way from a gateway
//! over the log and the bus back to it, and into the database.
//!
//! Each shard has a channel for them, which no list has and nobody can join. The transaction that
//! stores a heartbeat deletes it again, so that the database takes part and nothing stays there.

use banter_protocol::id::{ChannelId, MessageId, UserId};
use banter_protocol::text::{Body, Username};
use sqlx::postgres::PgConnection;
use uuid::Uuid;

use crate::error::Result;
use crate::log::{Act, Append, Log, SHARDS};

/// Heartbeats of a shard that may wait for the database, of all gateways together: 256 in all
/// shards, some 60 KiB of Redis, however long workers are away. With two gateways that is ten
/// minutes of them.
pub const WAITING_MAX: u64 = 16;

/// A `UUIDv7` of the first millisecond of 1970, without chance in it: no channel is made with it.
/// The last byte is the shard's.
const CHANNEL: [u8; 16] = [0, 0, 0, 0, 0, 0, 0x70, 0, 0x80, 0, 0, 0, 0, 0, 0, 0];

/// The channel of heartbeats that go through this shard.
#[must_use]
pub fn channel(shard: u8) -> ChannelId {
    let mut bytes = CHANNEL;
    bytes[15] = shard % SHARDS;
    ChannelId::from_bytes(bytes)
}

/// All of them.
pub fn channels() -> impl Iterator<Item = ChannelId> {
    (0..SHARDS).map(channel)
}

/// Whether a channel is one of them.
#[must_use]
pub fn is_in(channel: ChannelId) -> bool {
    channel.as_bytes()[..15] == CHANNEL[..15]
}

/// Whether there is room for another one in this shard. Where the log cannot tell, the heartbeat
/// itself finds out why.
pub async fn has_room(log: &Log, shard: u8) -> bool {
    let unstored = log.unstored(channel(shard)).await;
    unstored.map_or(true, |unstored| unstored < WAITING_MAX)
}

/// A heartbeat through this shard, and its id.
#[must_use]
pub fn beat(shard: u8) -> (MessageId, Append) {
    let id = MessageId::from(Uuid::now_v7());
    let append = Append {
        channel: channel(shard),
        user: UserId::from_bytes(CHANNEL),
        username: Username::from_stored("heartbeat"),
        act: Act::Message {
            id: id.clone(),
            body: Body::from_stored("beat"),
        },
    };
    (id, append)
}

/// Deletes what was just stored of these channels.
pub(crate) async fn delete(
    connection: &mut PgConnection,
    channels: impl Iterator<Item = ChannelId>,
) -> Result<()> {
    let channels: Vec<_> = channels
        .filter(|channel| is_in(*channel))
        .map(|channel| Uuid::from_bytes(*channel.as_bytes()))
        .collect();
    if channels.is_empty() {
        return Ok(());
    }
    sqlx::query("DELETE FROM entries WHERE channel = ANY($1)")
        .bind(channels)
        .execute(connection)
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::Shard;

    #[test]
    fn every_shard_has_its_heartbeat() {
        let shards = channels().map(Shard::of).map(Shard::number);
        assert!(shards.eq(0..SHARDS));
        assert!(channels().all(is_in));
        assert!(!is_in(ChannelId::from_uuid(Uuid::now_v7())));
    }
}
