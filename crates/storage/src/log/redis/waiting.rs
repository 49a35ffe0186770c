//! Waiting until entries are in the database: one look at Redis for all who wait, again and again.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use banter_protocol::id::{ChannelId, Position};
use tokio::sync::watch;

use super::RedisLog;
use crate::error::Result;

/// Between two looks: a fraction of what an answer takes that waits for a worker.
const LOOK_EVERY: Duration = Duration::from_millis(8);
/// After a look that failed.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// The newest stored number of each channel that somebody waits for, as it was last seen.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    channels: Mutex<HashMap<ChannelId, watch::Sender<Option<Position>>>>,
}

impl Waiting {
    fn lock(
        &self,
    ) -> std::sync::MutexGuard<'_, HashMap<ChannelId, watch::Sender<Option<Position>>>> {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RedisLog {
    /// What is stored of a channel, from now on, in the epoch that was current then.
    pub(super) fn watch_stored(&self, channel: ChannelId) -> watch::Receiver<Option<Position>> {
        let mut channels = self.shared.waiting.lock();
        let is_first = channels.is_empty();
        let seen = channels.entry(channel).or_default().subscribe();
        if is_first {
            let log = self.clone();
            tokio::spawn(async move { log.look_for_all().await });
        }
        seen
    }

    async fn look_for_all(&self) {
        loop {
            let pause = match self.look_once().await {
                Ok(true) => LOOK_EVERY,
                Ok(false) => return,
                Err(error) => {
                    tracing::debug!(%error, "what is stored cannot be seen just now");
                    LOOK_AGAIN
                }
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// One look; `false`: nobody waits any more.
    async fn look_once(&self) -> Result<bool> {
        let channels: Vec<_> = {
            let mut channels = self.shared.waiting.lock();
            channels.retain(|_, waiting| waiting.receiver_count() > 0);
            channels.keys().copied().collect()
        };
        if channels.is_empty() {
            return Ok(false);
        }
        let found = self.numbers("stored", &channels).await?;
        let channels = self.shared.waiting.lock();
        for (channel, stored) in found {
            if let Some(waiting) = channels.get(&channel) {
                waiting.send_if_modified(|seen| seen.replace(stored) != Some(stored));
            }
        }
        Ok(true)
    }
}
