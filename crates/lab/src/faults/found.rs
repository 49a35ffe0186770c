//! What a scenario found, and the table of all.

use std::collections::BTreeMap;

use anyhow::Result;
use serde::Serialize;

use super::scenario::Scenario;
use super::trial::Tried;
use crate::audit::Flaw;
use crate::load::outcome::Outcome;
use crate::load::sample::Measure;
use crate::load::slo::Verdict;

/// One row of the table.
#[derive(Debug, Clone, Serialize)]
pub struct Found {
    /// The scenario's name.
    pub scenario: String,
    /// What was done.
    pub about: String,
    /// How long the load went on, in seconds.
    pub seconds: u32,
    /// Messages that people sent.
    pub sent: u64,
    /// Of these: accepted.
    pub acked: u64,
    /// Of these: refused for good, or given up when their fate was unknown.
    pub given_up: u64,
    /// Entries delivered.
    pub deliveries: u64,
    /// Accepted messages that the log had lost before they were stored, and that were accepted
    /// anew when their clients sent them again.
    pub came_back: u64,
    /// Accepted or delivered, and missing somewhere.
    pub lost: u64,
    /// There twice, or delivered twice.
    pub repeated: u64,
    /// Not in the order of the others.
    pub reordered: u64,
    /// Promises broken in another way.
    pub broken: u64,
    /// The longest time in which nothing was acked, in milliseconds.
    pub silence_ms: u64,
    /// The longest time that somebody's socket was away, in milliseconds; those who come and go
    /// without a fault are counted too.
    pub away_ms: u64,
    /// The longest time from the end of a fault to the first of three seconds in which everybody
    /// had everything, in seconds.
    pub recovery_s: u32,
    /// What people met, by kind.
    pub errors: BTreeMap<String, u64>,
    /// Broken promises, in words.
    pub findings: Vec<String>,
    /// Why it does not hold; empty: it does.
    pub failures: Vec<String>,
}

impl Found {
    /// Draws the conclusions.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "milliseconds of minutes"
    )]
    pub(super) fn new(scenario: &Scenario, outcome: &Outcome, tried: Tried) -> Self {
        let audit = &outcome.audit;
        let flaws = |flaw| audit.flaws.get(&flaw).copied().unwrap_or(0);
        let seconds = outcome.series.iter();
        let mut found = Self {
            scenario: scenario.name.to_owned(),
            about: scenario.about.to_owned(),
            seconds: outcome.seconds,
            sent: audit.sent,
            acked: audit.acked,
            given_up: audit.refused + audit.open,
            deliveries: audit.deliveries,
            came_back: audit.again,
            lost: flaws(Flaw::Lost),
            repeated: flaws(Flaw::Repeated),
            reordered: flaws(Flaw::Reordered),
            broken: flaws(Flaw::Other),
            silence_ms: seconds.map(|second| second.silence_ms).max().unwrap_or(0),
            away_ms: outcome.time(Measure::Connect, 1.0).unwrap_or(0.0) as u64,
            recovery_s: tried.recovery_s,
            errors: outcome.errors.clone(),
            findings: outcome.findings.clone(),
            failures: Vec::new(),
        };
        found.must(tried.done);
        if audit.violations > 0 {
            let broken = audit.broken();
            let rules: Vec<_> = broken.iter().map(|rule| rule.promise()).collect();
            found.failures.push(format!("broken: {}", rules.join("; ")));
        }
        if let Verdict::Invalid(reasons) = &outcome.verdict {
            found.failures.extend(reasons.iter().cloned());
        }
        if scenario.comes_back && found.came_back == 0 {
            let nothing = "no acked entry was lost: this proves nothing";
            found.failures.push(nothing.to_owned());
        }
        let borne = |kind: &str| scenario.bears.iter().any(|may| kind.starts_with(may));
        let not_borne: Vec<_> = found
            .errors
            .iter()
            .filter(|(kind, _)| !borne(kind))
            .collect();
        if !not_borne.is_empty() {
            let not_borne = format!("people met what has to go on meanwhile: {not_borne:?}");
            found.failures.push(not_borne);
        }
        found
    }

    /// Something that has to be so.
    pub(super) fn must(&mut self, result: Result<()>) {
        if let Err(error) = result {
            self.failures.push(format!("{error:#}"));
        }
    }

    /// Whether everything was as promised.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.failures.is_empty()
    }

    fn cells(&self) -> Vec<String> {
        let seconds = |ms: u64| format!("{}.{} s", ms / 1_000, ms % 1_000 / 100);
        vec![
            self.scenario.clone(),
            self.sent.to_string(),
            self.acked.to_string(),
            self.deliveries.to_string(),
            self.came_back.to_string(),
            self.lost.to_string(),
            self.repeated.to_string(),
            self.reordered.to_string(),
            self.broken.to_string(),
            seconds(self.silence_ms),
            seconds(self.away_ms),
            format!("{} s", self.recovery_s),
            if self.holds() { "holds" } else { "FAILS" }.to_owned(),
        ]
    }
}

/// Names of the columns.
const HEADS: [&str; 13] = [
    "scenario",
    "sent",
    "acked",
    "deliveries",
    "came back",
    "lost",
    "repeated",
    "reordered",
    "other",
    "no ack for",
    "socket away",
    "recovered",
    "verdict",
];

/// The table of all, in Markdown, and what failed in words below it.
#[must_use]
pub fn table(all: &[Found]) -> String {
    let heads = HEADS.map(str::to_owned).to_vec();
    let rows: Vec<_> = std::iter::once(heads)
        .chain(all.iter().map(Found::cells))
        .collect();
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: Vec<_> = (0..HEADS.len()).map(width).collect();
    let mut lines = Vec::new();
    for row in &rows {
        let cells = row.iter().zip(&widths).enumerate();
        let cells = cells.map(|(column, (cell, width))| match column {
            0 | 12 => format!("{cell:width$}"),
            _ => format!("{cell:>width$}"),
        });
        lines.push(format!("| {} |", cells.collect::<Vec<_>>().join(" | ")));
        if lines.len() == 1 {
            let rules = widths.iter().map(|width| "-".repeat(width + 2));
            lines.push(format!("|{}|", rules.collect::<Vec<_>>().join("|")));
        }
    }
    for found in all.iter().filter(|found| !found.holds()) {
        lines.push(String::new());
        lines.push(format!(
            "{} ({}) does not hold:",
            found.scenario, found.about
        ));
        let findings = found.findings.iter().map(|text| format!("    {text}"));
        let failures = found.failures.iter().map(|text| format!("  {text}"));
        lines.extend(failures.chain(findings));
    }
    lines.join("\n")
}
