//! What a new epoch of the log does to sockets.
//!
//! A socket goes on where its client provably has what the new epoch has; it is reset where that
//! is disproved, and closed, so that it asks anew, where it is between the two.

use banter_protocol::close::Close;
use banter_protocol::frame::{Reset, ResetReason, ServerFrame};
use banter_protocol::id::{ChannelId, Position};
use banter_protocol::websocket::text_frame;

use super::Pump;

impl Pump {
    /// The channel goes on after the newest entry that came by. Who has read beyond it asks anew.
    pub(super) fn keep(&mut self, id: ChannelId, at: Position) {
        self.flush();
        let Some(channel) = self.channels.get_mut(&id) else {
            return;
        };
        for key in channel.keep(at) {
            if let Some(socket) = self.sockets.get(key) {
                socket.outbound.close(Close::Unavailable);
            }
        }
        self.interrupt(id);
    }

    /// The channel goes on at another place than it was left at.
    pub(super) fn rewind(&mut self, id: ChannelId, head: Position) {
        self.flush();
        let Some(channel) = self.channels.get_mut(&id) else {
            return;
        };
        let reset = ServerFrame::Reset(Reset {
            channel: id.to_string(),
            reason: ResetReason::Epoch,
            head: Some(head),
        });
        let reset = text_frame(&reset.to_json());
        let live = channel.rewind(head);
        // Perhaps the join is what was lost.
        for key in self.unstored.take_joins(id) {
            if let Some(socket) = self.sockets.get(key) {
                socket.outbound.close(Close::Unavailable);
            }
        }
        for key in live {
            if let Some(socket) = self.sockets.get(key) {
                socket.outbound.push(&reset);
                self.metrics.live_resets.inc();
            }
        }
        self.interrupt(id);
    }

    /// Replays that began under another epoch begin again.
    fn interrupt(&self, id: ChannelId) {
        for outbound in self.sockets.replaying(id) {
            outbound.close(Close::Unavailable);
        }
    }
}
