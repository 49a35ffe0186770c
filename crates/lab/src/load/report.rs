//! The report of one or more runs: as JSON with a version, and as one HTML file.

mod chart;
mod figure;
mod html;

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};

use super::compare::{Figure, figures, ratios};
use super::outcome::Outcome;
use super::slo::Verdict;
use super::stress::Summary;
use crate::machine::Machine;

pub use self::html::html;

/// Changes when a field loses its meaning; fields may be added.
const VERSION: u32 = 1;

/// Everything about the runs of one command.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Form of the JSON.
    pub version: u32,
    /// The command that made it.
    pub command: String,
    /// When it began: RFC 3339.
    pub started_at: String,
    /// The machine and the binary.
    pub machine: Machine,
    /// What all runs came to.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// What is to be told above everything else.
    pub notes: Vec<String>,
    /// Of a stress: what it came to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stress: Option<Summary>,
    /// The runs, in their order.
    pub runs: Vec<Outcome>,
    /// Of each run, what can be compared with others.
    pub figures: Vec<Vec<Figure>>,
}

/// What is read of a report to compare it.
#[derive(Debug, Deserialize)]
struct Kept {
    version: u32,
    figures: Vec<Vec<Figure>>,
}

/// Compares two reports, as JSON.
///
/// # Errors
/// One is none of this version, or they have not the same number of runs.
pub fn compare(before: &[u8], after: &[u8]) -> Result<String> {
    let read = |text| -> Result<Vec<Vec<Figure>>> {
        let kept: Kept = serde_json::from_slice(text).context("it is no report of a load")?;
        ensure!(kept.version == VERSION, "it is a report of another version");
        Ok(kept.figures)
    };
    let (before, after) = (read(before)?, read(after)?);
    ensure!(
        before.len() == after.len(),
        "one has {} runs, the other {}",
        before.len(),
        after.len()
    );
    let tables = before.iter().zip(&after);
    let tables: Vec<_> = tables
        .map(|(before, after)| ratios(before, after))
        .collect();
    Ok(tables.join("\n"))
}

impl Report {
    /// A report of these runs; its verdict is the worst of theirs.
    #[must_use]
    pub fn new(command: String, started_at: String, machine: Machine, runs: Vec<Outcome>) -> Self {
        let rank = |verdict: &Verdict| match verdict {
            Verdict::Pass => 0,
            Verdict::Invalid(_) => 1,
            Verdict::Fail(_) => 2,
        };
        let verdicts = runs.iter().map(|run| &run.verdict);
        let worst = verdicts.max_by_key(|verdict| rank(verdict)).cloned();
        let nothing = || Verdict::Invalid(vec!["nothing was measured".to_owned()]);
        Self {
            version: VERSION,
            command,
            started_at,
            machine,
            verdict: worst.unwrap_or_else(nothing),
            notes: Vec::new(),
            stress: None,
            figures: runs.iter().map(figures).collect(),
            runs,
        }
    }
}

/// A series of a chart: its name, and a value for each second; nothing where there is none.
type Line = (String, BTreeMap<u32, f64>);
