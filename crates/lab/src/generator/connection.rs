//! One socket of the load.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use banter_protocol::id::Position;
use banter_protocol::sequence::{Sequence, Step};
use banter_protocol::websocket::opcode;
use serde::Deserialize;
use uuid::Uuid;

use super::Channel;
use super::tally::Tally;
use crate::wire::{self, Frame, Scanner};

/// A connection that has had its `welcome`.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    scanner: Scanner,
    hearing: Hearing,
    unsent: Vec<u8>,
    sends: Option<usize>,
    gone: bool,
}

/// What came, and what is awaited.
#[derive(Debug)]
struct Hearing {
    /// Whether every frame is read.
    watches: bool,
    /// Whether anything is read.
    reads: bool,
    places: Vec<Place>,
    messages: u64,
    /// Sent and not answered yet, oldest first: since when, and under which id.
    unanswered: VecDeque<(Duration, String)>,
    /// Payloads of pings, to be sent back.
    pings: Vec<Vec<u8>>,
    closed: Option<u16>,
    out_of_order: u64,
}

/// Where a connection stands in a channel of the load.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) channel: usize,
    pub(super) sequence: Sequence,
    pub(super) delivered: u64,
}

impl Place {
    pub(super) const fn new(channel: usize, head: Position) -> Self {
        Self {
            channel,
            sequence: Sequence::after(head),
            delivered: 0,
        }
    }
}

/// A frame of the server, as far as it matters here.
#[derive(Deserialize)]
struct Told<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    channel: Option<Cow<'a, str>>,
    seq: Option<u64>,
    epoch: Option<u64>,
    #[serde(borrow)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    body: Option<Cow<'a, str>>,
    #[serde(borrow)]
    code: Option<Cow<'a, str>>,
}

impl Connection {
    pub(super) fn new(stream: TcpStream, seat: &super::Seat, places: Vec<Place>) -> Self {
        Self {
            stream,
            scanner: Scanner::new(seat.watches),
            hearing: Hearing {
                watches: seat.watches,
                reads: seat.reads,
                places,
                messages: 0,
                unanswered: VecDeque::new(),
                pings: Vec::new(),
                closed: None,
                out_of_order: 0,
            },
            unsent: Vec::new(),
            sends: seat.sends,
            gone: false,
        }
    }

    pub(super) const fn stream(&self) -> &TcpStream {
        &self.stream
    }

    pub(super) const fn is_gone(&self) -> bool {
        self.gone
    }

    pub(super) const fn reads(&self) -> bool {
        self.hearing.reads
    }

    /// The code with which the server has closed it.
    pub(super) const fn closed(&self) -> Option<u16> {
        self.hearing.closed
    }

    pub(super) const fn has_unsent(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// Channels of the load that it hears.
    pub(super) fn channels(&self) -> impl Iterator<Item = usize> + '_ {
        self.hearing.places.iter().map(|place| place.channel)
    }

    /// How many of so many messages have not come.
    pub(super) fn missing(&self, expected: u64) -> i64 {
        if !self.hearing.reads {
            return 0;
        }
        expected.cast_signed() - self.hearing.messages.cast_signed()
    }

    /// How many messages of a channel have come; known of a watching connection only.
    pub(super) fn delivered(&self, channel: usize) -> u64 {
        let mut places = self.hearing.places.iter();
        let place = places.find(|place| place.channel == channel);
        place.map_or(0, |place| place.delivered)
    }

    /// What went wrong with it.
    pub(super) fn fault(&self) -> Option<String> {
        if let Some(code) = self.hearing.closed {
            return Some(format!("closed with {code}"));
        }
        if self.gone {
            return Some("cut".to_owned());
        }
        (self.hearing.out_of_order > 0).then(|| "out of order".to_owned())
    }

    /// Makes a message of a channel; it goes out with the next flush.
    pub(super) fn send(&mut self, channel: &str, due: Duration, body_bytes: usize) {
        let id = Uuid::now_v7().to_string();
        let mut text = String::with_capacity(body_bytes + 128);
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            r#"{{"type":"send","id":"{id}","channel":"{channel}","body":"{:020} "#,
            due.as_nanos()
        );
        text.extend(std::iter::repeat_n('x', body_bytes.saturating_sub(21)));
        text.push_str(r#""}"#);
        wire::frame(opcode::TEXT, text.as_bytes(), &mut self.unsent);
        self.hearing.unanswered.push_back((due, id));
    }

    /// Writes what is to be sent; whether nothing is left.
    pub(super) fn flush(&mut self) -> bool {
        while !self.unsent.is_empty() && !self.gone {
            match self.stream.write(&self.unsent) {
                Ok(written) => drop(self.unsent.drain(..written)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => self.gone = true,
            }
        }
        self.unsent.clear();
        true
    }

    /// Reads once.
    pub(super) fn read(
        &mut self,
        buffer: &mut [u8],
        origin: Instant,
        channels: &mut [Channel],
        tally: &mut Tally,
    ) {
        let read = match self.stream.read(buffer) {
            Ok(0) => {
                self.gone = true;
                return;
            }
            Ok(read) => read,
            Err(error) => {
                let passing = [ErrorKind::WouldBlock, ErrorKind::Interrupted];
                self.gone = !passing.contains(&error.kind());
                return;
            }
        };
        // One look at the clock for all that came with this read.
        let now = origin.elapsed();
        let (hearing, sends) = (&mut self.hearing, self.sends);
        let scanned = self.scanner.scan(&buffer[..read], |frame| {
            hearing.take(frame, now, sends, channels, tally);
        });
        if scanned.is_err() {
            tally.fault("broken frames", 1);
            self.gone = true;
        }
        for ping in self.hearing.pings.drain(..) {
            wire::frame(opcode::PONG, &ping, &mut self.unsent);
        }
    }
}

impl Hearing {
    fn take(
        &mut self,
        frame: Frame<'_>,
        now: Duration,
        sends: Option<usize>,
        channels: &mut [Channel],
        tally: &mut Tally,
    ) {
        match frame.opcode {
            opcode::TEXT if self.watches => self.told(frame.payload, now, sends, channels, tally),
            opcode::TEXT => {
                self.messages += 1;
                tally.deliveries += 1;
            }
            opcode::PING => self.pings.push(frame.payload.to_vec()),
            opcode::CLOSE => {
                let code = frame.payload.first_chunk::<2>();
                self.closed = Some(code.map_or(1005, |code| u16::from_be_bytes(*code)));
            }
            _ => {}
        }
    }

    fn told(
        &mut self,
        text: &[u8],
        now: Duration,
        sends: Option<usize>,
        channels: &mut [Channel],
        tally: &mut Tally,
    ) {
        let Ok(told) = serde_json::from_slice::<Told<'_>>(text) else {
            return tally.fault("unreadable frames", 1);
        };
        match &*told.kind {
            "message" => self.message(&told, now, channels, tally),
            "ack" => {
                let due = self.answered(told.id.as_deref(), tally);
                if let (Some(due), Some(channel)) = (due, sends) {
                    channels[channel].acked += 1;
                    tally.acked(due, now);
                }
            }
            "error" => {
                tally.fault(told.code.as_deref().unwrap_or("error"), 1);
                let due = self.answered(told.id.as_deref(), tally);
                if let (Some(_), Some(channel)) = (due, sends) {
                    channels[channel].refused += 1;
                }
            }
            _ => {}
        }
    }

    /// Since when the oldest message awaits its answer, which is this one.
    fn answered(&mut self, id: Option<&str>, tally: &mut Tally) -> Option<Duration> {
        let (_, oldest) = self.unanswered.front()?;
        if id != Some(oldest.as_str()) {
            tally.fault("answers out of order", 1);
            return None;
        }
        self.unanswered.pop_front().map(|(due, _)| due)
    }

    fn message(&mut self, told: &Told<'_>, now: Duration, channels: &[Channel], tally: &mut Tally) {
        let (Some(seq), Some(epoch), Some(body)) = (told.seq, told.epoch, &told.body) else {
            return tally.fault("unreadable frames", 1);
        };
        self.messages += 1;
        tally.deliveries += 1;
        let place = self
            .places
            .iter_mut()
            .find(|place| told.channel.as_deref() == Some(&*channels[place.channel].id));
        let Some(place) = place else {
            return tally.fault("messages of another channel", 1);
        };
        if place.sequence.accept(Position { seq, epoch }) != Step::Apply {
            self.out_of_order += 1;
        }
        place.delivered += 1;
        let due = body.get(..20).and_then(|due| due.parse().ok());
        if let Some(due) = due {
            tally.delivered(Duration::from_nanos(due), now);
        }
    }
}
