//! What a part of a cluster finds out about the whole while it works: how much waits for the
//! database, whether entries get through, how evenly the gateways share the load.

mod heartbeat;
mod spread;

use std::time::Duration;

use banter_storage::Redis;
use banter_storage::bus::RedisBus;
use banter_storage::log::queue;
use tokio::time::{MissedTickBehavior, interval};

pub use heartbeat::{Ear, Heartbeat};
pub use spread::{Cpu, spread};

use crate::metric::ClusterMetrics;

/// How often the queue is looked at: twice between two scrapes.
const LOOK_EVERY: Duration = Duration::from_secs(4);
/// How long Redis may take to answer then; nobody waits for it.
const PATIENCE: Duration = Duration::from_secs(2);

/// Tells how long the queue is, until the process ends.
pub async fn watch_queue(redis: Redis, metrics: ClusterMetrics) {
    let redis = redis.patient(PATIENCE);
    let mut ticks = interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match queue::depth(&redis).await {
            Ok(depth) => metrics.queue(depth, LOOK_EVERY),
            Err(error) => {
                tracing::debug!(%error, "what waits for the database is not known");
                metrics.queue_is_unseen();
            }
        }
    }
}

/// Tells how late the bus is, until it ends.
pub async fn watch_bus(bus: RedisBus, metrics: ClusterMetrics) {
    let mut lag = bus.lag();
    while lag.changed().await.is_ok() {
        let took = *lag.borrow_and_update();
        metrics.bus_lag.observe_duration(took);
    }
}
