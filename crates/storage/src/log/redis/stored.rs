//! What the log asks the database: where channels end, which ids and members it has, and which
//! epochs there are. Every question is of a whole batch.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use banter_protocol::entry::Level;
use banter_protocol::id::{ChannelId, Epoch, MessageId, Seq, UserId};
use banter_protocol::time::Timestamp;
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{Executor as _, Row as _};
use uuid::Uuid;

use super::shard::Shard;
use crate::error::{Error, Result};
use crate::log::Receipt;
use crate::postgres::{Postgres, lock, row};

/// How long nobody asks after an answer did not come: other senders' batches wait for the same one.
const PAUSE: Duration = Duration::from_secs(1);
/// How long one gateway waits for another to begin an epoch.
const LOCK_TIMEOUT: Duration = Duration::from_secs(5);

/// The database under the log. Cloning shares it.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    postgres: Postgres,
    /// How long an answer may take: a sender whose message needs it is refused rather than kept.
    deadline: Duration,
    /// When an answer did not come.
    missed: Arc<Mutex<Option<Instant>>>,
}

impl Stored {
    pub(super) fn new(postgres: Postgres, deadline: Duration) -> Self {
        Self {
            postgres,
            deadline,
            missed: Arc::default(),
        }
    }

    /// Waits for an answer as long as a sender may.
    async fn answer<T>(&self, question: impl Future<Output = sqlx::Result<T>>) -> Result<T> {
        let missed = || self.missed.lock().unwrap_or_else(PoisonError::into_inner);
        if missed().is_some_and(|at| at.elapsed() < PAUSE) {
            return Err(Error::Unavailable(
                "the database did not answer just now".into(),
            ));
        }
        match tokio::time::timeout(self.deadline, question).await {
            Ok(Ok(answer)) => {
                *missed() = None;
                Ok(answer)
            }
            Ok(Err(error)) => Err(error.into()),
            Err(_) => {
                *missed() = Some(Instant::now());
                Err(Error::Unavailable(
                    "the database does not answer in time".into(),
                ))
            }
        }
    }

    /// The newest number of each channel that has one.
    pub(super) async fn tops(&self, channels: &[ChannelId]) -> Result<HashMap<ChannelId, Seq>> {
        let ids: Vec<_> = channels
            .iter()
            .map(|id| Uuid::from_bytes(*id.as_bytes()))
            .collect();
        let rows = self
            .answer(
                sqlx::query(
                    "SELECT k.channel, \
                       (SELECT e.seq FROM entries AS e WHERE e.channel = k.channel \
                        ORDER BY e.seq DESC LIMIT 1) AS seq \
                     FROM UNNEST($1::uuid[]) AS k (channel)",
                )
                .bind(ids)
                .fetch_all(self.postgres.pool()),
            )
            .await?;
        let mut tops = HashMap::with_capacity(rows.len());
        for row in rows {
            let channel = ChannelId::from_bytes(row::id(&row, "channel")?);
            if let Some(seq) = row.try_get::<Option<i64>, _>("seq")? {
                tops.insert(channel, seq.cast_unsigned());
            }
        }
        Ok(tops)
    }

    /// The entry that has each author's id already.
    pub(super) async fn messages(
        &self,
        keys: &[(ChannelId, UserId, &MessageId)],
    ) -> Result<Vec<Option<Receipt>>> {
        let (channels, users) = places(keys.iter().map(|key| (key.0, key.1)));
        let ids: Vec<_> = keys.iter().map(|key| key.2.as_str().to_owned()).collect();
        let rows = self
            .answer(
                sqlx::query(
                    "SELECT k.n, e.seq, e.epoch, e.sent_at \
                     FROM UNNEST($1::uuid[], $2::uuid[], $3::text[]) \
                       WITH ORDINALITY AS k (channel, account, id, n) \
                     JOIN entries AS e \
                       ON e.id = k.id AND e.channel = k.channel AND e.account = k.account",
                )
                .bind(channels)
                .bind(users)
                .bind(ids)
                .fetch_all(self.postgres.pool()),
            )
            .await?;
        receipts(keys.len(), &rows)
    }

    /// The entry that made each user a member.
    pub(super) async fn members(
        &self,
        keys: &[(ChannelId, UserId)],
    ) -> Result<Vec<Option<Receipt>>> {
        let (channels, users) = places(keys.iter().copied());
        let rows = self
            .answer(
                sqlx::query(
                    "SELECT k.n, m.seq, m.epoch, m.since AS sent_at \
                     FROM UNNEST($1::uuid[], $2::uuid[]) \
                       WITH ORDINALITY AS k (channel, account, n) \
                     JOIN members AS m ON m.channel = k.channel AND m.account = k.account",
                )
                .bind(channels)
                .bind(users)
                .fetch_all(self.postgres.pool()),
            )
            .await?;
        receipts(keys.len(), &rows)
    }

    /// The epoch that an entry was written in.
    pub(super) async fn epoch_of(&self, channel: ChannelId, seq: Seq) -> Result<Option<Epoch>> {
        let found: Option<i64> = self
            .answer(
                sqlx::query_scalar("SELECT epoch FROM entries WHERE channel = $1 AND seq = $2")
                    .bind(Uuid::from_bytes(*channel.as_bytes()))
                    .bind(row::stored(seq))
                    .fetch_optional(self.postgres.pool()),
            )
            .await?;
        Ok(found.map(i64::cast_unsigned))
    }

    /// Waits until nobody else begins epochs.
    pub(super) async fn lock_epochs(&self) -> Result<Ledger> {
        Ledger::lock(&self.postgres).await
    }
}

/// The epochs in the database, while nobody else changes them.
#[derive(Debug)]
pub(super) struct Ledger {
    connection: PgConnection,
}

/// An epoch that begins.
#[derive(Debug, Clone, Copy)]
pub(super) struct Begun {
    pub(super) shard: Shard,
    pub(super) epoch: Epoch,
    /// The newest one that was installed before; 0: none.
    pub(super) installed: Epoch,
}

impl Ledger {
    /// Waits until nobody else begins epochs.
    pub(super) async fn lock(postgres: &Postgres) -> Result<Self> {
        let locking = async {
            // Of its own: the lock ends with the connection, whatever happens.
            let mut connection = postgres.connect().await?;
            sqlx::query("SELECT pg_advisory_lock($1, 0)")
                .bind(lock::EPOCHS)
                .execute(&mut connection)
                .await?;
            Ok(Self { connection })
        };
        let locked = tokio::time::timeout(LOCK_TIMEOUT, locking).await;
        locked.map_err(|_| Error::Unavailable("another process begins an epoch".into()))?
    }

    /// The newest epoch of each shard.
    pub(super) async fn epochs(&mut self) -> Result<HashMap<Shard, Epoch>> {
        let rows = sqlx::query("SELECT shard, epoch FROM shards")
            .fetch_all(&mut self.connection)
            .await?;
        rows.iter()
            .map(|row| Ok((read_shard(row)?, row::unsigned(row, "epoch")?)))
            .collect()
    }

    /// First step: commits the next epoch of shards, beyond what Redis says of them.
    pub(super) async fn begin(
        &mut self,
        shards: impl Iterator<Item = (Shard, Epoch)>,
    ) -> Result<Vec<Begun>> {
        let (shards, seen): (Vec<i16>, Vec<i64>) = shards
            .map(|(shard, seen)| (i16::from(shard.number()), seen.cast_signed()))
            .unzip();
        let rows = sqlx::query(
            "UPDATE shards AS s SET epoch = greatest(s.epoch, k.seen) + 1 \
             FROM UNNEST($1::smallint[], $2::bigint[]) AS k (shard, seen) \
             WHERE s.shard = k.shard RETURNING s.shard, s.epoch, s.installed",
        )
        .bind(&shards)
        .bind(seen)
        .fetch_all(&mut self.connection)
        .await?;
        if rows.len() != shards.len() {
            return Err(Error::Corrupt("shards: a row is missing".into()));
        }
        rows.iter()
            .map(|row| {
                Ok(Begun {
                    shard: read_shard(row)?,
                    epoch: row::unsigned(row, "epoch")?,
                    installed: row::unsigned(row, "installed")?,
                })
            })
            .collect()
    }

    /// Begins an epoch of all shards that none before was: `now`, or beyond the newest one. It is
    /// noted as installed, so that whatever Redis holds is of an older history.
    pub(super) async fn begin_anew(&mut self, now: Timestamp) -> Result<Epoch> {
        let epochs: Vec<i64> = sqlx::query_scalar(
            "UPDATE shards SET epoch = next.epoch, installed = next.epoch \
             FROM (SELECT greatest(max(epoch) + 1, $1) AS epoch FROM shards) AS next \
             RETURNING shards.epoch",
        )
        .bind(now.as_ms())
        .fetch_all(&mut self.connection)
        .await?;
        let begun = epochs.first().copied();
        let begun = begun.ok_or_else(|| Error::Corrupt("shards: the rows are missing".into()))?;
        Ok(begun.cast_unsigned())
    }

    /// Third step: notes that Redis has them.
    pub(super) async fn installed(&mut self, begun: &[Begun]) -> Result<()> {
        let (shards, epochs): (Vec<i16>, Vec<i64>) = begun
            .iter()
            .map(|it| (i16::from(it.shard.number()), it.epoch.cast_signed()))
            .unzip();
        let done = self
            .connection
            .execute(
                sqlx::query(
                    "UPDATE shards AS s SET installed = k.epoch \
                     FROM UNNEST($1::smallint[], $2::bigint[]) AS k (shard, epoch) \
                     WHERE s.shard = k.shard AND s.epoch = k.epoch",
                )
                .bind(shards)
                .bind(epochs),
            )
            .await?;
        if done.rows_affected() != begun.len() as u64 {
            return Err(Error::Unavailable("another epoch began meanwhile".into()));
        }
        Ok(())
    }
}

fn read_shard(row: &PgRow) -> Result<Shard> {
    let number = u8::try_from(row.try_get::<i16, _>("shard")?).ok();
    number
        .and_then(Shard::numbered)
        .ok_or_else(|| Error::Corrupt("shards.shard: unknown".into()))
}

fn places(keys: impl Iterator<Item = (ChannelId, UserId)>) -> (Vec<Uuid>, Vec<Uuid>) {
    let uuids = |(channel, user): (ChannelId, UserId)| {
        let uuid = |bytes: &[u8; 16]| Uuid::from_bytes(*bytes);
        (uuid(channel.as_bytes()), uuid(user.as_bytes()))
    };
    keys.map(uuids).unzip()
}

/// Rows with the place of their question, counted from 1.
fn receipts(questions: usize, rows: &[PgRow]) -> Result<Vec<Option<Receipt>>> {
    let mut found = vec![None; questions];
    for row in rows {
        let place = usize::try_from(row.try_get::<i64, _>("n")?).unwrap_or(0);
        if let Some(slot) = place.checked_sub(1).and_then(|place| found.get_mut(place)) {
            *slot = Some(Receipt {
                seq: row.try_get::<i64, _>("seq")?.cast_unsigned(),
                epoch: row.try_get::<i64, _>("epoch")?.cast_unsigned(),
                sent_at: Timestamp::from_ms(row.try_get("sent_at")?),
                level: Level::Stored,
                fresh: false,
            });
        }
    }
    Ok(found)
}
