//! `banter`: one binary, one file per command.

mod account;
mod chat;
mod cluster;
mod completions;
mod config;
mod data_dir;
mod database;
mod destination;
mod display;
mod keys;
mod load;
mod new_epoch;
mod nginx_config;
mod queue;
mod send;
mod serve;
mod stress;
mod tail;
mod telemetry;
mod top;
mod usage;
mod user;
mod webhook;

use std::io::{ErrorKind, Write as _};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Real-time chat: one process to start with, the same binary for a cluster
#[derive(Debug, Parser)]
#[command(
    name = "banter",
    version,
    arg_required_else_help = false,
    after_help = "\
Examples:
  banter serve             start a server, then open http://127.0.0.1:8080
  banter user add ann      make an account
  banter chat              talk, in this terminal
  banter config            show what is set, and where

banter help COMMAND tells more about a command."
)]
struct Banter {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Serve),
    User(user::User),
    Chat(chat::Chat),
    Send(send::Send),
    Tail(tail::Tail),
    Webhook(webhook::Webhook),
    Cluster(cluster::Cluster),
    Top(top::Top),
    Config(config::Config),
    Keys(keys::Keys),
    Queue(queue::Queue),
    NewEpoch(new_epoch::NewEpoch),
    NginxConfig(nginx_config::NginxConfig),
    Load(Box<load::Load>),
    Stress(stress::Stress),
    Completions(completions::Completions),
}

fn main() -> ExitCode {
    let banter = match Banter::try_parse() {
        Ok(banter) => banter,
        // Help and version are answers, not errors.
        Err(error) if !error.use_stderr() => error.exit(),
        Err(error) => {
            eprintln!("{}", usage::explain(&error).trim_end());
            return ExitCode::from(2);
        }
    };
    let done = match &banter.command {
        Command::Serve(command) => command.run(),
        Command::User(command) => command.run(),
        Command::Chat(command) => command.run(),
        Command::Send(command) => command.run(),
        Command::Tail(command) => command.run(),
        Command::Webhook(command) => command.run(),
        Command::Cluster(command) => command.run(),
        Command::Top(command) => command.run(),
        Command::Config(command) => command.run(),
        Command::Keys(command) => command.run(),
        Command::Queue(command) => command.run(),
        Command::NewEpoch(command) => command.run(),
        Command::NginxConfig(command) => command.run(),
        Command::Load(command) => match command.run() {
            Ok(verdict) => return ExitCode::from(verdict),
            Err(error) => Err(error),
        },
        Command::Stress(command) => match command.run() {
            Ok(verdict) => return ExitCode::from(verdict),
            Err(error) => Err(error),
        },
        Command::Completions(command) => command.run(),
    };
    let Err(error) = done else {
        return ExitCode::SUCCESS;
    };
    // Whoever reads our output has read enough: `banter config | head -1`.
    let root = error.root_cause().downcast_ref::<std::io::Error>();
    if root.is_some_and(|error| error.kind() == ErrorKind::BrokenPipe) {
        return ExitCode::SUCCESS;
    }
    eprintln!(
        "banter: {}",
        format!("{error:#}").replace(['\n', '\r'], " ")
    );
    ExitCode::from(if error.is::<usage::Wrong>() { 2 } else { 1 })
}

/// Prints an answer.
fn print(answer: &[u8]) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    stdout
        .write_all(answer)
        .and_then(|()| stdout.flush())
        .context("cannot write to stdout")
}

/// Runs a command that talks to the database.
fn run_async<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start threads")?;
    runtime.block_on(work)
}
