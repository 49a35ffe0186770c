//! Stress: more and more, until the demands are not met; what gave out, and what it takes well.

use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Result, bail};

use super::limit::{Limit, capacity, failure_mode, is_good, limit};
use super::outcome::Outcome;
use super::roster::Roster;
use super::run::{Load, Progress, Stage, View};
use super::slo::{Verdict, number};

/// How much more each step asks for.
const GROWTH: f64 = 1.6;
/// Steps up at most: a millionfold.
const STEPS_MAX: u32 = 30;
/// Steps between what was good and what was not.
const NARROWINGS: u32 = 3;
/// Below this share of the first rate it is not looked for.
const LEAST: f64 = 1.0 / 8.0;
/// After the break, so much of the last good rate: what a server that is well takes easily.
const REST: f64 = 0.5;

/// What was found.
#[derive(Debug)]
pub struct Found {
    /// All steps, in their order.
    pub runs: Vec<Outcome>,
    /// The highest that was confirmed, by its place among the runs.
    pub confirmed: Option<usize>,
    /// The first that broke.
    pub broken: Option<usize>,
    /// What gave out there.
    pub limit: Option<Limit>,
    /// Whether it was well afterwards, without help.
    pub recovered: Option<bool>,
}

/// Raises the rate of a load until it breaks.
///
/// # Errors
/// A step cannot be run.
pub fn stress(load: &Load, stage: &Stage, roster: &mut Roster, view: View<'_>) -> Result<Found> {
    let first = load.actions_per_second();
    if first <= 0.0 {
        bail!("nothing is done in this profile: give a --rate to begin with");
    }
    let mut steps = Steps {
        load,
        stage,
        roster,
        view,
        found: Found {
            runs: Vec::new(),
            confirmed: None,
            broken: None,
            limit: None,
            recovered: None,
        },
    };
    steps.climb(first)?;
    Ok(steps.found)
}

struct Steps<'a> {
    load: &'a Load,
    stage: &'a Stage,
    roster: &'a mut Roster,
    view: View<'a>,
    found: Found,
}

impl Steps<'_> {
    /// One step; its place among the runs.
    fn step(&mut self, why: &str, rate: f64, duration: Duration) -> Result<usize> {
        if self.stage.stop.load(Ordering::Relaxed) {
            bail!("stopped");
        }
        let mut load = self.load.clone();
        load.rate = Some(rate);
        load.profile.duration = duration;
        let says = format!("{why}: {} actions/s", number(rate));
        (self.view)(Progress::Says(&says));
        let outcome = load.run(self.stage, self.roster, self.view)?;
        let reasons = outcome.verdict.reasons().join("; ");
        let says = format!("{}: {} {reasons}", number(rate), outcome.verdict.word());
        (self.view)(Progress::Says(&says));
        self.found.runs.push(outcome);
        Ok(self.found.runs.len() - 1)
    }

    fn is_good(&self, place: usize) -> bool {
        is_good(&self.found.runs[place])
    }

    fn climb(&mut self, first: f64) -> Result<()> {
        let duration = self.load.profile.duration;
        let (mut rate, mut good, mut bad) = (first, None, None);
        for _ in 0..STEPS_MAX {
            let place = self.step("more", rate, duration)?;
            if self.is_good(place) {
                good = Some(rate);
                if bad.is_some() {
                    break;
                }
                rate *= GROWTH;
                continue;
            }
            if self.found.broken.is_none() {
                self.found.broken = Some(place);
                let cores = std::thread::available_parallelism().map_or(1, usize::from);
                self.found.limit = Some(limit(&self.found.runs[place], cores));
            }
            bad = Some(rate);
            if good.is_some() {
                break;
            }
            rate /= 2.0;
            if rate < first * LEAST {
                return Ok(());
            }
        }
        let (Some(mut good), Some(mut bad)) = (good, bad) else {
            return Ok(());
        };
        let place = self.step("less, to see whether it recovers", good * REST, duration)?;
        self.found.recovered = Some(self.is_good(place));
        for _ in 0..NARROWINGS {
            let between = (good * bad).sqrt();
            let place = self.step("between", between, duration)?;
            *(if self.is_good(place) {
                &mut good
            } else {
                &mut bad
            }) = between;
        }
        // What was good once may have been luck: twice as long, and less where it was.
        for _ in 0..NARROWINGS {
            let place = self.step("to confirm", good, duration * 2)?;
            if self.is_good(place) {
                self.found.confirmed = Some(place);
                break;
            }
            good *= 0.9;
        }
        Ok(())
    }
}

impl Found {
    /// What is to be said, in a few lines.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        match self.confirmed.map(|place| &self.runs[place]) {
            Some(run) => lines.push(format!("sustained: {}", capacity(run))),
            None => lines.push("no rate that meets the demands was confirmed".to_owned()),
        }
        let Some(broken) = self.broken.map(|place| &self.runs[place]) else {
            lines.push("it did not break".to_owned());
            return lines;
        };
        let rate = number(broken.rate);
        let reasons = broken.verdict.reasons().join("; ");
        lines.push(format!("broke at {rate} actions/s: {reasons}"));
        if let Some(limit) = &self.limit {
            lines.push(format!(
                "first to give out: {} ({})",
                limit.resource, limit.evidence
            ));
        }
        lines.push(format!("how it failed: {}", failure_mode(broken)));
        match self.recovered {
            Some(true) => lines.push("afterwards it was well again, without help".to_owned()),
            Some(false) => lines.push("afterwards it was not well, with half the load".to_owned()),
            None => {}
        }
        lines
    }

    /// Whether a capacity was found, and is the server's.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        if let Some(lost) = self.runs.iter().find(|run| run.audit.violations > 0) {
            return lost.verdict.clone();
        }
        if let Some(limit) = self.limit.as_ref().filter(|limit| !limit.of_server) {
            let (resource, evidence) = (&limit.resource, &limit.evidence);
            return Verdict::Invalid(vec![format!("the limit was {resource}: {evidence}")]);
        }
        let last = self.runs.last().map(|run| &run.verdict);
        if self.confirmed.is_none() && matches!(last, Some(Verdict::Invalid(_))) {
            let why = "nothing could be confirmed: the machine or the generator was the limit";
            return Verdict::Invalid(vec![why.to_owned()]);
        }
        if self.confirmed.is_none() {
            return Verdict::Fail(vec![
                "no rate that meets the demands was confirmed".to_owned(),
            ]);
        }
        if self.recovered == Some(false) {
            return Verdict::Fail(vec!["it did not recover by itself".to_owned()]);
        }
        Verdict::Pass
    }
}
