//! Turns entries from the bus into frames, once for all sockets of this process.

use banter_protocol::entry::Kind;
use banter_protocol::websocket::text_frame;
use banter_storage::bus::Event;
use banter_storage::entries::Record;
use tokio::sync::mpsc;

use super::census::Reach;
use super::{Broadcast, Change, Command, Delivery};
use crate::cluster::Ear;

/// Runs until the bus ends.
pub(super) async fn run(mut events: mpsc::Receiver<Event>, ear: Ear, broadcast: Broadcast) {
    while let Some(event) = events.recv().await {
        match event {
            Event::Entries(mut records) => {
                ear.take(&mut records);
                if records.is_empty() {
                    continue;
                }
                broadcast
                    .deliver(
                        records
                            .iter()
                            .map(|r| delivery(r, broadcast.pumps()))
                            .collect(),
                    )
                    .await;
            }
            Event::Changed(changed) => broadcast.change(changed).await,
            Event::Stored { channel, position } if ear.takes(channel, position) => {}
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

fn delivery(record: &Record, pumps: usize) -> Delivery {
    let entry = &record.entry;
    let joined = match entry.kind {
        Kind::Joined { .. } => Some(true),
        Kind::Left { .. } => Some(false),
        Kind::Message { .. } | Kind::Tombstone => None,
    };
    Delivery {
        channel: entry.channel,
        position: entry.position(),
        sent_ms: entry.sent_at.as_ms(),
        reach: Reach::new(pumps),
        frame: text_frame(&String::from(entry)),
        change: record
            .user
            .zip(joined)
            .map(|(user, joined)| Change { user, joined }),
    }
}
