//! The log of a cluster: per channel a list in Redis of what is not in the database yet.
//!
//! Channels fall into shards, and every script runs on the keys of one shard (`{b<shard>}:`):
//! `epoch`, `top`, `stored`, `base` (hashes by channel), `l:<channel>` (the list), `dirty` (what
//! waits for the database), `ids0`, `ids1`, `mem0`, `mem1` (recent ids and changes of membership,
//! in two generations), `pace`, `lease`. The scripts keep these rules:
//!
//! * `top` has a channel if and only if it was touched in this epoch; whoever touches it first
//!   seeds it from the database.
//! * A channel's list holds exactly what is numbered above `stored`, up to `top`.
//! * `dirty` has a channel if and only if its list is not empty.
//! * Whoever changes anything names the epoch, and changes nothing under another one.

mod append;
pub mod drain;
mod epochs;
mod memory;
pub mod queue;
pub(crate) mod record;
mod reply;
mod shard;
mod stored;
mod waiting;

pub use epochs::Cause;
pub use shard::{SHARDS, Shard};

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use banter_protocol::id::{ChannelId, Epoch, Position, Seq, UserId};
use banter_protocol::limit;
use banter_protocol::time::Timestamp;
use redis::Value;

use self::epochs::{Epochs, Era};
use self::memory::Memory;
use self::reply::Reply;
use self::stored::{Ledger, Stored};
use self::waiting::Waiting;
use crate::entries::Record;
use crate::error::{Error, Result};
use crate::log::{Change, Recent};
use crate::postgres::Postgres;
use crate::redis::{Call, Redis, Script};

static APPEND: Script = Script::new(include_str!("redis/append.lua"));
static SEED: Script = Script::new(include_str!("redis/seed.lua"));
static HEADS: Script = Script::new(include_str!("redis/heads.lua"));
static RECENT: Script = Script::new(include_str!("redis/recent.lua"));
static TAIL: Script = Script::new(include_str!("redis/tail.lua"));
static INSTALL: Script = Script::new(include_str!("redis/install.lua"));
static OPEN: Script = Script::new(include_str!("redis/open.lua"));
static BACKLOG: Script = Script::new(include_str!("redis/backlog.lua"));
static TAKE: Script = Script::new(include_str!("redis/take.lua"));
static COMMIT: Script = Script::new(include_str!("redis/commit.lua"));
static LEASE: Script = Script::new(include_str!("redis/lease.lua"));
static WORKERS: Script = Script::new(include_str!("redis/workers.lua"));
static QUEUE: Script = Script::new(include_str!("redis/queue.lua"));

/// All of them.
pub(crate) static SCRIPTS: [&Script; 13] = [
    &APPEND, &SEED, &HEADS, &RECENT, &TAIL, &INSTALL, &OPEN, &BACKLOG, &TAKE, &COMMIT, &LEASE,
    &WORKERS, &QUEUE,
];

/// How often a call starts again because the epoch changed or a channel had to be seeded.
const ATTEMPTS_MAX: u32 = 6;

/// The log of a cluster. Cloning shares it.
#[derive(Debug, Clone)]
pub struct RedisLog {
    shared: Arc<Shared>,
    /// Entries that a channel takes in a second.
    pace: u32,
}

#[derive(Debug)]
struct Shared {
    redis: Redis,
    database: Stored,
    epochs: Arc<Epochs>,
    memory: Arc<Memory>,
    waiting: Waiting,
}

/// What a channel has that is not in the database yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tail {
    /// The epoch that new entries are written under.
    pub epoch: Epoch,
    /// The newest entry in the database.
    pub stored: Seq,
    /// The newest entry.
    pub top: Seq,
    /// Entries above `stored` and above the asked number, ascending without a gap.
    pub records: Vec<Record>,
}

impl RedisLog {
    /// The log in `redis`, over the database that its workers store it in. Nothing is asked yet.
    #[must_use]
    pub fn new(redis: Redis, database: Postgres) -> Self {
        let database = Stored::new(database, redis.deadline());
        let epochs = Arc::new(Epochs::new(redis.clone(), database.clone()));
        Self {
            shared: Arc::new(Shared {
                redis,
                database,
                epochs,
                memory: Arc::default(),
                waiting: Waiting::default(),
            }),
            pace: limit::CHANNEL_ENTRIES_PER_SECOND,
        }
    }

    /// The same log, which takes so many entries of a channel in a second, at least 1. All gateways
    /// should be told the same.
    #[must_use]
    pub fn paced(self, entries_per_second: u32) -> Self {
        Self {
            pace: entries_per_second.max(1),
            ..self
        }
    }

    /// Begins a new epoch in a database that no process uses, because it is an older copy: numbers
    /// that its clients have seen will be given to other entries. What Redis holds is of the other
    /// history, and is thrown away when the first process starts. Returns the epoch; it is the
    /// time, so that no copy of the same database can have begun it too.
    ///
    /// # Errors
    /// See [`Error`]. The call can be repeated.
    pub async fn begin_epoch(redis: &Redis, database: &Postgres, now: Timestamp) -> Result<Epoch> {
        let epoch = Ledger::lock(database).await?.begin_anew(now).await?;
        // Without its epochs Redis counts as emptied, and its data as older than the database's.
        let connection = redis.connection().await?;
        let mut commands = redis::pipe();
        for shard in Shard::all() {
            commands.cmd("DEL").arg(shard.key("epoch"));
        }
        for answer in redis.round(&connection, &commands).await? {
            redis.checked(&connection, answer)?;
        }
        Ok(epoch)
    }

    /// Shards for which this process has begun an epoch in place of another, by cause.
    #[must_use]
    pub fn epoch_changes(&self) -> [(Cause, u64); Cause::ALL.len()] {
        self.shared.epochs.changes()
    }

    /// Whether nothing is taken now, because the server's memory was nearly full when an entry came
    /// last.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.shared.memory.refuses()
    }

    /// Finds out the epochs, and begins those that are missing, so that the first call of a client
    /// does not have to wait for it.
    ///
    /// # Errors
    /// [`Error::Unavailable`]: not yet; the work goes on, and a later call profits.
    pub async fn prepare(&self) -> Result<()> {
        self.era().await.map(drop)
    }

    /// At most `limit` entries of a channel that are not in the database yet, those above `after`.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn tail(&self, channel: ChannelId, after: Seq, limit: u32) -> Result<Tail> {
        let shard = Shard::of(channel);
        for _ in 0..ATTEMPTS_MAX {
            let era = self.era().await?;
            let mut call = TAIL.call(&shard.key("epoch"));
            call.arg(era.token(shard))
                .arg(record::hex(channel.as_bytes()));
            call.arg(after).arg(limit);
            let answers = self.shared.redis.run(era.connection(), &[call]).await?;
            match Reply::read(answers.into_iter().next())? {
                Reply::Stale => self.shared.epochs.forget(&era),
                Reply::Seed(channels) => self.seed(&era, &channels).await?,
                Reply::Done(mut values) => {
                    let stored = reply::number(values.next())?;
                    let top = reply::number(values.next())?;
                    let epoch = era.epoch(shard);
                    let numbers = after.max(stored) + 1..;
                    let records = numbers.zip(values).map(|(seq, entry)| {
                        Ok(record::read_as(channel, seq, epoch, &reply::bytes(entry)?).0)
                    });
                    return Ok(Tail {
                        epoch,
                        stored,
                        top,
                        records: records.collect::<Result<_>>()?,
                    });
                }
            }
        }
        Err(restless())
    }

    /// The newest entry's number of each channel, and the epoch that new ones are written under.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn heads(&self, channels: &[ChannelId]) -> Result<HashMap<ChannelId, Position>> {
        self.numbers("top", channels).await
    }

    /// The newest stored entry's number of each channel, and the log's epoch.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub(crate) async fn stored_heads(
        &self,
        channels: &[ChannelId],
    ) -> Result<HashMap<ChannelId, Position>> {
        self.numbers("stored", channels).await
    }

    /// Returns when the entry at `position` is in the database.
    ///
    /// # Errors
    /// [`Error::Unavailable`]: it is not, after `within`; or the log has lost it.
    pub async fn stored(
        &self,
        channel: ChannelId,
        position: Position,
        within: Duration,
    ) -> Result<()> {
        let waiting = async {
            let mut watched = self.watch_stored(channel);
            loop {
                let seen = *watched.borrow_and_update();
                match seen {
                    Some(stored) if stored.seq >= position.seq => {
                        return self.still_there(channel, position, stored.epoch).await;
                    }
                    Some(stored) if stored.epoch != position.epoch => {
                        self.still_unstored(channel, position).await?;
                    }
                    _ => {}
                }
                watched.changed().await.map_err(|_| restless())?;
            }
        };
        let late = |_| Error::Unavailable("not stored in time".into());
        tokio::time::timeout(within, waiting).await.map_err(late)?
    }

    /// What is stored at a number of an older epoch may be another entry.
    async fn still_there(&self, channel: ChannelId, at: Position, now: Epoch) -> Result<()> {
        if now == at.epoch
            || self.shared.database.epoch_of(channel, at.seq).await? == Some(at.epoch)
        {
            return Ok(());
        }
        Err(Error::Unavailable("the log has lost the entry".into()))
    }

    async fn still_unstored(&self, channel: ChannelId, at: Position) -> Result<()> {
        let tail = self.tail(channel, at.seq.saturating_sub(1), 1).await?;
        let there = tail.records.first().map(|record| record.entry.position());
        // Stored meanwhile: the next look finds out.
        if there == Some(at) || tail.stored >= at.seq {
            return Ok(());
        }
        Err(Error::Unavailable("the log has lost the entry".into()))
    }

    async fn numbers(
        &self,
        of: &str,
        channels: &[ChannelId],
    ) -> Result<HashMap<ChannelId, Position>> {
        let read = |head, _: &[Value]| Ok(head);
        self.each(&HEADS, (of, 1), channels, true, read).await
    }

    /// See [`crate::log::Log::recent`].
    pub(super) async fn recent(
        &self,
        user: UserId,
        joined: &[ChannelId],
        named: &[ChannelId],
    ) -> Result<HashMap<ChannelId, Recent>> {
        let user = record::hex(user.as_bytes());
        let read = |head, more: &[Value]| {
            let change = match more.first() {
                Some(Value::BulkString(text)) if !text.is_empty() => Some(change(text)?),
                _ => None,
            };
            Ok(Recent { head, change })
        };
        let mut recent = self.each(&RECENT, (&user, 2), joined, true, read).await?;
        // Nobody fills Redis with channels in which nothing has changed lately.
        recent.extend(self.each(&RECENT, (&user, 2), named, false, read).await?);
        Ok(recent)
    }

    /// Asks the shards of all channels, with an argument, for so many values a channel, the first
    /// of them a number that is missing until the channel was seeded: it is, or is left out where
    /// neither `seeds` nor the second value ask for it.
    async fn each<T>(
        &self,
        script: &'static Script,
        (argument, width): (&str, usize),
        channels: &[ChannelId],
        seeds: bool,
        read: impl Fn(Position, &[Value]) -> Result<T>,
    ) -> Result<HashMap<ChannelId, T>> {
        let mut left: Vec<ChannelId> = channels.to_vec();
        let mut found = HashMap::with_capacity(left.len());
        for _ in 0..ATTEMPTS_MAX {
            if left.is_empty() {
                return Ok(found);
            }
            let era = self.era().await?;
            let groups = shard::grouped(&left, |channel| *channel);
            let calls: Vec<Call> = groups
                .iter()
                .map(|(shard, group)| {
                    let mut call = script.call(&shard.key("epoch"));
                    call.arg(era.token(*shard)).arg(argument);
                    for n in group {
                        call.arg(record::hex(left[*n].as_bytes()));
                    }
                    call
                })
                .collect();
            let answers = self.shared.redis.run(era.connection(), &calls).await?;
            let (mut unseeded, mut absent) = (Vec::new(), Vec::new());
            for ((shard, group), answer) in groups.iter().zip(answers) {
                let Reply::Done(values) = Reply::read(Some(answer))? else {
                    self.shared.epochs.forget(&era);
                    continue;
                };
                for (n, values) in group.iter().zip(values.as_slice().chunks(width)) {
                    if values[0] == Value::Nil {
                        let waits = values.get(1).is_some_and(|more| *more == unstored());
                        if seeds || waits {
                            unseeded.push(left[*n]);
                        } else {
                            absent.push(left[*n]);
                        }
                        continue;
                    }
                    let seq = reply::number(Some(values[0].clone()))?;
                    let epoch = era.epoch(*shard);
                    found.insert(left[*n], read(Position { seq, epoch }, &values[1..])?);
                }
            }
            if !unseeded.is_empty() {
                self.seed(&era, &unseeded).await?;
            }
            left.retain(|channel| !found.contains_key(channel) && !absent.contains(channel));
        }
        Err(restless())
    }

    /// What holds now. Finding out may take longer than a caller may wait; then it goes on, and a
    /// later one profits.
    async fn era(&self) -> Result<Arc<Era>> {
        let finding = self.shared.epochs.era();
        tokio::time::timeout(self.shared.redis.deadline(), finding)
            .await
            .map_err(|_| Error::Unavailable("the log is being made ready".into()))?
    }

    /// Readies channels for the epoch of `era`. A stale one is found out by the next call.
    async fn seed(&self, era: &Era, channels: &[ChannelId]) -> Result<()> {
        let tops = self.shared.database.tops(channels).await?;
        let calls: Vec<Call> = shard::grouped(channels, |channel| *channel)
            .into_iter()
            .map(|(shard, group)| {
                let mut call = SEED.call(&shard.key("epoch"));
                call.arg(era.token(shard));
                for n in group {
                    let channel = channels[n];
                    call.arg(record::hex(channel.as_bytes()));
                    call.arg(tops.get(&channel).copied().unwrap_or(0));
                }
                call
            })
            .collect();
        self.shared.redis.run(era.connection(), &calls).await?;
        Ok(())
    }
}

/// A remembered change: `seq epoch ms` of a join, `L seq` of a leave.
fn change(text: &[u8]) -> Result<Change> {
    let text = std::str::from_utf8(text).map_err(|_| reply::unexpected())?;
    let (joined, rest) = text
        .strip_prefix("L ")
        .map_or((true, text), |rest| (false, rest));
    let seq = rest.split(' ').next().and_then(|seq| seq.parse().ok());
    let seq = seq.ok_or_else(reply::unexpected)?;
    Ok(Change { seq, joined })
}

/// What stands for a change that only a seeded channel tells.
fn unstored() -> Value {
    Value::BulkString(b"U".to_vec())
}

fn restless() -> Error {
    Error::Unavailable("Redis changes too often".into())
}
