//! The client's side of RFC 6455, as cheap as it gets: most frames are only counted.

use banter_protocol::websocket::opcode;

/// What every frame is masked with. It has to be there; nobody here needs it to be a secret.
const MASK: [u8; 4] = [0x5a, 0xc3, 0x96, 0x0f];
const FINAL: u8 = 0x80;
const MASKED: u8 = 0x80;

/// Appends a masked frame to `out`.
pub fn frame(opcode: u8, payload: &[u8], out: &mut Vec<u8>) {
    out.push(FINAL | opcode);
    if let Ok(length @ 0..=125) = u8::try_from(payload.len()) {
        out.push(MASKED | length);
    } else if let Ok(length) = u16::try_from(payload.len()) {
        out.push(MASKED | 126);
        out.extend_from_slice(&length.to_be_bytes());
    } else {
        out.push(MASKED | 127);
        out.extend_from_slice(&(payload.len() as u64).to_be_bytes());
    }
    out.extend_from_slice(&MASK);
    out.extend(payload.iter().zip(MASK.iter().cycle()).map(|(b, m)| b ^ m));
}

/// A frame breaks the rules for servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Broken;

/// Finds the frames in what a server sends, however it is cut.
#[derive(Debug)]
pub struct Scanner {
    /// Whether the texts are wanted, or only their number.
    texts: bool,
    head: [u8; 10],
    head_bytes: usize,
    opcode: u8,
    /// Bytes of the payload that are still to come; `None` between frames.
    left: Option<usize>,
    /// The beginning of a wanted payload that was cut.
    kept: Vec<u8>,
}

/// One whole frame; the payload of a text that is not wanted is empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What it is.
    pub opcode: u8,
    /// What it says.
    pub payload: &'a [u8],
}

impl Scanner {
    /// A scanner at the beginning of a frame.
    #[must_use]
    pub const fn new(texts: bool) -> Self {
        Self {
            texts,
            head: [0; 10],
            head_bytes: 0,
            opcode: 0,
            left: None,
            kept: Vec::new(),
        }
    }

    /// Hands every frame that ends in `input` to `take`.
    ///
    /// # Errors
    /// The server masks, fragments or uses reserved bits.
    pub fn scan(
        &mut self,
        mut input: &[u8],
        mut take: impl FnMut(Frame<'_>),
    ) -> Result<(), Broken> {
        while !input.is_empty() {
            let Some(left) = self.left else {
                input = self.header(input)?;
                if self.left == Some(0) {
                    self.left = None;
                    take(Frame {
                        opcode: self.opcode,
                        payload: &[],
                    });
                }
                continue;
            };
            let wanted = self.texts || self.opcode != opcode::TEXT;
            if input.len() < left {
                if wanted {
                    self.kept.extend_from_slice(input);
                }
                self.left = Some(left - input.len());
                return Ok(());
            }
            let (payload, rest) = input.split_at(left);
            (input, self.left) = (rest, None);
            let opcode = self.opcode;
            if !wanted {
                let payload = &[][..];
                take(Frame { opcode, payload });
            } else if self.kept.is_empty() {
                take(Frame { opcode, payload });
            } else {
                self.kept.extend_from_slice(payload);
                let payload = &self.kept[..];
                take(Frame { opcode, payload });
                self.kept.clear();
            }
        }
        Ok(())
    }

    /// Reads a header, or what there is of it; returns the rest.
    fn header<'a>(&mut self, input: &'a [u8]) -> Result<&'a [u8], Broken> {
        let needed = |head: &[u8]| match head.get(1).map(|second| second & 0x7f) {
            None => 2,
            Some(126) => 4,
            Some(127) => 10,
            Some(_) => 2,
        };
        let mut at = 0;
        while self.head_bytes < needed(&self.head[..self.head_bytes]) {
            let Some(byte) = input.get(at) else {
                return Ok(&[]);
            };
            self.head[self.head_bytes] = *byte;
            self.head_bytes += 1;
            at += 1;
        }
        let head = self.head;
        self.head_bytes = 0;
        if head[0] & 0xf0 != FINAL || head[1] & MASKED != 0 {
            return Err(Broken);
        }
        self.opcode = head[0] & 0x0f;
        self.left = Some(match head[1] {
            126 => usize::from(u16::from_be_bytes([head[2], head[3]])),
            127 => {
                let length = head[2..].try_into().map_err(|_| Broken)?;
                usize::try_from(u64::from_be_bytes(length)).map_err(|_| Broken)?
            }
            short => usize::from(short),
        });
        Ok(&input[at..])
    }
}

#[cfg(test)]
mod tests {
    use banter_protocol::websocket::{Decoded, Decoder, Event, control_frame, text_frame};

    use super::*;

    #[test]
    fn the_server_reads_what_is_written_here() {
        for length in [0, 1, 125, 126, 65_535] {
            let text = "x".repeat(length);
            let mut bytes = Vec::new();
            frame(opcode::TEXT, text.as_bytes(), &mut bytes);
            let decoded = Decoder::default().decode(&mut bytes.clone());
            assert_eq!(
                decoded,
                Ok(Decoded::Frame(bytes.len(), Event::Text(text))),
                "{length}"
            );
        }
    }

    #[test]
    fn frames_are_found_however_they_are_cut() {
        let texts = ["", "a", &"b".repeat(200), &"c".repeat(70_000)];
        let mut bytes = Vec::new();
        for text in texts {
            bytes.extend_from_slice(&text_frame(text));
            bytes.extend_from_slice(&control_frame(opcode::PING, b"p"));
        }
        for step in [1, 2, 3, 7, 300, bytes.len()] {
            for wanted in [true, false] {
                let mut scanner = Scanner::new(wanted);
                let mut found = Vec::new();
                for piece in bytes.chunks(step) {
                    let taken = |frame: Frame<'_>| {
                        found.push((
                            frame.opcode,
                            String::from_utf8(frame.payload.into()).unwrap(),
                        ));
                    };
                    scanner.scan(piece, taken).unwrap();
                }
                let expected: Vec<_> = texts
                    .iter()
                    .flat_map(|text| {
                        let text = if wanted { *text } else { "" };
                        [(opcode::TEXT, text.into()), (opcode::PING, "p".into())]
                    })
                    .collect();
                assert_eq!(found, expected, "in steps of {step}");
            }
        }
    }

    #[test]
    fn a_masked_frame_is_no_servers() {
        let mut bytes = Vec::new();
        frame(opcode::TEXT, b"a", &mut bytes);
        assert_eq!(Scanner::new(true).scan(&bytes, |_| {}), Err(Broken));
    }
}
