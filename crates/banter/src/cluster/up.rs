//! `banter cluster up`: starts a cluster and keeps it running until it is told to stop.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use banter_server::settings::Origin;
use clap::Args;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::plan::{Plan, Wanted};
use super::ports::Ports;
use super::programs::Programs;
use super::record::Contents;
use super::supervisor::{Counts, Supervisor};
use super::{COUNT_MAX, Place, control, leftover, say};
use crate::config::Location;
use crate::data_dir::{self, Lock};
use crate::{print, run_async, serve};

/// Start a cluster: Redis, PostgreSQL, NGINX, and Banter in its roles
///
/// Keeps every process running, each with its own log in the directory's `logs`. Prints the URL
/// once people can come. The first Ctrl-C or SIGTERM drains and stops everything it started, a
/// second one kills it. Other commands, such as `banter queue`, take the cluster's configuration
/// with `--config DIR/banter.toml`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  banter cluster up
  banter cluster up --gateways 4 --workers 2
  banter cluster up --observe                                        with Prometheus and alerts
  banter cluster up --data-dir /tmp/second --listen 127.0.0.1:8081   beside another one")]
pub(super) struct Up {
    /// Gateways to start with
    #[arg(long, value_name = "N", default_value_t = 2,
        value_parser = clap::value_parser!(u32).range(1..=COUNT_MAX))]
    gateways: u32,
    /// Workers to start with
    #[arg(long, value_name = "N", default_value_t = 1,
        value_parser = clap::value_parser!(u32).range(0..=COUNT_MAX))]
    workers: u32,
    /// Authentication services to start with
    #[arg(long, value_name = "N", default_value_t = 1,
        value_parser = clap::value_parser!(u32).range(1..=COUNT_MAX))]
    auths: u32,
    /// Address for people; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Origin that people see in their browser [default: made from the address]
    #[arg(long, value_name = "URL", value_parser = origin)]
    public_url: Option<Origin>,
    /// Settings for all roles, but for what the cluster sets itself
    #[arg(long, value_name = "FILE", env = "BANTER_CONFIG")]
    config: Option<PathBuf>,
    /// Also run Prometheus with Banter's rules and alerts, Alertmanager, and exporters for Redis,
    /// PostgreSQL, NGINX and the machine, on ports of their own; prints where to look
    #[arg(long)]
    observe: bool,
    /// Run this instead of the installed Redis, such as valkey-server
    #[arg(long, value_name = "PROGRAM")]
    redis_server: Option<PathBuf>,
    /// End as by a signal when standard input does, for whoever starts it as a child
    #[arg(long, hide = true)]
    until_input_ends: bool,
    #[command(flatten)]
    place: Place,
}

fn origin(text: &str) -> Result<Origin, String> {
    text.parse()
}

impl Up {
    /// Runs the cluster until a signal.
    ///
    /// # Errors
    /// When it cannot start; and when a second signal cut its end short.
    pub(super) fn run(&self) -> Result<()> {
        let directory = self.place.find()?;
        let data = directory.postgres().join("data");
        let programs = Programs::find(self.redis_server.as_deref(), &data, self.observe)?;
        let location = Location {
            config: self.config.clone(),
            data_dir: None,
        };
        let wanted = Wanted {
            directory: directory.clone(),
            listen: self.listen,
            public_url: self.public_url.clone(),
            config: self.config.clone(),
            limits: location.load(Vec::new())?.settings.limits,
        };
        data_dir::keep_private();
        directory.create()?;
        let _lock = Lock::take(directory.root())?;
        // NGINX takes what it is given.
        serve::raise_descriptors();
        run_async(self.supervise(wanted, programs))
    }

    async fn supervise(&self, wanted: Wanted, programs: Programs) -> Result<()> {
        let mut signals = Signals::take()?;
        let directory = wanted.directory.clone();
        let before = Contents::read(&directory.record());
        leftover::end(before.running()).await?;
        if wanted.listen.port() != 0 {
            drop(serve::listen(wanted.listen, "--listen")?);
        }
        let ports = Ports::new(directory.root(), before.ports);
        let stopping = CancellationToken::new();
        if self.until_input_ends {
            let stopping = stopping.clone();
            std::thread::spawn(move || {
                // An input that cannot be read has ended, too.
                let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
                stopping.cancel();
            });
        }
        let plan = Plan::make(wanted, programs, ports)?;
        let url = plan.url.clone();
        let supervisor = Arc::new(Supervisor::new(plan, stopping.clone()));
        let work = async {
            supervisor.start(self.counts()).await?;
            let root = directory.root().display();
            say(format_args!("all are ready; logs in {root}/logs"));
            let mut told = format!("Banter cluster serves {url}\n");
            if let Some(admin) = supervisor.status_page() {
                told.push_str(&format!("http://{admin} shows how all of it does\n"));
            }
            if let Some(watched_at) = supervisor.watched_at() {
                told.push_str(&format!("Prometheus shows it at {watched_at}\n"));
            }
            // At once: who has read the first line may close its end.
            print(told.as_bytes())?;
            std::future::pending::<Result<()>>().await
        };
        let ended = tokio::select! {
            ended = work => ended,
            // Already at the start: whoever wonders what it waits for can ask.
            ended = control::serve(&directory, supervisor.clone()) => ended,
            () = signals.next() => Ok(()),
            () = stopping.cancelled() => Ok(()),
        };
        if !supervisor.is_empty() {
            say(format_args!(
                "draining and stopping; once more kills at once"
            ));
        }
        tokio::select! {
            () = supervisor.shut_down() => {}
            () = signals.next() => {
                supervisor.cut();
                bail!("killed everything at once, as asked; clients were not told");
            }
        }
        let _ = std::fs::remove_file(directory.socket());
        ended
    }

    fn counts(&self) -> Counts {
        let count = |number: u32| usize::try_from(number).unwrap_or(0);
        Counts {
            auths: count(self.auths),
            gateways: count(self.gateways),
            workers: count(self.workers),
        }
    }
}

/// What ends a cluster: Ctrl-C, SIGTERM, and a terminal that is closed.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    /// Not for one that was started to outlive its terminal.
    hang_up: Option<Signal>,
}

impl Signals {
    fn take() -> Result<Self> {
        let take = |kind| signal(kind).context("cannot handle signals");
        let hang_up = if hang_up_is_ignored() {
            None
        } else {
            Some(take(SignalKind::hangup())?)
        };
        Ok(Self {
            terminate: take(SignalKind::terminate())?,
            interrupt: take(SignalKind::interrupt())?,
            hang_up,
        })
    }

    async fn next(&mut self) {
        let hang_up = async {
            match &mut self.hang_up {
                Some(hang_up) => hang_up.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            _ = hang_up => {}
        }
    }
}

/// Whether we were started with `nohup`.
fn hang_up_is_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    // Signals are counted from 1, which is SIGHUP.
    ignored.is_some_and(|mask| mask & 1 == 1)
}
