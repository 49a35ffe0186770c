//! Rows about messages on their way to many.

use std::time::Duration;

use anyhow::Result;
use banter_protocol::close::Close;

use super::{Bench, Placing, Stage, faults, members, small};
use crate::commit;
use crate::generator::{Generator, Load, Pace, Run, Seat};
use crate::report::{Figure, Outcome, Target};
use crate::seed::{HUNDRED, ROOM, SMALL, SMALL_MEMBERS};

/// Members of the room who write.
const ROOM_SENDERS: usize = 10;
/// Messages under way in the saturated room: a few ticks' worth, a tenth of what a socket may owe.
const ROOM_WINDOW: u64 = 256;
/// Messages under way in each small channel: together some two batches of the log.
const SMALL_WINDOW: u64 = 10;
/// Commits measured before and after the durable load.
const COMMITS: u32 = 500;

pub(super) fn room(bench: &Bench) -> Result<Outcome> {
    let stage = bench.stage(Placing::Free)?;
    let mut generator = stage.generator(&["room"])?;
    generator.open(&members(&stage.roster, ROOM, ROOM_SENDERS)?)?;
    let pace = Pace::Rate {
        per_second: 1_000.0,
        channels: 1,
    };
    let run = generator.run(&Load::new(pace))?;
    let mut outcome = Outcome::default();
    outcome.figure(throughput(&run).with(Target::AtLeast(990_000.0, 990_000.0)));
    outcome.figure(per_delivery(&run).with(Target::AtMost(1.2, 0.6)));
    outcome.figure(Figure::new("delivery p50", run.delivery.p50_ms(), "ms"));
    let p99 = Figure::new("delivery p99", run.delivery.p99_ms(), "ms");
    outcome.figure(p99.with(Target::AtMost(60.0, 30.0)));
    outcome.figure(Figure::new("ack p99", run.ack.p99_ms(), "ms"));
    outcome.cost(&run.cost);
    faults(&mut outcome, &run);
    Ok(outcome)
}

pub(super) fn room_max(bench: &Bench) -> Result<Outcome> {
    let stage = bench.stage(Placing::Apart)?;
    let mut generator = stage.generator(&["room"])?;
    generator.open(&members(&stage.roster, ROOM, ROOM_SENDERS)?)?;
    let run = generator.run(&Load::new(Pace::Window {
        messages: ROOM_WINDOW,
        channels: 1,
    }))?;
    let mut outcome = Outcome::default();
    outcome.figure(throughput(&run).with(Target::AtLeast(1_200_000.0, 2_000_000.0)));
    outcome.figure(per_delivery(&run));
    outcome.figure(Figure::new("messages", run.acked_per_second(), "/s"));
    outcome.figure(Figure::new("delivery p50", run.delivery.p50_ms(), "ms"));
    outcome.figure(Figure::new("delivery p99", run.delivery.p99_ms(), "ms"));
    outcome.cost(&run.cost);
    faults(&mut outcome, &run);
    Ok(outcome)
}

pub(super) fn durable(bench: &Bench) -> Result<Outcome> {
    let stage = bench.stage(Placing::Free)?;
    let mut commits = commit::times(stage.directory.path(), COMMITS)?;
    let mut generator = stage.generator(&["hundred"])?;
    generator.open(&members(&stage.roster, HUNDRED, HUNDRED)?)?;
    let pace = Pace::Rate {
        per_second: 100.0,
        channels: 1,
    };
    let run = generator.run(&Load {
        duration: Duration::from_secs(15),
        ..Load::new(pace)
    })?;
    // The disk may have changed its mood meanwhile.
    commits.add(&commit::times(stage.directory.path(), COMMITS)?);
    let (c50, c99) = (commits.p50_ms(), commits.p99_ms());
    let (p50, p99) = (2.0 * c50 + 2.0, 3.0 * c99 + 10.0);
    let mut outcome = Outcome::default();
    outcome.figure(Figure::new("commit c50", c50, "ms"));
    outcome.figure(Figure::new("commit c99", c99, "ms"));
    let figure = Figure::new("delivery p50", run.delivery.p50_ms(), "ms");
    outcome.figure(figure.with(Target::AtMost(p50, p50)));
    let figure = Figure::new("delivery p99", run.delivery.p99_ms(), "ms");
    outcome.figure(figure.with(Target::AtMost(p99, p99)));
    outcome.figure(Figure::new("ack p50", run.ack.p50_ms(), "ms"));
    outcome.figure(per_delivery(&run));
    outcome.cost(&run.cost);
    faults(&mut outcome, &run);
    Ok(outcome)
}

pub(super) fn rooms_max(bench: &Bench) -> Result<Outcome> {
    let stage = bench.stage(Placing::Apart)?;
    let mut generator = small_channels(&stage, SMALL_MEMBERS)?;
    let run = generator.run(&Load::new(Pace::Window {
        messages: SMALL_WINDOW,
        channels: SMALL,
    }))?;
    let mut outcome = Outcome::default();
    outcome.figure(throughput(&run).with(Target::AtLeast(120_000.0, 200_000.0)));
    outcome.figure(per_delivery(&run).with(Target::AtMost(8.0, 5.0)));
    outcome.figure(Figure::new(
        "durable messages",
        run.acked_per_second(),
        "/s",
    ));
    outcome.figure(Figure::new("delivery p50", run.delivery.p50_ms(), "ms"));
    outcome.figure(Figure::new("delivery p99", run.delivery.p99_ms(), "ms"));
    outcome.cost(&run.cost);
    faults(&mut outcome, &run);
    Ok(outcome)
}

pub(super) fn sends(bench: &Bench) -> Result<Outcome> {
    let stage = bench.stage(Placing::Free)?;
    let mut generator = small_channels(&stage, 1)?;
    let run = generator.run(&Load::new(Pace::Window {
        messages: SMALL_WINDOW,
        channels: SMALL,
    }))?;
    let mut outcome = Outcome::default();
    let figure = Figure::new("durable messages", run.acked_per_second(), "/s");
    outcome.figure(figure.with(Target::AtLeast(15_000.0, 25_000.0)));
    let figure = Figure::new(
        "server CPU per message",
        run.cost.server_us_per(run.acked),
        "µs",
    );
    outcome.figure(figure);
    outcome.figure(Figure::new("ack p50", run.ack.p50_ms(), "ms"));
    outcome.figure(Figure::new("ack p99", run.ack.p99_ms(), "ms"));
    outcome.cost(&run.cost);
    faults(&mut outcome, &run);
    Ok(outcome)
}

pub(super) fn slow(bench: &Bench) -> Result<Outcome> {
    let stage = bench.stage(Placing::Free)?;
    let mut generator = stage.generator(&["hundred"])?;
    let seats = members(&stage.roster, HUNDRED, ROOM_SENDERS)?;
    generator.open(&seats)?;
    let load = Load {
        body_bytes: 1_024,
        duration: Duration::from_secs(20),
        ..Load::new(Pace::Rate {
            per_second: 1_000.0,
            channels: 1,
        })
    };
    let before = generator.run(&load)?;
    let deaf = Seat {
        reads: false,
        ..Seat::listener(stage.roster.token("b0001")?, &[0])
    };
    generator.open(&[deaf])?;
    let with = generator.run(&load)?;
    let mut outcome = Outcome::default();
    let runs = [
        ("p99 of all without it", &before),
        ("p99 of the others with it", &with),
    ];
    for (name, run) in runs {
        outcome.figure(Figure::new(name, run.delivery.p99_ms(), "ms"));
        outcome.cost(&run.cost);
        faults(&mut outcome, run);
    }
    // It reads again, and finds the reason, or that its time to read even that was over.
    generator.read_again()?;
    generator.idle(Duration::from_secs(2))?;
    let codes = generator.closed_with();
    if generator.gone() != 1 || codes.iter().any(|code| *code != Close::SlowConsumer.code()) {
        outcome
            .faults
            .push(format!("the slow reader was not closed: {codes:?}"));
    }
    Ok(outcome)
}

/// Sockets in every small channel, one of which sends.
fn small_channels(stage: &Stage, members: usize) -> Result<Generator> {
    let (channels, seats) = small(&stage.roster, members)?;
    let service = &stage.service;
    let server = service.process().into();
    let mut generator = Generator::new(&[service.address()], server, &channels)?;
    generator.open(&seats)?;
    Ok(generator)
}

fn throughput(run: &Run) -> Figure {
    Figure::new("deliveries", run.deliveries_per_second(), "/s")
}

fn per_delivery(run: &Run) -> Figure {
    let server = run.cost.server_us_per(run.deliveries);
    Figure::new("server CPU per delivery", server, "µs")
}
