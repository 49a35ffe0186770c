//! `make faults`: what a cluster survives, as a table.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use banter_lab::faults::{ALL, Faults, Found, Scenario, table};
use banter_lab::{report, service};
use clap::Parser;

/// Harm a cluster under load in every way that it has to survive
///
/// Starts a cluster with the binary beside this program (or `BANTER_BIN`), puts people on it, and
/// harms it. Ends with 0 when in each scenario nothing was lost, repeated or reordered and all
/// went on by itself; with 1 when something does not hold.
#[derive(Debug, Parser)]
#[command(name = "faults")]
struct Arguments {
    /// Only these scenarios
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    only: Vec<String>,
    /// Only the short set, which `make test` tries too
    #[arg(long)]
    short: bool,
    /// Also write what was found there, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Where clusters live; a directory that does not exist yet [default: a temporary one]
    #[arg(long, value_name = "DIRECTORY")]
    dir: Option<PathBuf>,
    /// Keep the clusters' directories; after a failure they are kept anyway
    #[arg(long)]
    keep: bool,
    /// Name the scenarios, and harm nothing
    #[arg(long)]
    list: bool,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("faults: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether everything holds.
fn run(arguments: &Arguments) -> Result<bool> {
    if arguments.list {
        for scenario in ALL {
            say(&format!("{:<20} {}", scenario.name, scenario.about));
        }
        return Ok(true);
    }
    let scenarios = chosen(arguments)?;
    let dir = match &arguments.dir {
        Some(dir) => dir.clone(),
        None => std::env::temp_dir().join(format!("banter-faults-{}", std::process::id())),
    };
    if dir.exists() {
        bail!("{} is there already", dir.display());
    }
    let tell = |what: &str| eprintln!("faults:   {what}");
    let mut faults = Faults::new(&service::binary()?, &dir, &tell);
    let mut all: Vec<Found> = Vec::new();
    for scenario in &scenarios {
        eprintln!("faults: {}: {}", scenario.name, scenario.about);
        all.push(faults.run(scenario)?);
        if let Some(file) = &arguments.json {
            report::write(file, &serde_json::json!({ "version": 1, "scenarios": all }))?;
        }
    }
    faults.end()?;
    say(&table(&all));
    let holds = all.iter().all(Found::holds);
    if holds && !arguments.keep {
        std::fs::remove_dir_all(&dir).with_context(|| format!("remove {}", dir.display()))?;
    } else {
        eprintln!(
            "faults: logs and data of the clusters are in {}",
            dir.display()
        );
    }
    Ok(holds)
}

fn chosen(arguments: &Arguments) -> Result<Vec<Scenario>> {
    let names = &arguments.only;
    let known = |name: &&String| !ALL.iter().any(|scenario| scenario.name == **name);
    if let Some(unknown) = names.iter().find(known) {
        bail!("there is no scenario {unknown}; see --list");
    }
    let wanted = |scenario: &Scenario| {
        let named = names.iter().any(|name| name == scenario.name);
        (names.is_empty() || named) && (scenario.short || !arguments.short)
    };
    Ok(ALL.into_iter().filter(wanted).collect())
}

#[expect(clippy::print_stdout, reason = "the table is what this program is for")]
fn say(text: &str) {
    println!("{text}");
}
