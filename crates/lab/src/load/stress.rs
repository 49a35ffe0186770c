//! Stress: more and more, until the demands are not met; what gave out, and what it takes well.

use std::time::Duration;

use anyhow::{Result, bail};
use serde::Serialize;

use super::limit::{Limit, QUEUE_OLD_S, capacity, failure_mode, limit};
use super::outcome::Outcome;
use super::roster::Roster;
use super::run::{Load, Progress, Stage, View};
use super::slo::{Demand, Subject, Verdict, number};

/// How much more each step asks for.
const GROWTH: f64 = 1.6;
/// A beginning that is too much is divided by this.
const FALL: f64 = 8.0;
/// Steps up at most: a millionfold.
const STEPS_MAX: u32 = 30;
/// Steps between what was good and what was not.
const NARROWINGS: u32 = 3;
/// Below this share of the first level it is not looked for.
const LEAST: f64 = 1.0 / 8.0;
/// After the break, so much of the last good level: what a server that is well takes easily.
const REST: f64 = 0.5;
/// A server that lets nobody in for so long is full.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is raised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Raise {
    /// People, and with them what each of them does.
    Users,
    /// Actions of the same people.
    Rate,
}

/// How far.
#[derive(Debug, Clone, Copy)]
pub struct Climb {
    /// What is raised.
    pub raise: Raise,
    /// Nothing beyond this is tried.
    pub up_to: Option<f64>,
}

/// What was found.
#[derive(Debug)]
pub struct Found {
    /// What was raised.
    pub raise: Raise,
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
    /// Whether somebody stopped it before it was done.
    pub stopped: bool,
}

/// The same for reports.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// What was raised.
    pub raise: Raise,
    /// The place among the runs of the highest that was confirmed.
    pub confirmed: Option<usize>,
    /// That of the first that broke.
    pub broken: Option<usize>,
    /// What gave out first.
    pub limit: Option<Limit>,
    /// How it failed: slower, refused, silent, disconnected or lost.
    pub failure: Option<&'static str>,
    /// Whether it was well afterwards, without help.
    pub recovered: Option<bool>,
}

/// Raises a load until it breaks.
///
/// # Errors
/// A step cannot be run.
pub fn stress(
    load: &Load,
    climb: Climb,
    stage: &Stage,
    roster: &mut Roster,
    view: View<'_>,
) -> Result<Found> {
    let mut load = load.clone();
    load.patience = load.patience.or(Some(PATIENCE));
    let demanded = |demand: &Demand| demand.subject == Subject::QueueAge;
    if stage.queue.is_some() && !load.slo.0.iter().any(demanded) {
        // What waits longer and longer is not sustained, however fast the acks are.
        load.slo
            .0
            .push(format!("queue_age<{QUEUE_OLD_S}s").parse()?);
    }
    let first = climb.raise.level_of(&load);
    if first <= 0.0 {
        bail!("nothing is done in this profile: give a --rate to begin with, or --raise users");
    }
    let mut steps = Steps {
        load,
        climb,
        stage,
        roster,
        view,
        found: Found {
            raise: climb.raise,
            runs: Vec::new(),
            confirmed: None,
            broken: None,
            limit: None,
            recovered: None,
            stopped: false,
        },
    };
    match steps.climb(first) {
        Err(Stop::Asked) => steps.found.stopped = true,
        Err(Stop::Failed(error)) => return Err(error),
        Ok(()) => {}
    }
    Ok(steps.found)
}

impl Raise {
    fn level_of(self, load: &Load) -> f64 {
        match self {
            Self::Users => f64::from(load.users),
            Self::Rate => load.actions_per_second(),
        }
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a float's conversion ends at the largest number"
    )]
    fn apply(self, load: &mut Load, level: f64) {
        match self {
            Self::Users => {
                load.users = level as u32;
                load.profile.users = load.users;
            }
            Self::Rate => load.rate = Some(level),
        }
    }

    /// A level that can be had.
    fn rounded(self, level: f64) -> f64 {
        match self {
            Self::Users => level.round().max(1.0),
            Self::Rate => level,
        }
    }

    fn words(self, level: f64) -> String {
        match self {
            Self::Users => format!("{} users", number(level)),
            Self::Rate => format!("{} actions/s", number(level)),
        }
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Why it does not go on.
enum Stop {
    Asked,
    Failed(anyhow::Error),
}

struct Steps<'a> {
    load: Load,
    climb: Climb,
    stage: &'a Stage,
    roster: &'a mut Roster,
    view: View<'a>,
    found: Found,
}

impl Steps<'_> {
    /// One step; its place among the runs.
    fn step(&mut self, why: &str, level: f64, times: u32) -> Result<usize, Stop> {
        let raise = self.climb.raise;
        let mut load = self.load.clone();
        raise.apply(&mut load, level);
        load.profile.duration *= times;
        let words = raise.words(level);
        (self.view)(Progress::Says(&format!("{why}: {words}")));
        let outcome = load.run(self.stage, self.roster, self.view);
        let outcome = outcome.map_err(Stop::Failed)?;
        let reasons = outcome.verdict.reasons().join("; ");
        let says = format!("{words}: {} {reasons}", outcome.verdict.word());
        (self.view)(Progress::Says(says.trim_end()));
        self.found.runs.push(outcome);
        if self.stage.is_stopped() {
            return Err(Stop::Asked);
        }
        Ok(self.found.runs.len() - 1)
    }

    fn is_good(&self, place: usize) -> bool {
        matches!(self.found.runs[place].verdict, Verdict::Pass)
    }

    fn climb(&mut self, first: f64) -> Result<(), Stop> {
        let (good, bad) = self.find_edge(first)?;
        let Some(good) = good else {
            return Ok(());
        };
        let Some(bad) = bad else {
            return self.confirm(good);
        };
        let rest = self.climb.raise.rounded(good * REST);
        let place = self.step("less, to see whether it recovers", rest, 1)?;
        self.found.recovered = Some(self.is_good(place));
        let good = self.narrow(good, bad)?;
        self.confirm(good)
    }

    /// The highest level that was good, and the lowest that was not.
    fn find_edge(&mut self, first: f64) -> Result<(Option<f64>, Option<f64>), Stop> {
        let raise = self.climb.raise;
        let most = self
            .climb
            .up_to
            .map_or(f64::INFINITY, |most| raise.rounded(most));
        let (mut level, mut good, mut bad) = (first.min(most), None, None);
        for _ in 0..STEPS_MAX {
            let place = self.step("more", level, 1)?;
            if self.is_good(place) {
                good = Some(level);
                if bad.is_some() || level >= most {
                    break;
                }
                // People come whole: one more at least.
                level = raise.rounded(level * GROWTH).max(level + 1.0).min(most);
                continue;
            }
            if self.found.broken.is_none() {
                self.found.broken = Some(place);
                self.found.limit = Some(limit(&self.found.runs[place], cores()));
            }
            bad = Some(level);
            let less = raise.rounded(level / FALL);
            if good.is_some() || less < first * LEAST || less >= level {
                break;
            }
            level = less;
        }
        Ok((good, bad))
    }

    fn narrow(&mut self, mut good: f64, mut bad: f64) -> Result<f64, Stop> {
        for _ in 0..NARROWINGS {
            let between = self.climb.raise.rounded((good * bad).sqrt());
            if between <= good || between >= bad {
                break;
            }
            let place = self.step("between", between, 1)?;
            let side = match self.is_good(place) {
                true => &mut good,
                false => &mut bad,
            };
            *side = between;
        }
        Ok(good)
    }

    /// What was good once may have been luck: twice as long, and less where it was.
    fn confirm(&mut self, mut good: f64) -> Result<(), Stop> {
        for _ in 0..NARROWINGS {
            let place = self.step("to confirm", good, 2)?;
            if self.is_good(place) {
                self.found.confirmed = Some(place);
                break;
            }
            good = self.climb.raise.rounded(good * 0.9);
        }
        Ok(())
    }
}

impl Found {
    /// What is to be said, in a few lines.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if self.stopped {
            lines.push("it was stopped before it was done".to_owned());
        }
        match self.confirmed.map(|place| &self.runs[place]) {
            Some(run) => lines.push(format!("sustained: {}", capacity(run))),
            None => lines.push("nothing that meets the demands was confirmed".to_owned()),
        }
        let Some(broken) = self.broken.map(|place| &self.runs[place]) else {
            lines.push("it did not break".to_owned());
            return lines;
        };
        let level = match self.raise {
            Raise::Users => f64::from(broken.users),
            Raise::Rate => broken.rate,
        };
        let reasons = broken.verdict.reasons().join("; ");
        lines.push(format!("broke at {}: {reasons}", self.raise.words(level)));
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

    /// For reports.
    #[must_use]
    pub fn summary(&self) -> Summary {
        Summary {
            raise: self.raise,
            confirmed: self.confirmed,
            broken: self.broken,
            limit: self.limit.clone(),
            failure: self.broken.map(|place| failure_mode(&self.runs[place])),
            recovered: self.recovered,
        }
    }

    /// Whether a capacity was found, and is the server's.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        if let Some(lost) = self.runs.iter().find(|run| run.audit.violations > 0) {
            return lost.verdict.clone();
        }
        if self.stopped {
            return Verdict::Invalid(vec!["it was stopped before it was done".to_owned()]);
        }
        if let Some(limit) = self.limit.as_ref().filter(|limit| !limit.of_server) {
            let (resource, evidence) = (&limit.resource, &limit.evidence);
            return Verdict::Invalid(vec![format!("the limit was {resource}: {evidence}")]);
        }
        let passed = |run: &Outcome| matches!(run.verdict, Verdict::Pass);
        let disturbed = |run: &Outcome| {
            matches!(run.verdict, Verdict::Invalid(_)) && !limit(run, cores()).of_server
        };
        let ever = self.runs.iter().any(passed);
        if self.confirmed.is_none() && ever && self.runs.last().is_some_and(disturbed) {
            let why = "nothing could be confirmed: the machine or the generator was the limit";
            return Verdict::Invalid(vec![why.to_owned()]);
        }
        if self.confirmed.is_none() {
            return Verdict::Fail(vec![
                "nothing that meets the demands was confirmed".to_owned(),
            ]);
        }
        if self.recovered == Some(false) {
            return Verdict::Fail(vec!["it did not recover by itself".to_owned()]);
        }
        Verdict::Pass
    }
}
