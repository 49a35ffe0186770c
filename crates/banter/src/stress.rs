//! `banter stress`: more and more load, until a server breaks.

use anyhow::Result;
use banter_lab::load::compare::steps;
use banter_lab::load::slo::Verdict;
use banter_lab::load::stress::{Climb, Raise, stress};
use banter_lab::load::text;
use clap::{Args, ValueEnum};

use crate::load::{Circumstances, Duration, Files, People, Screen, Target};
use crate::print;

/// Raise the load until the demands are not met, and name what gave out
///
/// Raises the rate of a profile, or its people, step by step until its demands are missed, sees
/// whether the server recovers, narrows the limit down, and confirms what it sustains. Every step
/// is audited as `banter load` does it. On a cluster, entries that wait to be stored for longer
/// than 5 s are a missed demand, too.
///
/// Ends with 0 when a capacity was confirmed, 3 when there is none or the server lost something or
/// did not recover, and 4 when the generator or the machine was the limit.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  banter stress --embedded --profile room --users 500 --rate 20
  banter stress --embedded --profile rooms --users 1000 --duration 15s --html stress.html
  banter stress --embedded --raise users --users 500 --up-to 20000
  banter stress --cluster --profile rooms --users 1000 --slo 'ack_p99<100ms,errors<0.1%'

--rate or --users is where it begins, --duration how long each step is measured.")]
pub(crate) struct Stress {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    people: People,
    /// What is raised: the rate of the same people, or people, who bring theirs with them
    #[arg(long, value_name = "WHAT", default_value = "rate")]
    raise: Raised,
    /// Try nothing beyond so many actions a second, or users
    #[arg(long, value_name = "N", value_parser = level)]
    up_to: Option<f64>,
    #[command(flatten)]
    duration: Duration,
    #[command(flatten)]
    files: Files,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Raised {
    Rate,
    Users,
}

fn level(text: &str) -> Result<f64, &'static str> {
    let level: f64 = text.parse().map_err(|_| "not a number")?;
    if level.is_finite() && level > 0.0 {
        return Ok(level);
    }
    Err("more than nothing")
}

impl Stress {
    /// Looks for the limit; returns the exit code of the verdict.
    ///
    /// # Errors
    /// It cannot be looked for: there is no verdict.
    pub(crate) fn run(&self) -> Result<u8> {
        self.target.check()?;
        let load = self.people.load(self.duration.into())?;
        load.check_descriptors()?;
        let circumstances = Circumstances::now()?;
        let screen = Screen::new();
        let mut set = self.target.set(load.users, &screen)?;
        screen.says(&text::plan(&load));
        let climb = Climb {
            raise: match self.raise {
                Raised::Rate => Raise::Rate,
                Raised::Users => Raise::Users,
            },
            up_to: self.up_to,
        };
        let found = stress(&load, climb, &set.stage, &mut set.roster, &|progress| {
            screen.show(&progress);
        });
        let found = set.end(found)?;
        screen.clear();
        let mut lines = steps(&found.runs);
        lines.push('\n');
        let verdict = found.verdict();
        let told = found.lines();
        for line in &told {
            lines.push_str(&format!("{line}\n"));
        }
        lines.push_str(&format!("{}\n", verdict.word()));
        if let Verdict::Fail(reasons) | Verdict::Invalid(reasons) = &verdict {
            for reason in reasons {
                lines.push_str(&format!("  {reason}\n"));
            }
        }
        let summary = found.summary();
        let mut report = circumstances.report(found.runs);
        report.verdict = verdict;
        report.notes = told;
        report.stress = Some(summary);
        self.files.write(&report)?;
        print(lines.as_bytes())?;
        Ok(report.verdict.code())
    }
}
