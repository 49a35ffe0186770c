//! A gateway's heartbeat: an entry that it sends itself through everything, every few seconds, so
//! that it is known to get through when nobody talks.

use std::time::Duration;

use banter_protocol::id::{ChannelId, MessageId, Position};
use banter_storage::bus::{Topic, Watch};
use banter_storage::entries::Record;
use banter_storage::heartbeat;
use banter_storage::log::{Receipt, SHARDS};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout, timeout_at};

use crate::app::App;

/// Between two heartbeats: each of the 16 shards has its turn within a minute and a half.
const INTERVAL: Duration = Duration::from_secs(5);
/// How long one may take to its last stage: less than that, so that there is one at a time.
const PATIENCE: Duration = Duration::from_secs(4);
/// How long the log may take to tell whether there is room for one. Otherwise the heartbeat itself
/// finds out.
const ROOM_WITHIN: Duration = Duration::from_secs(1);
/// What may be heard before the heartbeat looks: some of each gateway of a large cluster.
const HEARD_MAX: usize = 256;

/// Something of a heartbeat that has come over the bus.
#[derive(Debug)]
enum Heard {
    Received(MessageId, Instant),
    Stored(ChannelId, Position, Instant),
}

/// Takes heartbeats from what the bus brings: no socket is to see them.
#[derive(Debug)]
pub struct Ear(Option<mpsc::Sender<Heard>>);

/// What has been heard of heartbeats.
#[derive(Debug)]
pub struct Heartbeat(mpsc::Receiver<Heard>);

impl Heartbeat {
    /// A heartbeat and what listens for it.
    #[must_use]
    pub fn new() -> (Self, Ear) {
        let (sender, receiver) = mpsc::channel(HEARD_MAX);
        (Self(receiver), Ear(Some(sender)))
    }

    /// Beats until the process drains.
    pub async fn run(mut self, app: App) {
        let watch = |channel| app.bus.watch(Topic::Channel(channel));
        let _heard: Vec<Watch> = heartbeat::channels().map(watch).collect();
        let mut ticks = interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for shard in (0..SHARDS).cycle() {
            ticks.tick().await;
            if app.is_draining() {
                return;
            }
            self.beat(&app, shard).await;
        }
    }

    async fn beat(&mut self, app: &App, shard: u8) {
        let metrics = &app.metrics.cluster;
        // Those of others, and late ones.
        while self.0.try_recv().is_ok() {}
        let (id, append) = heartbeat::beat(shard);
        let channel = append.channel;
        // A gateway that has just begun may not listen yet. One that cannot listen beats all the
        // same, and tells what it misses.
        let _ = app.bus.watched(Topic::Channel(channel)).await;
        let room = heartbeat::has_room(&app.log, shard);
        if timeout(ROOM_WITHIN, room).await == Ok(false) {
            // Nobody stores them: that is told without more of them.
            metrics.missed("stored");
            return;
        }
        let begun = Instant::now();
        let deadline = begun + PATIENCE;
        let mut missing = vec!["received", "stored"];
        match timeout_at(deadline, app.appender.beat(append)).await {
            Ok(Some(receipt)) => {
                metrics.reached("accepted", begun.elapsed());
                while !missing.is_empty()
                    && let Ok(Some(heard)) = timeout_at(deadline, self.0.recv()).await
                {
                    let Some((station, at)) = heard.of(&id, channel, &receipt) else {
                        continue;
                    };
                    if missing.contains(&station) {
                        missing.retain(|it| *it != station);
                        metrics.reached(station, at.saturating_duration_since(begun));
                    }
                }
            }
            _ => missing.push("accepted"),
        }
        for station in missing {
            metrics.missed(station);
        }
    }
}

impl Heard {
    /// The stage that a heartbeat has reached by this, and when.
    fn of(
        self,
        id: &MessageId,
        channel: ChannelId,
        receipt: &Receipt,
    ) -> Option<(&'static str, Instant)> {
        match self {
            Self::Received(heard, at) => (heard == *id).then_some(("received", at)),
            Self::Stored(stored_in, stored, at) => {
                let is_stored = stored_in == channel
                    && stored.epoch == receipt.epoch
                    && stored.seq >= receipt.seq;
                is_stored.then_some(("stored", at))
            }
        }
    }
}

impl Ear {
    /// One that hears nothing, where there are no heartbeats.
    #[must_use]
    pub const fn deaf() -> Self {
        Self(None)
    }

    /// Takes heartbeats out of `records`.
    pub(crate) fn take(&self, records: &mut Vec<Record>) {
        let Some(heard) = &self.0 else { return };
        let is_beat = |record: &Record| heartbeat::is_in(record.entry.channel);
        for record in records.extract_if(.., |record| is_beat(record)) {
            if let banter_protocol::entry::Kind::Message { id, .. } = record.entry.kind {
                // One that does not fit counts as not heard.
                let _ = heard.try_send(Heard::Received(id, Instant::now()));
            }
        }
    }

    /// Whether what was stored are heartbeats.
    pub(crate) fn takes(&self, channel: ChannelId, stored: Position) -> bool {
        let Some(heard) = self.0.as_ref().filter(|_| heartbeat::is_in(channel)) else {
            return false;
        };
        // One that does not fit counts as not heard.
        let _ = heard.try_send(Heard::Stored(channel, stored, Instant::now()));
        true
    }
}
