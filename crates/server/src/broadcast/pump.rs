//! A pump: the sockets of a share of the users, and the thread that writes to them.
//!
//! Pumps have threads of their own, because a flush is thousands of system calls in a row and must
//! not hold up the tasks that read. Writing never waits: see [`Outbound`].

mod sockets;

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use banter_protocol::id::{ChannelId, Seq, UserId};
use bytes::Bytes;
use tokio::sync::mpsc;

use self::sockets::{Early, Sockets};
use super::census::Census;
use super::channel::{Admission, Channel, Taken};
use super::tick::Tick;
use super::{Audience, Change, Command, Delivery, Note, Outbound, Subscription};
use crate::metric::Metrics;

/// Commands taken between two looks at the clock.
const COMMANDS_AT_ONCE: usize = 256;

/// Starts the thread of a pump; it ends when nobody can give it commands any more.
pub(super) fn start(
    number: usize,
    inbox: mpsc::Receiver<Command>,
    census: Census,
    metrics: Metrics,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()?;
    std::thread::Builder::new()
        .name(format!("pump-{number}"))
        .spawn(move || runtime.block_on(Pump::new(census, metrics).run(inbox)))?;
    Ok(())
}

struct Pump {
    channels: HashMap<ChannelId, Channel>,
    sockets: Sockets,
    /// Channels with pending frames.
    busy: Vec<ChannelId>,
    tick: Tick,
    /// When the entries of this tick were sent, in milliseconds since 1970.
    sent: Vec<i64>,
    census: Census,
    metrics: Metrics,
}

impl Pump {
    fn new(census: Census, metrics: Metrics) -> Self {
        Self {
            channels: HashMap::new(),
            sockets: Sockets::default(),
            busy: Vec::new(),
            tick: Tick::new(Instant::now()),
            sent: Vec::new(),
            census,
            metrics,
        }
    }

    async fn run(mut self, mut inbox: mpsc::Receiver<Command>) {
        let mut commands = Vec::with_capacity(COMMANDS_AT_ONCE);
        loop {
            let wait = if self.busy.is_empty() {
                None
            } else {
                self.tick.wait(Instant::now())
            };
            let received = match (self.busy.is_empty(), wait) {
                (true, _) => inbox.recv_many(&mut commands, COMMANDS_AT_ONCE).await,
                (false, Some(wait)) => {
                    let more = inbox.recv_many(&mut commands, COMMANDS_AT_ONCE);
                    match tokio::time::timeout(wait, more).await {
                        Ok(received) => received,
                        Err(_) => {
                            self.flush();
                            continue;
                        }
                    }
                }
                (false, None) => {
                    self.flush();
                    continue;
                }
            };
            if received == 0 {
                return;
            }
            for command in commands.drain(..) {
                self.obey(command);
            }
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Deliver(deliveries) => {
                for delivery in &*deliveries {
                    self.deliver(delivery);
                }
            }
            Command::Acknowledge(acks) => self.acknowledge(acks),
            Command::Register(outbound) => self.sockets.register(outbound),
            Command::Attach(outbound, channels) => self.attach(&outbound, &channels),
            Command::CaughtUp {
                outbound,
                channel,
                at,
            } => self.caught_up(&outbound, channel, at),
            Command::Finished { outbound, channel } => {
                if let Some(socket) = self.sockets.get(outbound.key()) {
                    socket.ended.retain(|ended| *ended != channel);
                }
            }
            Command::Remove(outbound) => self.remove(outbound.key()),
            Command::Close(audience, close) => {
                for outbound in self.sockets.matching(|outbound| match audience {
                    Audience::All => true,
                    Audience::User(user) => outbound.user() == user,
                    Audience::Session(session) => outbound.session() == session,
                }) {
                    self.metrics.told(close);
                    outbound.close(close);
                }
            }
            Command::Barrier(barrier) => {
                self.flush();
                drop(barrier);
            }
        }
    }

    /// Acks of one socket go out in one write.
    fn acknowledge(&self, acks: Vec<(Arc<Outbound>, Bytes)>) {
        let mut frames = Vec::new();
        let mut acks = acks.into_iter().peekable();
        while let Some((outbound, frame)) = acks.next() {
            frames.push(frame);
            if acks
                .peek()
                .is_some_and(|(next, _)| Arc::ptr_eq(next, &outbound))
            {
                continue;
            }
            outbound.push_all(&frames);
            frames.clear();
        }
    }

    fn deliver(&mut self, delivery: &Delivery) {
        if let Some(Change { user, joined: true }) = delivery.change {
            self.joined(delivery, user);
        }
        let Some(channel) = self.channels.get_mut(&delivery.channel) else {
            self.census.reached(&delivery.reach, 0);
            return;
        };
        self.census.reached(&delivery.reach, channel.members());
        let idle = channel.is_idle();
        match channel.take(delivery.seq, &delivery.frame) {
            Taken::Next => {
                self.sent.push(delivery.sent_ms);
                if idle {
                    self.busy.push(delivery.channel);
                }
            }
            Taken::Repeat => {}
            Taken::Gap { after } => self.repair(delivery, after),
        }
        if let Some(Change {
            user,
            joined: false,
        }) = delivery.change
        {
            self.left(delivery, user);
        }
    }

    /// Entries are missing: every socket reads them from the log by itself.
    fn repair(&mut self, delivery: &Delivery, after: Seq) {
        self.flush();
        self.metrics.gaps.inc();
        let Some(channel) = self.channels.get_mut(&delivery.channel) else {
            return;
        };
        for key in channel.restart(delivery.seq) {
            if let Some(socket) = self.sockets.get(key) {
                socket.replaying.push(delivery.channel);
                socket.outbound.note(Note::Replay {
                    channel: delivery.channel,
                    after,
                });
            }
        }
    }

    /// The user's sockets are live from the join on.
    fn joined(&mut self, delivery: &Delivery, user: UserId) {
        let (id, after) = (delivery.channel, delivery.seq - 1);
        for key in self.sockets.of(user) {
            let Some(socket) = self.sockets.get(key) else {
                continue;
            };
            if !socket.attached {
                socket.early.push(Early::new(delivery, true));
                continue;
            }
            socket.outbound.set_member(id, true);
            if socket.channels.contains(&id) {
                // Its `hello` has read this join from the database, before the bus told of it.
                continue;
            }
            // Its entry is the next of this channel, so nothing needs to be read.
            let channel = self.channels.entry(id).or_default();
            if socket.ended.contains(&id) {
                // A replay of the former membership is still being written: it simply goes on.
                socket.ended.retain(|ended| *ended != id);
                socket.replaying.push(id);
                socket.channels.push(id);
                self.census.watches(id, channel.watch());
                socket.outbound.note(Note::Replay { channel: id, after });
            } else {
                self.admit(key, id, after, true);
            }
        }
    }

    /// The user's sockets get nothing after this entry.
    fn left(&mut self, delivery: &Delivery, user: UserId) {
        for key in self.sockets.of(user) {
            let Some(socket) = self.sockets.get(key) else {
                continue;
            };
            if socket.attached {
                socket.outbound.set_member(delivery.channel, false);
                self.part(key, delivery.channel, delivery.seq);
            } else {
                socket.early.push(Early::new(delivery, false));
            }
        }
    }

    /// Ends a socket's part in a channel with entry `seq`.
    fn part(&mut self, key: u32, id: ChannelId, seq: Seq) {
        let Some(socket) = self.sockets.get(key) else {
            return;
        };
        let Some(place) = socket.channels.iter().position(|channel| *channel == id) else {
            // Its `hello` has found the user gone, before the bus told of it.
            return;
        };
        socket.channels.swap_remove(place);
        if let Some(place) = socket.replaying.iter().position(|channel| *channel == id) {
            socket.replaying.swap_remove(place);
            socket.ended.push(id);
            socket.outbound.note(Note::Until { channel: id, seq });
        }
        let outbound = socket.outbound.clone();
        outbound.push_all(&self.leave_channel(key, id));
    }

    /// Takes a socket out of a channel; returns what this tick had for it.
    fn leave_channel(&mut self, key: u32, id: ChannelId) -> Vec<Bytes> {
        let Some(channel) = self.channels.get_mut(&id) else {
            return Vec::new();
        };
        let owed = channel.remove(key);
        let last = channel.unwatch();
        self.census.unwatches(id, last);
        if last {
            self.channels.remove(&id);
        }
        owed
    }

    fn attach(&mut self, outbound: &Outbound, subscriptions: &[Subscription]) {
        let key = outbound.key();
        let Some(socket) = self.sockets.get(key) else {
            return;
        };
        socket.attached = true;
        let early = std::mem::take(&mut socket.early);
        // What was read from the database is newer than some of what the bus told meanwhile.
        let news = |channel: ChannelId, read: Seq| {
            let mut of_channel = early.iter().filter(move |e| e.channel == channel);
            of_channel.rfind(move |early| early.seq > read).copied()
        };
        for subscription in subscriptions {
            let id = subscription.channel;
            match news(id, subscription.head) {
                Some(Early {
                    seq, joined: false, ..
                }) => self.admit_until(key, id, subscription.after, seq),
                _ => {
                    self.admit(key, id, subscription.after, false);
                }
            }
        }
        for Early {
            channel,
            seq,
            joined,
            ..
        } in &early
        {
            let known = subscriptions.iter().any(|s| s.channel == *channel);
            let last = news(*channel, 0).is_some_and(|last| last.seq == *seq);
            if *joined && last && !known {
                outbound.set_member(*channel, true);
                self.admit(key, *channel, seq - 1, false);
            }
        }
    }

    /// The user has left with entry `until`; up to there a socket gets what it lacks.
    fn admit_until(&mut self, key: u32, id: ChannelId, after: Seq, until: Seq) {
        let Some(socket) = self.sockets.get(key) else {
            return;
        };
        socket.outbound.set_member(id, false);
        socket.ended.push(id);
        for note in [
            Note::Replay { channel: id, after },
            Note::Until {
                channel: id,
                seq: until,
            },
        ] {
            socket.outbound.note(note);
        }
    }

    fn caught_up(&mut self, outbound: &Outbound, channel: ChannelId, at: Seq) {
        let key = outbound.key();
        let Some(socket) = self.sockets.get(key) else {
            return;
        };
        if let Some(place) = socket
            .replaying
            .iter()
            .position(|replaying| *replaying == channel)
        {
            socket.replaying.swap_remove(place);
            if self.admit(key, channel, at, true) {
                outbound.note(Note::Live { channel });
            }
        }
    }

    /// Makes a socket live after entry `after`, or has it brought nearer. `proven`: the log was
    /// read up to there while this pump watched the channel.
    ///
    /// Returns whether it is live.
    fn admit(&mut self, key: u32, id: ChannelId, after: Seq, proven: bool) -> bool {
        let watched = self.channels.contains_key(&id);
        let channel = self.channels.entry(id).or_default();
        if channel.has_member(key) {
            return true;
        }
        let Some(socket) = self.sockets.get(key) else {
            return false;
        };
        if !socket.channels.contains(&id) {
            socket.channels.push(id);
            self.census.watches(id, channel.watch());
        }
        match channel.admit(key, after, proven && watched) {
            Admission::Live(frames) => {
                if !frames.is_empty() {
                    socket.outbound.push_all(&frames);
                }
                true
            }
            Admission::Replay => {
                socket.ended.retain(|ended| *ended != id);
                socket.replaying.push(id);
                socket.outbound.note(Note::Replay { channel: id, after });
                false
            }
        }
    }

    fn remove(&mut self, key: u32) {
        let Some(socket) = self.sockets.remove(key) else {
            return;
        };
        for id in socket.channels {
            // Nobody reads what this tick had for it.
            let _ = self.leave_channel(key, id);
        }
    }

    /// Writes everything pending.
    fn flush(&mut self) {
        if self.busy.is_empty() {
            return;
        }
        let begun = Instant::now();
        let mut deliveries = 0;
        for id in self.busy.drain(..) {
            let Some(channel) = self.channels.get_mut(&id) else {
                continue;
            };
            let Some(tick) = channel.tick() else { continue };
            for (key, bytes) in channel.shares(&tick) {
                self.sockets.owe(key, bytes);
            }
            deliveries += (tick.len() * channel.members()) as u64;
        }
        self.sockets.pay();
        self.metrics.deliveries.inc_by(deliveries);
        self.metrics.traffic.frames.inc_by(deliveries);
        self.census.written(&mut self.sent);
        self.tick.flushed(begun, Instant::now());
    }
}
