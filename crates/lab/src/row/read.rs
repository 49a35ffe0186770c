//! Rows about single calls, and about the start.

use std::fs::File;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use banter_protocol::limit;
use rustix::fs::{Advice, fadvise};
use serde_json::json;

use super::{Bench, Placing};
use crate::http::Http;
use crate::process::{Look, resident};
use crate::report::{Figure, Outcome, Target};
use crate::seed::{LONG, PASSWORD, SHORT};
use crate::statistics::{Times, median};

/// Pages read of every kind.
const PAGES: u64 = 500;
/// Starts.
const STARTS: usize = 7;
/// Refused logins of each kind: one an account, so that no throttle comes in.
const LOGINS: usize = 40;

/// Where in a channel pages are read; `None`: all over it.
const PLACES: [(&str, Option<f64>); 4] = [
    ("at its start, p50", Some(0.0)),
    ("in its middle, p50", Some(0.5)),
    ("at its end, p50", Some(1.0)),
    ("anywhere, p50", None),
];

pub(super) fn history(bench: &Bench) -> Result<Outcome> {
    let (directory, roster) = bench.seeds.million()?;
    let service = bench.serve(&directory, Placing::Free)?;
    let server = service.process().into();
    let mut http = Http::connect(service.address())?;
    let token = roster.token("b0000")?;
    let (long, short) = (roster.channel("long")?, roster.channel("short")?);
    let mut page = |channel, before: u64| -> Result<_> {
        let path = format!("/v1/channels/{channel}/history?limit=50&before={before}");
        let begun = Instant::now();
        let answer = http.ask("GET", &path, token, "")?;
        let took = begun.elapsed();
        ensure!(
            answer.status == 200,
            "a page was refused: {}",
            answer.status
        );
        Ok(took)
    };
    let file = directory.join("banter.db");
    forget(&file)?;
    let mut cold = Times::default();
    for number in 0..PAGES / 4 {
        cold.record(page(long, position(LONG, None, number))?);
    }
    // Channels are compared with the file in memory, both of them.
    std::io::copy(&mut File::open(&file)?, &mut std::io::sink())?;
    for _ in 0..PAGES {
        page(short, SHORT)?;
    }
    let look = Look::take(&server)?;
    let mut outcome = Outcome::default();
    let (mut slowest, mut worst, mut pages) = (0.0_f64, 0.0_f64, 0);
    let mut fair = Times::default();
    for (name, place) in PLACES {
        let mut times = Times::default();
        for number in 0..PAGES {
            times.record(page(long, position(LONG, place, number))?);
            // In between, so that both meet the same moods of the machine.
            fair.record(page(short, position(SHORT, place, number))?);
            pages += 2;
        }
        slowest = slowest.max(times.p50_ms());
        worst = worst.max(times.p99_ms());
        let figure = Figure::new(name, times.p50_ms(), "ms");
        outcome.figure(figure.with(Target::AtMost(3.0, 3.0)));
    }
    outcome.figure(Figure::new("p99 of the worst", worst, "ms"));
    let figure = Figure::new("anywhere, file on disk, p50", cold.p50_ms(), "ms");
    outcome.figure(figure.with(Target::AtMost(3.0, 3.0)));
    outcome.figure(Figure::new("channel of 1,000, p50", fair.p50_ms(), "ms"));
    let figure = Figure::new("slowest over it", slowest / fair.p50_ms(), "times");
    outcome.figure(figure.with(Target::AtMost(1.5, 1.5)));
    let cost = look.cost(&server)?;
    let figure = Figure::new("server CPU per page", cost.server_us_per(pages) / 1e3, "ms");
    outcome.figure(figure.with(Target::AtMost(3.0, 3.0)));
    outcome.cost(&cost);
    Ok(outcome)
}

/// Asks the system to keep nothing of a file in memory.
fn forget(file: &Path) -> Result<()> {
    let file = File::open(file).context("open the database")?;
    fadvise(&file, 0, None, Advice::DontNeed).context("forget the database")?;
    Ok(())
}

/// The entry below which a page is read.
fn position(entries: u64, place: Option<f64>, number: u64) -> u64 {
    let page = u64::from(limit::PAGE_DEFAULT);
    match place {
        // Steps without a common divisor with the length come by everywhere.
        None => page + (number * 7_919_317) % (entries - page),
        // A few pages around there, so that it is not always the very same one.
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a share of a million"
        )]
        Some(share) => {
            let steps = entries / page / 2;
            let near = (number % steps.min(10)) * page;
            let at = (entries as f64 * share) as u64;
            if share > 0.5 {
                entries - near
            } else {
                at + page + near
            }
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "sizes are far below 2^52")]
pub(super) fn start(bench: &Bench) -> Result<Outcome> {
    let (directory, _) = bench.seeds.million()?;
    let (mut times, mut sizes) = (Vec::new(), Vec::new());
    for _ in 0..STARTS {
        let service = bench.serve(&directory, Placing::Free)?;
        times.push(service.started().as_secs_f64() * 1e3);
        sizes.push(resident(service.process())? as f64 / 1e6);
        service.stop()?;
    }
    let mut outcome = Outcome::default();
    let figure = Figure::new("to /readyz", median(&times), "ms");
    outcome.figure(figure.with(Target::AtMost(300.0, 300.0)));
    let figure = Figure::new("resident", median(&sizes), "MB");
    outcome.figure(figure.with(Target::AtMost(30.0, 30.0)));
    Ok(outcome)
}

pub(super) fn login(bench: &Bench) -> Result<Outcome> {
    let stage = bench.stage(Placing::Free)?;
    let mut http = Http::connect(stage.service.address())?;
    let mut refused = |user: &str, password: &str| -> Result<_> {
        let body = json!({ "username": user, "password": password }).to_string();
        let begun = Instant::now();
        let answer = http.ask("POST", "/v1/auth/login", "", &body)?;
        let took = begun.elapsed();
        ensure!(
            answer.status == 401,
            "the login was not refused: {}",
            answer.status
        );
        Ok(took)
    };
    let (mut unknown, mut wrong) = (Times::default(), Times::default());
    let server = stage.service.process().into();
    let look = Look::take(&server)?;
    for number in 0..LOGINS {
        unknown.record(refused(&format!("nobody{number}"), PASSWORD)?);
        wrong.record(refused(&format!("b{number:04}"), "not the password")?);
    }
    let cost = look.cost(&server)?;
    let mut outcome = Outcome::default();
    outcome.figure(Figure::new("unknown user, p50", unknown.p50_ms(), "ms"));
    outcome.figure(Figure::new("wrong password, p50", wrong.p50_ms(), "ms"));
    outcome.figure(Figure::new(
        "unknown user, p90",
        unknown.quantile_ms(0.9),
        "ms",
    ));
    outcome.figure(Figure::new(
        "wrong password, p90",
        wrong.quantile_ms(0.9),
        "ms",
    ));
    outcome.cost(&cost);
    Ok(outcome)
}
