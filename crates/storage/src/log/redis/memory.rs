//! When the log takes no more: Redis must keep room for what drains it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::redis::{Redis, field, text};

/// How old the last look may be.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The share of the memory that may be used, in percent.
const USED_MAX: u64 = 70;

/// What was last seen of the server's memory.
#[derive(Debug, Default)]
pub(super) struct Memory {
    full: AtomicBool,
    looked: Mutex<Option<Instant>>,
}

impl Memory {
    /// Refuses while memory is nearly full; looks again from time to time, without keeping the
    /// caller.
    pub(super) fn admit(self: &Arc<Self>, redis: &Redis) -> Result<()> {
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        if looked.is_none_or(|at| at.elapsed() >= LOOK_EVERY) {
            *looked = Some(Instant::now());
            let (memory, redis) = (Arc::clone(self), redis.clone());
            tokio::spawn(async move {
                if let Err(error) = memory.look(&redis).await {
                    tracing::debug!(%error, "the memory of Redis is not known");
                }
            });
        }
        match self.refuses() {
            true => Err(Error::Overloaded),
            false => Ok(()),
        }
    }

    pub(super) fn refuses(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }

    /// The server itself said so.
    pub(super) fn is_full(&self) {
        self.full.store(true, Ordering::Relaxed);
    }

    async fn look(&self, redis: &Redis) -> Result<()> {
        let connection = redis.connection().await?;
        let mut info = redis::cmd("INFO");
        info.arg("memory");
        let info = text(&redis.one(&connection, info).await?).unwrap_or_default();
        let number = |name| field(&info, name).and_then(|text| text.parse::<u64>().ok());
        let limit = number("maxmemory").filter(|limit| *limit > 0);
        let limit = limit.or(number("total_system_memory"));
        if let (Some(used), Some(limit)) = (number("used_memory"), limit) {
            self.full.store(
                used / 100 >= limit / 100 * USED_MAX / 100,
                Ordering::Relaxed,
            );
        }
        Ok(())
    }
}
