//! The cluster that a load is put on: one that runs on this machine, or one that is started for it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use banter_lab::cluster::Cluster;
use banter_lab::load::queue::{AskQueue, Depth};
use banter_lab::load::watch::Watched;
use banter_server::Settings;
use banter_storage::log::queue;
use clap::Args;

use crate::cluster::{self, Directory, Role, Status};
use crate::usage::Wrong;
use crate::{data_dir, database, run_async};

/// How large a cluster is that is started.
#[derive(Debug, Args)]
pub(super) struct Size {
    /// With --cluster, where none runs: gateways to start with [default: 2]
    #[arg(long, value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..=cluster::COUNT_MAX))]
    gateways: Option<u32>,
    /// The same of workers [default: 1]
    #[arg(long, value_name = "N",
        value_parser = clap::value_parser!(u32).range(0..=cluster::COUNT_MAX))]
    workers: Option<u32>,
    /// The same of authentication services [default: 1]
    #[arg(long, value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..=cluster::COUNT_MAX))]
    auths: Option<u32>,
}

impl Size {
    /// Whether it is a size of what is there.
    ///
    /// # Errors
    /// It is no cluster that is started.
    pub(super) fn check(&self, cluster: bool) -> Result<(), Wrong> {
        let arguments = self.arguments();
        match arguments.first().filter(|_| !cluster) {
            Some(flag) => Err(Wrong(format!("{flag}: only with --cluster"))),
            None => Ok(()),
        }
    }

    fn arguments(&self) -> Vec<String> {
        let counts = [
            ("--gateways", self.gateways),
            ("--workers", self.workers),
            ("--auths", self.auths),
        ];
        let given = counts
            .into_iter()
            .filter_map(|(flag, count)| Some([flag.to_owned(), count?.to_string()]));
        given.flatten().collect()
    }
}

/// The directory of the cluster to be used, and whether one runs there: the one that was named, or
/// the usual one while a cluster runs in it, or else the one of loads.
///
/// # Errors
/// It is another user's.
pub(super) fn find(named: Option<&Path>) -> Result<(Directory, bool)> {
    let directory = Directory::find(named)?;
    let runs = cluster::is_running(&directory)?;
    if runs || named.is_some() {
        return Ok((directory, runs));
    }
    let directory = Directory::of_loads()?;
    let runs = cluster::is_running(&directory)?;
    Ok((directory, runs))
}

/// Starts a cluster in this directory to be measured, with no limit that is not under test.
///
/// # Errors
/// What it says of why it cannot.
pub(super) fn start(program: &Path, directory: &Directory, size: &Size) -> Result<Cluster> {
    data_dir::keep_private();
    directory.create()?;
    let log = directory.log("supervisor");
    Cluster::start(program, directory.root(), &log, size.arguments())
}

/// Refuses a size for a cluster that runs already.
///
/// # Errors
/// One was given.
pub(super) fn keeps_its_size(size: &Size, directory: &Directory) -> Result<(), Wrong> {
    let arguments = size.arguments();
    let Some(flag) = arguments.first() else {
        return Ok(());
    };
    let root = directory.root().display();
    Err(Wrong(format!(
        "{flag}: a cluster runs in {root} already; banter cluster scale changes it"
    )))
}

/// Where people reach it on this machine: its public URL may be good elsewhere only.
///
/// # Errors
/// It has no load balancer.
pub(super) fn url(status: &Status) -> Result<String> {
    let balancer = status.processes.iter().find(|it| it.role == Role::Nginx);
    let listen = balancer.and_then(|balancer| balancer.listen.as_ref());
    let listen = listen.context("the cluster has no NGINX")?;
    Ok(format!("http://{listen}"))
}

/// Asks for everything that waits between the gateways of these settings and their database.
pub(super) fn asks_queue(settings: Settings) -> AskQueue {
    Arc::new(move || {
        run_async(async {
            let redis = database::open_queue(&settings).await?;
            let waiting = queue::waiting(&redis).await?;
            let oldest = waiting.iter().map(|shard| shard.oldest_age).max();
            let entries: u64 = waiting.iter().map(|shard| shard.entries).sum();
            #[expect(clippy::cast_precision_loss, reason = "memory holds fewer entries")]
            Ok(Depth {
                entries: entries as f64,
                oldest_s: oldest.unwrap_or(Duration::ZERO).as_secs_f64(),
            })
        })
    })
}

/// Its processes that run.
pub(super) fn watched(status: Status) -> Vec<Watched> {
    let running = status.processes.into_iter();
    running
        .filter_map(|process| {
            Some(Watched {
                pid: process.pid?.try_into().ok()?,
                name: process.name,
                role: process.role.name().to_owned(),
                admin: process.admin.and_then(|admin| admin.parse().ok()),
            })
        })
        .collect()
}
