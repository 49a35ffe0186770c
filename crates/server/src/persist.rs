//! The last step of a cluster's entry: from the queue into the database.
//!
//! Everything that makes it right is in storage's drain: what is taken is written in one
//! transaction behind a fence, and let go of afterwards. Here is when: as long as something waits
//! one batch follows the other, else a look every few milliseconds; and which shards: those whose
//! lease is held, renewed by a task of its own so that a slow batch does not lose them.

mod metric;

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use banter_storage::Result;
use banter_storage::log::Shard;
use banter_storage::log::drain::{Drain, InDatabase, Progress};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

pub use metric::PersistMetrics;

use crate::trace::{Part, Traces};

/// How often leases are renewed: they last 5 seconds.
const LEASE_EVERY: Duration = Duration::from_secs(1);
/// Pause after a batch that left nothing. A transaction costs the database some 700 µs and Redis a
/// look at every shard, however few rows it has: with 5 ms these were, at 300 messages a second,
/// half of what gateways cost. Whoever waits for `stored` waits no longer than after silence.
const QUIET: Duration = Duration::from_millis(20);
/// Pause when nothing at all was there, doubled up to the second.
const IDLE: [Duration; 2] = [Duration::from_millis(10), Duration::from_millis(40)];
/// Pause after a failure, doubled up to the second: whoever is back is used soon, and is not
/// knocked down again.
const FAILED: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(2)];
/// How long it must fail before the log tells…
const LASTING: Duration = Duration::from_secs(1);
/// …and how often it tells then.
const REMINDER: Duration = Duration::from_secs(10);

/// A worker at work.
#[derive(Debug)]
pub struct Persist {
    stop: CancellationToken,
    work: JoinHandle<()>,
}

impl Persist {
    /// Begins to take entries.
    #[must_use]
    pub fn start(drain: Drain, metrics: PersistMetrics, traces: Traces) -> Self {
        let stop = CancellationToken::new();
        let drain = Arc::new(drain);
        let shards = Arc::new(ArcSwap::from_pointee(Vec::new()));
        let leasing = tokio::spawn(lease(
            drain.clone(),
            shards.clone(),
            metrics.clone(),
            stop.clone(),
        ));
        let work = Work {
            drain,
            shards,
            metrics,
            traces,
            stop: stop.clone(),
            behind: false,
            failing: None,
        };
        let work = tokio::spawn(async move {
            let drain = work.drain.clone();
            work.run().await;
            let _ = leasing.await;
            match drain.release().await {
                Ok(()) => tracing::info!("other workers take over"),
                Err(error) => tracing::warn!(%error, "other workers take over in 5 seconds"),
            }
        });
        Self { stop, work }
    }

    /// Finishes the batch at hand and gives the shards back.
    pub async fn finish(self) {
        self.stop.cancel();
        if let Err(error) = self.work.await {
            tracing::error!(%error, "the worker did not end properly");
        }
    }
}

/// Keeps the leases until `stop`.
async fn lease(
    drain: Arc<Drain>,
    shards: Arc<ArcSwap<Vec<Shard>>>,
    metrics: PersistMetrics,
    stop: CancellationToken,
) {
    let mut ticks = interval(LEASE_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = stop.cancelled() => return,
        }
        match drain.lease().await {
            Ok(held) => {
                metrics.leases(held.len());
                if **shards.load() != held {
                    tracing::debug!(shards = held.len(), "other shards");
                    shards.store(Arc::new(held));
                }
            }
            // What was held goes on: leases save work, the fence keeps it right.
            Err(error) => tracing::debug!(%error, "leases were not renewed"),
        }
    }
}

/// The loop, and what it knows.
struct Work {
    drain: Arc<Drain>,
    shards: Arc<ArcSwap<Vec<Shard>>>,
    metrics: PersistMetrics,
    traces: Traces,
    stop: CancellationToken,
    /// Whether more was waiting than the last step took.
    behind: bool,
    /// Since when steps fail, and when the log was told last.
    failing: Option<(Instant, Option<Instant>)>,
}

impl Work {
    async fn run(mut self) {
        let (mut idle, mut failed) = (IDLE[0], FAILED[0]);
        while !self.stop.is_cancelled() {
            let shards = self.shards.load_full();
            let begun = Instant::now();
            let pause = match self.step(&shards).await {
                Ok(progress) => {
                    self.succeeded(&progress);
                    failed = FAILED[0];
                    self.behind = progress.behind;
                    if progress.behind {
                        continue;
                    }
                    idle = match progress.rows {
                        0 => IDLE[1].min(idle * 2),
                        _ => QUIET,
                    };
                    idle
                }
                Err(error) => {
                    self.failed(&error, begun.elapsed());
                    failed = FAILED[1].min(failed * 2);
                    failed / 2
                }
            };
            tokio::select! {
                () = sleep(pause) => {}
                () = self.stop.cancelled() => {}
            }
        }
    }

    /// One batch. While more is waiting, two at a time, each of half of the shards: what one does
    /// in Redis and here, the other does in the database.
    async fn step(&self, shards: &[Shard]) -> Result<Progress> {
        if !self.behind || shards.len() < 2 {
            return self.batch(shards).await;
        }
        let (one, other) = shards.split_at(shards.len() / 2);
        let (one, other) = tokio::join!(self.batch(one), self.batch(other));
        Ok(one?.and(other?))
    }

    async fn batch(&self, shards: &[Shard]) -> Result<Progress> {
        if shards.is_empty() {
            return Ok(Progress::default());
        }
        let begun = Instant::now();
        let show = |stored: &InDatabase<'_>| self.trace(stored, begun);
        let progress = self.drain.step(shards, show).await?;
        self.metrics.stored(&progress, begun.elapsed());
        Ok(progress)
    }

    /// Tells of the entries that were just stored, and taken for it not before `begun`.
    fn trace(&self, stored: &InDatabase<'_>, begun: Instant) {
        if !self.traces.are_told() {
            return;
        }
        let (ended, entries) = (Instant::now(), stored.entries().count());
        for entry in stored.entries() {
            if let Some(trail) = self.traces.follow(entry.channel, entry.position()) {
                trail.tell(Part::Store, begun, ended, entries);
            }
        }
    }

    fn succeeded(&mut self, progress: &Progress) {
        self.metrics.waits(progress);
        let rejected = progress.rejected.all();
        if rejected > 0 {
            tracing::error!(
                rejected,
                "entries cannot be stored: see banter queue rejected"
            );
        }
        if let Some((_, Some(_))) = self.failing.take() {
            tracing::info!("entries are stored again");
        }
    }

    fn failed(&mut self, error: &banter_storage::Error, took: Duration) {
        self.metrics.failed(took);
        let now = Instant::now();
        let (since, told) = self.failing.get_or_insert((now, None));
        // A new epoch or a lost connection passes at once.
        let due = told.map_or(*since + LASTING, |told| told + REMINDER);
        if now >= due {
            tracing::warn!(%error, "entries are not stored now; they wait in the queue");
            *told = Some(now);
        }
    }
}
