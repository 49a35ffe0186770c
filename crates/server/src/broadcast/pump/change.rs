//! What joins and leaves do to a user's sockets. The entry itself decides; where its channel is
//! not heard here, a hint from the bus stands in for it.

use banter_protocol::close::Close;
use banter_protocol::id::{ChannelId, Position, UserId};
use banter_storage::bus::Changed;

use super::Pump;
use super::sockets::Early;
use crate::broadcast::Delivery;

impl Pump {
    /// The user's sockets are live from the join on.
    pub(super) fn joined(&mut self, delivery: &Delivery, user: UserId) {
        let (id, at) = (delivery.channel, delivery.position);
        for key in self.sockets.of(user) {
            let Some(socket) = self.sockets.get(key) else {
                continue;
            };
            if !socket.attached {
                socket.early(Early::new(id, at.seq, true));
                continue;
            }
            socket.outbound.set_member(id, true);
            if socket.channels.contains(&id) {
                // Its `hello` has read this join from the database, before the bus told of it.
                continue;
            }
            socket.changed(id, at);
            self.note_join(key, id, at);
            if self.goes_on(key, id, at) {
                continue;
            }
            // Its entry is the next of this channel, so nothing needs to be read; unless this
            // is an old entry, and the channel is only now heard again.
            let heard = self.channel(id).was_heard();
            self.admit(key, id, at.seq - 1, Some(at.epoch), heard);
        }
    }

    /// The user's sockets get nothing after this entry.
    pub(super) fn left(&mut self, delivery: &Delivery, user: UserId) {
        let (id, at) = (delivery.channel, delivery.position);
        for key in self.sockets.of(user) {
            let Some(socket) = self.sockets.get(key) else {
                continue;
            };
            if socket.attached {
                socket.changed(id, at);
                socket.outbound.set_member(id, false);
                self.part(key, id, at.seq);
            } else {
                socket.early(Early::new(id, at.seq, false));
            }
        }
    }

    /// The bus tells that a membership has changed.
    pub(super) fn change(&mut self, changed: Changed) {
        let Changed {
            channel: id,
            user,
            position: at,
            joined,
        } = changed;
        for key in self.sockets.of(user) {
            let top = self.channels.get(&id).and_then(|channel| channel.top());
            let Some(socket) = self.sockets.get(key) else {
                continue;
            };
            if !socket.attached {
                socket.early(Early::new(id, at.seq, joined));
                continue;
            }
            let is_old = socket
                .last_change(id)
                .is_some_and(|last| (last.epoch, last.seq) >= (at.epoch, at.seq));
            let takes_part = socket.channels.contains(&id);
            match (joined, takes_part) {
                _ if is_old => {}
                (true, true) => {}
                (true, false) => {
                    socket.changed(id, at);
                    socket.outbound.set_member(id, true);
                    self.note_join(key, id, at);
                    if !self.goes_on(key, id, at) {
                        self.admit(key, id, at.seq - 1, None, false);
                    }
                }
                (false, false) => socket.changed(id, at),
                // The entry comes by itself, in its turn. If it has come already, this socket was
                // not there yet and was let in by what had been read before: it reads again.
                (false, true) if top.is_none_or(|top| top >= at.seq) => {
                    socket.outbound.close(Close::Unavailable);
                }
                (false, true) => {}
            }
        }
    }

    /// A replay of the former membership may still be being written: it simply goes on.
    fn goes_on(&mut self, key: u32, id: ChannelId, joined: Position) -> bool {
        let socket = self.sockets.get(key);
        let Some(socket) = socket.filter(|socket| socket.ended.contains(&id)) else {
            return false;
        };
        socket.ended.retain(|ended| *ended != id);
        socket.channels.push(id);
        socket.replay(id, joined.seq - 1, Some(joined.epoch));
        let first = self.channel(id).watch();
        self.census.watches(id, first);
        true
    }

    /// Where epochs can change, a join counts for certain once it is stored.
    fn note_join(&mut self, key: u32, id: ChannelId, at: Position) {
        if self.bus.epoch(id).is_some() {
            self.unstored.add_join(id, key, at);
        }
    }
}
