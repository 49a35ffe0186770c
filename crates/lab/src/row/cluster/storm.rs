//! Who talks while many log in.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use crate::generator::{Generator, Load, Pace, Run};
use crate::http::Http;
use crate::report::{Figure, Outcome};
use crate::row::{Bench, Placing, faults, members};
use crate::seed::{HUNDRED, PASSWORD, USERS};

/// People who log in at once, again and again: each core has some of them waiting.
const CALLERS: usize = 16;

pub(super) fn storm(bench: &Bench) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    {
        let stage = bench.cluster(2, 1)?;
        let status = stage.cluster.status()?;
        let auth = status.addresses("auth");
        let auth = auth.first().context("find the authentication service")?;
        let seats = members(&stage.roster, HUNDRED, HUNDRED)?;
        let channel = vec![stage.roster.channel("hundred")?];
        let gateways = status.addresses("gateway");
        let mut generator = stage.generator(&gateways, &(channel, seats))?;
        let names = [
            "cluster, delivery p99",
            "with the storm, delivery p99",
            "logins",
        ];
        both(&mut generator, *auth, names, &mut outcome)?;
    }
    let stage = bench.stage(Placing::Free)?;
    let mut generator = stage.generator(&["hundred"])?;
    generator.open(&members(&stage.roster, HUNDRED, HUNDRED)?)?;
    let names = [
        "one process, delivery p99",
        "with the storm, delivery p99 ",
        "logins ",
    ];
    both(&mut generator, stage.service.address(), names, &mut outcome)?;
    Ok(outcome)
}

/// The chat alone, then with a storm.
fn both(
    generator: &mut Generator,
    logins: SocketAddr,
    [quiet, stormy, count]: [&'static str; 3],
    outcome: &mut Outcome,
) -> Result<()> {
    let load = Load::new(Pace::Rate {
        per_second: 100.0,
        channels: 1,
    });
    let alone = generator.run(&load)?;
    let (run, logged_in) = in_a_storm(generator, &load, logins)?;
    outcome.figure(Figure::new(quiet, alone.delivery.p99_ms(), "ms"));
    outcome.figure(Figure::new(stormy, run.delivery.p99_ms(), "ms"));
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    let rate = logged_in as f64 / (load.warm_up + load.duration).as_secs_f64();
    outcome.figure(Figure::new(count, rate, "/s"));
    for run in [&alone, &run] {
        outcome.cost(&run.cost);
        faults(outcome, run);
    }
    Ok(())
}

fn in_a_storm(generator: &mut Generator, load: &Load, logins: SocketAddr) -> Result<(Run, u64)> {
    let (over, count) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let (over, count) = (&over, &count);
        let callers: Vec<_> = (0..CALLERS)
            .map(|caller| scope.spawn(move || log_in(logins, caller, over, count)))
            .collect();
        let run = generator.run(load);
        over.store(true, Ordering::Relaxed);
        for caller in callers {
            caller.join().ok().context("log in")??;
        }
        Ok((run?, count.load(Ordering::Relaxed)))
    })
}

/// Logs one after the other in, until it is over.
fn log_in(server: SocketAddr, caller: usize, over: &AtomicBool, count: &AtomicU64) -> Result<()> {
    let mut http = Http::connect(server)?;
    for user in (caller..USERS).step_by(CALLERS).cycle() {
        if over.load(Ordering::Relaxed) {
            break;
        }
        let body = json!({ "username": format!("b{user:04}"), "password": PASSWORD }).to_string();
        let answer = http.ask("POST", "/v1/auth/login", "", &body)?;
        match answer.status {
            200 => drop(count.fetch_add(1, Ordering::Relaxed)),
            // It says so when too many wait.
            503 => std::thread::sleep(Duration::from_millis(10)),
            status => ensure!(status == 200, "a login is answered with {status}"),
        }
    }
    Ok(())
}
