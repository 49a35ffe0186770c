//! The task behind the bus: moves what arrives into the follower, what the follower asks for to
//! the reader, and what it says to the receiver.
//!
//! It never waits for any of them. What it holds is bounded: where the receiver does not keep up,
//! channels are read again later instead of queued.

mod outbox;
mod work;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use banter_protocol::id::{ChannelId, UserId};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use self::outbox::Outbox;
use self::work::Done;
use super::Hearing;
use super::follower::Follower;
use super::inbox::{Arrival, Counts};
use super::link::Link;
use super::payload::{self, News};
use super::reader::{Heads, Reader};
use super::topics::{Heard, Topics};
use crate::bus::{Event, Topic};
use crate::redis::Redis;

/// How often the driver looks at the clock.
const TICK: Duration = Duration::from_millis(100);
/// Between two attempts to connect.
const RECONNECT_DELAY: Duration = Duration::from_millis(150);
/// Between two attempts to read what could not be read.
const RETRY_DELAY: Duration = Duration::from_millis(200);
/// Channels that are read at the same time.
const READS_MAX: usize = 8;
/// A channel of which nothing was heard for so long is looked after.
const SILENCE: Duration = Duration::from_secs(20);
/// Channels whose heads are read in one round.
const HEADS_AT_ONCE: usize = 4_096;
/// How long a break may have gone unnoticed: a probe and its patience, and differing clocks.
const UNNOTICED: Duration = Duration::from_secs(30);

/// See the module.
pub(super) struct Driver {
    redis: Redis,
    hearing: Hearing,
    reader: Reader,
    topics: Arc<Topics>,
    counts: Arc<Counts>,
    /// How long messages to oneself take.
    lag: watch::Sender<Duration>,
    follower: Follower,
    outbox: Outbox,
    events: mpsc::Sender<Event>,
    work: JoinSet<Done>,
    link: Option<Link>,
    is_connecting: bool,
    connect_at: Instant,
    /// When the last connection was lost, in milliseconds since 1970.
    lost_ms: Option<i64>,
    reads: usize,
    read_at: Instant,
    /// Channels that are subscribed to and whose heads could not be read.
    headless: Vec<ChannelId>,
    /// Users whose memberships could not be read, and when they were heard of last.
    unread: Vec<(Vec<UserId>, i64)>,
    look_at: Instant,
}

impl Driver {
    pub(super) fn new(
        (redis, hearing): (Redis, Hearing),
        reader: Reader,
        (topics, counts): (&Arc<Topics>, &Arc<Counts>),
        lag: watch::Sender<Duration>,
        events: mpsc::Sender<Event>,
    ) -> Self {
        let now = Instant::now();
        Self {
            redis,
            hearing,
            reader,
            topics: Arc::clone(topics),
            counts: Arc::clone(counts),
            lag,
            follower: Follower::default(),
            outbox: Outbox::default(),
            events,
            work: JoinSet::new(),
            link: None,
            is_connecting: false,
            connect_at: now,
            lost_ms: None,
            reads: 0,
            read_at: now,
            headless: Vec::new(),
            unread: Vec::new(),
            look_at: now + SILENCE / 4,
        }
    }

    /// Runs until nobody receives any more.
    pub(super) async fn run(mut self) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let inbox = self.link.as_ref().map(|link| Arc::clone(&link.inbox));
            let arrived = async {
                match &inbox {
                    Some(inbox) => inbox.arrived.notified().await,
                    None => std::future::pending().await,
                }
            };
            let events = self.events.clone();
            tokio::select! {
                () = arrived => self.take_arrivals(),
                Some(done) = self.work.join_next() => match done {
                    Ok(done) => self.take(done),
                    Err(error) => tracing::error!(%error, "a task of the bus has failed"),
                },
                room = events.reserve(), if !self.outbox.is_empty() => {
                    let Ok(room) = room else { return };
                    if let Some(event) = self.outbox.pop() {
                        room.send(event);
                    }
                }
                () = self.topics.wanted.notified() => self.subscribe_fresh(),
                _ = tick.tick() => self.on_tick(Instant::now()),
            }
            if self.events.is_closed() {
                return;
            }
            self.advance();
        }
    }

    fn on_tick(&mut self, now: Instant) {
        let idle = self.topics.take_idle(now);
        for topic in &idle {
            if let Topic::Channel(channel) = topic {
                self.follower.forget(*channel);
            }
        }
        if self.link.as_ref().is_some_and(|link| link.is_deaf(now)) {
            self.lose("the bus hears nothing");
        }
        let Some(link) = &mut self.link else {
            if !self.is_connecting && now >= self.connect_at {
                self.connect();
            }
            return;
        };
        link.unsubscribe(&idle);
        if let Some(topic) = link.probe(now) {
            self.probe(topic);
        }
        if !self.headless.is_empty() && now >= self.read_at {
            self.read_at = now + RETRY_DELAY;
            let channels = std::mem::take(&mut self.headless);
            self.read_heads(channels);
        }
        for (users, heard_ms) in std::mem::take(&mut self.unread) {
            self.read_joins(users, heard_ms);
        }
        if now >= self.look_at {
            self.look_at = now + SILENCE / 4;
            let silent = self.follower.silent(now, SILENCE);
            self.read_heads(silent);
        }
    }

    /// Everything that has become possible.
    fn advance(&mut self) {
        self.outbox.extend(&mut self.follower, &self.topics);
        let now = Instant::now();
        while self.reads < READS_MAX && now >= self.read_at && self.outbox.has_room() {
            let Some(question) = self.follower.ask() else {
                break;
            };
            self.read(question);
        }
        self.give_order();
    }

    fn take_arrivals(&mut self) {
        let Some(link) = &self.link else { return };
        let arrived = link.inbox.take();
        for arrival in arrived.arrivals {
            self.arrive(&arrival);
        }
        let mut users = Vec::new();
        for topic in arrived.dropped {
            match topic {
                Topic::Channel(channel) => self.follower.doubt(channel),
                Topic::User(user) => users.push(user),
            }
        }
        if !users.is_empty() {
            self.read_joins(users, now_ms());
        }
        if arrived.broken {
            self.lose("the connection has ended");
        }
    }

    fn arrive(&mut self, arrival: &Arrival) {
        let Arrival { topic, payload } = arrival;
        match payload::topic(topic) {
            Some(Topic::Channel(channel)) => {
                if !self.follower.follows(channel) {
                    self.counts.is_unwanted();
                    return;
                }
                match payload::news(channel, payload) {
                    Some(News::Entries(records)) => {
                        let room = self.outbox.has_room();
                        self.follower.announce(records, room, Instant::now());
                        // What is passed on now takes room from what comes next.
                        self.outbox.extend(&mut self.follower, &self.topics);
                    }
                    Some(News::Stored(stored)) => self.follower.store(channel, stored),
                    None => {
                        tracing::warn!(%channel, "an announcement cannot be read");
                        self.follower.doubt(channel);
                    }
                }
            }
            Some(Topic::User(user)) => {
                if let Some(changed) = payload::changed(user, payload) {
                    self.outbox.extend(&mut self.follower, &self.topics);
                    self.outbox.push(Event::Changed(changed));
                }
            }
            None if topic == payload::EPOCHS.as_bytes() => {
                if let Some((shard, epoch)) = payload::epoch(payload) {
                    self.follower.learn(shard, epoch);
                }
            }
            None => {
                if let Some(link) = self.link.as_mut().filter(|link| link.is_probe(topic))
                    && let Some(took) = link.probed()
                {
                    self.lag.send_replace(took);
                }
            }
        }
    }

    fn subscribe_fresh(&mut self) {
        let fresh = self.topics.take_fresh();
        self.follow(&fresh);
        if let Some(link) = &mut self.link {
            link.subscribe(&fresh);
        }
    }

    /// From here on nothing that is announced of these is thrown away.
    fn follow(&mut self, topics: &[Topic]) {
        let now = Instant::now();
        for topic in topics {
            if let Topic::Channel(channel) = topic {
                self.follower.subscribe(*channel, now);
            }
        }
    }

    /// A connection is there: everything is to be subscribed to.
    fn linked(&mut self, mut link: Link) {
        let topics = self.topics.reset();
        self.follow(&topics);
        link.subscribe(&topics);
        self.link = Some(link);
    }

    /// The connection is gone, or as good as that.
    fn lose(&mut self, why: &str) {
        if self.link.take().is_some() {
            tracing::warn!(why, "the bus is away");
            self.lost_ms = Some(now_ms());
            self.topics.reset();
            self.connect_at = Instant::now() + RECONNECT_DELAY;
        }
    }

    /// Topics are heard from now on; what was announced before may have been missed.
    fn subscribed(&mut self, topics: Vec<Topic>) {
        let (mut channels, mut users) = (Vec::new(), Vec::new());
        for topic in topics {
            match topic {
                Topic::Channel(channel) => channels.push(channel),
                Topic::User(user) => users.push(user),
            }
        }
        let heard = |user: &UserId| (Topic::User(*user), Heard::Under(None));
        self.topics.set_heard(users.iter().map(heard));
        if let Some(lost_ms) = self.lost_ms
            && !users.is_empty()
        {
            self.read_joins(users, lost_ms);
        }
        self.read_heads(channels);
    }

    fn begin(&mut self, channels: &[ChannelId], heads: &Heads) {
        let now = Instant::now();
        for channel in channels {
            if let Some(head) = heads.newest.get(channel) {
                self.follower.begin(*channel, *head, now);
            }
            if let Some(stored) = heads.stored.get(channel) {
                self.follower.store(*channel, *stored);
            }
        }
        self.outbox.extend(&mut self.follower, &self.topics);
        self.tell_heard(channels);
    }

    /// Whoever waits for these to be heard is told, where they are.
    fn tell_heard(&self, channels: &[ChannelId]) {
        if self.link.is_none() {
            return;
        }
        let heard = channels.iter().filter_map(|channel| {
            let epoch = self.follower.heard(*channel)?;
            Some((Topic::Channel(*channel), Heard::Under(Some(epoch))))
        });
        self.topics.set_heard(heard);
    }
}

fn now_ms() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
