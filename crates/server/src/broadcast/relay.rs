//! Turns entries from the bus into frames, once for all sockets of this process.

use banter_protocol::entry::Kind;
use banter_protocol::websocket::text_frame;
use banter_storage::bus::Event;
use banter_storage::entries::Record;
use tokio::sync::mpsc;

use super::census::Reach;
use super::{Broadcast, Change, Delivery};

/// Runs until the bus ends.
pub(super) async fn run(mut events: mpsc::Receiver<Event>, broadcast: Broadcast) {
    while let Some(event) = events.recv().await {
        match event {
            Event::Entries(records) => {
                broadcast
                    .deliver(
                        records
                            .iter()
                            .map(|r| delivery(r, broadcast.pumps()))
                            .collect(),
                    )
                    .await;
            }
            Event::Barrier(barrier) => broadcast.pass(barrier).await,
        }
    }
}

fn delivery(record: &Record, pumps: usize) -> Delivery {
    let entry = &record.entry;
    let joined = match entry.kind {
        Kind::Joined { .. } => Some(true),
        Kind::Left { .. } => Some(false),
        Kind::Message { .. } | Kind::Tombstone => None,
    };
    Delivery {
        channel: entry.channel,
        seq: entry.seq,
        sent_ms: entry.sent_at.as_ms(),
        reach: Reach::new(pumps),
        frame: text_frame(&String::from(entry)),
        change: record
            .user
            .zip(joined)
            .map(|(user, joined)| Change { user, joined }),
    }
}
