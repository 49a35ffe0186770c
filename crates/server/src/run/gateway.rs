//! A process that holds sockets and answers everything behind the login. It keeps nothing that
//! matters: it may be killed at any time.

use banter_storage::bus::{Bus, RedisBus};
use banter_storage::entries::Entries;
use banter_storage::log::{Log, RedisLog};
use banter_storage::{Database, Redis, postgres};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::assemble::{self, Backends};
use super::wait::{self, Obstacle, Wait};
use super::{StartError, embedded};
use crate::app::{App, Process};
use crate::login::Follower;

pub(super) async fn start(process: &Process) -> Result<App, StartError> {
    let postgres = wait::database(process, postgres::Role::Gateway).await?;
    let queue = wait::queue(process).await?;
    let follower = keys(process, &queue).await?;
    let log = RedisLog::new(queue.clone(), postgres.clone());
    let (bus, events) = RedisBus::start(queue, log.clone(), postgres.clone());
    let backends = Backends {
        entries: Entries::queued(postgres.clone(), log.clone()),
        database: Database::from(postgres),
        log: Log::Redis(log),
        bus: Bus::Redis(bus),
        events,
    };
    assemble::app(process, follower.start(), backends)
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

/// First nobody new is sent here, then who is here is sent elsewhere.
pub(super) async fn drain(app: &App, stop: &CancellationToken, servers: &TaskTracker) {
    embedded::drain(app, stop, servers).await;
}
