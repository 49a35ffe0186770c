//! `banter load soak`: a load for hours, and whether the server takes more and more.

use std::time;

use anyhow::Result;
use banter_lab::load::fault::Fault;
use banter_lab::load::profile::Span;
use banter_lab::load::text;
use clap::Args;

use super::{Circumstances, Files, Length, People, Screen, Target};
use crate::print;

/// Longest warm-up by default: caches and pools are full by then.
const WARM_UP_MAX: time::Duration = time::Duration::from_secs(300);

/// Run a load for hours, and see whether the server takes more and more
///
/// Follows memory and open files of every process, and the load average: the line that fits each
/// best, how sure its slope is, and what that means. What rises from beginning to end fails the
/// run, as does a missed demand or a broken promise; what is not clear makes it INVALID: run it
/// for longer.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  banter load soak --embedded --for 30m
  banter load soak --cluster --for 2h --users 1000 --html soak.html
  banter load soak --cluster --for 24h --fault kill:gateway-1@1h")]
pub(super) struct Soak {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    people: People,
    /// How long, such as 30m, 2h or 24h; a tenth of it, at most 5m, is the warm-up
    #[arg(long = "for", value_name = "TIME", default_value = "2h")]
    length: Span,
    /// Harm a process: kill:NAME@30s, or stop:NAME@60s+10s [may be repeated]
    #[arg(long, value_name = "FAULT")]
    fault: Vec<Fault>,
    #[command(flatten)]
    files: Files,
}

impl Soak {
    /// Runs it; returns the exit code of the verdict.
    ///
    /// # Errors
    /// The load cannot be put: there is no verdict.
    pub(super) fn run(&self) -> Result<u8> {
        self.target.check()?;
        let Span(length) = self.length;
        let mut load = self.people.load(Length {
            duration: Some(self.length),
            warm_up: Some(Span(WARM_UP_MAX.min(length / 10))),
        })?;
        load.faults.clone_from(&self.fault);
        load.check_descriptors()?;
        let circumstances = Circumstances::now()?;
        let screen = Screen::new();
        let mut outcome = self.target.put(&load, &screen)?;
        outcome.follow();
        print(text::outcome(&outcome).as_bytes())?;
        let report = circumstances.report(vec![outcome]);
        self.files.write(&report)?;
        Ok(report.verdict.code())
    }
}
