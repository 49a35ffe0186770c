//! Sends that are acknowledged and not in the database yet: who is told when they are, or when
//! the log has lost them.

use std::collections::HashMap;
use std::sync::Arc;

use banter_protocol::frame::ServerFrame;
use banter_protocol::id::{ChannelId, Epoch, Position};
use banter_protocol::websocket::text_frame;
use banter_storage::bus::{Topic, Watch};
use banter_storage::log::{SHARDS, Shard};
use bytes::Bytes;

use super::Pump;
use crate::broadcast::{Acknowledgement, Outbound, Unstored as Queued};

/// Of each channel, socket and epoch, the newest such send: few, for a new epoch is rare.
#[derive(Debug, Default)]
pub(super) struct Unstored {
    channels: HashMap<ChannelId, Sends>,
    /// Sockets that are live since a join that is not known to be stored.
    joins: HashMap<ChannelId, Vec<(u32, Position)>>,
    /// The newest epoch of each shard that the losers have been told of.
    epochs: [Epoch; SHARDS as usize],
}

#[derive(Debug, Default)]
struct Sends {
    newest: Vec<Send>,
    /// Keeps word of the channel coming after its last socket has left it.
    watch: Option<Watch>,
}

/// The newest send of a socket to a channel under one epoch.
#[derive(Debug, Clone, Copy)]
struct Send {
    key: u32,
    at: Position,
    /// The epoch under which the log had it.
    had_under: Epoch,
}

impl Unstored {
    /// A socket has sent this.
    fn add(&mut self, channel: ChannelId, send: Send) {
        let newest = &mut self.channels.entry(channel).or_default().newest;
        let same = |known: &&mut Send| known.key == send.key && known.at.epoch == send.at.epoch;
        match newest.iter_mut().find(same) {
            Some(known) => {
                known.at.seq = known.at.seq.max(send.at.seq);
                known.had_under = known.had_under.min(send.had_under);
            }
            None => newest.push(send),
        }
    }

    /// A socket is live since this join.
    pub(super) fn add_join(&mut self, channel: ChannelId, key: u32, at: Position) {
        self.joins.entry(channel).or_default().push((key, at));
    }

    /// The sockets that are live since a join which a new epoch may not have.
    pub(super) fn take_joins(&mut self, channel: ChannelId) -> Vec<u32> {
        let joins = self.joins.remove(&channel).unwrap_or_default();
        joins.into_iter().map(|(key, _)| key).collect()
    }

    /// The channel is stored up to there; returns who is to hear up to where.
    fn store(&mut self, channel: ChannelId, stored: Position) -> Vec<(u32, Position)> {
        if let Some(joins) = self.joins.get_mut(&channel) {
            // Only its own epoch proves that the entry at its number is this join.
            joins.retain(|(_, at)| at.epoch != stored.epoch || at.seq > stored.seq);
            if joins.is_empty() {
                self.joins.remove(&channel);
            }
        }
        let Some(sends) = self.channels.get_mut(&channel) else {
            return Vec::new();
        };
        let mut told = Vec::new();
        // What is lost was taken out before: all that is left is of this history.
        sends.newest.retain(|send| {
            let all = send.at.epoch <= stored.epoch && send.at.seq <= stored.seq;
            if all {
                told.push((send.key, send.at));
            } else if send.at.epoch == stored.epoch {
                told.push((send.key, stored));
            }
            !all
        });
        if sends.newest.is_empty() {
            self.channels.remove(&channel);
        }
        told
    }

    /// A new epoch of a shard has begun; returns which sockets sent what may be lost.
    fn lose(&mut self, shard: Shard, epoch: Epoch) -> Vec<u32> {
        let told = &mut self.epochs[usize::from(shard.number())];
        if *told >= epoch {
            return Vec::new();
        }
        *told = epoch;
        let mut losers = Vec::new();
        self.channels.retain(|channel, sends| {
            if Shard::of(*channel) == shard {
                let lost = sends.newest.extract_if(.., |send| send.had_under < epoch);
                losers.extend(lost.map(|send| send.key));
            }
            !sends.newest.is_empty()
        });
        losers.sort_unstable();
        losers.dedup();
        losers
    }

    /// A channel has no sockets here any more.
    pub(super) fn outlive(&mut self, channel: ChannelId, watch: Watch) {
        if let Some(sends) = self.channels.get_mut(&channel) {
            sends.watch = Some(watch);
        }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.channels.is_empty() && self.joins.is_empty()
    }

    /// A socket is gone; it has sent to these channels, and is perhaps live in those.
    pub(super) fn forget(&mut self, key: u32, sent: &[ChannelId], live: &[ChannelId]) {
        for channel in live {
            if let Some(joins) = self.joins.get_mut(channel) {
                joins.retain(|(socket, _)| *socket != key);
            }
        }
        for channel in sent {
            let Some(sends) = self.channels.get_mut(channel) else {
                continue;
            };
            sends.newest.retain(|send| send.key != key);
            if sends.newest.is_empty() {
                self.channels.remove(channel);
            }
        }
    }
}

impl Pump {
    /// Acks of one socket go out in one write.
    pub(super) fn acknowledge(&mut self, acks: Vec<Acknowledgement>) {
        let mut frames = Vec::new();
        let mut acks = acks.into_iter().peekable();
        while let Some(ack) = acks.next() {
            frames.push(ack.frame);
            if let Some(unstored) = ack.unstored {
                self.sent(&ack.outbound, unstored, &mut frames);
            }
            if acks
                .peek()
                .is_some_and(|next| Arc::ptr_eq(&next.outbound, &ack.outbound))
            {
                continue;
            }
            ack.outbound.push_all(&frames);
            frames.clear();
        }
    }

    /// A send was acknowledged before it was stored; what became of it meanwhile is said at once.
    fn sent(&mut self, outbound: &Arc<Outbound>, sent: Queued, frames: &mut Vec<Bytes>) {
        let Queued {
            channel: id,
            position: at,
            had_under,
        } = sent;
        if let Some(epoch) = self.bus.epoch(id) {
            self.lose(Shard::of(id), epoch);
            if had_under < epoch {
                self.metrics.resends.inc();
                frames.push(resend_frame());
                return;
            }
        }
        if self.bus.stored(id).is_some_and(|stored| stored >= at.seq) {
            frames.push(stored_frame(id, at));
            return;
        }
        let key = outbound.key();
        let socket = self.sockets.get(key);
        let Some(socket) = socket.filter(|socket| Arc::ptr_eq(&socket.outbound, outbound)) else {
            return;
        };
        if !socket.unstored.contains(&id) {
            socket.unstored.push(id);
        }
        let send = Send { key, at, had_under };
        self.unstored.add(id, send);
        if !self.channels.contains_key(&id) {
            let watch = self.bus.watch(Topic::Channel(id));
            self.unstored.outlive(id, watch);
        }
    }

    /// What was not stored may be lost: who sent it is to send it again.
    pub(super) fn lose(&mut self, shard: Shard, epoch: Epoch) {
        let losers = self.unstored.lose(shard, epoch);
        for key in losers {
            if let Some(socket) = self.sockets.get(key) {
                self.metrics.resends.inc();
                socket.outbound.push(&resend_frame());
            }
        }
    }

    /// A channel is stored up to there.
    pub(super) fn store(&mut self, id: ChannelId, stored: Position) {
        for (key, at) in self.unstored.store(id, stored) {
            if let Some(socket) = self.sockets.get(key) {
                socket.outbound.push(&stored_frame(id, at));
            }
        }
    }
}

fn resend_frame() -> Bytes {
    text_frame(&ServerFrame::Resend {}.to_json())
}

fn stored_frame(channel: ChannelId, stored: Position) -> Bytes {
    let frame = ServerFrame::Stored {
        channel,
        seq: stored.seq,
        epoch: stored.epoch,
    };
    text_frame(&frame.to_json())
}
