//! What Redis pays for a message.

use anyhow::Result;

use super::{Stage, as_fast_as_it_goes};
use crate::generator::{Load, Pace, Run};
use crate::report::{Figure, Outcome, Target};
use crate::row::{Bench, faults, small};
use crate::seed::SMALL;

/// Messages under way in each channel, and channels, for batches of 64 and more…
const LARGE: (u64, usize) = (4, SMALL);
/// …and for those of some 16.
const LITTLE: (u64, usize) = (1, 50);
/// Members of each channel: one on either gateway, so that both hear of every message.
const MEMBERS: usize = 2;
/// Messages before anything is measured: Redis knows every channel then.
const FIRST: u64 = 4_000;

pub(super) fn append(bench: &Bench) -> Result<Outcome> {
    // Nothing drains the queue, so that Redis pays for nothing else.
    let stage = bench.cluster(2, 0)?;
    let mut outcome = Outcome::default();
    let (run, batch) = measured(stage, LARGE)?;
    outcome.figure(Figure::new("messages in a batch", batch, ""));
    let figure = Figure::new("Redis CPU per message", redis_us(&run), "µs");
    outcome.figure(figure.with(Target::AtMost(25.0, 15.0)));
    close(&mut outcome, &run);
    let (run, batch) = measured(stage, LITTLE)?;
    outcome.figure(Figure::new("messages in a small batch", batch, ""));
    outcome.figure(Figure::new("Redis CPU per message", redis_us(&run), "µs"));
    close(&mut outcome, &run);
    stage.cluster.order("scale workers 1")?;
    let (run, _) = measured(stage, LARGE)?;
    let accepted = run.acked_per_second();
    outcome.figure(Figure::new("accepted, a worker storing", accepted, "/s"));
    outcome.figure(Figure::new("ack p50", run.ack.p50_ms(), "ms"));
    outcome.figure(Figure::new("ack p99", run.ack.p99_ms(), "ms"));
    close(&mut outcome, &run);
    Ok(outcome)
}

/// The load on these channels, and how many messages were in a batch of a gateway.
fn measured(stage: &Stage, (window, channels): (u64, usize)) -> Result<(Run, f64)> {
    let status = stage.cluster.status()?;
    let seats = small(&stage.roster, MEMBERS)?;
    let mut generator = stage.generator(&status.addresses("gateway"), &seats)?;
    generator.run(&as_fast_as_it_goes(FIRST, SMALL, window))?;
    let batches = || -> Result<(f64, f64)> {
        let of = |what| status.total("gateway", &format!("banter_worker_batch_rows_{what}"));
        Ok((of("sum")?, of("count")?))
    };
    let before = batches()?;
    let run = generator.run(&Load::new(Pace::Window {
        messages: window,
        channels,
    }))?;
    let after = batches()?;
    Ok((run, (after.0 - before.0) / (after.1 - before.1).max(1.0)))
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn redis_us(run: &Run) -> f64 {
    run.cost.of(&["redis"]).as_secs_f64() * 1e6 / run.acked.max(1) as f64
}

fn close(outcome: &mut Outcome, run: &Run) {
    outcome.cost(&run.cost);
    faults(outcome, run);
}
