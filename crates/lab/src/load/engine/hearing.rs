//! What a socket hears: it is read, timed and told to the audit.

use std::collections::{BTreeMap, VecDeque};

use banter_protocol::id::Position;
use banter_protocol::websocket::opcode;
use serde::Deserialize;
use uuid::Uuid;

use super::Around;
use super::entry::{self, Entry};
use crate::audit::{Client, Event, Id, What};
use crate::load::sample::{Count, Measure};
use crate::wire::Frame;

/// Digits of the time in a body, which begins with it.
pub(super) const DUE_DIGITS: usize = 20;

/// Where a user stands in a channel.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) channel: u32,
    /// The last entry that was applied.
    pub(super) position: Position,
    /// Entries up to this one are replayed: they say nothing about delivery.
    replayed: u64,
}

/// A message without an answer.
#[derive(Debug, Clone)]
pub(super) struct Outgoing {
    pub(super) id: Id,
    pub(super) channel: u32,
    /// When it should have been sent.
    pub(super) due: u64,
    pub(super) content: u64,
    /// The frame.
    pub(super) text: String,
}

/// What a user has heard, and awaits.
#[derive(Debug)]
pub(super) struct Hearing {
    pub(super) client: Client,
    /// Number among the users of this generator.
    pub(super) local: u32,
    pub(super) places: Vec<Place>,
    pub(super) outbox: VecDeque<Outgoing>,
    /// Payloads of pings, to be sent back.
    pub(super) pings: Vec<Vec<u8>>,
    /// Whether the `welcome` has come.
    pub(super) welcomed: bool,
    /// The code with which the server has closed.
    pub(super) closed: Option<u16>,
    /// The server asks to come back after so many milliseconds.
    pub(super) asked_to_move: Option<u64>,
    /// The server asks for everything in the outbox again.
    pub(super) asked_to_resend: bool,
}

#[derive(Deserialize)]
struct Told<'a> {
    #[serde(rename = "type", borrow)]
    kind: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    channel: Option<std::borrow::Cow<'a, str>>,
    seq: Option<u64>,
    epoch: Option<u64>,
    #[serde(borrow)]
    id: Option<std::borrow::Cow<'a, str>>,
    #[serde(borrow)]
    code: Option<std::borrow::Cow<'a, str>>,
    after_ms: Option<u64>,
    channels: Option<BTreeMap<String, Position>>,
}

/// Refusals after which it is not known whether the message is there.
const UNKNOWN: [&str; 1] = ["unavailable"];

impl Hearing {
    pub(super) const fn new(client: Client, local: u32) -> Self {
        Self {
            client,
            local,
            places: Vec::new(),
            outbox: VecDeque::new(),
            pings: Vec::new(),
            welcomed: false,
            closed: None,
            asked_to_move: None,
            asked_to_resend: false,
        }
    }

    /// The socket is gone; what was applied and what awaits an answer stays.
    pub(super) fn cut(&mut self) {
        self.welcomed = false;
        self.closed = None;
        self.asked_to_move = None;
        self.pings.clear();
    }

    pub(super) fn take(&mut self, frame: Frame<'_>, around: &mut Around<'_>) {
        match frame.opcode {
            opcode::TEXT => match entry::quick(frame.payload, around.names) {
                Some(entry) => self.entry(entry, around),
                None => self.told(frame.payload, around),
            },
            opcode::PING => self.pings.push(frame.payload.to_vec()),
            opcode::CLOSE => {
                let code = frame.payload.first_chunk::<2>();
                self.closed = Some(code.map_or(1005, |code| u16::from_be_bytes(*code)));
            }
            _ => {}
        }
    }

    fn told(&mut self, text: &[u8], around: &mut Around<'_>) {
        let Ok(told) = serde_json::from_slice::<Told<'_>>(text) else {
            return around.tally.error("unreadable frame");
        };
        let position = told.seq.zip(told.epoch);
        let position = position.map(|(seq, epoch)| Position { seq, epoch });
        let channel = told.channel.as_deref().and_then(|id| around.channel(id));
        match &*told.kind {
            "message" | "joined" | "left" | "tombstone" => match entry::slow(text, around.names) {
                Some(entry) => self.entry(entry, around),
                None => around.tally.error("unreadable entry"),
            },
            "welcome" => self.welcome(told.channels.unwrap_or_default(), around),
            "ack" => {
                let id = told.id.as_deref().map(crate::audit::fingerprint);
                if let (Some(id), Some(position)) = (id, position) {
                    self.acked(id, position, around);
                }
            }
            "error" => {
                let code = told.code.as_deref().unwrap_or("error");
                around.tally.error(code);
                if let Some(id) = told.id.as_deref().map(crate::audit::fingerprint) {
                    self.refused(id, code, around);
                }
            }
            "reset" => {
                if let Some(channel) = channel {
                    around.tally.error("reset");
                    self.reset(channel, position, around);
                }
            }
            "reconnect" => self.asked_to_move = Some(told.after_ms.unwrap_or(0)),
            "resend" => self.asked_to_resend = true,
            _ => {}
        }
    }

    /// Channels that were not resumed are heard from their heads on.
    fn welcome(&mut self, heads: BTreeMap<String, Position>, around: &mut Around<'_>) {
        self.welcomed = true;
        for (id, head) in heads {
            let Some(channel) = around.channel(&id) else {
                continue;
            };
            let known = self.places.iter_mut().find(|p| p.channel == channel);
            match known {
                Some(place) => place.replayed = head.seq,
                None => {
                    self.places.push(Place {
                        channel,
                        position: head,
                        replayed: head.seq,
                    });
                    let client = self.client;
                    around.audit.take(Event::Reading {
                        client,
                        channel,
                        after: head.seq,
                    });
                }
            }
        }
    }

    fn entry(&mut self, entry: Entry<'_>, around: &mut Around<'_>) {
        let Some(channel) = around.channel(entry.channel) else {
            // One of another load: these accounts are used again.
            return;
        };
        let client = self.client;
        around.audit.take(Event::Delivered {
            at: around.now,
            client,
            channel,
            position: entry.position,
            what: entry.what,
        });
        let mut replayed = false;
        if let Some(place) = self.places.iter_mut().find(|p| p.channel == channel) {
            place.position = entry.position;
            replayed = entry.position.seq <= place.replayed;
        }
        if let What::Message { .. } = entry.what {
            around.tally.count(Count::Deliveries);
            let due = entry
                .body
                .get(..DUE_DIGITS)
                .and_then(|due| due.parse().ok());
            // What was missed while away came late for a reason; that it came is the audit's.
            if let (Some(due), false) = (due, replayed) {
                around.tally.time(Measure::Delivery, due, around.now);
            }
        }
    }

    fn acked(&mut self, id: Id, position: Position, around: &mut Around<'_>) {
        let Some(place) = self.outbox.iter().position(|sent| sent.id == id) else {
            return around.tally.error("ack of nothing");
        };
        if place > 0
            && self
                .outbox
                .iter()
                .take(place)
                .any(|before| before.channel == self.outbox[place].channel)
        {
            around.tally.error("acks out of order");
        }
        let Some(sent) = self.outbox.remove(place) else {
            return;
        };
        around.audit.take(Event::Acked {
            at: around.now,
            client: self.client,
            channel: sent.channel,
            id,
            position,
        });
        around.tally.count(Count::Acked);
        around.tally.time(Measure::Ack, sent.due, around.now);
    }

    /// A refused message is given up: the load says how much is sent, not the server.
    fn refused(&mut self, id: Id, code: &str, around: &mut Around<'_>) {
        let Some(place) = self.outbox.iter().position(|sent| sent.id == id) else {
            return;
        };
        if let Some(sent) = self.outbox.remove(place)
            && !UNKNOWN.contains(&code)
        {
            around.audit.take(Event::Failed {
                client: self.client,
                channel: sent.channel,
                id,
            });
        }
    }

    fn reset(&mut self, channel: u32, to: Option<Position>, around: &mut Around<'_>) {
        let after = to.map(|to| to.seq);
        around.audit.take(Event::Reset {
            client: self.client,
            channel,
            after,
        });
        match to {
            Some(position) => {
                if let Some(place) = self.places.iter_mut().find(|p| p.channel == channel) {
                    place.position = position;
                }
            }
            None => self.places.retain(|place| place.channel != channel),
        }
    }
}

/// The frame of a message.
pub(super) fn message(channel: &str, due: u64, bytes: usize) -> (Id, u64, String) {
    use std::fmt::Write as _;
    let id = Uuid::now_v7();
    let mut text = format!(r#"{{"type":"send","id":"{id}","channel":"{channel}","body":""#);
    let from = text.len();
    // Writing to a string cannot fail. The id makes every body another one.
    let _ = write!(
        text,
        "{due:0DUE_DIGITS$} {:016x} ",
        id.as_u128() & u128::from(u64::MAX)
    );
    let written = text.len() - from;
    text.extend(std::iter::repeat_n('x', bytes.saturating_sub(written)));
    let content = crate::audit::content(&text.as_bytes()[from..]);
    text.push_str("\"}");
    (id.as_u128(), content, text)
}
