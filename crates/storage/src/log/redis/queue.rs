//! What an operator asks about the way into the database: how much waits, how long, and what could
//! not be stored.

use std::time::Duration;

use banter_protocol::id::{ChannelId, Epoch, Seq};
use banter_protocol::time::Timestamp;
use redis::Value;
use sqlx::Row as _;

use super::{QUEUE, Shard, record, reply};
use crate::error::{Error, Result};
use crate::heartbeat;
use crate::postgres::{Postgres, row};
use crate::redis::{Call, Redis};

/// Channels of a shard that are looked into, so that a look does not keep senders waiting.
const CHANNELS_MAX: u32 = 2_000;
/// The same for a look that every process takes all the time.
const CHANNELS_GLANCE: u32 = 200;

/// What waits in one shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// The shard.
    pub shard: Shard,
    /// Its epoch in Redis; `None`: Redis is empty.
    pub epoch: Option<Epoch>,
    /// Channels with entries that are not stored.
    pub channels: u64,
    /// These entries; at least so many, where there are very many channels.
    pub entries: u64,
    /// How long the oldest has waited.
    pub oldest_age: Duration,
}

/// What waits in all shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Depth {
    /// Channels with entries that are not stored.
    pub channels: u64,
    /// These entries; at least so many, where there are very many channels.
    pub entries: u64,
    /// How long the oldest has waited.
    pub oldest_age: Duration,
}

/// Reads how much waits, cheaply.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn depth(redis: &Redis) -> Result<Depth> {
    let mut depth = Depth::default();
    for shard in look(redis, CHANNELS_GLANCE).await? {
        depth.channels += shard.channels;
        depth.entries += shard.entries;
        depth.oldest_age = depth.oldest_age.max(shard.oldest_age);
    }
    Ok(depth)
}

/// Reads what waits, shard by shard. Changes nothing, whatever state Redis is in.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn waiting(redis: &Redis) -> Result<Vec<Waiting>> {
    look(redis, CHANNELS_MAX).await
}

async fn look(redis: &Redis, channels_max: u32) -> Result<Vec<Waiting>> {
    let connection = redis.connection().await?;
    let calls: Vec<Call> = Shard::all()
        .map(|shard| {
            let mut call = QUEUE.call(&shard.key("epoch"));
            let heartbeats = heartbeat::channel(shard.number());
            call.arg(channels_max);
            call.arg(record::hex(heartbeats.as_bytes()));
            call
        })
        .collect();
    let answers = redis.run(&connection, &calls).await?;
    let read = |(shard, answer)| {
        let Value::Array(values) = answer else {
            return Err(reply::unexpected());
        };
        let mut values = values.into_iter();
        Ok(Waiting {
            shard,
            epoch: reply::number(values.next()).ok(),
            channels: reply::number(values.next())?,
            entries: reply::number(values.next())?,
            oldest_age: Duration::from_millis(reply::number(values.next())?),
        })
    };
    Shard::all().zip(answers).map(read).collect()
}

/// An accepted entry that could not be stored; a tombstone stands in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// Its channel.
    pub channel: ChannelId,
    /// Its number.
    pub seq: Seq,
    /// The epoch in which it was found.
    pub epoch: Epoch,
    /// What stood in Redis.
    pub raw: Vec<u8>,
    /// Why it could not be stored.
    pub reason: String,
    /// When it was found.
    pub at: Timestamp,
}

/// At most `limit` rejected entries, the newest first.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn rejected(postgres: &Postgres, limit: u32) -> Result<Vec<Rejected>> {
    let sql = "SELECT channel, seq, epoch, raw, reason, at FROM rejected \
               ORDER BY at DESC, channel, seq LIMIT $1";
    let rows = sqlx::query(sql)
        .bind(i64::from(limit))
        .fetch_all(postgres.pool())
        .await?;
    rows.iter()
        .map(|found| {
            Ok(Rejected {
                channel: ChannelId::from_bytes(row::id(found, "channel")?),
                seq: row::unsigned(found, "seq")?,
                epoch: row::unsigned(found, "epoch")?,
                raw: found.try_get("raw").map_err(Error::from)?,
                reason: found.try_get("reason").map_err(Error::from)?,
                at: Timestamp::from_ms(found.try_get("at").map_err(Error::from)?),
            })
        })
        .collect()
}
