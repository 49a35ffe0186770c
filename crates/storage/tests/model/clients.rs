//! Clients: they send until they are acknowledged, send again what was lost, and sometimes what was
//! stored long ago.

use crate::random::Random;
use crate::redis::{Act, CHANNELS, Channel, Place, Time};

pub(crate) const USERS: usize = 2;

/// What a client wants appended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Send {
    pub(crate) channel: Channel,
    pub(crate) act: Act,
    /// The time of a message's id.
    pub(crate) made: Option<Time>,
}

pub(crate) struct Message {
    pub(crate) channel: Channel,
    made: Time,
    pub(crate) first: Option<Place>,
    pub(crate) acked: bool,
    pub(crate) stored: bool,
    under_way: bool,
}

#[derive(Default)]
pub(crate) struct Clients {
    pub(crate) messages: Vec<Message>,
    /// No new messages: what there is must come to its end.
    pub(crate) is_closing: bool,
}

impl Clients {
    /// What somebody sends next.
    pub(crate) fn next(&mut self, random: &mut Random, now: Time) -> Option<Send> {
        if !self.is_closing && random.percent(30) {
            let user = random.below(USERS);
            let join = random.percent(55);
            return Some(Send {
                channel: random.below(CHANNELS),
                act: if join {
                    Act::Join(user)
                } else {
                    Act::Leave(user)
                },
                made: None,
            });
        }
        if !self.is_closing && random.percent(30) {
            // Clocks differ: some ids are from the future.
            let ahead = random.below(3) as Time;
            self.messages.push(Message {
                channel: random.below(CHANNELS),
                made: now + ahead,
                first: None,
                acked: false,
                stored: false,
                under_way: false,
            });
        }
        let late = !self.is_closing && random.percent(35);
        let can = |message: &Message| !message.under_way && (late || !message.acked);
        let ids: Vec<_> = (0..self.messages.len())
            .filter(|id| can(&self.messages[*id]))
            .collect();
        let id = *ids.get(random.below(ids.len()))?;
        let message = &mut self.messages[id];
        message.under_way = true;
        Some(Send {
            channel: message.channel,
            act: Act::Message(id),
            made: Some(message.made),
        })
    }

    /// The outcome is unknown.
    pub(crate) fn unanswered(&mut self, send: Send) {
        if let Act::Message(id) = send.act {
            self.messages[id].under_way = false;
        }
    }

    /// A new epoch: what is not stored counts as never acknowledged.
    pub(crate) fn resend(&mut self) {
        for message in &mut self.messages {
            message.acked &= message.stored;
        }
    }

    /// Takes an answer; gives the first one of this message, if there was another.
    pub(crate) fn answered(&mut self, id: usize, place: Place) -> Option<Place> {
        let message = &mut self.messages[id];
        message.under_way = false;
        message.acked = true;
        message.first.replace(place)
    }

    pub(crate) fn is_done(&self) -> bool {
        self.messages.iter().all(|message| message.stored)
    }
}
