//! How fast workers are when they are behind.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::{ACCEPTED, PERSISTED, Stage, as_fast_as_it_goes, meanwhile, rate, until};
use crate::cluster::Status;
use crate::generator::{Load, Pace};
use crate::process::Look;
use crate::report::{Figure, Outcome, Target};
use crate::row::{Bench, faults, small};
use crate::seed::SMALL;

/// Entries that wait when one worker begins, and when two do: these share after a second.
const BEHIND: [u64; 2] = [150_000, 350_000];
/// Messages under way in each channel meanwhile.
const WINDOW: u64 = 10;
/// Messages a second while a worker is added.
const STEADY: f64 = 2_000.0;
/// How long each side of that is looked at.
const LOOKED: Duration = Duration::from_secs(3);
/// How long workers may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// What is stored no faster than this is stored.
const LULL: Duration = Duration::from_millis(300);
/// Entries that workers store though nobody sends anything.
const HEARTBEATS: f64 = 100.0;
/// Shards of the log.
const SHARDS: f64 = 16.0;
/// Rows and batches of the bare insert.
const BARE: (u32, u32) = (2_000, 50);

pub(super) fn worker(bench: &Bench) -> Result<Outcome> {
    let stage = bench.cluster(2, 0)?;
    let mut outcome = Outcome::default();
    behind(stage, BEHIND[0], &mut outcome)?;
    let bare = bare(stage)?;
    let one = caught_up(stage, 1, &mut outcome)?;
    stage.cluster.order("scale workers 0")?;
    behind(stage, BEHIND[1], &mut outcome)?;
    let two = caught_up(stage, 2, &mut outcome)?;
    outcome.figure(Figure::new("a bare insert", bare, "rows/s"));
    let figure = Figure::new("one worker", one, "rows/s");
    outcome.figure(figure.with(Target::AtLeast(0.6 * bare, 20_000.0)));
    outcome.figure(Figure::new("one worker / bare insert", one / bare, "x"));
    outcome.figure(Figure::new("two workers", two, "rows/s"));
    stage.cluster.order("scale workers 1")?;
    added(stage, &mut outcome)?;
    Ok(outcome)
}

/// Puts so many entries into the queue, which nobody drains.
fn behind(stage: &Stage, entries: u64, outcome: &mut Outcome) -> Result<()> {
    let mut generator = stage.generator(&stage.gateways()?, &small(&stage.roster, 1)?)?;
    let run = generator.run(&as_fast_as_it_goes(entries, SMALL, WINDOW))?;
    faults(outcome, &run);
    Ok(())
}

/// Rows a second of so many new workers, from when each has its share until nothing waits.
fn caught_up(stage: &Stage, workers: u32, outcome: &mut Outcome) -> Result<f64> {
    stage.cluster.order(&format!("scale workers {workers}"))?;
    let status = stage.cluster.status()?;
    let shared = || shares(&status, workers);
    until("each worker has its share", PATIENCE, shared)?;
    let server = status.server();
    let (look, begun) = (Look::take(&server)?, Instant::now());
    let first = status.total("worker", PERSISTED)?;
    let (mut stored, mut at) = (first, begun);
    until("nothing waits any more", PATIENCE, || {
        let now = status.total("worker", PERSISTED)?;
        if now > stored + HEARTBEATS {
            (stored, at) = (now, Instant::now());
        }
        // A worker that is behind stores something between any two looks.
        Ok(at.elapsed() > LULL)
    })?;
    outcome.cost(&look.cost(&server)?);
    Ok((stored - first) / (at - begun).as_secs_f64())
}

/// Whether so many workers have a share of the shards each.
fn shares(status: &Status, workers: u32) -> Result<bool> {
    let leases = status.metric("worker", "banter_worker_shards")?;
    let share = SHARDS / f64::from(workers);
    Ok(leases.values().all(|leases| *leases >= share))
}

/// What a transaction of 2,000 rows takes when nothing else is done: arrays that are in the
/// database already, in the shape of a worker's batch.
fn bare(stage: &Stage) -> Result<f64> {
    let (rows, batches) = BARE;
    let printed = stage.cluster.sql(&format!(
        "CREATE TEMP TABLE channel AS SELECT n, gen_random_uuid() AS id \
           FROM generate_series(0, {batches} * 8 - 1) AS n; \
         CREATE TEMP TABLE batch AS \
           SELECT r / {rows} AS batch, array_agg(channel.id) AS channels, \
             array_agg((r % (({rows}) / 8) + 1)::bigint) AS seqs, \
             array_agg(0::bigint) AS epochs, array_agg(1700000000000 + r::bigint) AS sent, \
             array_agg(1::smallint) AS kinds, array_agg(gen_random_uuid()) AS accounts, \
             array_agg(NULL::uuid) AS bys, array_agg(gen_random_uuid()::text) AS ids, \
             array_agg(repeat('x', 150)) AS bodies \
           FROM generate_series(0, {rows} * {batches} - 1) AS r \
           JOIN channel ON channel.n = r / ({rows} / 8) \
           GROUP BY r / {rows}; \
         SELECT 'T', extract(epoch FROM clock_timestamp()); \
         {inserts} \
         SELECT 'T', extract(epoch FROM clock_timestamp());",
        inserts = (0..batches).map(insert).collect::<String>(),
    ))?;
    let times = printed.lines().filter_map(|line| line.strip_prefix("T|"));
    let times: Result<Vec<f64>, _> = times.map(str::parse).collect();
    let times = times.context("read the times of the insert")?;
    let [begun, ended] = times[..] else {
        anyhow::bail!("the insert did not tell how long it took");
    };
    Ok(f64::from(rows * batches) / (ended - begun))
}

fn insert(batch: u32) -> String {
    format!(
        "INSERT INTO entries \
           (channel, seq, epoch, sent_at, kind, account, by_account, id, body) \
         SELECT u.* FROM batch, \
           UNNEST(channels, seqs, epochs, sent, kinds, accounts, bys, ids, bodies) AS u \
         WHERE batch = {batch}; "
    )
}

/// Rows a second of each worker before and after one is added, while people talk.
fn added(stage: &Stage, outcome: &mut Outcome) -> Result<()> {
    let mut generator = stage.generator(&stage.gateways()?, &small(&stage.roster, 1)?)?;
    let load = Load {
        warm_up: Duration::ZERO,
        duration: Duration::from_secs(16),
        ..Load::new(Pace::Rate {
            per_second: STEADY,
            channels: SMALL,
        })
    };
    let look = |status: &Status| rate(status, "worker", PERSISTED, LOOKED);
    let (run, (before, after, took)) = meanwhile(&mut generator, &load, || {
        let alone = stage.cluster.status()?;
        let before = alone.total("gateway", ACCEPTED)?;
        until("people talk", PATIENCE, || {
            Ok(alone.total("gateway", ACCEPTED)? > before)
        })?;
        let before = look(&alone)?;
        stage.cluster.order("scale workers 2")?;
        let both = stage.cluster.status()?;
        let took = until("both workers have half", PATIENCE, || shares(&both, 2))?;
        Ok((before, look(&both)?, took))
    })?;
    faults(outcome, &run);
    for (name, values) in [("a worker alone", &before), ("one of two", &after)] {
        for value in values {
            outcome.figure(Figure::new(name, *value, "rows/s"));
        }
    }
    let seconds = took.as_secs_f64();
    outcome.figure(Figure::new("until both had half", seconds, "s"));
    Ok(())
}
