//! The way from Redis into the database: what a worker does, one batch after another.
//!
//! A batch is taken from the channels that have waited longest, written in one transaction, and
//! then let go of in Redis. A crash between the last two is a replay: the database has the entries
//! already and says so. Several workers may do the same at once; the transaction begins with a lock
//! on the rows of its shards and epochs, so that they take turns, and whoever works for an epoch
//! that is over writes nothing.

mod lease;
mod store;

use std::collections::BTreeMap;
use std::time::Duration;

use banter_protocol::entry::{Entry, Kind};
use banter_protocol::id::{ChannelId, Epoch, Seq};

use self::lease::Leases;
use self::store::{Batch, Taken};
use super::epochs::Era;
use super::reply::{self, Reply};
use super::shard::{self, Shard};
use super::{BACKLOG, COMMIT, RedisLog, TAKE, record};
use crate::entries::Record;
use crate::error::Result;
use crate::postgres::Postgres;
use crate::redis::{Call, Redis};

/// Entries of one batch: some 20 ms of work, and what a transaction costs is nothing beside it.
pub const BATCH: usize = 2_000;
/// Bytes that a batch takes from one shard, within one message of the largest size.
const BATCH_BYTES: usize = 4 * 1024 * 1024;
/// Channels of a shard that are looked at for a batch.
const CHANNELS: usize = 500;
/// How long ids are remembered at least, in ms: twice the age up to which only Redis is asked for
/// one, because an id may be from the future for as long.
const REMEMBER_MS: u32 = 10 * 60 * 1000;
/// How long after the last of them was stored, in ms: longer than any append takes, which may have
/// asked the database before.
const REMEMBER_STORED_MS: u32 = 10 * 1000;

/// A worker's end of the log.
#[derive(Debug)]
pub struct Drain {
    log: RedisLog,
    postgres: Postgres,
    leases: Leases,
    batch: usize,
}

/// What one step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Entries that were taken and are in the database now.
    pub rows: usize,
    /// Those of them that were there already: a batch that was interrupted.
    pub replayed: usize,
    /// Those of them whose content could not be stored; a tombstone stands in their place.
    pub rejected: Rejects,
    /// Entries that were taken and not written: their shard has another epoch.
    pub fenced: usize,
    /// Whether more is waiting: the next step should follow at once.
    pub behind: bool,
    /// How long the oldest entry has waited.
    pub oldest_age: Duration,
}

/// Why entries could not be stored, and how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rejects {
    /// What stood in Redis is no entry, or nothing that the database takes.
    pub unreadable: usize,
    /// Another entry has its number: two histories have met.
    pub number_taken: usize,
    /// Its author's message of that id has an earlier number.
    pub sent_before: usize,
}

impl Rejects {
    /// All of them.
    #[must_use]
    pub const fn all(self) -> usize {
        self.unreadable + self.number_taken + self.sent_before
    }
}

impl Progress {
    /// Two steps at the same time.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            rows: self.rows + other.rows,
            replayed: self.replayed + other.replayed,
            rejected: Rejects {
                unreadable: self.rejected.unreadable + other.rejected.unreadable,
                number_taken: self.rejected.number_taken + other.rejected.number_taken,
                sent_before: self.rejected.sent_before + other.rejected.sent_before,
            },
            fenced: self.fenced + other.fenced,
            behind: self.behind || other.behind,
            oldest_age: self.oldest_age.max(other.oldest_age),
        }
    }
}

/// A channel that waits, as a look at it found it.
struct Waiting {
    channel: ChannelId,
    since_ms: u64,
    entries: usize,
}

impl Drain {
    /// A worker under a name of its own.
    #[must_use]
    pub fn new(redis: Redis, postgres: Postgres, worker: &str) -> Self {
        Self {
            log: RedisLog::new(redis.clone(), postgres.clone()),
            postgres,
            leases: Leases::new(redis, worker),
            batch: BATCH,
        }
    }

    /// The log that it drains.
    #[must_use]
    pub const fn log(&self) -> &RedisLog {
        &self.log
    }

    /// The same worker, which takes so many entries at most at a time, at least 1.
    #[must_use]
    pub fn batches_of(self, entries: usize) -> Self {
        Self {
            batch: entries.max(1),
            ..self
        }
    }

    /// Takes, keeps and gives back leases, so that all workers hold about as many. To be called
    /// about every second; a worker that does not loses them after five.
    ///
    /// # Errors
    /// [`crate::Error::Unavailable`].
    pub async fn lease(&self) -> Result<Vec<Shard>> {
        self.leases.balance().await
    }

    /// Gives all leases back: the others take over at once.
    ///
    /// # Errors
    /// [`crate::Error::Unavailable`]: they will after five seconds.
    pub async fn release(&self) -> Result<()> {
        self.leases.release().await
    }

    /// Stores one batch of what has waited longest in these shards, and shows it when it is in the
    /// database.
    ///
    /// # Errors
    /// [`crate::Error::Unavailable`]: nothing is lost, and the same entries are taken again.
    pub async fn step(
        &self,
        shards: &[Shard],
        show: impl FnOnce(&InDatabase<'_>),
    ) -> Result<Progress> {
        let Some(prepared) = self.prepare(shards).await? else {
            return Ok(Progress::default());
        };
        let stored = prepared.store().await?;
        show(&stored);
        stored.commit().await
    }

    /// The first half of a step: what is to be written, without anything written.
    ///
    /// # Errors
    /// [`crate::Error::Unavailable`].
    pub async fn prepare(&self, shards: &[Shard]) -> Result<Option<Prepared<'_>>> {
        let era = self.log.era().await?;
        let Some((waiting, now_ms)) = self.look(&era, shards).await? else {
            return Ok(None);
        };
        let Some(oldest) = waiting.iter().map(|it| it.since_ms).min() else {
            return Ok(None);
        };
        let (chosen, behind) = choose(waiting, self.batch);
        let Some(taken) = self.take(&era, &chosen).await? else {
            return Ok(None);
        };
        Ok(Some(Prepared {
            drain: self,
            progress: Progress {
                rows: taken.len(),
                behind,
                oldest_age: Duration::from_millis(now_ms.saturating_sub(oldest)),
                ..Progress::default()
            },
            batch: Batch::new(taken),
            era,
        }))
    }

    /// Which channels wait, all of them ready for this epoch, and the time in Redis. `None`: the
    /// epoch is over.
    async fn look(
        &self,
        era: &std::sync::Arc<Era>,
        shards: &[Shard],
    ) -> Result<Option<(Vec<Waiting>, u64)>> {
        // The second look is for channels that had to be readied first.
        for _ in 0..2 {
            let calls: Vec<Call> = shards
                .iter()
                .map(|shard| {
                    let mut call = BACKLOG.call(&shard.key("epoch"));
                    call.arg(era.token(*shard)).arg(CHANNELS);
                    call
                })
                .collect();
            let answers = self.log.shared.redis.run(era.connection(), &calls).await?;
            let (mut waiting, mut unseeded, mut now_ms) = (Vec::new(), Vec::new(), 0);
            for answer in answers {
                let Reply::Done(mut values) = Reply::read(Some(answer))? else {
                    self.log.shared.epochs.forget(era);
                    return Ok(None);
                };
                now_ms = reply::number(values.next())?;
                while let Some(channel) = values.next() {
                    let channel = reply::channel(channel)?;
                    let since_ms = reply::number(values.next())?;
                    match values.next() {
                        Some(redis::Value::Int(-1)) => unseeded.push(channel),
                        entries => waiting.push(Waiting {
                            channel,
                            since_ms,
                            entries: usize::try_from(reply::number(entries)?).unwrap_or(0),
                        }),
                    }
                }
            }
            if unseeded.is_empty() {
                return Ok(Some((waiting, now_ms)));
            }
            self.log.seed(era, &unseeded).await?;
        }
        Ok(None)
    }

    async fn take(
        &self,
        era: &std::sync::Arc<Era>,
        chosen: &[Waiting],
    ) -> Result<Option<Vec<Taken>>> {
        let groups = shard::grouped(chosen, |it| it.channel);
        let calls: Vec<Call> = groups
            .iter()
            .map(|(shard, places)| {
                let mut call = TAKE.call(&shard.key("epoch"));
                call.arg(era.token(*shard)).arg(BATCH_BYTES);
                for place in places {
                    let it = &chosen[*place];
                    call.arg(record::hex(it.channel.as_bytes())).arg(it.entries);
                }
                call
            })
            .collect();
        let answers = self.log.shared.redis.run(era.connection(), &calls).await?;
        let mut taken = Vec::new();
        for ((shard, places), answer) in groups.iter().zip(answers) {
            let Reply::Done(lists) = Reply::read(Some(answer))? else {
                self.log.shared.epochs.forget(era);
                return Ok(None);
            };
            for (place, list) in places.iter().zip(lists) {
                let redis::Value::Array(entries) = list else {
                    return Err(reply::unexpected());
                };
                let channel = chosen[*place].channel;
                let mut entries = entries.into_iter();
                let stored = reply::number(entries.next())?;
                for (seq, entry) in (stored + 1..).zip(entries) {
                    let raw = reply::bytes(entry)?;
                    taken.push(Taken::read(*shard, channel, seq, era.epoch(*shard), raw));
                }
            }
        }
        Ok(Some(taken))
    }
}

/// A batch that was taken.
#[derive(Debug)]
pub struct Prepared<'d> {
    drain: &'d Drain,
    era: std::sync::Arc<Era>,
    batch: Batch,
    progress: Progress,
}

/// A batch that is in the database, which Redis does not know yet.
#[derive(Debug)]
pub struct InDatabase<'d> {
    drain: &'d Drain,
    era: std::sync::Arc<Era>,
    batch: Batch,
    progress: Progress,
    /// The newest stored number of each channel and epoch, and changes of membership to tell.
    stored: BTreeMap<Shard, Stored>,
}

#[derive(Debug, Default)]
struct Stored {
    up_to: BTreeMap<(ChannelId, Epoch), Seq>,
    nudges: Vec<(String, String)>,
}

impl<'d> Prepared<'d> {
    /// Writes the batch in one transaction.
    ///
    /// # Errors
    /// [`crate::Error::Unavailable`]: the outcome is unknown, and the same batch is taken again.
    pub async fn store(self) -> Result<InDatabase<'d>> {
        let Self {
            drain,
            era,
            mut batch,
            mut progress,
        } = self;
        batch.store(&drain.postgres, &era).await?;
        if batch.fenced().next().is_some() {
            // Another epoch has begun; whoever began it may have died before Redis had it.
            drain.log.shared.epochs.doubt(&era).await?;
        }
        progress.rows = batch.kept().count();
        progress.replayed = batch.replayed;
        progress.rejected = batch.rejects();
        progress.fenced = batch.fenced().count();
        let mut stored = BTreeMap::<Shard, Stored>::new();
        for taken in batch.kept() {
            let shard = stored.entry(taken.shard).or_default();
            shard.note(&taken.record);
        }
        Ok(InDatabase {
            drain,
            era,
            batch,
            progress,
            stored,
        })
    }
}

impl InDatabase<'_> {
    /// The entries of the batch.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.batch.kept().map(|taken| &taken.record.entry)
    }

    /// Lets go of the batch in Redis, and tells whom it concerns.
    ///
    /// # Errors
    /// [`crate::Error::Unavailable`]: the same batch is taken again.
    pub async fn commit(self) -> Result<Progress> {
        let calls: Vec<Call> = self
            .stored
            .iter()
            .map(|(shard, stored)| {
                let mut call = COMMIT.call(&shard.key("epoch"));
                call.arg(self.era.token(*shard))
                    .arg(REMEMBER_MS)
                    .arg(REMEMBER_STORED_MS);
                call.arg(stored.up_to.len());
                for ((channel, epoch), seq) in &stored.up_to {
                    call.arg(record::hex(channel.as_bytes()))
                        .arg(*seq)
                        .arg(*epoch);
                }
                for (topic, payload) in &stored.nudges {
                    call.arg(topic).arg(payload);
                }
                call
            })
            .collect();
        let shared = &self.drain.log.shared;
        for answer in shared.redis.run(self.era.connection(), &calls).await? {
            if matches!(Reply::read(Some(answer))?, Reply::Stale) {
                shared.epochs.forget(&self.era);
            }
        }
        Ok(self.progress)
    }
}

impl Stored {
    fn note(&mut self, record: &Record) {
        let entry = &record.entry;
        let up_to = self.up_to.entry((entry.channel, entry.epoch)).or_default();
        *up_to = entry.seq.max(*up_to);
        let kind = match entry.kind {
            Kind::Joined { .. } => 'J',
            Kind::Left { .. } => 'L',
            Kind::Message { .. } | Kind::Tombstone => return,
        };
        if let Some(user) = record.user {
            let channel = record::hex(entry.channel.as_bytes());
            self.nudges.push((
                format!("u:{}", record::hex(user.as_bytes())),
                format!("{kind} {channel} {} {}", entry.seq, entry.epoch),
            ));
        }
    }
}

/// The channels that have waited longest, up to `limit` entries, and whether that leaves any.
fn choose(mut waiting: Vec<Waiting>, limit: usize) -> (Vec<Waiting>, bool) {
    waiting.sort_by_key(|it| it.since_ms);
    let mut left = limit;
    let mut behind = false;
    waiting.retain_mut(|it| {
        behind |= it.entries > left;
        it.entries = it.entries.min(left);
        left -= it.entries;
        it.entries > 0
    });
    (waiting, behind)
}
