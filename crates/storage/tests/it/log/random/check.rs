//! What everybody saw, and what must hold of it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;

use banter_protocol::entry::Kind;
use banter_protocol::id::{ChannelId, Epoch, Position, Seq};
use banter_storage::entries::{Entries, Record};

/// What an entry is, without where it stands.
type Content = String;

/// Everything that was seen.
#[derive(Default)]
pub(super) struct Seen {
    shown: Mutex<HashMap<(ChannelId, Seq, Epoch), Content>>,
    /// The positions that each message was acknowledged at, the newest last.
    acks: Mutex<BTreeMap<String, (ChannelId, Vec<Position>)>>,
    /// Messages that were told to be stored, and where.
    stored: Mutex<Vec<(String, ChannelId, Position)>>,
}

fn content(record: &Record) -> Content {
    match &record.entry.kind {
        Kind::Message { id, .. } => id.to_string(),
        other => format!("{other:?}"),
    }
}

impl Seen {
    /// A member is shown entries: nobody may be shown others at their positions.
    pub(super) fn show(&self, records: &[Record]) {
        let mut shown = self.shown.lock().unwrap();
        for record in records {
            let entry = &record.entry;
            let place = (entry.channel, entry.seq, entry.epoch);
            let content = content(record);
            let before = shown.insert(place, content.clone());
            assert!(
                before.is_none_or(|it| it == content),
                "{place:?}: {content}"
            );
        }
    }

    /// A sender is told where its message stands.
    pub(super) fn acked(&self, id: &str, channel: ChannelId, at: Position) {
        let mut acks = self.acks.lock().unwrap();
        let (_, positions) = acks.entry(id.to_owned()).or_insert((channel, Vec::new()));
        if positions.last() != Some(&at) {
            positions.push(at);
        }
    }

    /// A sender is told that its message is in the database.
    pub(super) fn stored(&self, id: &str, channel: ChannelId, at: Position) {
        self.stored
            .lock()
            .unwrap()
            .push((id.to_owned(), channel, at));
    }

    /// How many messages there are.
    pub(super) fn count(&self) -> usize {
        self.acks.lock().unwrap().len()
    }

    /// Compares all that was seen with what there is in the end.
    pub(super) async fn check(&self, entries: &Entries, channels: &[ChannelId], may_lose: bool) {
        let mut found = HashMap::<String, Vec<Position>>::new();
        for channel in channels {
            let mut after = 0;
            loop {
                let records = entries.range(*channel, after, None, 500).await.unwrap();
                let Some(last) = records.last() else { break };
                assert_eq!(last.entry.seq, after + records.len() as u64);
                after = last.entry.seq;
                self.show(&records);
                for record in &records {
                    assert_ne!(record.entry.kind, Kind::Tombstone, "{record:?}");
                    found
                        .entry(content(record))
                        .or_default()
                        .push(record.entry.position());
                }
            }
        }
        let acks = self.acks.lock().unwrap();
        let mut moved = 0;
        for (id, (_, positions)) in acks.iter() {
            let last = positions.last().unwrap();
            assert_eq!(
                found.get(id),
                Some(&vec![*last]),
                "{id} was at {positions:?}"
            );
            moved += usize::from(positions.len() > 1);
            assert!(
                may_lose || positions.len() == 1,
                "{id} was at {positions:?}"
            );
        }
        for (id, channel, at) in self.stored.lock().unwrap().iter() {
            assert_eq!(found[id], [*at], "{id} of {channel} was stored");
        }
        let shown = self.shown.lock().unwrap().len();
        eprintln!(
            "{} messages, {moved} of them lost once, {shown} positions",
            acks.len()
        );
    }
}
