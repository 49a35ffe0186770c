//! Events on their way to the receiver.

use std::collections::VecDeque;

use banter_protocol::entry::Kind;

use crate::bus::Event;
use crate::bus::redis::follower::Follower;
use crate::bus::redis::topics::Topics;
use crate::entries::Record;

/// Bytes of entries that may wait for the receiver; beyond, channels are read later instead.
const BYTES_MAX: usize = 8 * 1024 * 1024;
/// Entries of one event: what the receiver makes one batch of frames of.
const ENTRIES_MAX: usize = 512;
/// What an entry costs beyond its body.
const OVERHEAD: usize = 256;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    events: VecDeque<Event>,
    bytes: usize,
}

impl Outbox {
    /// Whether more entries may wait.
    pub(super) const fn has_room(&self) -> bool {
        self.bytes < BYTES_MAX
    }

    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Adds an event; entries join those before them.
    pub(super) fn push(&mut self, event: Event) {
        let Event::Entries(mut records) = event else {
            self.events.push_back(event);
            return;
        };
        self.bytes += size(&records);
        match self.events.back_mut() {
            Some(Event::Entries(last)) if last.len() + records.len() <= ENTRIES_MAX => {
                last.append(&mut records);
            }
            _ => self.events.push_back(Event::Entries(records)),
        }
    }

    /// Adds what a follower says. Epochs, how far channels are stored, and which are in doubt, is
    /// known to all before it is told.
    pub(super) fn extend(&mut self, follower: &mut Follower, topics: &Topics) {
        topics.set_epochs(follower.epochs());
        for event in follower.events() {
            match &event {
                Event::Stored { channel, position } => topics.store(*channel, position.seq),
                Event::Lost { shard, .. } => topics.doubt(*shard),
                _ => {}
            }
            self.push(event);
        }
    }

    /// Takes the oldest event.
    pub(super) fn pop(&mut self) -> Option<Event> {
        let event = self.events.pop_front()?;
        if let Event::Entries(records) = &event {
            self.bytes -= size(records);
        }
        Some(event)
    }
}

fn size(records: &[Record]) -> usize {
    let body = |record: &Record| match &record.entry.kind {
        Kind::Message { body, .. } => body.as_str().len(),
        _ => 0,
    };
    records.iter().map(|record| OVERHEAD + body(record)).sum()
}
