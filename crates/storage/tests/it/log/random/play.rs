//! One history: its senders, readers, workers, and what befalls the servers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use banter_protocol::id::ChannelId;
use banter_storage::entries::Entries;
use banter_storage::log::drain::Drain;
use banter_storage::log::queue;
use banter_storage::log::{RedisLog, Shard};
use banter_storage::postgres::Role;
use banter_storage::{Durability, Postgres, Redis};
use tokio::task::JoinSet;

use super::check::Seen;
use super::sender::Sender;
use crate::log::fixture::Under;
use crate::seed::Seed;
use crate::servers::{postgres, redis};

/// How long things go wrong.
const TROUBLE: Duration = Duration::from_secs(12);
/// How long it may take until all is stored afterwards.
const RECOVERY: Duration = Duration::from_secs(20);

/// What may happen.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Faults {
    /// Processes die, and come back with all they had written.
    Crashes,
    /// Redis comes back with less, too.
    Losses,
}

/// What all of them share.
pub(super) struct World {
    pub(super) seen: Seen,
    pub(super) channels: Vec<ChannelId>,
    /// Things go wrong, and new messages are sent.
    is_trouble: AtomicBool,
    is_over: AtomicBool,
    /// Whatever was not told to be stored must be sent again when this has risen.
    pub(super) losses: AtomicU64,
    redis_url: String,
    postgres_url: String,
}

impl World {
    /// What a process begins with, when the servers are there.
    pub(super) async fn log(&self) -> (RedisLog, Redis, Postgres) {
        loop {
            let postgres = Postgres::open(&self.postgres_url, Role::Gateway).await;
            let redis = Redis::open(&self.redis_url, None, Durability::Always).await;
            if let (Ok(postgres), Ok(redis)) = (postgres, redis) {
                return (
                    RedisLog::new(redis.clone(), postgres.clone()),
                    redis,
                    postgres,
                );
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(super) fn is_trouble(&self) -> bool {
        self.is_trouble.load(Ordering::SeqCst)
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::SeqCst)
    }
}

pub(super) async fn play(faults: Faults) {
    let mut seed = Seed::of_run();
    let database = postgres::Server::start();
    let postgres_url = database.url("postgres");
    let mut under = Under::with(redis::Server::start(), &postgres_url).await;
    let (mut channels, mut users) = (Vec::new(), Vec::new());
    for (n, name) in [(1, "ann"), (2, "bob"), (3, "eve")] {
        users.push((under.fixture.account(n, name).await, name));
    }
    // The first two share a shard.
    for n in [0x19, 0x29, 0x2a] {
        let channel = under.channel(n, users[0].0).await;
        for (user, _) in &users {
            under.one(under.join(channel, *user).await).await.unwrap();
        }
        channels.push(channel);
    }
    let world = Arc::new(World {
        seen: Seen::default(),
        channels,
        is_trouble: AtomicBool::new(true),
        is_over: AtomicBool::new(false),
        losses: AtomicU64::new(0),
        redis_url: under.cluster().server.url(),
        postgres_url,
    });
    let mut tasks = JoinSet::new();
    for (user, name) in &users {
        let sender = Sender::new(Arc::clone(&world), *user, name, seed.fork());
        tasks.spawn(sender.run());
    }
    let mut servants = JoinSet::new();
    for n in 0..2 {
        servants.spawn(work(Arc::clone(&world), n, seed.fork()));
    }
    servants.spawn(read(Arc::clone(&world)));
    let begun = Instant::now();
    while begun.elapsed() < TROUBLE {
        let pause = Duration::from_millis(200 + seed.below(700));
        tokio::time::sleep(pause).await;
        trouble(&world, faults, &mut seed, &mut under, &database).await;
    }
    world.is_trouble.store(false, Ordering::SeqCst);
    let all_stored = tokio::time::timeout(RECOVERY, tasks.join_all()).await;
    world.is_over.store(true, Ordering::SeqCst);
    servants.join_all().await;
    assert!(all_stored.is_ok(), "it does not recover");
    under.drain().await;
    let may_lose = faults == Faults::Losses;
    world
        .seen
        .check(&under.entries, &world.channels, may_lose)
        .await;
    assert!(world.seen.count() > 100, "{} messages", world.seen.count());
    let rejected = queue::rejected(&under.cluster().postgres, 10)
        .await
        .unwrap();
    assert_eq!(rejected, []);
}

async fn trouble(
    world: &World,
    faults: Faults,
    seed: &mut Seed,
    under: &mut Under,
    database: &postgres::Server,
) {
    let kinds = if faults == Faults::Losses { 5 } else { 2 };
    let server = &mut under.cluster().server;
    match seed.below(kinds) {
        0 => {
            database.down();
            tokio::time::sleep(Duration::from_millis(seed.below(1_000))).await;
            database.up().unwrap();
        }
        1 => {
            server.kill();
            tokio::time::sleep(Duration::from_millis(seed.below(300))).await;
            server.up();
        }
        2 => {
            server.command::<()>(&["FLUSHALL"]);
            world.losses.fetch_add(1, Ordering::SeqCst);
        }
        _ => {
            server.kill();
            server.tear(1 + seed.below(20_000));
            server.up();
            world.losses.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// Workers, one after another: each dies at some point, often between database and Redis.
async fn work(world: Arc<World>, n: u32, mut seed: Seed) {
    let (_, redis, postgres) = world.log().await;
    let shards: Vec<_> = Shard::all().collect();
    while !world.is_over() {
        let drain = Drain::new(redis.clone(), postgres.clone(), &format!("worker-{n}"));
        for _ in 0..seed.below(40) {
            let prepared = drain.prepare(&shards).await.ok().flatten();
            let Some(prepared) = prepared else {
                tokio::time::sleep(Duration::from_millis(5)).await;
                continue;
            };
            // Some are held up with what they took, for longer than an epoch takes to begin.
            if seed.below(20) == 0 {
                tokio::time::sleep(Duration::from_millis(seed.below(1_500))).await;
            }
            let Ok(stored) = prepared.store().await else {
                continue;
            };
            if seed.below(8) == 0 {
                break;
            }
            let _ = stored.commit().await;
        }
    }
}

/// A member who reads all the time.
async fn read(world: Arc<World>) {
    let (log, _, postgres) = world.log().await;
    let entries = Entries::queued(postgres, log);
    while !world.is_over() {
        for channel in &world.channels {
            let Ok(head) = entries.head(*channel).await else {
                continue;
            };
            let after = head.seq.saturating_sub(40);
            if let Ok(records) = entries.range(*channel, after, None, 500).await {
                for (expected, record) in (after + 1..).zip(&records) {
                    assert_eq!(record.entry.seq, expected);
                }
                world.seen.show(&records);
            }
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
