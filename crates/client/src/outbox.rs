//! What was sent and is not yet safe.
//!
//! A message stays until the server says that it is stored, and is sent again, in order and with
//! its id, whenever its fate is unknown. A channel that refuses for the moment is held as a whole
//! and then tried with one message first, so that those behind it do not overtake it.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use banter_protocol::entry::Level;
use banter_protocol::id::{ChannelId, MessageId, Position};
use banter_protocol::text::Body;

use crate::backoff::Backoff;
use crate::frame::{Ack, Stored};

/// The messages of one connection that are not yet stored, in the order of the sends.
#[derive(Debug, Default)]
pub struct Outbox {
    items: VecDeque<Item>,
    holds: BTreeMap<ChannelId, Hold>,
}

#[derive(Debug)]
struct Item {
    id: MessageId,
    channel: ChannelId,
    body: Body,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// To be sent.
    Waiting,
    /// Sent on the present socket; no answer yet.
    Sent,
    /// Accepted by the log, not yet in the database.
    Queued(Position),
}

#[derive(Debug, Default)]
struct Hold {
    backoff: Backoff,
    /// Nothing is sent before; time since the connection began.
    until: Duration,
}

/// What may be sent now.
#[derive(Debug, PartialEq, Eq)]
pub enum Due<'a> {
    /// This message; it counts as sent.
    Send {
        /// Its id.
        id: &'a MessageId,
        /// Its channel.
        channel: ChannelId,
        /// What it says.
        body: &'a Body,
    },
    /// Nothing before this time.
    At(Duration),
    /// Nothing until something else happens.
    Nothing,
}

impl Outbox {
    /// Messages in it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether everything is stored.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Takes a message to be sent.
    pub fn push(&mut self, id: MessageId, channel: ChannelId, body: Body) {
        self.items.push_back(Item {
            id,
            channel,
            body,
            state: State::Waiting,
        });
    }

    /// The next message that may be sent at `now`, or when to ask again.
    pub fn due(&mut self, now: Duration) -> Due<'_> {
        let mut at: Option<Duration> = None;
        let mut found = None;
        for (place, item) in self.items.iter().enumerate() {
            if item.state != State::Waiting {
                continue;
            }
            match self.holds.get(&item.channel) {
                None => found = Some(place),
                Some(hold) if hold.until > now => {
                    at = Some(at.map_or(hold.until, |at| at.min(hold.until)));
                    continue;
                }
                // Held before: one at a time until one is accepted.
                Some(_) if self.is_under_way(item.channel) => continue,
                Some(_) => found = Some(place),
            }
            break;
        }
        match (found, at) {
            (Some(place), _) => {
                let item = &mut self.items[place];
                item.state = State::Sent;
                Due::Send {
                    id: &item.id,
                    channel: item.channel,
                    body: &item.body,
                }
            }
            (None, Some(at)) => Due::At(at),
            (None, None) => Due::Nothing,
        }
    }

    fn is_under_way(&self, channel: ChannelId) -> bool {
        self.items
            .iter()
            .any(|item| item.channel == channel && item.state == State::Sent)
    }

    /// A new socket: what had no answer on the old one is sent again.
    pub fn on_connected(&mut self) {
        self.holds.clear();
        for item in &mut self.items {
            if item.state == State::Sent {
                item.state = State::Waiting;
            }
        }
    }

    /// The log lost entries that were not stored: everything is sent again.
    pub fn on_resend(&mut self) {
        for item in &mut self.items {
            item.state = State::Waiting;
        }
    }

    /// A message was accepted. Tells whether it was one of ours that had no answer yet.
    pub fn on_ack(&mut self, ack: &Ack) -> bool {
        let Some(place) = self.answered(&ack.id, Some(ack.channel)) else {
            return false;
        };
        self.holds.remove(&ack.channel);
        match ack.level {
            Level::Stored => {
                self.items.remove(place);
            }
            Level::Queued => {
                self.items[place].state = State::Queued(Position {
                    seq: ack.seq,
                    epoch: ack.epoch,
                });
            }
        }
        true
    }

    /// Messages of this channel and epoch up to this number are safe.
    pub fn on_stored(&mut self, stored: &Stored) {
        self.items.retain(|item| match item.state {
            State::Queued(at) => {
                item.channel != stored.channel || at.epoch != stored.epoch || at.seq > stored.seq
            }
            _ => true,
        });
    }

    /// A message was refused for the moment: it is kept, and its channel held for a while. `asked`
    /// is what the server asked to wait, `random` uniform in 0 ≤ r < 1.
    pub fn on_deferred(
        &mut self,
        id: &str,
        channel: Option<ChannelId>,
        now: Duration,
        asked: Option<Duration>,
        random: f64,
    ) {
        let Some(place) = self.answered_text(id, channel) else {
            return;
        };
        let item = &mut self.items[place];
        item.state = State::Waiting;
        let hold = self.holds.entry(item.channel).or_default();
        // Those that were sent together are refused together: one wait for all of them.
        if hold.until <= now {
            hold.until = now + hold.backoff.next(random, asked);
        }
    }

    /// A message was refused for good: it is given up. Tells which it was.
    pub fn on_refused(
        &mut self,
        id: &str,
        channel: Option<ChannelId>,
    ) -> Option<(MessageId, ChannelId)> {
        let place = self.answered_text(id, channel)?;
        let item = self.items.remove(place)?;
        Some((item.id, item.channel))
    }

    fn answered(&self, id: &MessageId, channel: Option<ChannelId>) -> Option<usize> {
        self.answered_text(id.as_str(), channel)
    }

    /// The first message of this id that had no answer. A refusal of an unreadable channel names
    /// none, so the id alone must do there.
    fn answered_text(&self, id: &str, channel: Option<ChannelId>) -> Option<usize> {
        self.items.iter().position(|item| {
            item.state == State::Sent
                && item.id.as_str() == id
                && channel.is_none_or(|channel| channel == item.channel)
        })
    }
}

#[cfg(test)]
mod tests;
