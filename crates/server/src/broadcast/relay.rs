//! Turns entries from the bus into frames, once for all sockets of this process.

use banter_protocol::entry::Kind;
use banter_protocol::websocket::text_frame;
use banter_storage::bus::Event;
use banter_storage::entries::Record;
use tokio::sync::mpsc;

use super::{Broadcast, Change, Command, Delivery};

/// Runs until the bus ends.
pub(super) async fn run(mut events: mpsc::Receiver<Event>, broadcast: Broadcast) {
    while let Some(event) = events.recv().await {
        match event {
            Event::Entries(records) => {
                broadcast
                    .deliver(records.iter().map(delivery).collect())
                    .await;
            }
            Event::Changed(changed) => broadcast.change(changed).await,
            Event::Stored { channel, position } => {
                broadcast.all(|| Command::Store(channel, position)).await;
            }
            Event::Lost { shard, epoch } => {
                broadcast.all(|| Command::Lose(shard, epoch)).await;
            }
            Event::Kept { channel, at } => broadcast.all(|| Command::Keep(channel, at)).await,
            Event::Rewound { channel, head } => {
                broadcast.all(|| Command::Rewind(channel, head)).await;
            }
            Event::Barrier(barrier) => broadcast.pass(barrier).await,
        }
    }
}

fn delivery(record: &Record) -> Delivery {
    let entry = &record.entry;
    let joined = match entry.kind {
        Kind::Joined { .. } => Some(true),
        Kind::Left { .. } => Some(false),
        Kind::Message { .. } | Kind::Tombstone => None,
    };
    Delivery {
        channel: entry.channel,
        position: entry.position(),
        frame: text_frame(&String::from(entry)),
        change: record
            .user
            .zip(joined)
            .map(|(user, joined)| Change { user, joined }),
    }
}
