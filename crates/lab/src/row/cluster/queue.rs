//! What happens while the database is away, and afterwards.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::{ACCEPTED, PERSISTED, Stage, meanwhile, until};
use crate::generator::{Generator, Load, Pace};
use crate::process::{Cost, Look, Server};
use crate::report::{Figure, Outcome, Target};
use crate::row::{Bench, faults, small};
use crate::seed::SMALL;

/// Messages a second.
const INFLOW: f64 = 1_000.0;
/// How long people talk before, and how long the database is away.
const BEFORE: Duration = Duration::from_secs(3);
const AWAY: Duration = Duration::from_secs(15);
/// How long storing what waits may take.
const PATIENCE: Duration = Duration::from_secs(40);
/// Entries that always wait: what comes in while a worker rests and writes.
const USUAL: f64 = INFLOW / 10.0;

/// What was found out meanwhile.
struct Found {
    bytes: f64,
    waiting: f64,
    stored: f64,
    back: Duration,
    caught_up: Duration,
    cost: Cost,
}

pub(super) fn away(bench: &Bench) -> Result<Outcome> {
    let stage = bench.cluster(2, 1)?;
    let (channels, seats) = small(&stage.roster, 1)?;
    // The database will be another process.
    let mut generator = Generator::new(&stage.gateways()?, Server::default(), &channels)?;
    generator.open(&seats)?;
    let load = Load {
        warm_up: Duration::ZERO,
        duration: Duration::from_secs(35),
        ..Load::new(Pace::Rate {
            per_second: INFLOW,
            channels: SMALL,
        })
    };
    let (run, found) = meanwhile(&mut generator, &load, || database_goes(stage))?;
    let mut outcome = Outcome::default();
    let bytes = found.bytes / found.waiting.max(1.0);
    outcome.figure(Figure::new("Redis, per unstored message", bytes, "bytes"));
    outcome.figure(Figure::new("waited at most", found.waiting, "entries"));
    let back = found.back.as_secs_f64();
    outcome.figure(Figure::new("until the first was stored", back, "s"));
    let rate = found.stored / found.caught_up.as_secs_f64().max(1e-3);
    outcome.figure(Figure::new("stored then", rate, "rows/s"));
    let figure = Figure::new("stored / coming in", rate / INFLOW, "x");
    outcome.figure(figure.with(Target::AtLeast(2.0, 2.0)));
    outcome.figure(Figure::new("ack p50", run.ack.p50_ms(), "ms"));
    outcome.figure(Figure::new("ack p99", run.ack.p99_ms(), "ms"));
    outcome.cost(&found.cost);
    faults(&mut outcome, &run);
    Ok(outcome)
}

fn database_goes(stage: &Stage) -> Result<Found> {
    std::thread::sleep(BEFORE);
    let status = stage.cluster.status()?;
    stage.cluster.order("stop postgres")?;
    let used = || stage.cluster.redis_memory("used_memory");
    let accepted = || status.total("gateway", ACCEPTED);
    let persisted = || status.total("worker", PERSISTED);
    let waiting = || -> Result<f64> { Ok(accepted()? - persisted()?) };
    let (bytes, first) = (used()?, waiting()?);
    std::thread::sleep(AWAY);
    let (bytes, waited) = (used()? - bytes, waiting()?);
    let stored = persisted()?;
    stage.cluster.order("start postgres")?;
    let server = stage.cluster.status()?.server();
    let look = Look::take(&server)?;
    let back = until(
        "something is stored",
        PATIENCE,
        || Ok(persisted()? > stored),
    )?;
    let (from, begun_storing) = (persisted()?, Instant::now());
    until(
        "nothing waits",
        PATIENCE,
        || Ok(waiting()? - first <= USUAL),
    )?;
    let caught_up = begun_storing.elapsed();
    Ok(Found {
        bytes,
        waiting: waited - first,
        stored: persisted()? - from,
        back,
        caught_up,
        cost: look.cost(&server)?,
    })
}
