//! Asking clients to go elsewhere.

use std::sync::{Arc, Weak};
use std::time::Duration;

use banter_protocol::frame::ServerFrame;
use banter_protocol::websocket::text_frame;

use super::Pump;
use crate::broadcast::Outbound;
use crate::random;

impl Pump {
    /// Asks at most `count` sockets that were not asked before to move, spread over a time.
    pub(super) fn ask_to_move(&mut self, count: usize, within: Duration) -> Vec<Weak<Outbound>> {
        let asked = self.sockets.take_movable(self.moved, count);
        self.moved = self.moved.wrapping_add(asked.len()) % self.sockets.slots().max(1);
        for outbound in &asked {
            let after = within.mul_f64(random::unit());
            let after_ms = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
            let frame = ServerFrame::Reconnect { after_ms };
            outbound.push(&text_frame(&frame.to_json()));
        }
        asked.iter().map(Arc::downgrade).collect()
    }
}
