//! Who drains which shard: leases in Redis, spread evenly. They save double work and nothing else
//! depends on them.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use redis::Value;

use crate::error::Result;
use crate::log::redis::shard::{SHARDS, Shard};
use crate::log::redis::{LEASE, WORKERS, reply};
use crate::redis::{Call, Connection, Redis};

/// How long a lease holds: a worker that died is replaced after so long.
const HOLD: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Leases {
    redis: Redis,
    worker: String,
    held: Mutex<BTreeSet<Shard>>,
}

impl Leases {
    pub(super) fn new(redis: Redis, worker: &str) -> Self {
        Self {
            redis,
            worker: worker.to_owned(),
            held: Mutex::default(),
        }
    }

    pub(super) async fn balance(&self) -> Result<Vec<Shard>> {
        let connection = self.redis.connection().await?;
        let share = self.share(&connection).await?;
        let held: Vec<_> = self.held().iter().copied().collect();
        let (keep, spare) = held.split_at(held.len().min(share));
        let mut held = self.ask(&connection, keep, HOLD, false).await?;
        self.ask(&connection, spare, Duration::ZERO, false).await?;
        // Each begins somewhere else, so that newcomers do not race for the same.
        let begin = self
            .worker
            .bytes()
            .fold(0_u8, |sum, byte| sum.wrapping_mul(31) ^ byte);
        let mut others = Shard::all()
            .map(|shard| (shard.number().wrapping_add(begin) % SHARDS, shard))
            .collect::<Vec<_>>();
        others.sort_unstable();
        for (_, shard) in others {
            if held.len() >= share {
                break;
            }
            if !held.contains(&shard) && !spare.contains(&shard) {
                held.extend(self.ask(&connection, &[shard], HOLD, true).await?);
            }
        }
        *self.held() = held.clone();
        Ok(held.into_iter().collect())
    }

    pub(super) async fn release(&self) -> Result<()> {
        let connection = self.redis.connection().await?;
        let held: Vec<_> = std::mem::take(&mut *self.held()).into_iter().collect();
        self.ask(&connection, &held, Duration::ZERO, false).await?;
        self.show_up(&connection, Duration::ZERO).await?;
        Ok(())
    }

    /// How many shards this worker may hold: all are held, and nobody holds two more than another.
    async fn share(&self, connection: &Connection) -> Result<usize> {
        let workers = self.show_up(connection, HOLD).await?;
        Ok(usize::from(SHARDS).div_ceil(workers.max(1)))
    }

    async fn show_up(&self, connection: &Connection, stay: Duration) -> Result<usize> {
        let mut call = WORKERS.call("workers");
        call.arg(&self.worker).arg(stay.as_millis());
        let answers = self.redis.run(connection, &[call]).await?;
        let workers = reply::number(answers.into_iter().next())?;
        Ok(usize::try_from(workers).unwrap_or(1))
    }

    /// Asks for shards; gives those that are held now.
    async fn ask(
        &self,
        connection: &Connection,
        shards: &[Shard],
        stay: Duration,
        new: bool,
    ) -> Result<BTreeSet<Shard>> {
        let calls: Vec<Call> = shards
            .iter()
            .map(|shard| {
                let mut call = LEASE.call(&shard.key("lease"));
                call.arg(&self.worker)
                    .arg(stay.as_millis())
                    .arg(u8::from(new));
                call
            })
            .collect();
        let answers = self.redis.run(connection, &calls).await?;
        let held = |(shard, answer): (&Shard, Value)| (answer == Value::Int(1)).then_some(*shard);
        Ok(shards.iter().zip(answers).filter_map(held).collect())
    }

    fn held(&self) -> std::sync::MutexGuard<'_, BTreeSet<Shard>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
