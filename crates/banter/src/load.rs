//! `banter load`: load on a server, and a verdict.

mod accounts;
mod cluster;
mod people;
mod screen;
mod soak;
mod stage;

use std::io::{BufRead as _, Write as _, stdin};
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;

use anyhow::{Context as _, Result};
use banter_lab::load::compare::comparison;
use banter_lab::load::fault::Fault;
use banter_lab::load::profile::{BUILT_IN, Profile};
use banter_lab::load::report::{Report, compare, html};
use banter_lab::load::{generate, plan, run, text};
use banter_lab::machine::Machine;
use clap::{Args, Subcommand};

pub(crate) use self::people::{Duration, Length, People};
pub(crate) use self::screen::Screen;
pub(crate) use self::stage::Target;
use crate::print;
use crate::usage::Wrong;

/// A profile of which thousands of people write little…
const LIGHT: &str = "community";
/// …so that from this scale on…
const SCALE_LARGE: u32 = 100;
/// …these are run besides.
const ALSO: [&str; 2] = ["room", "rooms"];

/// Put load on a server, check every message, and give a verdict
///
/// People act on a schedule whether the server keeps up or not, and every time counts from the
/// moment at which something was due: a server that stalls cannot hide it. At the end every
/// accepted message is looked up in history, and every delivery is checked: lost, repeated and
/// swapped messages are printed, and fail the run.
///
/// Ends with 0 when the demands were met (PASS), 3 when not (FAIL), and 4 when nothing can be
/// said, because the generator or the machine was the limit (INVALID).
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  banter load --embedded                         people of a company, on a server of its own
  banter load --embedded --scale 1,10,100 --html report.html
  banter load --embedded --profile room --users 1000 --rate 50
  banter load --server http://chat.example:8080 --slo 'delivery_p99<250ms,errors<0.01%'
  banter load --cluster --gateways 4             on a cluster of its own, or the one that runs
  banter load --cluster --fault kill:gateway-1@30s
  banter load soak --cluster --for 2h            does it take more and more?
  banter load compare before.json after.json
  banter load --print-profile community          a commented file to start from

Profiles: community, room, rooms, storm, login, idle. Demands: ack, delivery, connect, login,
history or channels, with _p50, _p90, _p95, _p99, _p99.9 or _max; errors<0.01%; deliveries>1000; growth<5% (memory, files).")]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Load {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    people: People,
    #[command(flatten)]
    duration: Duration,
    /// The same with so many times the users, one after the other, side by side
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_value = "1",
        value_parser = clap::value_parser!(u32).range(1..=1_000))]
    scale: Vec<u32>,
    /// Profiles to run besides, at the highest scale: a community of thousands writes little
    /// [default: room,rooms where community is scaled a hundred times or more; none: only it]
    #[arg(long, value_name = "PROFILE,…", value_delimiter = ',')]
    also: Option<Vec<String>>,
    /// Harm a process: kill:NAME@30s, or stop:NAME@60s+10s [may be repeated]
    #[arg(long, value_name = "FAULT")]
    fault: Vec<Fault>,
    #[command(flatten)]
    files: Files,
    /// Print a profile, to be changed and used as a file
    #[arg(long, value_name = "NAME", exclusive = true)]
    print_profile: Option<String>,
    /// Be a generator, told what to do on standard input
    #[arg(long, exclusive = true, hide = true)]
    generator: bool,
}

#[derive(Debug, Subcommand)]
enum Action {
    Soak(Box<soak::Soak>),
    /// Show two reports side by side, and what changed beyond the noise
    Compare {
        /// A report, as --json writes it
        before: PathBuf,
        /// Another one
        after: PathBuf,
    },
}

/// Where reports are written.
#[derive(Debug, Args)]
pub(crate) struct Files {
    /// Write everything that was found there, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write a page with charts there, which needs nothing else
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

impl Files {
    /// Writes them.
    ///
    /// # Errors
    /// One cannot be written.
    pub(crate) fn write(&self, report: &Report) -> Result<()> {
        if let Some(file) = &self.json {
            let json = serde_json::to_vec(report).context("write the report")?;
            write_file(file, &json)?;
        }
        if let Some(file) = &self.html {
            write_file(file, html(report).as_bytes())?;
        }
        Ok(())
    }
}

fn write_file(file: &Path, bytes: &[u8]) -> Result<()> {
    std::fs::write(file, bytes).with_context(|| format!("cannot write {}", file.display()))
}

/// This program, the machine and the time, for reports.
pub(crate) struct Circumstances {
    command: String,
    started_at: String,
    machine: Machine,
}

impl Circumstances {
    pub(crate) fn now() -> Result<Self> {
        let program = std::env::current_exe().context("find this program")?;
        let arguments = std::env::args().skip(1);
        let command = std::iter::once("banter".to_owned()).chain(arguments);
        Ok(Self {
            command: command.collect::<Vec<_>>().join(" "),
            started_at: banter_server::clock::now().to_string(),
            machine: Machine::new(&program),
        })
    }

    pub(crate) fn report(&self, runs: Vec<banter_lab::load::outcome::Outcome>) -> Report {
        Report::new(
            self.command.clone(),
            self.started_at.clone(),
            self.machine.clone(),
            runs,
        )
    }
}

impl Load {
    /// Puts the load on the server; returns the exit code of the verdict.
    ///
    /// # Errors
    /// The load cannot be put: there is no verdict.
    pub(crate) fn run(&self) -> Result<u8> {
        match &self.action {
            Some(Action::Soak(soak)) => return soak.run(),
            Some(Action::Compare { before, after }) => {
                return print_comparison(before, after).map(|()| 0);
            }
            None => {}
        }
        if self.generator {
            return be_generator().map(|()| 0);
        }
        if let Some(name) = &self.print_profile {
            return print_profile(name).map(|()| 0);
        }
        self.target.check()?;
        let loads = self.loads()?;
        for load in &loads {
            load.check_descriptors()?;
        }
        let circumstances = Circumstances::now()?;
        let screen = Screen::new();
        let mut runs = Vec::new();
        for load in loads {
            let outcome = self.target.put(&load, &screen)?;
            print(text::outcome(&outcome).as_bytes())?;
            runs.push(outcome);
            // After every run: one that is cut short leaves what was found.
            self.files.write(&circumstances.report(runs.clone()))?;
            if stage::is_stopped() {
                break;
            }
        }
        let report = circumstances.report(runs);
        if report.runs.len() > 1 {
            print(b"\n")?;
            print(comparison(&report.runs).as_bytes())?;
        }
        Ok(report.verdict.code())
    }

    /// All that is to be run, one after the other.
    fn loads(&self) -> Result<Vec<run::Load>, Wrong> {
        let load = self.people.load(self.duration.into())?;
        let highest = self.scale.iter().copied().max().unwrap_or(1);
        let light = load.name == LIGHT && highest >= SCALE_LARGE;
        let also = match &self.also {
            None if light => ALSO.map(str::to_owned).to_vec(),
            None => Vec::new(),
            Some(names) if *names == ["none"] => Vec::new(),
            Some(names) => names.clone(),
        };
        let mut loads: Vec<_> = self.scale.iter().map(|scale| load.scaled(*scale)).collect();
        for name in also {
            let other = self.people.other(&name, self.duration.into())?;
            loads.push(other.scaled(highest));
        }
        for load in &mut loads {
            load.faults.clone_from(&self.fault);
            let wrong = |error| Wrong(format!("--scale: {error}"));
            load.profile.check().map_err(wrong)?;
        }
        Ok(loads)
    }
}

fn print_comparison(before: &Path, after: &Path) -> Result<()> {
    let read = |file: &Path| {
        std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))
    };
    let compared = compare(&read(before)?, &read(after)?)?;
    print(compared.as_bytes())
}

fn print_profile(name: &str) -> Result<()> {
    if let Some((_, text)) = BUILT_IN.iter().find(|(known, _)| *known == name) {
        return print(text.as_bytes());
    }
    let refused = Profile::built_in(name).err().map(|error| error.to_string());
    let refused = refused.unwrap_or_default();
    Err(Wrong(format!("--print-profile {name}: {refused}")).into())
}

/// Does what standard input says, and tells on standard output.
fn be_generator() -> Result<()> {
    let (give, commands) = channel();
    std::thread::spawn(move || {
        for line in stdin().lock().lines().map_while(Result::ok) {
            let Ok(command) = serde_json::from_str::<plan::Command>(&line) else {
                return;
            };
            if give.send(command).is_err() {
                return;
            }
        }
    });
    // What goes wrong is told, and shown by whoever reads it.
    let _ = generate(&commands, &mut |told| {
        let mut line = serde_json::to_vec(&told)?;
        line.push(b'\n');
        let mut stdout = std::io::stdout().lock();
        stdout.write_all(&line)?;
        Ok(stdout.flush()?)
    });
    Ok(())
}
