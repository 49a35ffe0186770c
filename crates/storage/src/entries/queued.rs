//! Entries of a cluster: those in the database, and those on their way there.
//!
//! Redis is asked first and the database then, never the other way round: what a worker stores in
//! between is in both answers, and not in neither.

use banter_protocol::id::{ChannelId, Epoch, Position, Seq};

use super::window::Window;
use super::{Anchor, Page, Record, postgres, window};
use crate::error::{Error, Result};
use crate::log::RedisLog;

/// See [`super::Entries`].
#[derive(Debug, Clone)]
pub struct Entries {
    database: postgres::Entries,
    log: RedisLog,
}

impl Entries {
    pub(super) const fn new(database: postgres::Entries, log: RedisLog) -> Self {
        Self { database, log }
    }

    /// With Redis away, what the database has; the page is then marked incomplete.
    pub(super) async fn page(
        &self,
        channel: ChannelId,
        anchor: Anchor,
        limit: u32,
    ) -> Result<Page> {
        let (head, complete) = match self.log.tail(channel, 0, 0).await {
            Ok(tail) => (tail.top, true),
            Err(error) => {
                tracing::debug!(%error, "a page comes from the database alone");
                (self.database.head(channel).await?.seq, false)
            }
        };
        let window = Window::new(anchor, head, limit);
        let (after, up_to) = (window.after, window.up_to);
        let records = match complete {
            _ if after >= up_to => Vec::new(),
            true => self.range(channel, after, up_to, limit).await?,
            false => self.stored(channel, after, up_to, limit).await?,
        };
        Ok(Page {
            records,
            has_older: window.has_older(),
            has_newer: window.has_newer(head),
            complete,
        })
    }

    pub(super) async fn range(
        &self,
        channel: ChannelId,
        after: Seq,
        up_to: Seq,
        limit: u32,
    ) -> Result<Vec<Record>> {
        let tail = match self.log.tail(channel, after, limit).await {
            Ok(tail) => tail,
            Err(error) => {
                // What the database has may be all that was asked for.
                let records = self.stored(channel, after, up_to, limit).await?;
                let last = records.last().map_or(after, |record| record.entry.seq);
                let enough = last >= up_to || records.len() as u64 >= u64::from(limit);
                return if enough { Ok(records) } else { Err(error) };
            }
        };
        let mut records = self
            .stored(channel, after, up_to.min(tail.stored), limit)
            .await?;
        let wanted = up_to.min(tail.stored).saturating_sub(after);
        if (records.len() as u64) < wanted.min(u64::from(limit)) {
            return Err(Error::Unavailable(
                "the database lags behind the log".into(),
            ));
        }
        let more = tail.records.into_iter();
        records.extend(more.take_while(|record| record.entry.seq <= up_to));
        records.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        Ok(records)
    }

    pub(super) async fn is_reachable(&self) -> bool {
        self.database.is_reachable().await
    }

    pub(super) async fn head(&self, channel: ChannelId) -> Result<Position> {
        match self.log.tail(channel, 0, 0).await {
            Ok(tail) => Ok(Position {
                seq: tail.top,
                epoch: tail.epoch,
            }),
            Err(_) => self.database.head(channel).await,
        }
    }

    pub(super) async fn epoch_of(&self, channel: ChannelId, seq: Seq) -> Result<Option<Epoch>> {
        let Some(before) = seq.checked_sub(1) else {
            return Ok(None);
        };
        match self.log.tail(channel, before, 1).await {
            Ok(tail) if seq > tail.stored => {
                let record = tail.records.first();
                Ok(record.map(|record| record.entry.epoch))
            }
            Ok(_) => self.database.epoch_of(channel, seq).await,
            Err(error) => match self.database.epoch_of(channel, seq).await? {
                Some(epoch) => Ok(Some(epoch)),
                None => Err(error),
            },
        }
    }

    /// Entries of the database, without a hole: they are read again once if there is one.
    async fn stored(
        &self,
        channel: ChannelId,
        after: Seq,
        up_to: Seq,
        limit: u32,
    ) -> Result<Vec<Record>> {
        if after >= up_to {
            return Ok(Vec::new());
        }
        for _ in 0..2 {
            let records = self.database.range(channel, after, up_to, limit).await?;
            if window::refuse_holes(after, &records).is_ok() {
                return Ok(records);
            }
        }
        Err(Error::Unavailable(
            "an entry is missing in the database".into(),
        ))
    }
}
