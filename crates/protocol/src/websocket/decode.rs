//! Frames from a client, checked as RFC 6455 asks.

use super::{CONTROL_BYTES_MAX, opcode};
use crate::close::Close;
use crate::limit;

/// What one frame of a client means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A whole text message.
    Text(String),
    /// A part of a message that is not finished yet.
    Fragment,
    /// To be answered with the same payload.
    Ping(Vec<u8>),
    /// Answer to a ping.
    Pong(Vec<u8>),
    /// The client ends the connection, with its code where it gave one.
    Close(Option<u16>),
}

/// What the bytes at hand hold.
#[derive(Debug, PartialEq, Eq)]
pub enum Decoded {
    /// The beginning of a frame: read at least so many bytes more.
    Incomplete(usize),
    /// A frame, and how many bytes it took.
    Frame(usize, Event),
}

/// The state between frames: the message that is being put together.
#[derive(Debug, Default)]
pub struct Decoder {
    message: Vec<u8>,
    /// How much of the message is known to be UTF-8.
    checked: usize,
    continues: bool,
}

struct Header {
    last: bool,
    opcode: u8,
    length: usize,
    mask: [u8; 4],
    size: usize,
}

impl Decoder {
    /// Whether a fragmented message is under way.
    #[must_use]
    pub const fn is_idle(&self) -> bool {
        !self.continues
    }

    /// Reads the frame at the start of `input`, unmasking it in place.
    ///
    /// # Errors
    /// The reason to close with: 1002, 1003, 1007 or 1009. Nothing may be decoded afterwards.
    pub fn decode(&mut self, input: &mut [u8]) -> Result<Decoded, Close> {
        let header = match self.header(input)? {
            Ok(header) => header,
            Err(missing) => return Ok(Decoded::Incomplete(missing)),
        };
        let end = header.size + header.length;
        if input.len() < end {
            return Ok(Decoded::Incomplete(end - input.len()));
        }
        let payload = &mut input[header.size..end];
        for (byte, mask) in payload.iter_mut().zip(header.mask.iter().cycle()) {
            *byte ^= mask;
        }
        Ok(Decoded::Frame(end, self.event(&header, payload)?))
    }

    /// The header, or how many bytes are missing to it. What can be refused is refused as early as
    /// its bytes are there.
    fn header(&self, input: &[u8]) -> Result<Result<Header, usize>, Close> {
        let [first, second, rest @ ..] = input else {
            return Ok(Err(2 - input.len()));
        };
        let (last, opcode) = (first & 0x80 != 0, first & 0x0f);
        let (reserved, masked) = (first & 0x70 != 0, second & 0x80 != 0);
        if reserved || !masked {
            return Err(Close::Protocol);
        }
        self.check_opcode(opcode, last)?;
        let (length, extended) = match second & 0x7f {
            126 => match rest.first_chunk::<2>() {
                Some(bytes) => (u64::from(u16::from_be_bytes(*bytes)), 2),
                None => return Ok(Err(2 - rest.len())),
            },
            127 => match rest.first_chunk::<8>() {
                Some(bytes) => (u64::from_be_bytes(*bytes), 8),
                None => return Ok(Err(8 - rest.len())),
            },
            short => (u64::from(short), 0),
        };
        check_length(opcode, length, extended)?;
        let length = usize::try_from(length).map_err(|_| Close::TooBig)?;
        if length + self.message.len() > limit::FRAME_BYTES_MAX && opcode < opcode::CLOSE {
            return Err(Close::TooBig);
        }
        let Some(mask) = rest[extended..].first_chunk::<4>() else {
            return Ok(Err(extended + 4 - rest.len()));
        };
        Ok(Ok(Header {
            last,
            opcode,
            length,
            mask: *mask,
            size: 2 + extended + 4,
        }))
    }

    fn check_opcode(&self, opcode: u8, last: bool) -> Result<(), Close> {
        match opcode {
            opcode::CONTINUATION if self.continues => Ok(()),
            opcode::TEXT if !self.continues => Ok(()),
            opcode::BINARY if !self.continues => Err(Close::Unsupported),
            opcode::CLOSE | opcode::PING | opcode::PONG if last => Ok(()),
            _ => Err(Close::Protocol),
        }
    }

    fn event(&mut self, header: &Header, payload: &[u8]) -> Result<Event, Close> {
        match header.opcode {
            opcode::PING => Ok(Event::Ping(payload.to_vec())),
            opcode::PONG => Ok(Event::Pong(payload.to_vec())),
            opcode::CLOSE => close_code(payload).map(Event::Close),
            _ if header.last && !self.continues => text(payload.to_vec()),
            _ => {
                self.message.extend_from_slice(payload);
                self.continues = !header.last;
                if self.continues {
                    return self.check_beginning().map(|()| Event::Fragment);
                }
                self.checked = 0;
                text(std::mem::take(&mut self.message))
            }
        }
    }
}

impl Decoder {
    /// Refuses a beginning that no continuation can make UTF-8. A character may be cut at its end.
    fn check_beginning(&mut self) -> Result<(), Close> {
        match std::str::from_utf8(&self.message[self.checked..]) {
            Ok(_) => self.checked = self.message.len(),
            Err(error) if error.error_len().is_none() => self.checked += error.valid_up_to(),
            Err(_) => return Err(Close::NotUtf8),
        }
        Ok(())
    }
}

/// A length must have its shortest form, a control frame must be short.
fn check_length(opcode: u8, length: u64, extended: usize) -> Result<(), Close> {
    let shortest = match extended {
        0 => true,
        2 => length > 125,
        _ => length > u64::from(u16::MAX) && length >> 63 == 0,
    };
    if !shortest || (opcode >= opcode::CLOSE && length > CONTROL_BYTES_MAX as u64) {
        return Err(Close::Protocol);
    }
    Ok(())
}

fn text(payload: Vec<u8>) -> Result<Event, Close> {
    if simdutf8::basic::from_utf8(&payload).is_err() {
        return Err(Close::NotUtf8);
    }
    String::from_utf8(payload)
        .map(Event::Text)
        .map_err(|_| Close::NotUtf8)
}

/// The code of a close frame: RFC 6455, 7.4, and IANA's registry up to 1014.
fn close_code(payload: &[u8]) -> Result<Option<u16>, Close> {
    let [high, low, reason @ ..] = payload else {
        return if payload.is_empty() {
            Ok(None)
        } else {
            Err(Close::Protocol)
        };
    };
    let code = u16::from_be_bytes([*high, *low]);
    if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
        return Err(Close::Protocol);
    }
    simdutf8::basic::from_utf8(reason).map_err(|_| Close::NotUtf8)?;
    Ok(Some(code))
}
