//! Rows about connections themselves.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::{Bench, Placing, Stage};
use crate::generator::{Generator, Seat};
use crate::process::{Look, raise_descriptors, resident};
use crate::report::{Figure, Outcome, Target};
use crate::seed::{IDLE, IDLE_ALL, IDLERS, join_idle};

/// Idle connections.
const CONNECTIONS: usize = 15_000;
/// Connections of one idler; a user may have 32.
const CONNECTIONS_PER_IDLER: usize = CONNECTIONS / IDLERS;
/// Connections of the handshake's row.
const HANDSHAKES: usize = 5_000;
/// Files that are open besides connections.
const OTHER_FILES: u64 = 200;
/// Until every connection was pinged and has answered: a ping comes every 25 s, more or less.
const ROUND: Duration = Duration::from_secs(35);
/// Until what a burst of work leaves behind is gone.
const SETTLE: Duration = Duration::from_secs(3);

#[expect(clippy::cast_precision_loss, reason = "sizes are far below 2^52")]
pub(super) fn idle(bench: &Bench) -> Result<Outcome> {
    ensure!(
        raise_descriptors() >= CONNECTIONS as u64 + OTHER_FILES,
        "{CONNECTIONS} connections need as many open files: raise the hard limit (ulimit -Hn)"
    );
    let stage = bench.stage(Placing::Free)?;
    let two = held(&stage, CONNECTIONS)?;
    join_idle(&stage.service, &stage.roster)?;
    stage.service.stop()?;
    let stage = Stage {
        service: bench.serve(stage.directory.path(), Placing::Free)?,
        ..stage
    };
    let twelve = held(&stage, CONNECTIONS)?;
    let each = |bytes: u64| bytes as f64 / CONNECTIONS as f64;
    let more = (IDLE_ALL - IDLE) as f64;
    let mut outcome = Outcome::default();
    outcome.figure(Figure::new("empty server", two.empty as f64 / 1e6, "MB"));
    outcome.figure(Figure::new(
        "at once, per connection",
        each(two.fresh) / 1024.0,
        "KiB",
    ));
    let figure = Figure::new("pinged, per connection", each(two.pinged) / 1024.0, "KiB");
    outcome.figure(figure.with(Target::AtMost(6.0, 4.0)));
    let further = (each(twelve.pinged) - each(two.pinged)) / more;
    let figure = Figure::new("per further channel", further, "bytes");
    outcome.figure(figure.with(Target::AtMost(200.0, 200.0)));
    outcome.figure(Figure::new("server, idle", two.cores, "cores"));
    if two.gone + twelve.gone > 0 {
        let gone = two.gone + twelve.gone;
        outcome
            .faults
            .push(format!("{gone} connections were closed"));
    }
    Ok(outcome)
}

/// Bytes that connections take beyond an empty server.
struct Held {
    empty: u64,
    fresh: u64,
    pinged: u64,
    cores: f64,
    gone: usize,
}

fn held(stage: &Stage, connections: usize) -> Result<Held> {
    let process = stage.service.process();
    let server = process.into();
    let empty = resident(process)?;
    let mut generator = connect(stage, connections)?;
    generator.idle(SETTLE)?;
    let fresh = resident(process)?.saturating_sub(empty);
    let look = Look::take(&server)?;
    generator.idle(ROUND)?;
    Ok(Held {
        empty,
        fresh,
        pinged: resident(process)?.saturating_sub(empty),
        cores: look.cost(&server)?.server_cores(),
        gone: generator.gone(),
    })
}

fn connect(stage: &Stage, connections: usize) -> Result<Generator> {
    let mut generator = stage.generator(&[])?;
    let seats: Result<Vec<_>> = (0..connections)
        .map(|number| {
            let user = format!("i{:04}", number / CONNECTIONS_PER_IDLER);
            Ok(Seat::listener(stage.roster.token(&user)?, &[]))
        })
        .collect();
    generator.open(&seats?)?;
    Ok(generator)
}

pub(super) fn handshake(bench: &Bench) -> Result<Outcome> {
    let stage = bench.stage(Placing::Free)?;
    let server = stage.service.process().into();
    // Whatever happens once has happened.
    drop(connect(&stage, 200)?);
    std::thread::sleep(SETTLE);
    let look = Look::take(&server)?;
    let generator = connect(&stage, HANDSHAKES)?;
    let cost = look.cost(&server)?;
    drop(generator);
    let mut outcome = Outcome::default();
    let figure = Figure::new("server CPU", cost.server_us_per(HANDSHAKES as u64), "µs");
    outcome.figure(figure.with(Target::AtMost(220.0, 150.0)));
    let rate = f64::from(u32::try_from(HANDSHAKES)?) / cost.wall.as_secs_f64();
    outcome.figure(Figure::new("handshakes", rate, "/s"));
    outcome.cost(&cost);
    Ok(outcome)
}
