//! Figures, targets, and what to make of them.

use std::fmt::{self, Write as _};
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::process::Cost;
use crate::statistics::median;

/// What a figure has to be.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// No more than this; further on, no more than that.
    AtMost(f64, f64),
    /// No less than this; further on, no less than that.
    AtLeast(f64, f64),
}

/// Writes what was found so far, as JSON. To be done after every row or scenario: a run that is cut
/// short leaves what it found.
///
/// # Errors
/// The file cannot be written.
pub fn write(file: &Path, found: &serde_json::Value) -> Result<()> {
    let text = serde_json::to_vec_pretty(found).context("write what was found")?;
    std::fs::write(file, text).with_context(|| format!("write {}", file.display()))
}

/// One measured figure.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figure {
    /// What it is.
    pub name: &'static str,
    /// How much.
    pub value: f64,
    /// Of what.
    pub unit: &'static str,
    /// What it has to be, where it has to be something.
    pub target: Option<Target>,
}

impl Figure {
    /// A figure that nothing is asked of.
    #[must_use]
    pub const fn new(name: &'static str, value: f64, unit: &'static str) -> Self {
        Self {
            name,
            value,
            unit,
            target: None,
        }
    }

    /// The same, with a target.
    #[must_use]
    pub const fn with(self, target: Target) -> Self {
        Self {
            target: Some(target),
            ..self
        }
    }

    fn grade(&self) -> Option<Grade> {
        let (meets, exceeds) = match self.target? {
            Target::AtMost(must, next) => (self.value <= must, self.value <= next),
            Target::AtLeast(must, next) => (self.value >= must, self.value >= next),
        };
        Some(match (meets, exceeds) {
            (true, true) => Grade::Beyond,
            (true, false) => Grade::Ok,
            (false, _) => Grade::Missed,
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Grade {
    Beyond,
    Ok,
    Missed,
}

/// What one measurement of a row found.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// The figures.
    pub figures: Vec<Figure>,
    /// What went wrong: lost messages, refusals.
    pub faults: Vec<String>,
    /// Why nothing can be concluded.
    pub objections: Vec<String>,
}

impl Outcome {
    /// Adds a figure.
    pub fn figure(&mut self, figure: Figure) {
        self.figures.push(figure);
    }

    /// Adds what a measurement cost besides the server, and what speaks against it.
    pub fn cost(&mut self, cost: &Cost) {
        self.figure(Figure::new("server", cost.server_cores(), "cores"));
        self.figure(Figure::new("generator", cost.generator_cores, "cores"));
        let others = cost.others_cores + cost.stolen_cores;
        self.figure(Figure::new("others", others, "cores"));
        self.objections.extend(cost.objection());
    }
}

/// A row of the report: the median of some measurements.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Its name, for `--only`.
    pub name: &'static str,
    /// What was done.
    pub work: &'static str,
    /// `ok`, `missed` or `INVALID`.
    pub verdict: &'static str,
    /// The figures, each the median of the valid runs.
    pub figures: Vec<Figure>,
    /// What went wrong in any run.
    pub faults: Vec<String>,
    /// What speaks against it.
    pub objections: Vec<String>,
    /// Runs that count.
    pub runs: usize,
}

impl Report {
    /// Sums up the runs of a row. Invalid ones count only where there are no others.
    #[must_use]
    pub fn new(name: &'static str, work: &'static str, outcomes: &[Outcome]) -> Self {
        let mut counting: Vec<_> = outcomes
            .iter()
            .filter(|outcome| outcome.objections.is_empty())
            .collect();
        let objections = if counting.is_empty() {
            counting = outcomes.iter().collect();
            let all = outcomes
                .iter()
                .flat_map(|outcome| outcome.objections.clone());
            all.collect()
        } else {
            Vec::new()
        };
        let faults: Vec<String> = counting.iter().flat_map(|o| o.faults.clone()).collect();
        let figures = counting.first().map(|first| {
            let middle = |(place, figure): (usize, &Figure)| {
                let values = counting.iter().map(|outcome| outcome.figures[place].value);
                Figure {
                    value: median(&values.collect::<Vec<_>>()),
                    ..figure.clone()
                }
            };
            first.figures.iter().enumerate().map(middle).collect()
        });
        let figures: Vec<Figure> = figures.unwrap_or_default();
        let worst = figures.iter().filter_map(Figure::grade).max();
        let verdict = if !objections.is_empty() {
            "INVALID"
        } else if !faults.is_empty() || worst == Some(Grade::Missed) {
            "missed"
        } else {
            "ok"
        };
        Self {
            name,
            work,
            verdict,
            figures,
            faults,
            objections,
            runs: counting.len(),
        }
    }
}

/// The rows as a table in Markdown: of each the figures that have a target.
#[must_use]
pub fn table(reports: &[Report]) -> String {
    let mut table = String::from("| work | measured | target |\n|---|---|---|\n");
    for report in reports {
        let asked = report.figures.iter().filter(|f| f.target.is_some());
        let told: Vec<&Figure> = match asked.clone().count() {
            0 => report.figures.iter().take(2).collect(),
            _ => asked.collect(),
        };
        let tell = |tell: &dyn Fn(&Figure) -> String| {
            let told: Vec<_> = told.iter().map(|figure| tell(figure)).collect();
            told.join("<br>")
        };
        let measured =
            tell(&|figure| format!("{} {} {}", figure.name, number(figure.value), figure.unit));
        let target = tell(&|figure| figure.target.map_or(String::new(), |t| t.to_string()));
        let verdict = match report.verdict {
            "ok" => "",
            other => &format!(" ({other})"),
        };
        let work = report.work;
        // Writing to a string cannot fail.
        let _ = writeln!(table, "| {work}{verdict} | {measured} | {target} |");
    }
    table
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sign, must, next) = match *self {
            Target::AtMost(must, next) => ('≤', must, next),
            Target::AtLeast(must, next) => ('≥', must, next),
        };
        write!(f, "{sign} {}", number(must))?;
        if (next - must).abs() > f64::EPSILON {
            write!(f, " → {}", number(next))?;
        }
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<8} {}: {}", self.verdict, self.name, self.work)?;
        for figure in &self.figures {
            let value = number(figure.value);
            write!(
                f,
                "         {:<34} {value:>12} {:<10}",
                figure.name, figure.unit
            )?;
            if let Some(target) = figure.target {
                write!(f, " {target}")?;
                let mark = match figure.grade() {
                    Some(Grade::Missed) => "  missed",
                    Some(Grade::Beyond) => "  beyond",
                    _ => "",
                };
                f.write_str(mark)?;
            }
            writeln!(f)?;
        }
        for fault in &self.faults {
            writeln!(f, "         wrong: {fault}")?;
        }
        for objection in &self.objections {
            writeln!(f, "         INVALID: {objection}")?;
        }
        Ok(())
    }
}

/// A number as people read it: thousands apart, three digits where it is small.
fn number(value: f64) -> String {
    if value.abs() < 1_000.0 {
        let decimals = match value.abs() {
            0.0 => 0,
            small if small < 10.0 => 3,
            small if small < 100.0 => 2,
            _ => 1,
        };
        let text = format!("{value:.decimals$}");
        let trimmed = text.trim_end_matches('0').trim_end_matches('.');
        return if text.contains('.') { trimmed } else { &text }.to_owned();
    }
    let digits = format!("{:.0}", value.abs());
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if value < 0.0 {
        format!("-{text}")
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(value: f64) -> Outcome {
        Outcome {
            figures: vec![Figure::new("p99", value, "ms").with(Target::AtMost(60.0, 30.0))],
            ..Outcome::default()
        }
    }

    fn disturbed(value: f64) -> Outcome {
        Outcome {
            objections: vec!["a compiler ran".to_owned()],
            ..outcome(value)
        }
    }

    #[test]
    fn the_median_of_the_valid_runs_decides() {
        let runs = [
            outcome(90.0),
            outcome(20.0),
            disturbed(500.0),
            outcome(50.0),
        ];
        let report = Report::new("room", "one room", &runs);
        assert_eq!((report.verdict, report.runs), ("ok", 3));
        assert!((report.figures[0].value - 50.0).abs() < 1e-9);
        assert_eq!(Report::new("room", "", &[outcome(61.0)]).verdict, "missed");
    }

    #[test]
    fn a_disturbed_run_proves_nothing() {
        let report = Report::new("room", "one room", &[disturbed(20.0)]);
        assert_eq!(report.verdict, "INVALID");
        assert!(report.to_string().contains("INVALID: a compiler ran"));
    }

    #[test]
    fn whatever_the_figures_say_a_fault_is_a_miss() {
        let lossy = Outcome {
            faults: vec!["3 deliveries lost".to_owned()],
            ..outcome(1.0)
        };
        assert_eq!(Report::new("room", "", &[lossy]).verdict, "missed");
    }

    #[test]
    fn the_table_tells_what_was_asked() {
        let mut row = outcome(50.0);
        row.figure(Figure::new("generator", 0.5, "cores"));
        let table = table(&[Report::new("room", "one room", &[row])]);
        assert!(
            table.ends_with("| one room | p99 50 ms | ≤ 60 → 30 |\n"),
            "{table}"
        );
    }

    #[test]
    fn numbers_read_well() {
        let cases = [
            (0.0, "0"),
            (0.6, "0.6"),
            (1.2342, "1.234"),
            (42.0, "42"),
            (999.96, "1000"),
            (1_234_567.8, "1,234,568"),
            (-1_000.0, "-1,000"),
        ];
        for (value, text) in cases {
            assert_eq!(number(value), text);
        }
    }
}
