//! The end of a load: nothing more is sent, and what is under way may arrive.

use std::collections::VecDeque;

use anyhow::Result;

use super::{Engine, SLEEP_NS_MAX, Socket, State, now_ns};
use crate::audit::Event;
use crate::load::plan::Told;

/// How long what is under way may take, at most.
const DRAIN_NS_MAX: u64 = 30_000_000_000;
/// When nothing has come for so long, nothing more will.
const SILENCE_NS: u64 = 3_000_000_000;
/// How long nothing may come before what has come is believed to be all.
const QUIET_NS: u64 = 500_000_000;

impl Engine<'_> {
    /// Waits until every message was answered and nothing more comes; tells everything.
    pub(super) fn drain(&mut self) -> Result<()> {
        let begun = now_ns();
        let (mut heard, mut known) = (begun, (0, 0));
        loop {
            self.turn(SLEEP_NS_MAX)?;
            let now = now_ns();
            for user in 0..self.sockets.len() {
                self.give_up_waiting(user, now);
                self.put_refused(user, now);
            }
            let outboxes = self.sockets.iter().map(|s| &s.hearing.outbox);
            let waiting = outboxes.clone().map(VecDeque::len).sum::<usize>();
            if (self.audit.deliveries(), waiting) != known {
                (heard, known) = (now, (self.audit.deliveries(), waiting));
            }
            // One that was never let in is not waited for.
            let gone = |s: &Socket| s.was_live && s.state != State::Live;
            let back = !self.sockets.iter().any(gone) && self.calls.is_quiet();
            let silent = now - heard;
            let done = waiting == 0 && back && silent > QUIET_NS;
            // What was acked will be stored: that is waited for as long as it may take.
            let promised = outboxes.flatten().any(|sent| sent.acked);
            let hopeless = silent > SILENCE_NS && back && !promised;
            if done || hopeless || now - begun > DRAIN_NS_MAX {
                break;
            }
        }
        for socket in &self.sockets {
            for sent in &socket.hearing.outbox {
                let acked = if sent.acked {
                    "not stored"
                } else {
                    "unanswered"
                };
                self.tally.error(acked);
            }
            if socket.state != State::Live {
                if socket.was_live {
                    self.tally.error("socket away at the end");
                }
                continue;
            }
            for place in &socket.hearing.places {
                self.audit.take(Event::Settled {
                    client: socket.hearing.client,
                    channel: place.channel,
                });
            }
        }
        let open = u32::try_from(self.live()).unwrap_or(u32::MAX);
        let last = self.tally.sample(self.second, open);
        (self.tell)(Told::Sample(Box::new(last)))?;
        let audit = std::mem::take(&mut self.audit);
        (self.tell)(Told::Done(Box::new(audit.condense())))
    }
}
