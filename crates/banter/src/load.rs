//! `banter load`: load on a server, and a verdict.

mod accounts;
mod screen;
mod stage;

use std::io::{BufRead as _, Write as _, stdin};
use std::path::PathBuf;
use std::sync::mpsc::channel;

use anyhow::{Context as _, Result, bail};
use banter_lab::load::profile::{BUILT_IN, Profile, Span};
use banter_lab::load::slo::Slo;
use banter_lab::load::{generate, plan, run, text};
use clap::Args;

use self::screen::Screen;
use self::stage::Target;
use crate::print;
use crate::usage::Wrong;

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
  banter load --embedded --profile room --users 1000 --rate 50
  banter load --server http://chat.example:8080 --slo 'delivery_p99<250ms,errors<0.01%'
  banter load --print-profile community          a commented file to start from

Profiles: community, room, rooms, storm, login, idle. Demands: ack, delivery, connect, login,
history or channels, with _p50, _p90, _p95, _p99, _p99.9 or _max; errors<0.01%; deliveries>1000.")]
pub(crate) struct Load {
    #[command(flatten)]
    target: Target,
    /// What people do: the name of a profile, or a file
    #[arg(long, value_name = "NAME|FILE", default_value = "community")]
    profile: String,
    /// How many people [default: the profile's]
    #[arg(long, value_name = "N")]
    users: Option<u32>,
    /// How long is measured, such as 30s or 10m [default: the profile's]
    #[arg(long, value_name = "TIME")]
    duration: Option<Span>,
    /// Before anything is measured [default: the profile's]
    #[arg(long, value_name = "TIME")]
    warm_up: Option<Span>,
    /// Actions a second of all together [default: the profile's]
    #[arg(long, value_name = "N", value_parser = rate)]
    rate: Option<f64>,
    /// What is demanded [default: the profile's]
    #[arg(long, value_name = "DEMAND,…")]
    slo: Option<Slo>,
    /// Generators, each a process [default: as many as it takes]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=60))]
    generators: Option<u32>,
    /// Chance is had again with the same number
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Write everything that was found there, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Print a profile, to be changed and used as a file
    #[arg(long, value_name = "NAME", exclusive = true)]
    print_profile: Option<String>,
    /// Be a generator, told what to do on standard input
    #[arg(long, exclusive = true, hide = true)]
    generator: bool,
}

fn rate(text: &str) -> Result<f64, &'static str> {
    let rate: f64 = text.parse().map_err(|_| "not a number")?;
    if rate.is_finite() && rate >= 0.0 {
        return Ok(rate);
    }
    Err("a rate is not negative")
}

impl Load {
    /// Puts the load on the server; returns the exit code of the verdict.
    ///
    /// # Errors
    /// The load cannot be put: there is no verdict.
    pub(crate) fn run(&self) -> Result<u8> {
        if self.generator {
            return be_generator().map(|()| 0);
        }
        if let Some(name) = &self.print_profile {
            let found = BUILT_IN.iter().find(|(known, _)| known == name);
            let Some((_, text)) = found else {
                let refused = Profile::built_in(name).err().map(|error| error.to_string());
                let refused = refused.unwrap_or_default();
                return Err(Wrong(format!("--print-profile {name}: {refused}")).into());
            };
            return print(text.as_bytes()).map(|()| 0);
        }
        self.target.check()?;
        let load = self.load()?;
        let screen = Screen::new();
        screen.says(&text::plan(&load));
        let mut stage = self.target.set(load.users, &screen)?;
        let outcome = load.run(&stage.stage, &mut stage.roster, &|progress| {
            screen.show(&progress);
        });
        let outcome = match stage.end(outcome)? {
            Ok(outcome) => outcome,
            Err(error) => bail!("{error:#}"),
        };
        screen.clear();
        if let Some(file) = &self.json {
            let json = serde_json::to_vec_pretty(&outcome).context("write the report")?;
            write_file(file, &json)?;
        }
        print(text::outcome(&outcome).as_bytes())?;
        Ok(outcome.verdict.code())
    }

    /// What is to be put.
    fn load(&self) -> Result<run::Load> {
        let (name, text) = match BUILT_IN.iter().find(|(name, _)| *name == self.profile) {
            Some((name, text)) => ((*name).to_owned(), (*text).to_owned()),
            None => {
                let read = std::fs::read_to_string(&self.profile);
                let text = read.map_err(|error| {
                    let names = BUILT_IN.map(|(name, _)| name).join(", ");
                    Wrong(format!(
                        "--profile {}: neither a profile ({names}) nor a file ({error})",
                        self.profile
                    ))
                })?;
                (self.profile.clone(), text)
            }
        };
        let wrong = |error: &dyn std::fmt::Display| Wrong(format!("--profile {name}: {error}"));
        let mut profile = Profile::parse(&text).map_err(|error| wrong(&error))?;
        profile.users = self.users.unwrap_or(profile.users);
        if let Some(Span(duration)) = self.duration {
            profile.duration = duration;
        }
        if let Some(Span(warm_up)) = self.warm_up {
            profile.warm_up = warm_up;
        }
        profile.check().map_err(|error| Wrong(error.to_string()))?;
        let slo = match &self.slo {
            Some(slo) => slo.clone(),
            None => profile.slo.parse().map_err(|error| wrong(&error))?,
        };
        Ok(run::Load {
            users: profile.users,
            profile,
            name,
            rate: self.rate,
            slo,
            generators: self.generators,
            seed: self.seed,
        })
    }
}

/// Writes a report.
fn write_file(file: &std::path::Path, bytes: &[u8]) -> Result<()> {
    std::fs::write(file, bytes).with_context(|| format!("cannot write {}", file.display()))
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
