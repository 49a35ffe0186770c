//! The bus within one process: a bounded queue from the log to the one receiver.

use tokio::sync::mpsc;

use super::{Barrier, Event};
use crate::entries::Record;

/// Batches of the log that may wait for the receiver. When it is full the log waits, so that
/// senders feel a receiver that cannot keep up.
const BATCHES_MAX: usize = 64;

/// The sending half. Cloning shares it.
#[derive(Debug, Clone)]
pub struct LocalBus {
    events: mpsc::Sender<Event>,
}

impl LocalBus {
    /// A bus and its receiver.
    #[must_use]
    pub fn new() -> (Self, mpsc::Receiver<Event>) {
        let (events, receiver) = mpsc::channel(BATCHES_MAX);
        (Self { events }, receiver)
    }

    /// Announces entries. A receiver that has gone is a process that ends: nobody is left to tell.
    pub async fn publish(&self, entries: Vec<Record>) {
        if !entries.is_empty() {
            let _ = self.events.send(Event::Entries(entries)).await;
        }
    }

    pub(super) async fn settle(&self) {
        let (held, mut passed) = mpsc::channel(1);
        if self
            .events
            .send(Event::Barrier(Barrier { _held: held }))
            .await
            .is_ok()
        {
            let _ = passed.recv().await;
        }
    }
}
