//! What is done to the cluster.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::faults::trial::{self, Trial};

/// Bytes that are cut off Redis' file: some dozens of messages, and the last one in its middle.
const CUT_BYTES: u64 = 32 * 1024;
/// Memory for messages beyond what Redis uses: reached within a minute under the load.
const SPARE_BYTES: f64 = 2.0 * 1024.0 * 1024.0;
/// The share of its memory from which on gateways press back.
const PRESSED: f64 = 0.7;
/// The database commits what waits for it within this time.
const COMMITTED_AFTER: Duration = Duration::from_secs(1);
/// How long `PostgreSQL` is away beyond that.
const AWAY_S: u32 = 60;
/// A worker's lease lasts for 5 seconds.
const BEYOND_LEASE_S: u32 = 8;
/// Shards of the log.
const SHARDS: f64 = 16.0;

/// Kills processes, one after the other; each is started again.
fn each_killed(trial: &mut Trial<'_>, names: &[&str]) -> Result<()> {
    for name in names {
        let before = trial.cluster.process(name)?.restarts;
        trial.order(&format!("kill {name}"))?;
        trial.recovers()?;
        let restarts = trial.cluster.process(name)?.restarts;
        ensure!(restarts > before, "{name} was not killed");
    }
    Ok(())
}

pub(super) fn gateway_killed(trial: &mut Trial<'_>) -> Result<()> {
    each_killed(trial, &["gateway-1", "gateway-2"])
}

pub(super) fn worker_killed(trial: &mut Trial<'_>) -> Result<()> {
    each_killed(trial, &["worker-1", "worker-2"])
}

/// The database stands still until each worker has a batch on its way there; then it goes on, and
/// Redis holds back whatever writes: the batches are committed, and Redis does not hear of it.
pub(super) fn worker_killed_late(trial: &mut Trial<'_>) -> Result<()> {
    let workers = ["worker-1", "worker-2"];
    let mut redis = trial.redis()?;
    let frozen = trial.freeze("postgres")?;
    trial.is_acked_for(2)?;
    trial.says("Redis holds back writes; postgres goes on");
    redis.ask(&["CLIENT", "PAUSE", "60000", "WRITE"])?;
    drop(frozen);
    std::thread::sleep(COMMITTED_AFTER);
    for worker in workers {
        trial.order(&format!("kill {worker}"))?;
    }
    redis.ask(&["CLIENT", "UNPAUSE"])?;
    trial.recovers()?;
    // Both counters began anew with the processes.
    let counted = |name| trial.metric(name, "banter_worker_replayed_total");
    let replayed = counted(workers[0])? + counted(workers[1])?;
    trial.says(&format!("{replayed} rows were there already"));
    ensure!(
        replayed > 0.0,
        "no batch was interrupted after its commit: this proves nothing"
    );
    Ok(())
}

pub(super) fn auth_killed(trial: &mut Trial<'_>) -> Result<()> {
    each_killed(trial, &["auth-1"])
}

pub(super) fn redis_killed(trial: &mut Trial<'_>) -> Result<()> {
    each_killed(trial, &["redis", "redis"])
}

pub(super) fn postgres_killed(trial: &mut Trial<'_>) -> Result<()> {
    each_killed(trial, &["postgres", "postgres"])
}

pub(super) fn gateways_restarted(trial: &mut Trial<'_>) -> Result<()> {
    trial.order("restart gateways")?;
    trial.recovers()
}

pub(super) fn redis_restarted(trial: &mut Trial<'_>) -> Result<()> {
    trial.order("restart redis")?;
    trial.recovers()
}

pub(super) fn redis_emptied(trial: &mut Trial<'_>) -> Result<()> {
    let mut redis = trial.redis()?;
    trial.says("FLUSHALL");
    redis.ask(&["FLUSHALL"])?;
    trial.recovers()?;
    trial.order("stop workers")?;
    trial.is_acked_for(2)?;
    trial.says("FLUSHALL");
    redis.ask(&["FLUSHALL"])?;
    trial.order("start workers")?;
    trial.recovers()
}

pub(super) fn redis_cut(trial: &mut Trial<'_>) -> Result<()> {
    trial.order("stop workers")?;
    trial.is_acked_for(3)?;
    trial.order("stop redis")?;
    let cut = cut_file(&trial.cluster.directory().join("redis/appendonlydir"))?;
    trial.says(&format!("cut {CUT_BYTES} bytes off {cut}"));
    trial.order("start redis")?;
    trial.order("start workers")?;
    trial.recovers()
}

/// Cuts the end off the newest of the files to which Redis appends; gives its name.
fn cut_file(dir: &Path) -> Result<String> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).context("find the files of Redis")? {
        let path = entry.context("find the files of Redis")?.path();
        if path.to_string_lossy().ends_with(".incr.aof") {
            let changed = path.metadata().and_then(|about| about.modified());
            files.push((changed.context("look at a file of Redis")?, path));
        }
    }
    let (_, path) = files.into_iter().max().context("Redis has no such file")?;
    let file = fs::File::options().write(true).open(&path);
    let file = file.context("open a file of Redis")?;
    let length = file.metadata().context("look at a file of Redis")?.len();
    let left = length.checked_sub(CUT_BYTES);
    let left = left.context("Redis has written less than what is to be cut off")?;
    file.set_len(left).context("cut a file of Redis")?;
    let name = path.file_name().unwrap_or_default();
    Ok(name.to_string_lossy().into_owned())
}

/// Whatever appends is refused; what is there is stored nevertheless.
pub(super) fn redis_full(trial: &mut Trial<'_>) -> Result<()> {
    let mut redis = trial.redis()?;
    let before = trial.cluster.redis_memory("maxmemory")?;
    trial.says("Redis may use no more memory");
    let used = trial.cluster.redis_memory("used_memory")?;
    redis.set_memory(used / 2.0)?;
    trial.meets("overloaded")?;
    trial::is_stored(trial.cluster, Duration::from_secs(10))?;
    trial.goes_on(3)?;
    redis.set_memory(before)?;
    trial.recovers()
}

/// Accepted messages wait in Redis until its memory is used as far as it may be.
pub(super) fn postgres_away(trial: &mut Trial<'_>) -> Result<()> {
    let mut redis = trial.redis()?;
    let before = trial.cluster.redis_memory("maxmemory")?;
    trial.order("stop postgres")?;
    trial.is_acked_for(5)?;
    let room = (trial.cluster.redis_memory("used_memory")? + SPARE_BYTES) / PRESSED;
    redis.set_memory(room)?;
    trial.meets("overloaded")?;
    let (used, waiting) = (trial.cluster.redis_memory("used_memory")?, trial.waiting()?);
    trial.says(&format!(
        "gateways press back: {waiting} entries wait, Redis uses {used} bytes"
    ));
    trial.goes_on(AWAY_S)?;
    trial.order("start postgres")?;
    trial.recovers()?;
    trial::is_stored(trial.cluster, Duration::from_secs(10))?;
    redis.set_memory(before)
}

/// The other one takes its shards over; when it goes on it still believes that they are its own.
pub(super) fn two_owners(trial: &mut Trial<'_>) -> Result<()> {
    for (frozen, other) in [("worker-1", "worker-2"), ("worker-2", "worker-1")] {
        let leases = |name| trial.metric(name, "banter_worker_shards");
        trial.until("the workers share the shards", || {
            Ok(leases(frozen)? > 0.0 && leases(other)? > 0.0)
        })?;
        let frozen = trial.freeze(frozen)?;
        trial.until("the other one holds all shards", || {
            Ok(leases(other)? >= SHARDS)
        })?;
        trial.is_acked_for(BEYOND_LEASE_S)?;
        trial.says("it goes on");
        drop(frozen);
        trial.recovers()?;
    }
    Ok(())
}

/// Newcomers get people of their own, and give them back.
pub(super) fn scaled(trial: &mut Trial<'_>) -> Result<()> {
    trial.order("scale gateways 4")?;
    trial.until("each gateway has people", || {
        let sockets = |gateway: u32| {
            let gateway = format!("gateway-{gateway}");
            trial.metric(&gateway, "banter_gateway_connections")
        };
        (1..=4).try_fold(true, |all, gateway| Ok(all && sockets(gateway)? > 0.0))
    })?;
    trial.recovers()?;
    trial.order("scale gateways 2")?;
    trial.recovers()
}
