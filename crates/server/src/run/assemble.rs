//! What embedded and clustered gateways have in common: everything above log, bus and database.

use std::sync::Arc;

use banter_storage::Database;
use banter_storage::accounts::Accounts;
use banter_storage::bus::{Bus, Event};
use banter_storage::channels::Channels;
use banter_storage::entries::Entries;
use banter_storage::log::Log;
use banter_storage::webhooks::Webhooks;
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

use super::StartError;
use crate::app::{App, Parts, Process};
use crate::broadcast::Broadcast;
use crate::channels::WebhookGate;
use crate::cluster::Ear;
use crate::connect::Admissions;
use crate::login::{Verifier, close_ended};
use crate::send::Appender;

/// What they differ in.
pub(super) struct Backends {
    pub(super) database: Database,
    pub(super) entries: Entries,
    pub(super) log: Log,
    pub(super) bus: Bus,
    pub(super) events: mpsc::Receiver<Event>,
    /// What hears heartbeats among them.
    pub(super) ear: Ear,
}

pub(super) fn app(
    process: &Process,
    verifier: Arc<Verifier>,
    backends: Backends,
) -> Result<App, StartError> {
    let Backends {
        database,
        entries,
        log,
        bus,
        events,
        ear,
    } = backends;
    let (metrics, limits) = (&process.metrics, &process.settings.limits);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let broadcast = Broadcast::start(events, ear, &bus, cores, metrics, &process.traces)?;
    let appender = Appender::start(
        log.clone(),
        bus.clone(),
        broadcast.clone(),
        limits.channel_entries_per_second,
        metrics.clone(),
        process.traces.clone(),
    );
    tokio::spawn(close_ended(verifier.revocations(), broadcast.clone()));
    Ok(App::new(Parts {
        process: process.clone(),
        verifier,
        accounts: Accounts::new(&database),
        channels: Channels::new(&database),
        webhooks: Webhooks::new(&database),
        webhook_gate: WebhookGate::new(limits),
        entries,
        log,
        bus,
        appender,
        broadcast,
        admissions: Admissions::new(limits.address_upgrades_per_second, limits.address_sockets),
        sockets: TaskTracker::new(),
    }))
}
