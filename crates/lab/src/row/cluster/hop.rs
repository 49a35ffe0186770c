//! What the way over Redis costs, and what it brings.

use anyhow::Result;

use super::Stage;
use crate::generator::{Generator, Load, Pace, Run};
use crate::report::{Figure, Outcome, Target};
use crate::row::{Bench, Placing, faults, members};
use crate::seed::ROOM;

/// Members who write.
const SENDERS: usize = 10;
/// Processes between a sender and a reader, and what stores what was said.
const WAY: [&str; 4] = ["gateway", "redis", "worker", "postgres"];

pub(super) fn hop(bench: &Bench) -> Result<Outcome> {
    let one = {
        let stage = bench.stage(Placing::Free)?;
        let mut generator = stage.generator(&["room"])?;
        generator.open(&members(&stage.roster, ROOM, SENDERS)?)?;
        load(&mut generator)?
    };
    let stage = bench.cluster(2, 1)?;
    let direct = through(stage, "gateway")?;
    let balanced = through(stage, "nginx")?;
    let embedded = per_delivery(&one, &["banter"]);
    let mut outcome = Outcome::default();
    outcome.figure(Figure::new("one process, per delivery", embedded, "µs"));
    let cluster = per_delivery(&direct, &WAY);
    outcome.figure(Figure::new("cluster, per delivery", cluster, "µs"));
    let figure = Figure::new("cluster / one process", cluster / embedded, "x");
    outcome.figure(figure.with(Target::AtMost(1.5, 1.2)));
    for (name, role) in [
        ("gateways", "gateway"),
        ("Redis", "redis"),
        ("worker", "worker"),
        ("PostgreSQL", "postgres"),
    ] {
        outcome.figure(Figure::new(name, per_delivery(&direct, &[role]), "µs"));
    }
    let nginx = per_delivery(
        &balanced,
        &["gateway", "redis", "worker", "postgres", "nginx"],
    );
    let ratio = nginx / embedded;
    outcome.figure(Figure::new("with NGINX / one process", ratio, "x"));
    let runs = [
        ("one process, delivery p99", &one),
        ("cluster, delivery p99", &direct),
        ("with NGINX, delivery p99", &balanced),
    ];
    for (name, run) in runs {
        outcome.figure(Figure::new(name, run.delivery.p99_ms(), "ms"));
        outcome.cost(&run.cost);
        faults(&mut outcome, run);
    }
    Ok(outcome)
}

/// The room, its members on the processes of a role.
fn through(stage: &Stage, role: &str) -> Result<Run> {
    let addresses = stage.cluster.status()?.addresses(role);
    let seats = members(&stage.roster, ROOM, SENDERS)?;
    let room = vec![stage.roster.channel("room")?];
    load(&mut stage.generator(&addresses, &(room, seats))?)
}

fn load(generator: &mut Generator) -> Result<Run> {
    generator.run(&Load::new(Pace::Rate {
        per_second: 300.0,
        channels: 1,
    }))
}

/// Microseconds of these processes.
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn per_delivery(run: &Run, names: &[&str]) -> f64 {
    run.cost.of(names).as_secs_f64() * 1e6 / run.deliveries.max(1) as f64
}
