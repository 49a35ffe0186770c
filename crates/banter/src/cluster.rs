//! `banter cluster`: a whole cluster on one machine, from installed programs.

mod balancer;
mod control;
mod directory;
mod identity;
mod job;
mod leftover;
mod member;
mod observe;
mod plan;
mod ports;
mod postgres_server;
mod probe;
mod programs;
mod record;
mod redis_server;
mod secret;
mod status;
mod supervisor;
mod up;

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::{Args, Subcommand, ValueEnum};

use crate::{print, run_async};
use control::Request;

pub(crate) use self::directory::Directory;
pub(crate) use self::job::Role;
pub(crate) use self::status::Status;

/// Most processes of a role on one machine: beyond it they only share what there is.
pub(crate) const COUNT_MAX: i64 = 64;

/// Run a whole cluster on this machine, and try what it survives
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  banter cluster up                   start one; Ctrl-C drains and stops it
  banter cluster up --observe         also watch it: Prometheus, alerts, exporters
  banter cluster status               what runs, in another terminal
  banter cluster kill gateway-2       see clients resume on another one
  banter cluster restart gateways     one after the other, nobody misses anything
  banter cluster scale gateways 4     more of them")]
pub(crate) struct Cluster {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    Up(up::Up),
    Status(Show),
    /// Kill a process as a crash does; it is started again
    Kill(Named),
    /// Stop a process, or all gateways, workers or auths, in good order
    Stop(Named),
    /// Start what was stopped
    Start(Named),
    /// Restart a process; gateways, workers or auths: one after the other
    Restart(Named),
    /// Drain a process by its admin address, as a load balancer's hook does; it stays away
    Drain(Named),
    Scale(Scale),
    /// Drain and stop the whole cluster, as Ctrl-C does
    Down(Place),
}

/// Which cluster.
#[derive(Debug, Args)]
struct Place {
    /// Directory of the cluster [default: ./banter-cluster; root's: /var/lib/banter-cluster]
    #[arg(long, value_name = "DIR", value_parser = clap::builder::PathBufValueParser::new())]
    data_dir: Option<PathBuf>,
}

impl Place {
    fn find(&self) -> Result<Directory> {
        Directory::find(self.data_dir.as_deref())
    }
}

/// Show every process: state, health, addresses, log
#[derive(Debug, Args)]
struct Show {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
struct Named {
    /// Such as gateway-2, redis or gateways; banter cluster status lists them
    name: String,
    #[command(flatten)]
    place: Place,
}

/// Run so many gateways, workers or auths
///
/// New ones are ready before people are sent to them; those too many get nobody new, then drain.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  banter cluster scale gateways 4
  banter cluster scale workers 0     let the queue grow")]
struct Scale {
    /// Which
    role: Scalable,
    /// How many
    #[arg(value_parser = clap::value_parser!(u32).range(0..=COUNT_MAX))]
    count: u32,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Scalable {
    Auths,
    Gateways,
    Workers,
}

impl Cluster {
    /// Does it.
    ///
    /// # Errors
    /// When it was not done, and why.
    pub(crate) fn run(&self) -> Result<()> {
        let (request, place) = match &self.action {
            Action::Up(up) => return up.run(),
            Action::Status(show) => return show.run(),
            Action::Scale(scale) => return scale.run(),
            Action::Kill(named) => (Request::Kill { name: named.name() }, &named.place),
            Action::Stop(named) => (Request::Stop { name: named.name() }, &named.place),
            Action::Start(named) => (Request::Start { name: named.name() }, &named.place),
            Action::Restart(named) => (Request::Restart { name: named.name() }, &named.place),
            Action::Drain(named) => (Request::Drain { name: named.name() }, &named.place),
            Action::Down(place) => (Request::Down, place),
        };
        order(place, &request)
    }
}

/// Whether a cluster runs in this directory.
///
/// # Errors
/// When it is another user's.
pub(crate) fn is_running(directory: &Directory) -> Result<bool> {
    run_async(control::is_running(directory))
}

/// What the cluster in this directory tells of itself.
///
/// # Errors
/// When none runs there.
pub(crate) fn status(directory: &Directory) -> Result<Status> {
    let told = run_async(control::order(directory, &Request::Status, |_| Ok(())))?;
    told.context("the cluster does not tell of itself")
}

fn order(place: &Place, request: &Request) -> Result<()> {
    let directory = place.find()?;
    let line = |line: &str| print(format!("{line}\n").as_bytes());
    run_async(control::order(&directory, request, line)).map(|_| ())
}

impl Named {
    fn name(&self) -> String {
        self.name.clone()
    }
}

impl Show {
    fn run(&self) -> Result<()> {
        let status = status(&self.place.find()?)?;
        if self.json {
            let text = serde_json::to_string(&status)?;
            return print(format!("{text}\n").as_bytes());
        }
        print(status.table().as_bytes())
    }
}

impl Scale {
    fn run(&self) -> Result<()> {
        let role = match self.role {
            Scalable::Auths => Role::Auth,
            Scalable::Gateways => Role::Gateway,
            Scalable::Workers => Role::Worker,
        };
        if self.count == 0 && role != Role::Worker {
            let name = role.name();
            let text =
                format!("scale: at least one {name} must be left; banter cluster stop stops");
            return Err(crate::usage::Wrong(text).into());
        }
        let count = usize::try_from(self.count)?;
        order(&self.place, &Request::Scale { role, count })
    }
}

/// Tells whoever watches the cluster.
fn say(what: std::fmt::Arguments<'_>) {
    eprintln!("banter: {what}");
}
