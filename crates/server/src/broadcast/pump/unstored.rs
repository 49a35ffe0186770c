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
use crate::broadcast::{Acknowledgement, Outbound};

/// Of each channel and socket, the newest such send: at most one for each channel that a user has
/// been in since the workers fell behind.
#[derive(Debug, Default)]
pub(super) struct Unstored {
    channels: HashMap<ChannelId, Sends>,
    /// The newest epoch of each shard that the losers have been told of.
    epochs: [Epoch; SHARDS as usize],
}

#[derive(Debug, Default)]
struct Sends {
    newest: Vec<(u32, Position)>,
    /// Keeps word of the channel coming after its last socket has left it.
    watch: Option<Watch>,
}

impl Unstored {
    /// A socket sent this. `false`: what it sent before is of another epoch, and may be lost.
    fn add(&mut self, channel: ChannelId, key: u32, position: Position) -> bool {
        let newest = &mut self.channels.entry(channel).or_default().newest;
        match newest.iter_mut().find(|(socket, _)| *socket == key) {
            Some((_, known)) => {
                let same = known.epoch == position.epoch;
                if (known.epoch, known.seq) < (position.epoch, position.seq) {
                    *known = position;
                }
                same
            }
            None => {
                newest.push((key, position));
                true
            }
        }
    }

    /// The channel is stored up to there; returns which sockets wait to hear of it.
    fn store(&mut self, channel: ChannelId, stored: Position) -> Vec<u32> {
        let Some(sends) = self.channels.get_mut(&channel) else {
            return Vec::new();
        };
        let of_epoch = sends.newest.iter().filter(|s| s.1.epoch == stored.epoch);
        let told = of_epoch.map(|(key, _)| *key).collect();
        sends
            .newest
            .retain(|(_, sent)| sent.epoch != stored.epoch || sent.seq > stored.seq);
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
                let lost = sends.newest.extract_if(.., |(_, at)| at.epoch < epoch);
                losers.extend(lost.map(|(key, _)| key));
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

    /// A socket is gone; it has sent to these channels.
    pub(super) fn forget(&mut self, key: u32, channels: &[ChannelId]) {
        for channel in channels {
            let Some(sends) = self.channels.get_mut(channel) else {
                continue;
            };
            sends.newest.retain(|(socket, _)| *socket != key);
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
            if let Some((channel, position)) = ack.unstored {
                self.sent(&ack.outbound, channel, position, &mut frames);
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
    fn sent(
        &mut self,
        outbound: &Arc<Outbound>,
        id: ChannelId,
        at: Position,
        frames: &mut Vec<Bytes>,
    ) {
        let stored = self.bus.stored(id);
        if let Some(stored) = stored {
            self.lose(Shard::of(id), stored.epoch);
        }
        match stored {
            Some(stored) if stored.epoch > at.epoch => frames.push(resend_frame()),
            Some(stored) if stored.epoch == at.epoch && stored.seq >= at.seq => {
                frames.push(stored_frame(id, stored));
            }
            _ => {
                let key = outbound.key();
                let socket = self.sockets.get(key);
                let Some(socket) = socket.filter(|s| Arc::ptr_eq(&s.outbound, outbound)) else {
                    return;
                };
                if !socket.unstored.contains(&id) {
                    socket.unstored.push(id);
                }
                if !self.unstored.add(id, key, at) {
                    frames.push(resend_frame());
                }
                if !self.channels.contains_key(&id) {
                    let watch = self.bus.watch(Topic::Channel(id));
                    self.unstored.outlive(id, watch);
                }
            }
        }
    }

    /// What was not stored may be lost: who sent it is to send it again.
    pub(super) fn lose(&mut self, shard: Shard, epoch: Epoch) {
        let losers = self.unstored.lose(shard, epoch);
        for key in losers {
            if let Some(socket) = self.sockets.get(key) {
                socket.outbound.push(&resend_frame());
            }
        }
    }

    /// A channel is stored up to there.
    pub(super) fn store(&mut self, id: ChannelId, stored: Position) {
        let told = self.unstored.store(id, stored);
        if told.is_empty() {
            return;
        }
        let frame = stored_frame(id, stored);
        for key in told {
            if let Some(socket) = self.sockets.get(key) {
                socket.outbound.push(&frame);
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
