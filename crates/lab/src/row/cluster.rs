//! Rows about a cluster on this machine: all its servers share the cores with the load.

mod append;
mod hop;
mod moves;
mod queue;
mod storm;
mod worker;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use banter_protocol::id::ChannelId;

use super::{Bench, Row};
use crate::cluster::{Cluster, Status};
use crate::generator::{Generator, Load, Pace, Run, Seat};
use crate::process::Look;
use crate::seed::{Directory, Roster};

/// How often something that is awaited is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// A cluster that nobody uses needs some 0.03 cores.
const CALM_CORES: f64 = 0.1;
/// It is at rest when it is calm for so many looks of this length in a row.
const CALM_LOOKS: u32 = 3;
const CALM_LOOK: Duration = Duration::from_secs(1);
/// How long that is waited for.
const REST_MAX: Duration = Duration::from_secs(60);
/// Entries that a worker has written to the database.
const PERSISTED: &str = "banter_worker_messages_persisted_total";
/// Messages that a gateway has accepted.
const ACCEPTED: &str = "banter_gateway_messages_accepted_total";

/// The rows of a cluster, in the order of the table.
pub const ROWS: &[Row] = &[
    Row {
        name: "append",
        work: "log.append on one Redis, appendfsync always, 2 gateways that hear every message",
        measure: append::append,
    },
    Row {
        name: "worker",
        work: "workers that are behind, and a bare insert of 2,000 rows into the same table",
        measure: worker::worker,
    },
    Row {
        name: "hop",
        work: "one channel, 1,000 members, 300 messages/s: one process, then 2 gateways and Redis",
        measure: hop::hop,
    },
    Row {
        name: "storm",
        work: "100 members, 100 messages/s, with and without a storm of logins",
        measure: storm::storm,
    },
    Row {
        name: "restart",
        work: "every gateway in turn is restarted; 1,000 people in rooms of ten, 200 messages/s",
        measure: moves::restart,
    },
    Row {
        name: "balance",
        work: "4,000 sockets through NGINX to 2 gateways, then 2 more of them",
        measure: moves::balance,
    },
    Row {
        name: "away",
        work: "PostgreSQL is away for a while, 1,000 messages/s",
        measure: queue::away,
    },
];

/// A cluster with everybody in it. The fields end in their order.
#[derive(Debug)]
pub(super) struct Stage {
    cluster: Cluster,
    roster: Roster,
    #[expect(dead_code, reason = "removed when the cluster has stopped")]
    directory: Directory,
}

impl Bench {
    /// The cluster, of so many gateways and workers.
    fn cluster(&self, gateways: u32, workers: u32) -> Result<&Stage> {
        if self.cluster.get().is_none() {
            let (cluster, roster, directory) = self.seeds.cluster()?;
            // Nobody was there before.
            let _ = self.cluster.set(Stage {
                cluster,
                roster,
                directory,
            });
        }
        let stage = self.cluster.get().context("find the cluster")?;
        stage.cluster.order(&format!("scale gateways {gateways}"))?;
        stage.cluster.order(&format!("scale workers {workers}"))?;
        stage.rest()?;
        Ok(stage)
    }
}

impl Stage {
    /// Waits until what the last row has left behind is done: after millions of rows PostgreSQL
    /// vacuums and Redis rewrites its file, which would count as the cost of the next row.
    fn rest(&self) -> Result<()> {
        let server = self.cluster.status()?.server();
        let (begun, mut calm) = (Instant::now(), 0);
        while calm < CALM_LOOKS {
            let look = Look::take(&server)?;
            std::thread::sleep(CALM_LOOK);
            let cores = look.cost(&server)?.server_cores();
            calm = if cores <= CALM_CORES { calm + 1 } else { 0 };
            if begun.elapsed() > REST_MAX {
                eprintln!("the cluster does not come to rest: it uses {cores:.2} cores");
                return Ok(());
            }
        }
        Ok(())
    }

    /// Where the gateways are.
    fn gateways(&self) -> Result<Vec<SocketAddr>> {
        Ok(self.cluster.status()?.addresses("gateway"))
    }

    /// Sockets on these addresses, in turns; every process of the cluster is measured.
    fn generator(
        &self,
        addresses: &[SocketAddr],
        (channels, seats): &(Vec<ChannelId>, Vec<Seat>),
    ) -> Result<Generator> {
        let server = self.cluster.status()?.server();
        let mut generator = Generator::new(addresses, server, channels)?;
        generator.open(seats)?;
        Ok(generator)
    }
}

/// Runs a load, and does something else meanwhile.
fn meanwhile<T: Send>(
    generator: &mut Generator,
    load: &Load,
    side: impl FnOnce() -> Result<T> + Send,
) -> Result<(Run, T)> {
    std::thread::scope(|scope| {
        let side = scope.spawn(side);
        let run = generator.run(load);
        let side = side.join().map_err(|_| anyhow!("a thread gave up"))?;
        Ok((run?, side?))
    })
}

/// Waits until something holds.
fn until(
    what: &str,
    patience: Duration,
    mut holds: impl FnMut() -> Result<bool>,
) -> Result<Duration> {
    let begun = Instant::now();
    while begun.elapsed() < patience {
        if holds()? {
            return Ok(begun.elapsed());
        }
        std::thread::sleep(LOOK_EVERY);
    }
    bail!("{what}: not within {} s", patience.as_secs())
}

/// What grows in a while, a second.
fn rate(status: &Status, role: &str, metric: &str, within: Duration) -> Result<Vec<f64>> {
    let (before, begun) = (status.metric(role, metric)?, Instant::now());
    std::thread::sleep(within);
    let (after, seconds) = (status.metric(role, metric)?, begun.elapsed().as_secs_f64());
    let each = after.iter().map(|(name, value)| {
        let before = before.get(name).copied().unwrap_or(0.0);
        (value - before) / seconds
    });
    Ok(each.collect())
}

/// So many messages as fast as it goes, nothing of it measured.
fn as_fast_as_it_goes(messages: u64, channels: usize, window: u64) -> Load {
    Load {
        warm_up: Duration::ZERO,
        duration: Duration::from_secs(120),
        messages_max: messages,
        ..Load::new(Pace::Window {
            messages: window,
            channels,
        })
    }
}
