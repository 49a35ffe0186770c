//! From the log to the sockets: every entry is encoded once and written once per socket and tick.
//!
//! The relay takes entries from the bus and encodes them; pumps, one per core, know which sockets
//! are in which channels and write to them. A socket belongs to the pump of its user.

mod census;
mod channel;
mod outbound;
mod pump;
mod relay;
mod tick;

use std::sync::{Arc, Weak};
use std::time::Duration;

use banter_protocol::close::Close;
use banter_protocol::id::{ChannelId, Epoch, Position, Seq, SessionId, UserId};
use banter_storage::bus::{Barrier, Bus, Changed, Event, Watch};
use banter_storage::log::Shard;
use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

pub use outbound::{Note, Outbound, Waiting};

use crate::cluster::Ear;
use crate::metric::Metrics;
use crate::trace::Traces;

/// Commands that may wait for a pump. When it is full the log waits, and with it the senders.
const COMMANDS_MAX: usize = 4_096;

/// The sockets of this process and the pumps that write to them. Cloning shares it.
#[derive(Debug, Clone)]
pub struct Broadcast {
    pumps: Arc<[mpsc::Sender<Command>]>,
}

/// An entry as the pumps pass it on.
#[derive(Debug)]
pub struct Delivery {
    channel: ChannelId,
    position: Position,
    /// When it was sent, in milliseconds since 1970.
    sent_ms: i64,
    reach: census::Reach,
    /// The frame of the wire, shared by all who get it.
    frame: Bytes,
    change: Option<Change>,
}

/// What an entry does to a membership.
#[derive(Debug, Clone, Copy)]
struct Change {
    user: UserId,
    joined: bool,
}

/// A channel that a socket takes part in from the start.
#[derive(Debug, Clone, Copy)]
pub struct Subscription {
    /// The channel.
    pub channel: ChannelId,
    /// The last entry that its client has.
    pub after: Seq,
    /// The epoch under which that was found to be so.
    pub epoch: Epoch,
    /// The last entry whose change of membership was known when the user's channels were read.
    pub read: Seq,
}

/// An answer to a send.
#[derive(Debug)]
pub struct Acknowledgement {
    /// The socket that sent.
    pub outbound: Arc<Outbound>,
    /// The frame of the wire.
    pub frame: Bytes,
    /// The entry, where it was not in the database.
    pub unstored: Option<Unstored>,
}

/// An entry that the log has and the database had not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unstored {
    /// The channel.
    pub channel: ChannelId,
    /// Its place.
    pub position: Position,
    /// The epoch under which the log had it: its own, or a newer one where it was sent before.
    pub had_under: Epoch,
}

/// Which sockets are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// All of a session.
    Session(SessionId),
    /// All of a user.
    User(UserId),
    /// All of this process.
    All,
}

enum Command {
    Deliver(Arc<[Delivery]>),
    Change(Changed),
    Store(ChannelId, Position),
    Lose(Shard, Epoch),
    Keep(ChannelId, Position),
    Rewind(ChannelId, Position),
    Acknowledge(Vec<Acknowledgement>),
    Register(Arc<Outbound>, Watch),
    Attach(Arc<Outbound>, Vec<Subscription>),
    CaughtUp {
        outbound: Arc<Outbound>,
        channel: ChannelId,
        at: Seq,
        epoch: Option<Epoch>,
    },
    Finished {
        outbound: Arc<Outbound>,
        channel: ChannelId,
    },
    Member {
        outbound: Arc<Outbound>,
        channel: ChannelId,
        joined: Position,
    },
    Remove(Arc<Outbound>),
    Close(Audience, Close),
    Move(usize, Duration, oneshot::Sender<Vec<Weak<Outbound>>>),
    Barrier(Barrier),
}

impl Broadcast {
    /// Starts the relay and one pump per core, fed by the `events` of `bus`.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn start(
        events: mpsc::Receiver<Event>,
        ear: Ear,
        bus: &Bus,
        cores: usize,
        metrics: &Metrics,
        traces: &Traces,
    ) -> std::io::Result<Self> {
        let census = census::Census::new(metrics);
        let pumps = (0..cores.max(1))
            .map(|number| {
                let (commands, inbox) = mpsc::channel(COMMANDS_MAX);
                let (bus, census) = (bus.clone(), census.clone());
                pump::start(number, inbox, bus, census, metrics.clone(), traces.clone())?;
                Ok(commands)
            })
            .collect::<std::io::Result<Vec<_>>>()?;
        let broadcast = Self {
            pumps: pumps.into(),
        };
        tokio::spawn(relay::run(events, ear, broadcast.clone()));
        Ok(broadcast)
    }

    /// Makes a socket known, before its channels are read: once its user is heard, nothing that
    /// concerns the user is missed.
    pub async fn register(&self, outbound: &Arc<Outbound>, user: Watch) {
        self.tell(outbound, Command::Register(outbound.clone(), user))
            .await;
    }

    /// Begins delivery of these channels, and of what happened to the user since
    /// [`Self::register`].
    pub async fn attach(&self, outbound: &Arc<Outbound>, channels: Vec<Subscription>) {
        self.tell(outbound, Command::Attach(outbound.clone(), channels))
            .await;
    }

    /// A replay has written everything up to `at` that the log had under `epoch`, where epochs
    /// can change.
    pub async fn caught_up(
        &self,
        outbound: &Arc<Outbound>,
        channel: ChannelId,
        at: Seq,
        epoch: Option<Epoch>,
    ) {
        self.tell(
            outbound,
            Command::CaughtUp {
                outbound: outbound.clone(),
                channel,
                at,
                epoch,
            },
        )
        .await;
    }

    /// The user is a member since `joined`, as the log and the database say now.
    pub async fn is_member(&self, outbound: &Arc<Outbound>, channel: ChannelId, joined: Position) {
        self.tell(
            outbound,
            Command::Member {
                outbound: outbound.clone(),
                channel,
                joined,
            },
        )
        .await;
    }

    /// A replay has written the last entry that its socket may have.
    pub async fn finished(&self, outbound: &Arc<Outbound>, channel: ChannelId) {
        self.tell(
            outbound,
            Command::Finished {
                outbound: outbound.clone(),
                channel,
            },
        )
        .await;
    }

    /// Forgets a socket.
    pub async fn remove(&self, outbound: &Arc<Outbound>) {
        self.tell(outbound, Command::Remove(outbound.clone())).await;
    }

    /// Closes sockets.
    pub async fn close(&self, audience: Audience, close: Close) {
        match audience {
            Audience::User(user) => {
                let _ = self
                    .pump_of(user)
                    .send(Command::Close(audience, close))
                    .await;
            }
            Audience::Session(_) | Audience::All => {
                self.all(|| Command::Close(audience, close)).await;
            }
        }
    }

    /// Asks clients to open their sockets elsewhere, at most so many that were not asked before,
    /// spread over a time; returns who was asked. They go by themselves, or are closed later.
    pub async fn ask_to_move(&self, count: usize, within: Duration) -> Vec<Weak<Outbound>> {
        let mut asked = Vec::new();
        let mut left = count;
        let mut pumps = self.pumps.len();
        for pump in self.pumps.iter() {
            let share = left.div_ceil(pumps);
            let (reply, answer) = oneshot::channel();
            let _ = pump.send(Command::Move(share, within, reply)).await;
            let movers = answer.await.unwrap_or_default();
            left = left.saturating_sub(movers.len());
            pumps -= 1;
            asked.extend(movers);
        }
        asked
    }

    /// Writes acknowledgements; they wait for no tick.
    pub async fn acknowledge(&self, acks: Vec<Acknowledgement>) {
        let mut shares: Vec<Vec<_>> = self.pumps.iter().map(|_| Vec::new()).collect();
        for ack in acks {
            shares[self.index_of(ack.outbound.user())].push(ack);
        }
        for (pump, mut share) in self.pumps.iter().zip(shares) {
            if !share.is_empty() {
                // All of one socket go out in one write; a stable sort keeps their order.
                share.sort_by_key(|ack| ack.outbound.key());
                let _ = pump.send(Command::Acknowledge(share)).await;
            }
        }
    }

    async fn deliver(&self, deliveries: Arc<[Delivery]>) {
        self.all(|| Command::Deliver(deliveries.clone())).await;
    }

    async fn change(&self, changed: Changed) {
        let _ = self
            .pump_of(changed.user)
            .send(Command::Change(changed))
            .await;
    }

    async fn pass(&self, barrier: Barrier) {
        self.all(|| Command::Barrier(barrier.clone())).await;
    }

    async fn all(&self, command: impl Fn() -> Command) {
        for pump in self.pumps.iter() {
            // A pump is gone only when the process ends.
            let _ = pump.send(command()).await;
        }
    }

    async fn tell(&self, outbound: &Outbound, command: Command) {
        let _ = self.pump_of(outbound.user()).send(command).await;
    }

    fn pump_of(&self, user: UserId) -> &mpsc::Sender<Command> {
        &self.pumps[self.index_of(user)]
    }

    fn pumps(&self) -> usize {
        self.pumps.len()
    }

    /// The last byte of an id is random.
    fn index_of(&self, user: UserId) -> usize {
        usize::from(user.as_bytes()[15]) % self.pumps.len()
    }
}
