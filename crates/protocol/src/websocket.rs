//! RFC 6455 framing without I/O, for the server's side: what a client may send, and how frames for
//! it are written.
//!
//! The decoder looks at bytes that somebody else has read, so a read may be cut anywhere, and an
//! idle socket needs no buffer. There is no limit on the number of fragments: they count as frames
//! for the socket's rate, and empty ones hold no memory.

mod decode;
mod encode;
mod handshake;

pub use decode::{Decoded, Decoder, Event};
pub use encode::{close_echo, close_frame, control_frame, text_frame};
pub use handshake::accept_key;

/// Opcodes of RFC 6455, 5.2.
pub mod opcode {
    /// Continues a fragmented message.
    pub const CONTINUATION: u8 = 0;
    /// A text message.
    pub const TEXT: u8 = 1;
    /// A binary message.
    pub const BINARY: u8 = 2;
    /// The end of the connection.
    pub const CLOSE: u8 = 8;
    /// To be answered with a pong.
    pub const PING: u8 = 9;
    /// Answer to a ping.
    pub const PONG: u8 = 10;
}

/// Longest payload of a control frame (RFC 6455, 5.5).
pub const CONTROL_BYTES_MAX: usize = 125;
