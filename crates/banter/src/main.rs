//! `banter`: one binary, one file per command.

mod config;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Real-time chat that starts as one process and grows into a cluster
#[derive(Debug, Parser)]
#[command(name = "banter", version)]
struct Banter {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Config(config::Config),
}

fn main() -> ExitCode {
    let done = match Banter::parse().command {
        Command::Config(command) => command.run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("banter: {error:#}");
            ExitCode::from(if error.is::<config::WrongFlag>() {
                2
            } else {
                1
            })
        }
    }
}
