//! A process that holds sockets and answers everything behind the login. It keeps nothing that
//! matters: it may be killed at any time.

use std::time::Duration;

use banter_storage::bus::{Bus, Hearing, RedisBus};
use banter_storage::entries::Entries;
use banter_storage::gossip::Gossip;
use banter_storage::log::{Log, RedisLog};
use banter_storage::{Database, Redis, postgres};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::assemble::{self, Backends};
use super::wait::{self, Obstacle, Wait};
use super::{StartError, embedded};
use crate::app::{App, Process};
use crate::cluster::{self, Heartbeat};
use crate::connect::balance;
use crate::login::Follower;
use crate::settings::Hear;

/// Clients that a draining gateway sends elsewhere in a second: their hellos and replays are work
/// for the others.
const MOVES_PER_SECOND: u32 = 500;
/// The longest time over which they are spread.
const SPREAD_MAX: Duration = Duration::from_secs(30);
/// How long clients may take to move, once they are to.
const MOVE_TIMEOUT: Duration = Duration::from_secs(4);

pub(super) async fn start(process: &Process) -> Result<App, StartError> {
    let postgres = wait::database(process, postgres::Role::Gateway).await?;
    let queue = wait::queue(process).await?;
    let follower = keys(process, &queue).await?;
    let pace = process.settings.limits.channel_entries_per_second;
    let log = RedisLog::new(queue.clone(), postgres.clone()).paced(pace);
    wait::epochs(process, &log).await?;
    let hearing = match process.settings.log.hear {
        Hear::Own => Hearing::Wanted,
        Hear::All => Hearing::Everything,
    };
    let (bus, events) = RedisBus::start(queue.clone(), log.clone(), postgres.clone(), hearing);
    let metrics = &process.metrics;
    metrics.readings.bus(bus.clone());
    metrics.readings.log(log.clone());
    tokio::spawn(cluster::watch_bus(bus.clone(), metrics.cluster.clone()));
    tokio::spawn(cluster::watch_queue(queue.clone(), metrics.cluster.clone()));
    let (heartbeat, ear) = Heartbeat::new();
    let backends = Backends {
        entries: Entries::queued(postgres.clone(), log.clone()),
        database: Database::from(postgres),
        log: Log::Redis(log),
        bus: Bus::Redis(bus),
        events,
        ear,
    };
    let app = assemble::app(process, follower.start(), backends)?;
    // Whoever comes back is another gateway, which has to prove itself again.
    let gossip = Gossip::new(queue, Uuid::now_v7().to_string());
    tokio::spawn(balance::run(app.clone(), gossip));
    tokio::spawn(heartbeat.run(app.clone()));
    Ok(app)
}

/// Waits for the keys that check tokens, and for all that was revoked.
async fn keys(process: &Process, queue: &Redis) -> Result<Follower, StartError> {
    let issuer = process.public_origin.as_str();
    let ttl = process.settings.auth.access_token_ttl;
    let mut follower = Follower::new(queue, issuer, ttl);
    let mut wait = Wait::new(process, "keys", "the keys of an auth process".to_owned());
    loop {
        let obstacle = match follower.read().await {
            Ok(true) => break,
            Ok(false) => Obstacle::Passing("none has published any".to_owned()),
            Err(error) => Obstacle::of("the keys in Redis", error),
        };
        wait.again(obstacle).await?;
    }
    wait.over();
    Ok(follower)
}

/// First nobody new is sent here, then who is here is sent elsewhere, spread over a time; then
/// everything else ends.
pub(super) async fn drain(app: &App, stop: &CancellationToken, servers: &TaskTracker) {
    let sockets = app.metrics.ready();
    let sockets = u32::try_from(sockets).unwrap_or(u32::MAX);
    let spread = (Duration::from_secs(1) * sockets / MOVES_PER_SECOND).min(SPREAD_MAX);
    app.broadcast.ask_to_move(usize::MAX, spread).await;
    app.sockets.close();
    if tokio::time::timeout(spread + MOVE_TIMEOUT, app.sockets.wait())
        .await
        .is_err()
    {
        tracing::info!("some clients were asked to move and did not");
    }
    embedded::drain(app, stop, servers).await;
}
