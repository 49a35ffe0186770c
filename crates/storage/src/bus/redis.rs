//! The bus of a cluster: Redis Pub/Sub, which forgets, made whole by reading what it forgot.
//!
//! One connection listens for all of a process, to the topics that somebody here wants and to no
//! others. Whether it really hears is tested by publishing to oneself.

mod driver;
mod follower;
mod inbox;
mod link;
mod payload;
mod reader;
mod topics;

use std::sync::Arc;
use std::time::{Duration, Instant};

use banter_protocol::id::{ChannelId, Epoch, Seq};
use tokio::sync::{mpsc, watch};

use self::driver::Driver;
use self::inbox::Counts;
use self::reader::Reader;
use self::topics::{Heard, Topics};
use super::{Event, Topic};
use crate::error::{Error, Result};
use crate::log::{RedisLog, Shard};
use crate::postgres::Postgres;
use crate::redis::Redis;

/// Events that may wait for the receiver; what is more waits in the driver, within its bounds.
const EVENTS_MAX: usize = 64;
/// How long somebody waits for a topic to be heard: many times what Redis takes.
const HEARD_WITHIN: Duration = Duration::from_secs(1);

/// The bus of a cluster. Cloning shares it.
#[derive(Debug, Clone)]
pub struct RedisBus {
    topics: Arc<Topics>,
    counts: Arc<Counts>,
    lag: watch::Receiver<Duration>,
}

/// What has arrived on the subscriber connections of this process, counted before anything else is
/// done about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Arrivals {
    /// Messages of channels.
    pub channels: u64,
    /// Messages of users and of the bus itself.
    pub others: u64,
    /// Of those of channels: of channels that nobody here wanted any more.
    pub unwanted: u64,
    /// Messages that did not fit and were made good by reading.
    pub dropped: u64,
    /// Topics that are wanted, or were a moment ago.
    pub topics: usize,
}

/// Of which channels messages arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hearing {
    /// Of those that are wanted here.
    Wanted,
    /// Of all; those that nobody wants are let go of when they have arrived.
    Everything,
}

/// Keeps a topic wanted.
#[derive(Debug)]
pub(super) struct Want {
    topics: Arc<Topics>,
    topic: Topic,
    pub(super) was_heard: bool,
}

impl Drop for Want {
    fn drop(&mut self) {
        self.topics.release(self.topic, Instant::now());
    }
}

impl RedisBus {
    /// The bus in `redis`, and its receiver. What it forgets is read from `log` and `database`.
    /// Nothing need be reachable yet.
    #[must_use]
    pub fn start(
        redis: Redis,
        log: RedisLog,
        database: Postgres,
        hearing: Hearing,
    ) -> (Self, mpsc::Receiver<Event>) {
        let (events, receiver) = mpsc::channel(EVENTS_MAX);
        let (heard, lag) = watch::channel(Duration::ZERO);
        let bus = Self {
            topics: Arc::default(),
            counts: Arc::default(),
            lag,
        };
        let reader = Reader::new(log, database);
        let driver = Driver::new(
            (redis, hearing),
            reader,
            (&bus.topics, &bus.counts),
            heard,
            events,
        );
        tokio::spawn(driver.run());
        (bus, receiver)
    }

    /// How long the last message to oneself took; a new one every few seconds while the bus is
    /// there.
    #[must_use]
    pub fn lag(&self) -> watch::Receiver<Duration> {
        self.lag.clone()
    }

    /// What has arrived so far.
    #[must_use]
    pub fn arrivals(&self) -> Arrivals {
        Arrivals {
            channels: self.counts.channels(),
            others: self.counts.others(),
            unwanted: self.counts.unwanted(),
            dropped: self.counts.dropped(),
            topics: self.topics.len(),
        }
    }

    pub(super) fn want(&self, topic: Topic) -> Want {
        Want {
            was_heard: self.topics.want(topic),
            topics: Arc::clone(&self.topics),
            topic,
        }
    }

    pub(super) async fn watched(&self, topic: Topic) -> Result<Option<Epoch>> {
        let deadline = tokio::time::Instant::now() + HEARD_WITHIN;
        loop {
            let mut changed = std::pin::pin!(self.topics.changed.notified());
            changed.as_mut().enable();
            match self.topics.heard(topic) {
                Some(Heard::Under(epoch)) => return Ok(epoch),
                Some(Heard::No) => {}
                None => return Err(Error::Unavailable("nobody watches the topic".into())),
            }
            if tokio::time::timeout_at(deadline, changed).await.is_err() {
                return Err(Error::Unavailable("the bus is away".into()));
            }
        }
    }

    pub(super) fn stored(&self, channel: ChannelId) -> Option<Seq> {
        self.topics.stored(channel)
    }

    pub(super) fn epoch(&self, channel: ChannelId) -> Option<Epoch> {
        self.topics.epoch(Shard::of(channel))
    }
}
