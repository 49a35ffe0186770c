//! The embedded log: the entries of the `SQLite` file, written in one transaction a batch.
//!
//! In the transaction known ids get their first answer, new entries the next number of their
//! channel, and memberships change with the entries that say so. Numbers come from tops kept in
//! memory and are seen by nobody before the commit.

mod batch;
mod checkpoint;
mod statements;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use banter_protocol::id::{ChannelId, Epoch, Position, Seq};
use banter_protocol::time::Timestamp;
use sqlx::sqlite::SqliteConnection;
use tokio::sync::Mutex;

use self::batch::Batch;
use self::checkpoint::Checkpoints;
use super::{Answer, Append};
use crate::bus::LocalBus;
use crate::entries::{Entries, Record};
use crate::error::Result;
use crate::sqlite::Sqlite;

/// The embedded log. Cloning shares it.
#[derive(Debug, Clone)]
pub struct SqliteLog {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    database: Sqlite,
    entries: Entries,
    bus: LocalBus,
    epoch: Epoch,
    /// Taken before the writer: keeps commits and announcements in one order.
    state: Mutex<State>,
    checkpoints: Checkpoints,
}

#[derive(Debug, Default)]
struct State {
    tops: HashMap<ChannelId, Seq>,
    /// Channels of batches whose outcome is unknown: look before the next batch.
    doubtful: HashSet<ChannelId>,
}

impl SqliteLog {
    /// Opens the log of a database; entries are announced on `bus`.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn open(database: Sqlite, bus: LocalBus) -> Result<Self> {
        let epoch = statements::epoch(&database).await?;
        let checkpoints = Checkpoints::start(database.clone());
        let entries = Entries::new(&database.clone().into());
        let state = Mutex::new(State::default());
        Ok(Self {
            shared: Arc::new(Shared {
                database,
                entries,
                bus,
                epoch,
                state,
                checkpoints,
            }),
        })
    }

    /// Begins a new epoch in a database that no server uses, because it is an older copy: numbers
    /// that its clients have seen will be given to other entries. Returns it; it is the time, so
    /// that no copy of the same database can have begun it too.
    ///
    /// # Errors
    /// See [`crate::Error`].
    pub async fn begin_epoch(database: &Sqlite, now: Timestamp) -> Result<Epoch> {
        let mut writer = database.writer().await;
        statements::begin_epoch(&mut writer, now).await
    }

    pub(super) fn epoch(&self) -> Epoch {
        self.shared.epoch
    }

    pub(super) async fn heads(
        &self,
        channels: &[ChannelId],
    ) -> Result<HashMap<ChannelId, Position>> {
        let mut heads = HashMap::with_capacity(channels.len());
        for channel in channels {
            let head = self.shared.entries.head(*channel).await?;
            let epoch = self.shared.epoch;
            heads.insert(*channel, Position { epoch, ..head });
        }
        Ok(heads)
    }

    pub(super) async fn append(&self, batch: Vec<Append>) -> Result<Vec<Answer>> {
        let shared = &*self.shared;
        let mut state = shared.state.lock().await;
        let mut writer = shared.database.writer().await;
        if !state.doubtful.is_empty() {
            shared.recover(&mut state, &mut writer).await?;
        }
        let channels: HashSet<_> = batch.iter().map(|append| append.channel).collect();
        state.load(&channels, &mut writer).await?;
        let written = match shared.write(&mut state, &mut writer, batch).await {
            Ok(written) => written,
            Err(error) => {
                // Perhaps committed, perhaps not: the next batch finds out first.
                state.doubtful = channels;
                if let Err(later) = shared.recover(&mut state, &mut writer).await {
                    tracing::warn!(%later, "the database cannot be reopened yet");
                }
                return Err(error);
            }
        };
        drop(writer);
        shared.checkpoints.wrote(written.records.len());
        shared.bus.publish(written.records).await;
        Ok(written.answers)
    }
}

struct Written {
    answers: Vec<Answer>,
    records: Vec<Record>,
}

impl Shared {
    async fn write(
        &self,
        state: &mut State,
        writer: &mut SqliteConnection,
        batch: Vec<Append>,
    ) -> Result<Written> {
        if self.checkpoints.restart_is_due() {
            statements::checkpoint_restart(writer).await;
        }
        statements::begin(writer).await?;
        let mut transaction = Batch::new(self.epoch, state.tops_of(&batch));
        transaction.run(writer, batch).await?;
        statements::commit(writer).await?;
        let (answers, records, tops) = transaction.finish();
        state.tops.extend(tops);
        Ok(Written { answers, records })
    }

    /// After a batch of unknown outcome: a fresh connection, the tops as they are in the file, and
    /// the entries announced that were committed without anybody hearing of them.
    async fn recover(&self, state: &mut State, writer: &mut SqliteConnection) -> Result<()> {
        // Before the connection can be anybody else's, even where a fresh one cannot be had.
        statements::rollback(writer).await;
        self.database.reopen(writer).await?;
        let mut missed = Vec::new();
        for channel in &state.doubtful {
            let top = state.tops.entry(*channel).or_insert(0);
            let unheard = self.entries.range(*channel, *top, None, u32::MAX).await?;
            if let Some(last) = unheard.last() {
                *top = last.entry.seq;
            }
            missed.extend(unheard);
        }
        state.doubtful.clear();
        self.bus.publish(missed).await;
        Ok(())
    }
}

impl State {
    /// Reads the tops that are not in memory yet.
    async fn load(
        &mut self,
        channels: &HashSet<ChannelId>,
        writer: &mut SqliteConnection,
    ) -> Result<()> {
        for channel in channels {
            if !self.tops.contains_key(channel) {
                let top = statements::top(writer, *channel).await?;
                self.tops.insert(*channel, top);
            }
        }
        Ok(())
    }

    fn tops_of(&self, batch: &[Append]) -> HashMap<ChannelId, Seq> {
        let top = |channel| (channel, self.tops.get(&channel).copied().unwrap_or(0));
        batch.iter().map(|append| top(append.channel)).collect()
    }
}

#[cfg(test)]
mod tests;
