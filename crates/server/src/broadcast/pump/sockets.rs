//! The sockets of a pump, by number and by user.

use std::collections::HashMap;
use std::sync::Arc;

use banter_protocol::id::{ChannelId, Epoch, Position, Seq, UserId};
use banter_protocol::limit;
use banter_storage::bus::Watch;
use bytes::Bytes;

use crate::broadcast::{Note, Outbound};

/// All sockets of a pump.
#[derive(Default)]
pub(super) struct Sockets {
    slots: Vec<Option<Socket>>,
    free: Vec<u32>,
    users: HashMap<UserId, Vec<u32>>,
    /// Sockets that a tick has something for.
    owed: Vec<u32>,
}

/// One socket.
pub(super) struct Socket {
    pub(super) outbound: Arc<Outbound>,
    /// Whether its channels are known; before, what happens to its user is kept in `early`.
    pub(super) attached: bool,
    pub(super) early: Vec<Early>,
    /// Channels that it takes part in, live or on the way there.
    pub(super) channels: Vec<ChannelId>,
    /// Channels that its task replays.
    pub(super) replaying: Vec<ChannelId>,
    /// Channels whose replay goes on although the user has left.
    pub(super) ended: Vec<ChannelId>,
    /// Channels with sends of it that were not stored when it was told so.
    pub(super) unstored: Vec<ChannelId>,
    /// Memberships of its user that have changed since it is attached, the last change of each.
    changes: Vec<LastChange>,
    /// Whether its client was asked to move.
    is_moving: bool,
    /// What this tick has for it.
    owed: Vec<Bytes>,
    /// Keeps word of its user's memberships coming.
    _user: Watch,
}

/// The last change of a membership.
#[derive(Debug, Clone, Copy)]
struct LastChange {
    channel: ChannelId,
    position: Position,
}

impl Socket {
    /// Has its task replay a channel.
    pub(super) fn replay(&mut self, channel: ChannelId, after: Seq, epoch: Option<Epoch>) {
        self.replaying.push(channel);
        self.outbound.note(Note::Replay {
            channel,
            after,
            epoch,
        });
    }

    /// A membership has changed while its channels were being read.
    pub(super) fn early(&mut self, early: Early) {
        if !self.early.contains(&early) {
            self.early.push(early);
        }
    }

    /// A membership has changed.
    pub(super) fn changed(&mut self, channel: ChannelId, position: Position) {
        self.changes.retain(|known| known.channel != channel);
        if self.changes.len() >= limit::CHANNELS_PER_USER {
            // The oldest: nobody tells of it any more.
            self.changes.remove(0);
        }
        self.changes.push(LastChange { channel, position });
    }

    /// The last change of this membership.
    pub(super) fn last_change(&self, channel: ChannelId) -> Option<Position> {
        let mut changes = self.changes.iter();
        let last = changes.find(|known| known.channel == channel)?;
        Some(last.position)
    }
}

/// A change of membership that happened while the socket's channels were being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Early {
    pub(super) channel: ChannelId,
    pub(super) seq: Seq,
    pub(super) joined: bool,
}

impl Early {
    pub(super) const fn new(channel: ChannelId, seq: Seq, joined: bool) -> Self {
        Self {
            channel,
            seq,
            joined,
        }
    }
}

impl Sockets {
    /// Adds a socket and gives it its number.
    pub(super) fn register(&mut self, outbound: Arc<Outbound>, user: Watch) {
        let key = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
        });
        outbound.set_key(key);
        self.users.entry(outbound.user()).or_default().push(key);
        self.slots[key as usize] = Some(Socket {
            outbound,
            attached: false,
            early: Vec::new(),
            channels: Vec::new(),
            replaying: Vec::new(),
            ended: Vec::new(),
            unstored: Vec::new(),
            changes: Vec::new(),
            is_moving: false,
            owed: Vec::new(),
            _user: user,
        });
    }

    /// The socket with this number.
    pub(super) fn get(&mut self, key: u32) -> Option<&mut Socket> {
        self.slots.get_mut(key as usize)?.as_mut()
    }

    /// Numbers of a user's sockets.
    pub(super) fn of(&self, user: UserId) -> Vec<u32> {
        self.users.get(&user).cloned().unwrap_or_default()
    }

    /// Forgets a socket.
    pub(super) fn remove(&mut self, key: u32) -> Option<Socket> {
        let socket = self.slots.get_mut(key as usize)?.take()?;
        self.free.push(key);
        let user = socket.outbound.user();
        if let Some(keys) = self.users.get_mut(&user) {
            keys.retain(|other| *other != key);
            if keys.is_empty() {
                self.users.remove(&user);
            }
        }
        Some(socket)
    }

    /// The sockets whose tasks replay this channel.
    pub(super) fn replaying(&self, channel: ChannelId) -> impl Iterator<Item = &Arc<Outbound>> {
        let replays = move |socket: &&Socket| {
            socket.replaying.contains(&channel) || socket.ended.contains(&channel)
        };
        let sockets = self.slots.iter().flatten().filter(replays);
        sockets.map(|socket| &socket.outbound)
    }

    /// How many numbers there are, used or not.
    pub(super) fn slots(&self) -> usize {
        self.slots.len()
    }

    /// At most `count` attached sockets whose clients were not asked to move yet, from a number on
    /// and round again; now they are.
    pub(super) fn take_movable(&mut self, from: usize, count: usize) -> Vec<Arc<Outbound>> {
        let from = from.min(self.slots.len());
        let (before, after) = self.slots.split_at_mut(from);
        let sockets = after.iter_mut().chain(before).flatten();
        sockets
            .filter(|socket| socket.attached && !socket.is_moving)
            .take(count)
            .map(|socket| {
                socket.is_moving = true;
                socket.outbound.clone()
            })
            .collect()
    }

    /// The sockets that are meant.
    pub(super) fn matching(
        &self,
        is_meant: impl Fn(&Outbound) -> bool,
    ) -> impl Iterator<Item = &Arc<Outbound>> {
        let all = self.slots.iter().flatten().map(|socket| &socket.outbound);
        all.filter(move |outbound| is_meant(outbound))
    }

    /// Notes bytes for a socket; they go out with everything else of this tick.
    pub(super) fn owe(&mut self, key: u32, bytes: Bytes) {
        let Some(socket) = self.slots.get_mut(key as usize).and_then(Option::as_mut) else {
            return;
        };
        if socket.owed.is_empty() {
            self.owed.push(key);
        }
        socket.owed.push(bytes);
    }

    /// Writes what is owed: one write a socket. The frames are counted by whoever knows how many
    /// they are.
    pub(super) fn pay(&mut self) {
        for key in self.owed.drain(..) {
            let slot = self.slots.get_mut(key as usize);
            let Some(socket) = slot.and_then(Option::as_mut) else {
                continue;
            };
            socket.outbound.push_pieces(&socket.owed, 0);
            socket.owed.clear();
        }
    }
}
