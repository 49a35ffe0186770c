//! `make bench`: speed and memory of the server, as a table.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use banter_lab::machine::Machine;
use banter_lab::process::raise_descriptors;
use banter_lab::report::{self, Outcome, Report, table};
use banter_lab::row::{ALL, Bench, CLUSTER, Row};
use banter_lab::seed::Seeds;
use banter_lab::service;
use clap::Parser;

/// Measure the speed and memory of the server, or of a cluster
///
/// Starts the release binary beside this program (or `BANTER_BIN`), on data directories below
/// --dir. Accounts, channels and a database of a million entries are made there once, which takes
/// some minutes, and kept. Leave the machine alone meanwhile: a disturbed run is marked INVALID.
#[derive(Debug, Parser)]
#[command(name = "bench")]
struct Arguments {
    /// Measure a cluster instead: Redis, PostgreSQL and NGINX are started with it
    #[arg(long)]
    cluster: bool,
    /// Only these rows
    #[arg(long, value_name = "ROW,…", value_delimiter = ',')]
    only: Vec<String>,
    /// Measure each row so often, and tell the medians
    #[arg(long, value_name = "N", default_value_t = 1)]
    runs: usize,
    /// Measure again, up to so often, when a run is INVALID
    #[arg(long, value_name = "N", default_value_t = 1)]
    tries: usize,
    /// Also write the figures there, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Also print the figures that have a target as a table in Markdown
    #[arg(long)]
    markdown: bool,
    /// Where data directories are kept [default: bench, beside the folder of this program]
    #[arg(long, value_name = "DIRECTORY")]
    dir: Option<PathBuf>,
    /// Keep the data directory of each run too
    #[arg(long)]
    keep: bool,
    /// Name the rows, and measure nothing
    #[arg(long)]
    list: bool,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    let all = if arguments.cluster { CLUSTER } else { ALL };
    if arguments.list {
        for row in all {
            say(&format!("{:<10} {}", row.name, row.work));
        }
        return Ok(());
    }
    let rows = chosen(all, &arguments.only)?;
    let home = match &arguments.dir {
        Some(home) => home.clone(),
        None => service::beside("bench")?,
    };
    // The kernel takes as many as there may be; a row that needs more says so.
    let _ = raise_descriptors();
    let binary = service::binary()?;
    let machine = Machine::new(&binary);
    say(&machine.to_string());
    say("");
    let bench = Bench::new(Seeds::new(&home, &binary, arguments.keep)?)?;
    let mut reports = Vec::new();
    for row in rows {
        let outcomes: Result<Vec<_>> = (0..arguments.runs.max(1))
            .map(|_| measure(&row, &bench, arguments.tries))
            .collect();
        let report = Report::new(row.name, row.work, &outcomes?);
        say(&report.to_string());
        reports.push(report);
        if let Some(file) = &arguments.json {
            let all = serde_json::json!({ "version": 1, "machine": machine, "rows": reports });
            report::write(file, &all)?;
        }
    }
    if arguments.markdown {
        say(&table(&reports));
    }
    Ok(())
}

/// Measures a row, again while the machine is disturbed.
fn measure(row: &Row, bench: &Bench, tries: usize) -> Result<Outcome> {
    let mut outcome = row.measure(bench)?;
    for _ in 1..tries {
        if outcome.objections.is_empty() {
            break;
        }
        outcome = row.measure(bench)?;
    }
    Ok(outcome)
}

fn chosen(all: &[Row], names: &[String]) -> Result<Vec<Row>> {
    if names.is_empty() {
        return Ok(all.to_vec());
    }
    let find = |name: &String| all.iter().find(|row| row.name == name).copied();
    match names.iter().find(|name| find(name).is_none()) {
        Some(unknown) => bail!("there is no row {unknown}; see --list"),
        None => Ok(names.iter().filter_map(find).collect()),
    }
}

#[expect(clippy::print_stdout, reason = "the table is what this program is for")]
fn say(text: &str) {
    println!("{text}");
}
