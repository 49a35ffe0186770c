//! A process that stores what is queued. It keeps nothing, and any number of them share the work.

use banter_storage::log::drain::{self, Drain};
use banter_storage::postgres;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::{StartError, wait};
use crate::app::Process;
use crate::cluster;
use crate::persist::{Persist, PersistMetrics};

pub(super) async fn start(process: &Process) -> Result<Persist, StartError> {
    let postgres = wait::database(process, postgres::Role::Worker).await?;
    let queue = wait::queue(process).await?;
    // Whoever comes back is another worker: the leases of before belong to one that is gone.
    let name = Uuid::now_v7().to_string();
    let metrics = &process.metrics;
    tokio::spawn(cluster::watch_queue(queue.clone(), metrics.cluster.clone()));
    let batch = process.settings.log.batch_rows;
    let batch = usize::try_from(batch).unwrap_or(drain::BATCH);
    let drain = Drain::new(queue, postgres, &name).batches_of(batch);
    metrics.readings.log(drain.log().clone());
    let metrics = PersistMetrics::new(metrics);
    Ok(Persist::start(drain, metrics, process.traces.clone()))
}

pub(super) async fn drain(persist: Persist, stop: &CancellationToken, servers: &TaskTracker) {
    persist.finish().await;
    stop.cancel();
    servers.wait().await;
}
