//! A batch on its way into the database.

use std::collections::HashSet;

use banter_protocol::entry::Kind;
use banter_protocol::id::{ChannelId, Epoch, Seq};
use sqlx::postgres::PgConnection;
use sqlx::{Connection as _, Row as _};
use uuid::Uuid;

use crate::entries::{Conflict, Record, Standing, write};
use crate::error::{Error, Result};
use crate::heartbeat;
use crate::log::redis::drain::Rejects;
use crate::log::redis::epochs::Era;
use crate::log::redis::record::{self, Stamp};
use crate::log::redis::shard::Shard;
use crate::postgres::{Postgres, row};

/// Why an entry cannot be stored.
#[derive(Debug)]
enum Reason {
    Unreadable(String),
    NumberTaken { epoch: Epoch },
    SentBefore { first: Seq },
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unreadable(why) => f.write_str(why),
            Self::NumberTaken { epoch } => {
                write!(f, "another entry of epoch {epoch} has its number")
            }
            Self::SentBefore { first } => write!(f, "it was sent before, as number {first}"),
        }
    }
}

/// An entry as it was taken.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) shard: Shard,
    /// What goes into the database.
    pub(super) record: Record,
    raw: Vec<u8>,
    /// Why a tombstone goes there instead.
    rejected: Option<Reason>,
    /// Whether its shard has another epoch: it was not written.
    fenced: bool,
}

impl Taken {
    /// What was taken as entry `seq` in this epoch of its shard.
    pub(super) fn read(
        shard: Shard,
        channel: ChannelId,
        seq: Seq,
        epoch: Epoch,
        raw: Vec<u8>,
    ) -> Self {
        let (record, undecodable) = record::read_as(channel, seq, epoch, &raw);
        Self {
            shard,
            record,
            raw,
            rejected: undecodable.map(|why| Reason::Unreadable(why.to_string())),
            fenced: false,
        }
    }

    fn reject(&mut self, reason: Reason) {
        let entry = &self.record.entry;
        let stamp = Stamp {
            seq: entry.seq,
            epoch: entry.epoch,
            sent_at: entry.sent_at,
        };
        self.record = record::tombstone(entry.channel, stamp);
        self.rejected = Some(reason);
    }
}

/// The entries of one step.
#[derive(Debug)]
pub(super) struct Batch {
    taken: Vec<Taken>,
    pub(super) replayed: usize,
}

impl Batch {
    pub(super) const fn new(taken: Vec<Taken>) -> Self {
        Self { taken, replayed: 0 }
    }

    /// What is in the database now.
    pub(super) fn kept(&self) -> impl Iterator<Item = &Taken> {
        self.taken.iter().filter(|taken| !taken.fenced)
    }

    /// What was not written because its shard is not this epoch's any more.
    pub(super) fn fenced(&self) -> impl Iterator<Item = &Taken> {
        self.taken.iter().filter(|taken| taken.fenced)
    }

    pub(super) async fn store(&mut self, postgres: &Postgres, era: &Era) -> Result<()> {
        let mut connection = postgres.pool().acquire().await?;
        // Halved until what cannot be stored stands alone.
        let whole = 0..self.taken.len();
        let mut parts = Vec::from([whole]);
        while let Some(part) = parts.pop() {
            let taken = &mut self.taken[part.clone()];
            match store(&mut connection, era, taken).await {
                Ok(replayed) => self.replayed += replayed,
                Err(Error::Corrupt(reason)) if part.len() > 1 => {
                    tracing::warn!(%reason, "an entry cannot be stored; looking for it");
                    let middle = part.start + part.len() / 2;
                    parts.push(middle..part.end);
                    parts.push(part.start..middle);
                }
                Err(Error::Corrupt(reason)) if taken[0].rejected.is_none() => {
                    taken[0].reject(Reason::Unreadable(reason));
                    parts.push(part);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// What could not be stored, and why.
    pub(super) fn rejects(&self) -> Rejects {
        let mut rejects = Rejects::default();
        for reason in self.kept().filter_map(|taken| taken.rejected.as_ref()) {
            match reason {
                Reason::Unreadable(_) => rejects.unreadable += 1,
                Reason::NumberTaken { .. } => rejects.number_taken += 1,
                Reason::SentBefore { .. } => rejects.sent_before += 1,
            }
        }
        rejects
    }
}

/// One transaction; gives how many entries were there already.
async fn store(connection: &mut PgConnection, era: &Era, taken: &mut [Taken]) -> Result<usize> {
    let mut transaction = connection.begin().await?;
    fence(&mut transaction, era, taken).await?;
    let records = |taken: &[Taken]| {
        let kept = taken.iter().filter(|it| !it.fenced);
        kept.map(|it| it.record.clone()).collect::<Vec<_>>()
    };
    let conflicts = write(&mut transaction, &records(taken)).await?;
    let mut replayed = 0;
    for conflict in conflicts {
        let place = |it: &&mut Taken| {
            it.record.entry.channel == conflict.channel && it.record.entry.seq == conflict.seq
        };
        let Some(taken) = taken.iter_mut().find(place) else {
            continue;
        };
        match settle(&taken.record, conflict) {
            None => replayed += 1,
            Some(reason) => {
                taken.reject(reason);
                let tombstone = std::slice::from_ref(&taken.record);
                write(&mut transaction, tombstone).await?;
            }
        }
    }
    for it in taken.iter().filter(|it| !it.fenced) {
        if let Some(reason) = &it.rejected {
            reject(&mut transaction, era, it, reason).await?;
        }
    }
    let channels = taken.iter().map(|it| it.record.entry.channel);
    heartbeat::delete(&mut transaction, channels).await?;
    transaction.commit().await?;
    Ok(replayed)
}

/// Locks the shards' rows, which makes workers take turns, and marks what belongs to an epoch that
/// is over: that must not be written, for another history may have other entries at its numbers.
async fn fence(connection: &mut PgConnection, era: &Era, taken: &mut [Taken]) -> Result<()> {
    let shards: HashSet<Shard> = taken.iter().map(|it| it.shard).collect();
    let (numbers, epochs): (Vec<i16>, Vec<i64>) = shards
        .iter()
        .map(|shard| (i16::from(shard.number()), row::stored(era.epoch(*shard))))
        .unzip();
    let rows = sqlx::query(
        "SELECT s.shard FROM shards AS s \
         WHERE (s.shard, s.epoch) IN (SELECT * FROM UNNEST($1::smallint[], $2::bigint[])) \
         ORDER BY s.shard FOR UPDATE",
    )
    .bind(numbers)
    .bind(epochs)
    .fetch_all(connection)
    .await?;
    let current: HashSet<i16> = rows
        .iter()
        .map(|row| row.try_get(0))
        .collect::<sqlx::Result<_>>()?;
    for it in taken {
        it.fenced = !current.contains(&i16::from(it.shard.number()));
    }
    Ok(())
}

/// Why a tombstone must take the entry's place; `None`: it is there already.
fn settle(record: &Record, conflict: Conflict) -> Option<Reason> {
    let (channel, seq) = (conflict.channel, conflict.seq);
    match conflict.standing {
        Standing::Same => None,
        // What an earlier try came to.
        Standing::Other(found)
            if found.entry.kind == Kind::Tombstone
                && found.entry.position() == record.entry.position() =>
        {
            None
        }
        Standing::Other(found) => {
            let epoch = found.entry.epoch;
            tracing::error!(%channel, seq, epoch, "another entry has this number already");
            Some(Reason::NumberTaken { epoch })
        }
        Standing::Sent(at) => {
            tracing::error!(%channel, seq, first = at.seq, "a message was accepted twice");
            Some(Reason::SentBefore { first: at.seq })
        }
    }
}

async fn reject(
    connection: &mut PgConnection,
    era: &Era,
    it: &Taken,
    reason: &Reason,
) -> Result<()> {
    let entry = &it.record.entry;
    sqlx::query(
        "INSERT INTO rejected (shard, channel, seq, epoch, raw, reason, at) \
         VALUES ($1, $2, $3, $4, $5, $6, \
                 (extract(epoch FROM clock_timestamp()) * 1000)::bigint) \
         ON CONFLICT DO NOTHING",
    )
    .bind(i16::from(it.shard.number()))
    .bind(Uuid::from_bytes(*entry.channel.as_bytes()))
    .bind(row::stored(entry.seq))
    .bind(row::stored(era.epoch(it.shard)))
    .bind(&it.raw)
    .bind(reason.to_string())
    .execute(connection)
    .await?;
    Ok(())
}
