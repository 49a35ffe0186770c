//! The load generator: thousands of sockets on one thread.
//!
//! Most sockets only count the frames they get. A few, spread evenly, read every one: they check
//! the order and tell how long it took from the moment at which it should have been sent, which is
//! in the body. Senders read too.

mod connection;
mod open;
mod pace;
mod tally;

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use banter_protocol::id::ChannelId;
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};

use self::connection::Connection;
use self::tally::Tally;
use crate::process::{Cost, Look, Server};
use crate::statistics::Times;

pub use self::pace::Pace;

/// What one read takes at most: as much as the kernel has for a busy socket.
const READ_BYTES: usize = 512 * 1024;
/// Sockets that one look at the kernel tells of.
const EVENTS_MAX: usize = 1_024;
/// How long after the last message the last delivery may come.
const DRAIN_MAX: Duration = Duration::from_secs(30);
/// When nothing has come for so long, nothing more will.
const SILENCE: Duration = Duration::from_secs(3);
/// Longest sleep: phases end on time.
const SLEEP_MAX: Duration = Duration::from_millis(50);
/// How long to wait when the kernel takes no more of what is to be sent.
const BLOCKED: Duration = Duration::from_millis(1);

/// One socket of the load.
#[derive(Debug, Clone)]
pub struct Seat {
    /// Access token of its user.
    pub token: String,
    /// Channels of the load that the user is a member of, by their number.
    pub channels: Vec<usize>,
    /// Whether it reads every frame, and may send.
    pub watches: bool,
    /// The channel that it sends to.
    pub sends: Option<usize>,
    /// Whether it reads at all.
    pub reads: bool,
}

impl Seat {
    /// A socket that counts what it gets.
    #[must_use]
    pub fn listener(token: &str, channels: &[usize]) -> Self {
        Self {
            token: token.to_owned(),
            channels: channels.to_vec(),
            watches: false,
            sends: None,
            reads: true,
        }
    }

    /// The same, reading every frame.
    #[must_use]
    pub fn watching(self) -> Self {
        Self {
            watches: true,
            ..self
        }
    }

    /// The same, reading every frame and sending to a channel.
    #[must_use]
    pub fn sending(self, channel: usize) -> Self {
        Self {
            watches: true,
            sends: Some(channel),
            ..self
        }
    }
}

/// What is sent, and for how long.
#[derive(Debug, Clone)]
pub struct Load {
    /// How fast.
    pub pace: Pace,
    /// Length of a message's body, 32 at least.
    pub body_bytes: usize,
    /// Before anything is measured.
    pub warm_up: Duration,
    /// How long is measured.
    pub duration: Duration,
    /// How many messages at most, the warm-up's included.
    pub messages_max: u64,
}

impl Load {
    /// Messages of 150 bytes, 10 s of them measured.
    #[must_use]
    pub const fn new(pace: Pace) -> Self {
        Self {
            pace,
            body_bytes: 150,
            warm_up: Duration::from_secs(3),
            duration: Duration::from_secs(10),
            messages_max: u64::MAX,
        }
    }
}

/// What a load did.
#[derive(Debug, Clone)]
pub struct Run {
    /// What it cost while it was measured.
    pub cost: Cost,
    /// Messages delivered while it was measured.
    pub deliveries: u64,
    /// Messages acknowledged while it was measured.
    pub acked: u64,
    /// Messages acknowledged in all, the warm-up's included.
    pub acked_in_all: u64,
    /// From the moment at which a message should have been sent to its delivery.
    pub delivery: Times,
    /// From the same moment to its ack.
    pub ack: Times,
    /// Deliveries that never came; negative when there were too many.
    pub lost: i64,
    /// What was not as it should be, by kind.
    pub faults: std::collections::BTreeMap<String, u64>,
}

impl Run {
    /// Deliveries a second.
    #[must_use]
    pub fn deliveries_per_second(&self) -> f64 {
        per_second(self.deliveries, self.cost.wall)
    }

    /// Acknowledged messages a second.
    #[must_use]
    pub fn acked_per_second(&self) -> f64 {
        per_second(self.acked, self.cost.wall)
    }

    /// How many things were not as they should be.
    #[must_use]
    pub fn faults(&self) -> u64 {
        self.faults.values().sum()
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn per_second(count: u64, wall: Duration) -> f64 {
    count as f64 / wall.as_secs_f64().max(1e-9)
}

/// A channel of the load.
#[derive(Debug)]
struct Channel {
    id: String,
    /// Connections that send to it, in turns.
    senders: Vec<usize>,
    turn: usize,
    /// Connections that read every frame of it.
    watchers: Vec<usize>,
    sent: u64,
    acked: u64,
    refused: u64,
}

/// Sockets and what they have seen.
pub struct Generator {
    addresses: Vec<SocketAddr>,
    server: Server,
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
    buffer: Vec<u8>,
    origin: Instant,
    connections: Vec<Connection>,
    channels: Vec<Channel>,
    tally: Tally,
    /// Connections with bytes that are still to be sent.
    unsent: Vec<usize>,
}

impl Generator {
    /// A generator for a server of these processes, with these channels. Sockets are spread evenly
    /// over its addresses.
    ///
    /// # Errors
    /// The system refuses.
    pub fn new(addresses: &[SocketAddr], server: Server, channels: &[ChannelId]) -> Result<Self> {
        let channel = |id: &ChannelId| Channel {
            id: id.to_string(),
            senders: Vec::new(),
            turn: 0,
            watchers: Vec::new(),
            sent: 0,
            acked: 0,
            refused: 0,
        };
        Ok(Self {
            addresses: addresses.to_vec(),
            server,
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC).context("poll sockets")?,
            events: Vec::with_capacity(EVENTS_MAX),
            buffer: vec![0; READ_BYTES],
            origin: Instant::now(),
            connections: Vec::new(),
            channels: channels.iter().map(channel).collect(),
            tally: Tally::default(),
            unsent: Vec::new(),
        })
    }

    /// Connects sockets; returns when each has its `welcome`.
    ///
    /// # Errors
    /// One cannot connect, or is refused.
    pub fn open(&mut self, seats: &[Seat]) -> Result<()> {
        for (number, connection) in open::all(&self.addresses, seats, &self.channels)? {
            let seat = &seats[number];
            let key = self.connections.len();
            if let Some(channel) = seat.sends {
                self.channels[channel].senders.push(key);
            }
            for channel in seat.channels.iter().filter(|_| seat.watches) {
                self.channels[*channel].watchers.push(key);
            }
            if seat.reads {
                self.listen(key, &connection)?;
            }
            self.connections.push(connection);
        }
        Ok(())
    }

    /// Puts the load on the server, and waits until everything has arrived.
    ///
    /// # Errors
    /// The server is gone.
    pub fn run(&mut self, load: &Load) -> Result<Run> {
        self.tally = Tally::default();
        let start = self.now();
        let measured = start + load.warm_up;
        let end = measured + load.duration;
        let mut schedule = load.pace.schedule(start, load);
        self.work(measured, &mut schedule, load)?;
        self.tally.measure(measured, end);
        let (before, look) = (self.tally.clone(), Look::take(&self.server)?);
        self.work(end, &mut schedule, load)?;
        let cost = look.cost(&self.server)?;
        let (deliveries, acked) = (self.tally.deliveries, self.tally.acked);
        self.drain()?;
        self.look_for_faults();
        let tally = std::mem::take(&mut self.tally);
        Ok(Run {
            cost,
            deliveries: deliveries - before.deliveries,
            acked: acked - before.acked,
            acked_in_all: tally.acked,
            delivery: tally.delivery,
            ack: tally.ack,
            lost: self.missing(),
            faults: tally.faults,
        })
    }

    /// Only answers what the server asks, for a while.
    ///
    /// # Errors
    /// The system refuses.
    pub fn idle(&mut self, duration: Duration) -> Result<()> {
        let end = self.now() + duration;
        loop {
            let now = self.now();
            if now >= end {
                return Ok(());
            }
            self.poll(end - now)?;
        }
    }

    /// Has those that did not read read what is there for them.
    ///
    /// # Errors
    /// The system refuses.
    pub fn read_again(&mut self) -> Result<()> {
        for (key, connection) in self.connections.iter().enumerate() {
            if !connection.reads() {
                self.listen(key, connection)?;
            }
        }
        Ok(())
    }

    fn listen(&self, key: usize, connection: &Connection) -> Result<()> {
        let data = epoll::EventData::new_u64(key as u64);
        epoll::add(
            &self.epoll,
            connection.stream(),
            data,
            epoll::EventFlags::IN,
        )
        .context("poll a socket")
    }

    /// The codes with which the server has closed sockets.
    #[must_use]
    pub fn closed_with(&self) -> Vec<u16> {
        self.connections
            .iter()
            .filter_map(Connection::closed)
            .collect()
    }

    /// How many sockets the server has closed.
    #[must_use]
    pub fn gone(&self) -> usize {
        self.connections.iter().filter(|c| c.is_gone()).count()
    }

    fn now(&self) -> Duration {
        self.origin.elapsed()
    }

    fn work(&mut self, end: Duration, schedule: &mut pace::Schedule, load: &Load) -> Result<()> {
        loop {
            let now = self.now();
            if now >= end || self.sent() >= load.messages_max {
                return Ok(());
            }
            while let Some((channel, due)) = self.next_send(schedule, now) {
                self.send(channel, due, load.body_bytes)?;
            }
            let wait = schedule.wait(now).min(end - now);
            self.poll(wait)?;
        }
    }

    fn next_send(&self, schedule: &mut pace::Schedule, now: Duration) -> Option<(usize, Duration)> {
        schedule.next(now, |channel| self.in_flight(channel))
    }

    fn sent(&self) -> u64 {
        self.channels.iter().map(|channel| channel.sent).sum()
    }

    /// Messages that were not acknowledged yet, or not delivered to every watcher.
    fn in_flight(&self, number: usize) -> u64 {
        let channel = &self.channels[number];
        let delivered = channel
            .watchers
            .iter()
            .map(|key| self.connections[*key].delivered(number))
            .min()
            .unwrap_or(u64::MAX);
        channel.sent - channel.refused - channel.acked.min(delivered)
    }

    fn send(&mut self, number: usize, due: Duration, body_bytes: usize) -> Result<()> {
        let channel = &mut self.channels[number];
        let senders = channel.senders.len();
        anyhow::ensure!(senders > 0, "a channel of the load has no sender");
        let key = channel.senders[channel.turn % senders];
        channel.turn += 1;
        channel.sent += 1;
        let connection = &mut self.connections[key];
        if !connection.has_unsent() {
            self.unsent.push(key);
        }
        connection.send(&channel.id, due, body_bytes);
        Ok(())
    }

    /// Sends what is to be sent, waits for something to read, and reads it.
    fn poll(&mut self, wait: Duration) -> Result<()> {
        let connections = &mut self.connections;
        self.unsent.retain(|key| !connections[*key].flush());
        let blocked = !self.unsent.is_empty();
        let wait = wait.min(if blocked { BLOCKED } else { SLEEP_MAX });
        let timeout = Timespec {
            tv_sec: 0,
            tv_nsec: wait.subsec_nanos().into(),
        };
        self.events.clear();
        epoll::wait(
            &self.epoll,
            spare_capacity(&mut self.events),
            Some(&timeout),
        )
        .or_else(|error| match error {
            rustix::io::Errno::INTR => Ok(0),
            error => Err(error),
        })
        .context("poll sockets")?;
        for event in &self.events {
            let key = usize::try_from(event.data.u64()).unwrap_or(usize::MAX);
            let connection = &mut self.connections[key];
            let before = connection.has_unsent();
            let now = self.origin;
            connection.read(&mut self.buffer, now, &mut self.channels, &mut self.tally);
            if connection.is_gone() {
                epoll::delete(&self.epoll, connection.stream()).context("forget a socket")?;
            } else if connection.has_unsent() && !before {
                self.unsent.push(key);
            }
        }
        Ok(())
    }

    /// Waits until every message was answered and has arrived everywhere.
    fn drain(&mut self) -> Result<()> {
        let end = self.now() + DRAIN_MAX;
        let mut heard = self.now();
        while self.now() < end.min(heard + SILENCE) {
            self.poll(SLEEP_MAX)?;
            if !self.events.is_empty() || !self.unsent.is_empty() {
                heard = self.now();
                continue;
            }
            let answered = |c: &Channel| c.sent == c.acked + c.refused;
            if self.channels.iter().all(answered) && self.missing() == 0 {
                break;
            }
        }
        Ok(())
    }

    /// Deliveries that have not come.
    fn missing(&self) -> i64 {
        let missing = self.connections.iter().map(|connection| {
            let expected = connection.channels().map(|c| self.channels[c].acked).sum();
            connection.missing(expected)
        });
        missing.sum()
    }

    fn look_for_faults(&mut self) {
        for connection in &self.connections {
            if let Some(fault) = connection.fault() {
                self.tally.fault(&fault, 1);
            }
        }
        let unanswered = self.channels.iter().map(|c| c.sent - c.acked - c.refused);
        self.tally.fault("unanswered", unanswered.sum());
    }
}
