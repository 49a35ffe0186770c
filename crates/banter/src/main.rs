//! `banter`: one binary, one file per command.

mod account;
mod chat;
mod destination;
mod display;
mod send;
mod tail;
mod usage;

use std::io::ErrorKind;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Real-time chat: one process to start with, the same binary for a cluster
#[derive(Debug, Parser)]
#[command(name = "banter", version)]
struct Banter {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Chat(chat::Chat),
    Send(send::Send),
    Tail(tail::Tail),
}

fn main() -> ExitCode {
    let done = match &Banter::parse().command {
        Command::Chat(command) => command.run(),
        Command::Send(command) => command.run(),
        Command::Tail(command) => command.run(),
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

/// Runs a command that talks to the database.
fn run_async<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start threads")?;
    runtime.block_on(work)
}
