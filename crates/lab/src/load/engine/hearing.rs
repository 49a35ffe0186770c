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

/// What a message in the outbox is waiting for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Awaits {
    /// To be answered, or sent at all.
    Answer,
    /// To be in the database: the log has it as this entry, and may lose it.
    Stored(Position),
    /// To be sent again at this time: the log lost it, and refuses it for the moment.
    Retry(u64),
}

/// A message that is not known to be stored.
#[derive(Debug, Clone)]
pub(super) struct Outgoing {
    pub(super) id: Id,
    pub(super) channel: u32,
    /// When it should have been sent.
    pub(super) due: u64,
    pub(super) content: u64,
    /// The frame.
    pub(super) text: String,
    pub(super) awaits: Awaits,
    /// Whether it was acked once: from then on it is not given up.
    pub(super) acked: bool,
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
    /// Whether it was done on this socket: what was under way is answered twice then.
    pub(super) resent: bool,
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
    retry_after_ms: Option<u64>,
    #[serde(borrow)]
    level: Option<std::borrow::Cow<'a, str>>,
    channels: Option<BTreeMap<String, Position>>,
}

/// Wait before another try where the server does not say how long.
const RETRY_MS: u64 = 500;
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
            resent: false,
        }
    }

    /// The socket is gone; what was applied and what awaits an answer stays.
    pub(super) fn cut(&mut self) {
        self.welcomed = false;
        self.closed = None;
        self.asked_to_move = None;
        // Whoever comes back sends everything again anyway.
        self.asked_to_resend = false;
        self.resent = false;
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
                let queued = told.level.as_deref() == Some("queued");
                if let (Some(id), Some(channel), Some(position)) = (id, channel, position) {
                    self.acked(id, channel, position, queued, around);
                }
            }
            "stored" => {
                if let (Some(channel), Some(position)) = (channel, position) {
                    self.stored(channel, position);
                }
            }
            "error" => {
                let code = told.code.as_deref().unwrap_or("error");
                around.tally.error(code);
                if let Some(id) = told.id.as_deref().map(crate::audit::fingerprint) {
                    self.refused(id, code, told.retry_after_ms, around);
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

    fn acked(
        &mut self,
        id: Id,
        channel: u32,
        position: Position,
        queued: bool,
        around: &mut Around<'_>,
    ) {
        around.audit.take(Event::Acked {
            at: around.now,
            client: self.client,
            channel,
            id,
            position,
        });
        let Some(place) = self.outbox.iter().position(|sent| sent.id == id) else {
            if !self.resent {
                around.tally.error("ack of nothing");
            }
            return;
        };
        let overtaken =
            |before: &Outgoing| before.channel == channel && before.awaits == Awaits::Answer;
        if !self.resent && self.outbox.iter().take(place).any(overtaken) {
            around.tally.error("acks out of order");
        }
        let sent = &mut self.outbox[place];
        sent.awaits = Awaits::Stored(position);
        if !std::mem::replace(&mut sent.acked, true) {
            around.tally.acked(around.now);
            around.tally.time(Measure::Ack, sent.due, around.now);
        }
        if !queued {
            self.outbox.remove(place);
        }
    }

    /// What this user sent to the channel is in the database up to there.
    fn stored(&mut self, channel: u32, stored: Position) {
        self.outbox.retain(|sent| match sent.awaits {
            Awaits::Stored(at) => {
                sent.channel != channel || at.epoch != stored.epoch || at.seq > stored.seq
            }
            _ => true,
        });
    }

    /// A refused message is given up: the load says how much is sent, not the server. One that
    /// was accepted before, and that the log has lost, is tried until it is taken.
    fn refused(&mut self, id: Id, code: &str, wait_ms: Option<u64>, around: &mut Around<'_>) {
        let Some(place) = self.outbox.iter().position(|sent| sent.id == id) else {
            return;
        };
        let sent = &mut self.outbox[place];
        if sent.acked {
            let wait_ms = wait_ms.unwrap_or(RETRY_MS);
            sent.awaits = Awaits::Retry(around.now + wait_ms * 1_000_000);
        } else if let Some(sent) = self.outbox.remove(place)
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
