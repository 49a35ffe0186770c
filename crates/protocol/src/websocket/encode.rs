//! Frames for a client: never masked, never fragmented.

use bytes::{BufMut, Bytes, BytesMut};

use super::{CONTROL_BYTES_MAX, opcode};
use crate::close::Close;

const FINAL: u8 = 0x80;

/// A whole text message, to be shared by all who receive it.
#[must_use]
pub fn text_frame(text: &str) -> Bytes {
    frame(opcode::TEXT, text.as_bytes())
}

/// A ping or pong; the payload is cut to what a control frame holds.
#[must_use]
pub fn control_frame(opcode: u8, payload: &[u8]) -> Bytes {
    frame(opcode, &payload[..payload.len().min(CONTROL_BYTES_MAX)])
}

/// A close frame with its code and reason.
#[must_use]
pub fn close_frame(close: Close) -> Bytes {
    let mut payload = close.code().to_be_bytes().to_vec();
    payload.extend_from_slice(close.reason().as_bytes());
    control_frame(opcode::CLOSE, &payload)
}

/// The answer to a client's close: its own code, where it gave one.
#[must_use]
pub fn close_echo(code: Option<u16>) -> Bytes {
    match code {
        Some(code) => control_frame(opcode::CLOSE, &code.to_be_bytes()),
        None => control_frame(opcode::CLOSE, &[]),
    }
}

fn frame(opcode: u8, payload: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(payload.len() + 10);
    frame.put_u8(FINAL | opcode);
    if let Ok(length @ 0..=125) = u8::try_from(payload.len()) {
        frame.put_u8(length);
    } else if let Ok(length) = u16::try_from(payload.len()) {
        frame.put_u8(126);
        frame.put_u16(length);
    } else {
        frame.put_u8(127);
        frame.put_u64(payload.len() as u64);
    }
    frame.put_slice(payload);
    frame.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_have_the_shortest_form() {
        assert_eq!(&text_frame("ab")[..], b"\x81\x02ab");
        assert_eq!(&text_frame(&"x".repeat(126))[..4], b"\x81\x7e\x00\x7e");
        assert_eq!(
            &text_frame(&"x".repeat(65_536))[..10],
            b"\x81\x7f\0\0\0\0\0\x01\0\0"
        );
    }

    #[test]
    fn a_close_names_code_and_reason() {
        assert_eq!(&close_frame(Close::Restart)[..], b"\x88\x09\x0f\xa0restart");
    }
}
