//! The receiving side of a socket. It has a buffer only while a frame is arriving.

use std::io;
use std::task::{Context, Poll, ready};

use banter_protocol::close::Close;
use banter_protocol::limit;
use banter_protocol::websocket::{Decoded, Decoder, Event};
use tokio::net::TcpStream;

/// Bytes that one read takes at least room for: most frames fit.
const READ_BYTES: usize = 4 * 1024;

/// Bytes that have arrived and were not decoded yet.
#[derive(Debug, Default)]
pub(super) struct Reader {
    input: Vec<u8>,
    /// Where in `input` the next frame begins.
    start: usize,
    /// How many bytes the frame at hand needs at least.
    missing: usize,
    decoder: Decoder,
}

impl Reader {
    /// A reader with what the client sent right behind its upgrade.
    pub(super) fn new(early: Vec<u8>) -> Self {
        Self {
            input: early,
            ..Self::default()
        }
    }

    /// The next frame of those that have arrived.
    ///
    /// # Errors
    /// The reason to close with; nothing can be read afterwards.
    pub(super) fn next(&mut self) -> Result<Option<Event>, Close> {
        if self.start == self.input.len() {
            self.input = Vec::new();
            self.start = 0;
            self.missing = 0;
            return Ok(None);
        }
        match self.decoder.decode(&mut self.input[self.start..])? {
            Decoded::Frame(length, event) => {
                self.start += length;
                Ok(Some(event))
            }
            Decoded::Incomplete(missing) => {
                self.input.drain(..self.start);
                self.start = 0;
                self.missing = missing;
                Ok(None)
            }
        }
    }

    /// Reads what there is; ready with 0 at the end of the stream.
    pub(super) fn poll_fill(
        &mut self,
        stream: &TcpStream,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(stream.poll_read_ready(cx))?;
            // A frame's length was checked when its header came, so this stays below the limit.
            let room = self
                .missing
                .clamp(READ_BYTES, limit::FRAME_BYTES_MAX + READ_BYTES);
            self.input.reserve(room);
            match stream.try_read_buf(&mut self.input) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if self.input.is_empty() {
                        self.input = Vec::new();
                    }
                }
                read => return Poll::Ready(read),
            }
        }
    }

    /// Throws away what has arrived: the conversation is over.
    pub(super) fn discard(&mut self) {
        self.input.clear();
        self.start = 0;
    }
}
