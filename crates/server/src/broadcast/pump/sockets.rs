//! The sockets of a pump, by number and by user.

use std::collections::HashMap;
use std::sync::Arc;

use banter_protocol::id::{ChannelId, Seq, UserId};
use bytes::Bytes;

use crate::broadcast::{Delivery, Outbound};

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
    /// What this tick has for it.
    owed: Vec<Bytes>,
}

/// A change of membership that happened while the socket's channels were being read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Early {
    pub(super) channel: ChannelId,
    pub(super) seq: Seq,
    pub(super) joined: bool,
}

impl Early {
    pub(super) const fn new(delivery: &Delivery, joined: bool) -> Self {
        Self {
            channel: delivery.channel,
            seq: delivery.seq,
            joined,
        }
    }
}

impl Sockets {
    /// Adds a socket and gives it its number.
    pub(super) fn register(&mut self, outbound: Arc<Outbound>) {
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
            owed: Vec::new(),
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
