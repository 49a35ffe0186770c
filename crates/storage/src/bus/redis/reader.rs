//! Reads what a follower asks for: the log's unstored entries first, then the database.

use std::collections::HashMap;

use banter_protocol::id::{ChannelId, Position, UserId};
use sqlx::Row as _;
use uuid::Uuid;

use super::follower::{Answer, Question};
use crate::bus::Changed;
use crate::database::Database;
use crate::entries::Entries;
use crate::error::Result;
use crate::log::RedisLog;
use crate::postgres::Postgres;

/// Entries that one answer has at most: two megabytes of the longest bodies.
const ENTRIES_MAX: u32 = 128;

/// See the module. Cloning shares its connections.
#[derive(Debug, Clone)]
pub(super) struct Reader {
    log: RedisLog,
    entries: Entries,
    database: Postgres,
}

/// Where channels stand.
#[derive(Debug, Default)]
pub(super) struct Heads {
    pub(super) newest: HashMap<ChannelId, Position>,
    pub(super) stored: HashMap<ChannelId, Position>,
}

impl Reader {
    pub(super) fn new(log: RedisLog, database: Postgres) -> Self {
        Self {
            log,
            entries: Entries::new(&Database::from(database.clone())),
            database,
        }
    }

    /// Reads where channels stand, in one round.
    pub(super) async fn heads(&self, channels: &[ChannelId]) -> Result<Heads> {
        let (newest, stored) =
            tokio::try_join!(self.log.heads(channels), self.log.stored_heads(channels))?;
        Ok(Heads { newest, stored })
    }

    /// Reads what comes after the last entry of a channel, and whether that still is what it was.
    pub(super) async fn read(&self, question: Question) -> Result<Answer> {
        let Question { channel, last, .. } = question;
        let before = last.saturating_sub(1);
        let tail = self.log.tail(channel, before, ENTRIES_MAX + 1).await?;
        let written = match last {
            0 => Some(0),
            last if last <= tail.stored => self.entries.epoch_of(channel, last).await?,
            last => {
                let first = tail.records.first().map(|record| &record.entry);
                first.filter(|it| it.seq == last).map(|it| it.epoch)
            }
        };
        let kept = written.is_some_and(|epoch| epoch <= question.epoch);
        let mut records = Vec::new();
        if kept && last < tail.stored {
            let stored = Some(tail.stored);
            records = self
                .entries
                .range(channel, last, stored, ENTRIES_MAX)
                .await?;
        }
        let newest = records.last().map_or(last, |record| record.entry.seq);
        if kept && newest >= tail.stored {
            let mut unstored = tail.records;
            unstored.retain(|record| record.entry.seq > newest);
            records.append(&mut unstored);
        }
        Ok(Answer {
            epoch: tail.epoch,
            top: tail.top,
            kept,
            records,
        })
    }

    /// Memberships of these users that have begun since a time, in milliseconds since 1970.
    pub(super) async fn joined_since(&self, users: &[UserId], ms: i64) -> Result<Vec<Changed>> {
        const SQL: &str = "SELECT channel, account, seq, epoch FROM members \
                           WHERE account = ANY($1) AND since >= $2";
        let ids: Vec<_> = users
            .iter()
            .map(|user| Uuid::from_bytes(*user.as_bytes()))
            .collect();
        let rows = sqlx::query(SQL)
            .bind(ids)
            .bind(ms)
            .fetch_all(self.database.pool())
            .await?;
        let changed = rows.iter().map(|row| {
            let id = |column| Ok::<_, sqlx::Error>(row.try_get::<Uuid, _>(column)?.into_bytes());
            let number =
                |column| Ok::<_, sqlx::Error>(row.try_get::<i64, _>(column)?.cast_unsigned());
            Ok(Changed {
                channel: ChannelId::from_bytes(id("channel")?),
                user: UserId::from_bytes(id("account")?),
                position: Position {
                    seq: number("seq")?,
                    epoch: number("epoch")?,
                },
                joined: true,
            })
        });
        changed.collect()
    }
}
