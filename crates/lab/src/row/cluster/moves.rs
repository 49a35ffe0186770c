//! People who are moved from one gateway to another: `banter load` is the people here, for they
//! come back and resume, and every message is audited.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;

use super::{ACCEPTED, Stage, until};
use crate::cluster::Status;
use crate::report::{Figure, Outcome, Target};
use crate::row::Bench;
use crate::service::unlimit;

/// Sockets that are spread, as many a gateway as the target speaks of.
const SOCKETS: u32 = 4_000;
/// Of each gateway, sockets.
const CONNECTIONS: &str = "banter_gateway_connections";
/// Others that kept more cores busy disturbed.
const OTHERS_MAX: f64 = 0.2;
/// How long it may take to make and connect everybody.
const READY_MAX: Duration = Duration::from_secs(90);
/// What gateways have accepted when the load runs: making it has accepted as many joins.
const TALKING: f64 = 1_500.0;
/// Variation of sockets that is even enough after more gateways were added.
const SCALED_MAX: f64 = 0.15;
/// How long sockets may take to be even again.
const EVEN_MAX: Duration = Duration::from_secs(60);
/// Until those who move have settled.
const SETTLE: Duration = Duration::from_secs(2);

/// People in rooms of a hundred who are there, and silent.
const SILENT: &str = "\
about = \"people who are there, and silent\"
users = 4000
duration = \"5m\"
warm_up = \"1s\"
body_bytes = 150
slo = \"errors<0.01%\"
arrivals = \"even\"

[channels]
everybody = false
everybody_share = 0
memberships = 1
sizes = [[100, 100]]

[rate]
per_second = 0.0
per_user = 0.0

[actions]
";

/// What is read of a load's report.
#[derive(Deserialize)]
struct Told {
    runs: Vec<Ran>,
}

#[derive(Deserialize)]
struct Ran {
    times: Vec<Timed>,
    errors: BTreeMap<String, u64>,
    audit: Audited,
    findings: Vec<String>,
    others: f64,
}

#[derive(Deserialize)]
struct Timed {
    measure: String,
    count: f64,
    /// Median, p90, p95, p99, p99.9 and maximum.
    ms: [f64; 6],
}

#[derive(Deserialize)]
struct Audited {
    violations: f64,
    deliveries: f64,
    acked: f64,
    open: f64,
}

/// `banter load` at work. Dropped, it is killed.
struct People {
    child: Child,
    report: PathBuf,
}

impl People {
    fn come(bench: &Bench, stage: &Stage, arguments: &[&str]) -> Result<Self> {
        let directory = stage.cluster.directory();
        let report = directory.join("load-report.json");
        let log = File::create(directory.join("load.log")).context("write load.log")?;
        let mut command = Command::new(bench.seeds.binary());
        unlimit(&mut command);
        command
            .args(["load", "--cluster", "--data-dir"])
            .arg(directory)
            .args(arguments)
            .arg("--json")
            .arg(&report)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let child = command.spawn().context("start banter load")?;
        Ok(Self { child, report })
    }

    /// Whether they are still there.
    fn are_there(&mut self) -> Result<bool> {
        ensure!(
            self.child.try_wait()?.is_none(),
            "banter load ended; see load.log"
        );
        Ok(true)
    }

    /// Asks them to leave, and hears what they tell.
    fn leave(&mut self) -> Result<Ran> {
        kill_process(Pid::from_child(&self.child), Signal::INT).context("end banter load")?;
        self.told()
    }

    /// What they tell when they have left.
    fn told(&mut self) -> Result<Ran> {
        self.child.wait()?;
        let text = fs::read(&self.report).context("banter load has no report; see load.log")?;
        let mut told: Told = serde_json::from_slice(&text).context("read the load's report")?;
        told.runs.pop().context("the load did not run")
    }
}

impl Drop for People {
    fn drop(&mut self) {
        // They may have left.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(super) fn restart(bench: &Bench) -> Result<Outcome> {
    let stage = bench.cluster(2, 1)?;
    let load = "--profile rooms --users 1000 --rate 200 --warm-up 3s --duration 25s";
    let status = stage.cluster.status()?;
    let before = status.total("gateway", ACCEPTED)?;
    let mut people = People::come(bench, stage, &load.split(' ').collect::<Vec<_>>())?;
    let talk = || Ok(people.are_there()? && status.total("gateway", ACCEPTED)? > before + TALKING);
    until("people talk", READY_MAX, talk)?;
    stage.cluster.order("restart gateways")?;
    let ran = people.told()?;
    let mut outcome = Outcome::default();
    let broken = Figure::new("promises broken", ran.audit.violations, "");
    outcome.figure(broken.with(Target::AtMost(0.0, 0.0)));
    outcome.figure(Figure::new("messages accepted", ran.audit.acked, ""));
    outcome.figure(Figure::new("of unknown fate", ran.audit.open, ""));
    outcome.figure(Figure::new("deliveries", ran.audit.deliveries, ""));
    let connect = ran.times.iter().find(|timed| timed.measure == "connect");
    let connect = connect.context("nobody came back: no gateway was restarted")?;
    outcome.figure(Figure::new("sockets that moved", connect.count, ""));
    outcome.figure(Figure::new("interruption p50", connect.ms[0], "ms"));
    let p99 = Figure::new("interruption p99", connect.ms[3], "ms");
    outcome.figure(p99.with(Target::AtMost(2_000.0, 2_000.0)));
    for (name, measure) in [("delivery p99", "delivery"), ("ack p99", "ack")] {
        if let Some(timed) = ran.times.iter().find(|timed| timed.measure == measure) {
            outcome.figure(Figure::new(name, timed.ms[3], "ms"));
        }
    }
    close(&mut outcome, ran);
    Ok(outcome)
}

pub(super) fn balance(bench: &Bench) -> Result<Outcome> {
    let stage = bench.cluster(2, 1)?;
    let profile = stage.cluster.directory().join("silent.toml");
    fs::write(&profile, SILENT).context("write a profile")?;
    let profile = profile.to_string_lossy().into_owned();
    let mut people = People::come(bench, stage, &["--profile", &profile])?;
    let status = stage.cluster.status()?;
    let sockets = |status: &Status| -> Result<Vec<f64>> {
        Ok(status
            .metric("gateway", CONNECTIONS)?
            .into_values()
            .collect())
    };
    let all_there = || {
        let open: f64 = sockets(&status)?.iter().sum();
        Ok(people.are_there()? && open >= f64::from(SOCKETS))
    };
    until("everybody is there", READY_MAX, all_there)?;
    std::thread::sleep(SETTLE);
    let before = variation(&sockets(&status)?);
    stage.cluster.order("scale gateways 4")?;
    let status = stage.cluster.status()?;
    let even = || Ok(variation(&sockets(&status)?) <= SCALED_MAX);
    let took = until("sockets are even again", EVEN_MAX * 2, even)?;
    std::thread::sleep(SETTLE);
    let after = variation(&sockets(&status)?);
    let ran = people.leave()?;
    let mut outcome = Outcome::default();
    let figure = Figure::new("variation over 2 gateways", before, "");
    outcome.figure(figure.with(Target::AtMost(0.05, 0.05)));
    let seconds = took.as_secs_f64();
    let figure = Figure::new("even again, 4 gateways, after", seconds, "s");
    outcome.figure(figure.with(Target::AtMost(
        EVEN_MAX.as_secs_f64(),
        EVEN_MAX.as_secs_f64(),
    )));
    let figure = Figure::new("variation then", after, "");
    outcome.figure(figure.with(Target::AtMost(SCALED_MAX, SCALED_MAX)));
    if let Some(timed) = ran.times.iter().find(|timed| timed.measure == "connect") {
        outcome.figure(Figure::new("sockets that moved", timed.count, ""));
        outcome.figure(Figure::new("interruption p99", timed.ms[3], "ms"));
    }
    close(&mut outcome, ran);
    Ok(outcome)
}

/// What speaks against a run of people.
fn close(outcome: &mut Outcome, ran: Ran) {
    outcome.figure(Figure::new("others", ran.others, "cores"));
    if ran.others > OTHERS_MAX {
        let others = ran.others;
        outcome.objections.push(format!(
            "other processes used {others:.2} cores; over {OTHERS_MAX} disturbs"
        ));
    }
    outcome.faults.extend(ran.findings);
    let errors = ran.errors.into_iter();
    outcome
        .faults
        .extend(errors.map(|(kind, n)| format!("{kind}: {n}")));
}

/// Standard deviation by the mean.
#[expect(clippy::cast_precision_loss, reason = "a small number")]
fn variation(sockets: &[f64]) -> f64 {
    let count = sockets.len().max(1) as f64;
    let mean = sockets.iter().sum::<f64>() / count;
    let squares = sockets.iter().map(|sockets| (sockets - mean).powi(2));
    (squares.sum::<f64>() / count).sqrt() / mean.max(1e-9)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn even_sockets_do_not_vary() {
        assert!(variation(&[5.0, 5.0]).abs() < 1e-9);
        assert!((variation(&[2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]) - 0.4).abs() < 1e-9);
    }
}
