//! A WebSocket client that can also do what no client may: every byte of a frame is at hand.
//!
//! It is written from RFC 6455 alone and shares nothing with the server's own codec.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::PATIENCE;
use super::contract::Contract;
use super::http::{Answer, Connection, Request};

pub(crate) const CONTINUATION: u8 = 0;
pub(crate) const TEXT: u8 = 1;
pub(crate) const BINARY: u8 = 2;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;
/// The bit of a message's last frame.
pub(crate) const FIN: u8 = 0x80;

/// The key and its answer of RFC 6455, section 1.3.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// Any mask will do, as long as it changes the bytes.
const MASK: [u8; 4] = [0x5a, 0x0f, 0xc3, 0x91];

/// What a server sends.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Heard {
    Frame(Value),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    /// The code and the reason; an empty close frame has none.
    Close(Option<(u16, String)>),
    /// The connection ended, by a reset or not.
    End,
    /// Nothing came in time.
    Silence,
}

/// How a conversation ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Frames that came before, the last of them perhaps an `error`.
    pub(crate) frames: Vec<Value>,
    /// The close code; 1006 where the connection ended without a close frame.
    pub(crate) code: u16,
    pub(crate) reason: String,
}

impl Ended {
    /// The code of the `error` right before the close.
    pub(crate) fn error(&self) -> Option<&str> {
        let last = self
            .frames
            .last()
            .filter(|frame| frame["type"] == "error")?;
        last["code"].as_str()
    }

    /// It ended so: close code, and the error told before it, if any.
    #[track_caller]
    pub(crate) fn with(&self, code: u16, error: Option<&str>) {
        assert_eq!((self.code, self.error()), (code, error), "{self:?}");
    }
}

/// The upgrade that every ordinary client sends.
pub(crate) fn upgrade() -> Request {
    Request::get("/v1/connect")
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", KEY)
}

/// A frame as clients send it: masked, its length in the shortest form.
pub(crate) fn frame(head: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![head];
    match payload.len() {
        short @ 0..=125 => bytes.push(0x80 | u8::try_from(short).unwrap()),
        middle @ 126..=0xffff => {
            bytes.push(0x80 | 126);
            bytes.extend_from_slice(&u16::try_from(middle).unwrap().to_be_bytes());
        }
        long => {
            bytes.push(0x80 | 127);
            bytes.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    bytes.extend_from_slice(&MASK);
    let masked = payload.iter().zip(MASK.iter().cycle());
    bytes.extend(masked.map(|(byte, mask)| byte ^ mask));
    bytes
}

/// One WebSocket.
#[derive(Debug)]
pub(crate) struct Socket {
    pub(crate) stream: TcpStream,
    input: Vec<u8>,
    start: usize,
    /// Whether the server's pings are answered; they are unless a test says otherwise.
    pub(crate) answers_pings: bool,
    /// What the frames of the server must look like; `None`: they are not looked at.
    pub(crate) contract: Option<&'static Contract>,
    /// Whether what is acknowledged is only queued yet.
    queues: bool,
}

impl Socket {
    /// Opens a socket; the server must accept it.
    #[track_caller]
    pub(crate) fn open(address: SocketAddr, contract: &'static Contract) -> Self {
        let mut socket = Self::request(address, &upgrade())
            .unwrap_or_else(|answer| panic!("no upgrade: {} {}", answer.status, answer.text()));
        socket.contract = Some(contract);
        socket
    }

    /// Asks for a socket.
    ///
    /// # Errors
    /// The answer of a server that refuses.
    #[track_caller]
    pub(crate) fn request(address: SocketAddr, request: &Request) -> Result<Self, Answer> {
        let mut connection = Connection::open(address);
        let answer = connection.call(request);
        if answer.status != 101 {
            return Err(answer);
        }
        assert_eq!(answer.header("sec-websocket-accept"), Some(ACCEPT));
        for negotiated in ["sec-websocket-extensions", "sec-websocket-protocol"] {
            assert_eq!(answer.header(negotiated), None);
        }
        Ok(Self::from(connection))
    }

    pub(crate) fn from(connection: Connection) -> Self {
        Self {
            stream: connection.stream,
            input: connection.early,
            start: 0,
            answers_pings: true,
            contract: None,
            queues: false,
        }
    }

    /// Sends bytes as they are. An error is for [`Self::hear`] to find out.
    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// Sends a frame: its first byte and its payload.
    pub(crate) fn frame(&mut self, head: u8, payload: &[u8]) {
        self.raw(&frame(head, payload));
    }

    /// Sends a text frame.
    pub(crate) fn text(&mut self, text: &str) {
        self.frame(FIN | TEXT, text.as_bytes());
    }

    /// Sends an object.
    pub(crate) fn say(&mut self, object: &Value) {
        self.text(&object.to_string());
    }

    /// Sends a message; the answer comes later.
    pub(crate) fn send(&mut self, channel: &str, id: &str, body: &str) {
        self.say(&json!({"type": "send", "id": id, "channel": channel, "body": body}));
    }

    /// Says `hello`.
    pub(crate) fn hello(&mut self, token: &str, resume: &Value) {
        let mut hello = json!({"type": "hello", "token": token});
        if !resume.is_null() {
            hello["resume"] = resume.clone();
        }
        self.say(&hello);
    }

    /// What comes next, within `patience`. Pings are answered and passed over, and so is `stored`
    /// where messages are acknowledged before they are.
    pub(crate) fn hear_within(&mut self, patience: Duration) -> Heard {
        let until = Instant::now() + patience;
        loop {
            let heard = match self.parse() {
                Some(heard) => heard,
                None => match self.fill(until) {
                    Some(heard) => return heard,
                    None => continue,
                },
            };
            if let Heard::Ping(payload) = &heard
                && self.answers_pings
            {
                self.frame(FIN | PONG, payload);
                continue;
            }
            if let Heard::Frame(frame) = &heard {
                self.queues |= frame["type"] == "welcome" && frame["level"] == "queued";
                if frame["type"] == "stored" && self.queues {
                    continue;
                }
            }
            return heard;
        }
    }

    /// What comes next.
    pub(crate) fn hear(&mut self) -> Heard {
        self.hear_within(PATIENCE)
    }

    /// Reads more. `Some`: there is no more.
    fn fill(&mut self, until: Instant) -> Option<Heard> {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Some(Heard::Silence);
        }
        self.input.drain(..self.start);
        self.start = 0;
        let mut piece = [0; 64 * 1024];
        let left = left.max(Duration::from_millis(1));
        let _ = self.stream.set_read_timeout(Some(left));
        match self.stream.read(&mut piece) {
            Ok(0) => Some(Heard::End),
            Ok(read) => {
                self.input.extend_from_slice(&piece[..read]);
                None
            }
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut => Some(Heard::Silence),
                ErrorKind::Interrupted => None,
                _ => Some(Heard::End),
            },
        }
    }

    /// The next frame of what was read. Servers do not mask, fragment or pad.
    fn parse(&mut self) -> Option<Heard> {
        let bytes = &self.input[self.start..];
        let [head, short, ..] = *bytes else {
            return None;
        };
        assert_eq!(head & 0x70, 0, "a reserved bit");
        assert_eq!(head & FIN, FIN, "a fragment");
        assert_eq!(short & 0x80, 0, "a masked frame");
        let (length, at) = match short {
            126 => (u64::from(u16::from_be_bytes(*bytes[2..].first_chunk()?)), 4),
            127 => (u64::from_be_bytes(*bytes[2..].first_chunk()?), 10),
            short => (u64::from(short), 2),
        };
        let least = [(4, 126), (10, 0x1_0000)].into_iter();
        for (_, least) in least.filter(|(form, _)| *form == at) {
            assert!(length >= least, "a length not in its shortest form");
        }
        let end = at + usize::try_from(length).unwrap();
        let payload = bytes.get(at..end)?.to_vec();
        self.start += end;
        Some(self.understand(head & 0x0f, payload))
    }

    fn understand(&self, opcode: u8, payload: Vec<u8>) -> Heard {
        match opcode {
            TEXT => {
                let text = String::from_utf8(payload).expect("a text frame is UTF-8");
                assert!(text.starts_with("{\"type\":\""), "{text}");
                let object = serde_json::from_str(&text).expect("a frame is one JSON object");
                if let Some(contract) = self.contract {
                    contract.check_frame(&object);
                }
                Heard::Frame(object)
            }
            PING => Heard::Ping(payload),
            PONG => Heard::Pong(payload),
            CLOSE => Heard::Close(payload.split_first_chunk().map(|(code, reason)| {
                let reason = String::from_utf8(reason.to_vec()).expect("a reason is UTF-8");
                (u16::from_be_bytes(*code), reason)
            })),
            unknown => panic!("the opcode {unknown}"),
        }
    }

    /// The next frame; nothing else may come.
    #[track_caller]
    pub(crate) fn next(&mut self) -> Value {
        match self.hear() {
            Heard::Frame(frame) => frame,
            other => panic!("no frame, but {other:?}"),
        }
    }

    /// The next frame, which has this type.
    #[track_caller]
    pub(crate) fn expect(&mut self, kind: &str) -> Value {
        let frame = self.next();
        assert_eq!(frame["type"], kind, "{frame}");
        frame
    }

    /// Frames up to the first for which `is_last` holds, that one included.
    #[track_caller]
    pub(crate) fn until(&mut self, mut is_last: impl FnMut(&Value) -> bool) -> Vec<Value> {
        let mut frames = Vec::new();
        loop {
            match self.hear() {
                Heard::Frame(frame) => {
                    frames.push(frame);
                    if is_last(&frames[frames.len() - 1]) {
                        return frames;
                    }
                }
                other => panic!("{other:?}, after {:?}", frames.last()),
            }
        }
    }

    /// The next frame of this type, whatever comes before it.
    #[track_caller]
    pub(crate) fn find(&mut self, kind: &str) -> Value {
        let mut frames = self.until(|frame| frame["type"] == kind);
        frames.pop().unwrap_or_default()
    }

    /// Sends a message and waits for its `ack`; passes over what else comes.
    #[track_caller]
    pub(crate) fn tell(&mut self, channel: &str, id: &str, body: &str) -> Value {
        self.send(channel, id, body);
        let mut frames = self.until(|frame| {
            ["ack", "error"].iter().any(|kind| frame["type"] == *kind) && frame["id"] == id
        });
        let answer = frames.pop().unwrap_or_default();
        assert_eq!(answer["type"], "ack", "{answer}");
        answer
    }

    /// Sends a message that is refused; gives the `error`.
    #[track_caller]
    pub(crate) fn refused(&mut self, channel: &str, id: &str, body: &str) -> Value {
        self.send(channel, id, body);
        let mut frames = self.until(|frame| {
            ["ack", "error"].iter().any(|kind| frame["type"] == *kind) && frame["id"] == id
        });
        let answer = frames.pop().unwrap_or_default();
        assert_eq!(answer["type"], "error", "{answer}");
        assert_eq!(answer["channel"], channel, "{answer}");
        answer
    }

    /// The server answers, so the socket lives.
    #[track_caller]
    pub(crate) fn is_alive(&mut self) {
        self.say(&json!({"type": "ping"}));
        self.find("pong");
    }

    /// Waits for the end, which the server must bring about.
    #[track_caller]
    pub(crate) fn ended(&mut self) -> Ended {
        self.ended_within(PATIENCE)
    }

    /// Waits so long for the end, which the server must bring about.
    #[track_caller]
    pub(crate) fn ended_within(&mut self, patience: Duration) -> Ended {
        let until = Instant::now() + patience;
        let mut frames = Vec::new();
        loop {
            let (code, reason) =
                match self.hear_within(until.saturating_duration_since(Instant::now())) {
                    Heard::Frame(frame) => {
                        frames.push(frame);
                        continue;
                    }
                    Heard::Ping(_) | Heard::Pong(_) => continue,
                    Heard::Close(None) => (1005, String::new()),
                    Heard::Close(Some(code)) => {
                        self.frame(FIN | CLOSE, &code.0.to_be_bytes());
                        code
                    }
                    Heard::End => (1006, String::new()),
                    Heard::Silence => panic!("still open after {patience:?}: {:?}", frames.last()),
                };
            return Ended {
                frames,
                code,
                reason,
            };
        }
    }

    /// Ends the conversation as RFC 6455 says, and returns what came before the end.
    #[track_caller]
    pub(crate) fn close(mut self) -> Vec<Value> {
        self.frame(FIN | CLOSE, &1000_u16.to_be_bytes());
        let ended = self.ended();
        assert_eq!(ended.code, 1000, "{ended:?}");
        ended.frames
    }

    /// Goes away without a word.
    pub(crate) fn drop_connection(self) {
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}
