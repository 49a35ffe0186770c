//! How gateways hear of new entries: every entry of a channel, in order, to everyone who
//! subscribed.

mod local;

pub use local::LocalBus;

use tokio::sync::mpsc;

use crate::entries::Record;

/// What a gateway hears.
#[derive(Debug)]
pub enum Event {
    /// New entries, in the order of the log.
    Entries(Vec<Record>),
    /// Somebody waits until everything before it has been passed on.
    Barrier(Barrier),
}

/// Held by everyone who still has to pass something on; the waiting side goes on when the last
/// holder has dropped it.
#[derive(Debug, Clone)]
pub struct Barrier {
    _held: mpsc::Sender<()>,
}

/// Where entries are announced.
#[derive(Debug, Clone)]
pub enum Bus {
    /// Within this process.
    Local(LocalBus),
}

impl Bus {
    /// Returns when everything that was announced before this call has been passed on by this
    /// process's receiver.
    pub async fn settle(&self) {
        match self {
            Self::Local(bus) => bus.settle().await,
        }
    }
}
