//! A pump: the sockets of a share of the users, and the thread that writes to them.
//!
//! Pumps have threads of their own, because a flush is thousands of system calls in a row and must
//! not hold up the tasks that read. Writing never waits: see [`Outbound`].

mod change;
mod epoch;
mod moving;
mod sockets;
mod unstored;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::io;
use std::time::Instant;

use banter_protocol::close::Close;
use banter_protocol::id::{ChannelId, Epoch, Position, Seq};
use banter_storage::bus::{Bus, Topic};
use bytes::Bytes;
use tokio::sync::mpsc;

use self::sockets::{Early, Sockets};
use self::unstored::Unstored;
use super::census::Census;
use super::channel::{Admission, Channel, Taken};
use super::tick::Tick;
use super::{Audience, Change, Command, Delivery, Note, Outbound, Subscription};
use crate::metric::Metrics;
use crate::trace::{Part, Traces};

/// Commands taken between two looks at the clock.
const COMMANDS_AT_ONCE: usize = 256;

/// Starts the thread of a pump; it ends when nobody can give it commands any more.
pub(super) fn start(
    number: usize,
    inbox: mpsc::Receiver<Command>,
    bus: Bus,
    census: Census,
    metrics: Metrics,
    traces: Traces,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()?;
    std::thread::Builder::new()
        .name(format!("pump-{number}"))
        .spawn(move || runtime.block_on(Pump::new(bus, census, metrics, traces).run(inbox)))?;
    Ok(())
}

struct Pump {
    bus: Bus,
    channels: HashMap<ChannelId, Channel>,
    sockets: Sockets,
    /// Sends that are not in the database yet.
    unstored: Unstored,
    /// Where to go on asking clients to move: not always the same ones.
    moved: usize,
    /// Channels with pending frames.
    busy: Vec<ChannelId>,
    tick: Tick,
    /// When the entries of this tick were sent, in milliseconds since 1970.
    sent: Vec<i64>,
    census: Census,
    metrics: Metrics,
    traces: Traces,
    /// Entries of this tick whose way is told.
    followed: Vec<Followed>,
}

/// An entry that waits to be written, and when it came.
struct Followed {
    channel: ChannelId,
    at: Position,
    came: Instant,
    sockets: usize,
}

impl Pump {
    fn new(bus: Bus, census: Census, metrics: Metrics, traces: Traces) -> Self {
        Self {
            bus,
            channels: HashMap::new(),
            sockets: Sockets::default(),
            unstored: Unstored::default(),
            moved: 0,
            busy: Vec::new(),
            tick: Tick::new(Instant::now()),
            sent: Vec::new(),
            census,
            metrics,
            traces,
            followed: Vec::new(),
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
            Command::Change(changed) => self.change(changed),
            Command::Store(channel, position) => self.store(channel, position),
            Command::Lose(shard, epoch) => self.lose(shard, epoch),
            Command::Keep(channel, at) => self.keep(channel, at),
            Command::Rewind(channel, head) => self.rewind(channel, head),
            Command::Acknowledge(acks) => self.acknowledge(acks),
            Command::Register(outbound, user) => self.sockets.register(outbound, user),
            Command::Attach(outbound, channels) => self.attach(&outbound, &channels),
            Command::CaughtUp {
                outbound,
                channel,
                at,
                epoch,
            } => self.caught_up(&outbound, channel, at, epoch),
            Command::Finished { outbound, channel } => {
                if let Some(socket) = self.sockets.get(outbound.key()) {
                    socket.ended.retain(|ended| *ended != channel);
                }
            }
            Command::Member {
                outbound,
                channel,
                joined,
            } => self.is_member(outbound.key(), channel, joined),
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
            Command::Move(count, within, asked) => {
                // Whoever wanted to know has gone with the process.
                let _ = asked.send(self.ask_to_move(count, within));
            }
            Command::Barrier(barrier) => {
                self.flush();
                drop(barrier);
            }
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
        match channel.take(delivery.position, &delivery.frame) {
            Taken::Next => {
                self.sent.push(delivery.sent_ms);
                let (id, at) = (delivery.channel, delivery.position);
                let sockets = channel.members();
                if sockets > 0 && self.traces.follow(id, at).is_some() {
                    self.followed.push(Followed {
                        channel: id,
                        at,
                        came: Instant::now(),
                        sockets,
                    });
                }
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
        for key in channel.restart(delivery.position) {
            if let Some(socket) = self.sockets.get(key) {
                socket.replay(delivery.channel, after, Some(delivery.position.epoch));
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

    /// The channel, which comes in from now on.
    fn channel(&mut self, id: ChannelId) -> &mut Channel {
        let bus = &self.bus;
        let entry = self.channels.entry(id);
        entry.or_insert_with(|| Channel::new(bus.watch(Topic::Channel(id))))
    }

    /// Takes a socket out of a channel; returns what this tick had for it.
    fn leave_channel(&mut self, key: u32, id: ChannelId) -> Vec<Bytes> {
        let Some(channel) = self.channels.get_mut(&id) else {
            return Vec::new();
        };
        let owed = channel.remove(key);
        let last = channel.unwatch();
        self.census.unwatches(id, last);
        if last && let Some(channel) = self.channels.remove(&id) {
            self.unstored.outlive(id, channel.into_watch());
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
            if self.is_outlived(id, subscription.epoch) {
                outbound.close(Close::Unavailable);
                return;
            }
            let epoch = Some(subscription.epoch);
            match news(id, subscription.read) {
                Some(Early {
                    seq, joined: false, ..
                }) => self.admit_until(key, subscription, seq),
                _ => {
                    self.admit(key, id, subscription.after, epoch, false);
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
                if self.bus.is_shared() {
                    // It may be an old word of a membership that has ended since.
                    outbound.note(Note::Look { channel: *channel });
                    continue;
                }
                outbound.set_member(*channel, true);
                self.admit(key, *channel, seq - 1, None, false);
            }
        }
    }

    /// Whether a new epoch has begun since a position in the channel was found good.
    fn is_outlived(&self, id: ChannelId, epoch: Epoch) -> bool {
        let channel = self.channels.get(&id);
        channel.is_some_and(|channel| channel.has_outlived(epoch))
    }

    /// The user has left with entry `until`; up to there a socket gets what it lacks.
    fn admit_until(&mut self, key: u32, subscription: &Subscription, until: Seq) {
        let Some(socket) = self.sockets.get(key) else {
            return;
        };
        let id = subscription.channel;
        socket.outbound.set_member(id, false);
        socket.ended.push(id);
        for note in [
            Note::Replay {
                channel: id,
                after: subscription.after,
                epoch: Some(subscription.epoch),
            },
            Note::Until {
                channel: id,
                seq: until,
            },
        ] {
            socket.outbound.note(note);
        }
    }

    fn caught_up(
        &mut self,
        outbound: &Outbound,
        channel: ChannelId,
        at: Seq,
        epoch: Option<Epoch>,
    ) {
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
            if epoch.is_some_and(|epoch| self.is_outlived(channel, epoch)) {
                outbound.close(Close::Unavailable);
            } else if self.admit(key, channel, at, epoch, true) {
                outbound.note(Note::Live { channel });
            }
        }
    }

    /// Makes a socket live after entry `after`, or has it brought nearer. `epoch`: under which
    /// its client has everything up to there, where that can be wrong. `proven`: the log was read
    /// up to there while this pump watched the channel.
    ///
    /// Returns whether it is live.
    fn admit(
        &mut self,
        key: u32,
        id: ChannelId,
        after: Seq,
        epoch: Option<Epoch>,
        proven: bool,
    ) -> bool {
        let watched = self.channels.contains_key(&id);
        let Some(socket) = self.sockets.get(key) else {
            return false;
        };
        let bus = &self.bus;
        let channel = self.channels.entry(id);
        let channel = channel.or_insert_with(|| Channel::new(bus.watch(Topic::Channel(id))));
        if channel.has_member(key) {
            return true;
        }
        if !socket.channels.contains(&id) {
            socket.channels.push(id);
            self.census.watches(id, channel.watch());
        }
        if let Some(epoch) = epoch {
            channel.has_epoch(epoch);
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
                socket.replay(id, after, epoch);
                false
            }
        }
    }

    fn remove(&mut self, key: u32) {
        let Some(socket) = self.sockets.remove(key) else {
            return;
        };
        for id in socket.channels.iter().copied() {
            // Nobody reads what this tick had for it.
            let _ = self.leave_channel(key, id);
        }
        self.unstored
            .forget(key, &socket.unstored, &socket.channels);
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
        let ended = Instant::now();
        for entry in self.followed.drain(..) {
            if let Some(trail) = self.traces.follow(entry.channel, entry.at) {
                trail.tell(Part::Deliver, entry.came, ended, entry.sockets);
            }
        }
        self.tick.flushed(begun, ended);
    }
}
