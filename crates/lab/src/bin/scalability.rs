//! `make scalability`: measures what docs/scalability.md shows, and writes it there.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Result, bail};
use banter_lab::process::raise_descriptors;
use banter_lab::scalability::{ALL, Experiment, Runner, draw};
use banter_lab::service;
use clap::Parser;

/// Measure how Banter scales, and write the tables and charts of docs/scalability.md
///
/// Runs the release binary beside this program (or `BANTER_BIN`) with `banter load` and `banter
/// stress`, on one process and on clusters of this machine. What was found is kept, so that one
/// experiment can be measured again alone. Leave the machine alone meanwhile.
#[derive(Debug, Parser)]
#[command(name = "scalability")]
struct Arguments {
    /// Only these experiments
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    only: Vec<String>,
    /// Measure nothing; write the document from what is kept
    #[arg(long)]
    draw: bool,
    /// Where accounts, clusters and findings are kept [default: scalability, beside the folder of
    /// this program]
    #[arg(long, value_name = "DIRECTORY")]
    dir: Option<PathBuf>,
    /// The project whose document is written
    #[arg(long, value_name = "DIRECTORY", default_value = ".")]
    project: PathBuf,
    /// Name the experiments, and measure nothing
    #[arg(long)]
    list: bool,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("scalability: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    if arguments.list {
        for experiment in ALL {
            say(&format!("{:<12} {}", experiment.name, experiment.about));
        }
        return Ok(());
    }
    let chosen = chosen(&arguments.only)?;
    let home = match &arguments.dir {
        Some(home) => home.clone(),
        None => service::beside("scalability")?,
    };
    let failed = if arguments.draw {
        0
    } else {
        measure(&home, &chosen)?
    };
    draw(&home, &arguments.project)?;
    if failed > 0 {
        bail!(
            "{failed} of {} experiments failed; --only measures them again",
            chosen.len()
        );
    }
    Ok(())
}

/// Measures; a part that fails takes nothing from the others. How many did.
fn measure(home: &Path, chosen: &[Experiment]) -> Result<usize> {
    // The kernel takes as many as there may be; a load that needs more says so.
    let _ = raise_descriptors();
    let binary = service::binary()?;
    let mut runner = Runner::new(&binary, home)?;
    let mut failed = 0;
    for experiment in chosen {
        say(&format!("{}: {}", experiment.name, experiment.about));
        if let Err(error) = runner.run(experiment, say) {
            failed += 1;
            say(&format!("  failed: {error:#}"));
        }
    }
    Ok(failed)
}

fn chosen(names: &[String]) -> Result<Vec<Experiment>> {
    if names.is_empty() {
        return Ok(ALL.to_vec());
    }
    let find = |name: &String| ALL.iter().find(|it| it.name == name).copied();
    match names.iter().find(|name| find(name).is_none()) {
        Some(unknown) => bail!("there is no experiment {unknown}; see --list"),
        None => Ok(names.iter().filter_map(find).collect()),
    }
}

#[expect(clippy::print_stdout, reason = "progress is for whoever waits")]
fn say(text: &str) {
    println!("{text}");
}
