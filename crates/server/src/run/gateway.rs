//! A process that holds sockets and answers everything behind the login. It keeps nothing that
//! matters: it may be killed at any time.

use banter_storage::accounts::Accounts;
use banter_storage::bus::{Bus, LocalBus};
use banter_storage::channels::Channels;
use banter_storage::entries::Entries;
use banter_storage::log::{Log, RedisLog};
use banter_storage::{Database, Redis, postgres};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::wait::{self, Obstacle};
use super::{StartError, embedded};
use crate::app::{App, Parts, Process};
use crate::broadcast::Broadcast;
use crate::channels::Seats;
use crate::connect::Admissions;
use crate::login::Follower;
use crate::send::Appender;

pub(super) async fn start(process: &Process) -> Result<App, StartError> {
    let postgres = wait::database(process, postgres::Role::Gateway).await?;
    let queue = wait::queue(process).await?;
    let follower = keys(process, &queue).await?;
    let (settings, metrics) = (&process.settings, &process.metrics);
    let limits = &settings.limits;
    let log = Log::Redis(RedisLog::new(queue, postgres.clone()));
    let (local, events) = LocalBus::new();
    let bus = Bus::Local(local);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let broadcast = Broadcast::start(events, cores, metrics)?;
    let appender = Appender::start(
        log.clone(),
        bus,
        broadcast.clone(),
        limits.channel_entries_per_second,
        metrics.clone(),
    );
    let database = Database::from(postgres);
    let app = App::new(Parts {
        process: process.clone(),
        verifier: follower.start(),
        accounts: Accounts::new(&database),
        channels: Channels::new(&database),
        seats: Seats::default(),
        entries: Entries::new(&database),
        log,
        appender,
        broadcast,
        admissions: Admissions::new(limits.address_upgrades_per_second, limits.address_sockets),
        sockets: TaskTracker::new(),
    });
    tokio::spawn(crate::login::close_ended(
        app.verifier.revocations(),
        app.broadcast.clone(),
    ));
    Ok(app)
}

/// Waits for the keys that check tokens, and for all that was revoked.
async fn keys(process: &Process, queue: &Redis) -> Result<Follower, StartError> {
    let issuer = process.public_origin.as_str();
    let ttl = process.settings.auth.access_token_ttl;
    let mut follower = Follower::new(queue, issuer, ttl);
    let what = "the keys of an auth process";
    wait::until(process, "keys", what, async || {
        match follower.read().await {
            Ok(true) => Ok(()),
            Ok(false) => Err(Obstacle::Passing("none was published".to_owned())),
            Err(error) => Err(Obstacle::of("the keys in Redis", error)),
        }
    })
    .await?;
    Ok(follower)
}

/// First nobody new is sent here, then who is here is sent elsewhere.
pub(super) async fn drain(app: &App, stop: &CancellationToken, servers: &TaskTracker) {
    embedded::drain(app, stop, servers).await;
}
