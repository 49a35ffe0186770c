//! One user's socket: from nothing to live, and again.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr};

use banter_protocol::websocket::opcode;
use serde_json::{Map, json};
use socket2::{Domain, Socket as Raw, Type};

use super::hearing::Hearing;
use super::{Around, now_ns};
use crate::load::plan::Plan;
use crate::stream::Stream;
use crate::wire::{self, Scanner};

/// Sockets from one loopback address; its ports are some 28,000, and those of closed ones rest.
const ADDRESS_SOCKETS: u32 = 4_000;
/// Loopback addresses of one generator.
const ADDRESSES: u32 = 60;
/// An answer to the upgrade is shorter.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// How far a socket is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// There is none.
    Down,
    /// The kernel is connecting it.
    Connecting,
    /// The answer to the upgrade is awaited.
    Upgrading,
    /// The `welcome` is awaited.
    Greeting,
    /// It hears and speaks.
    Live,
}

/// A user's socket.
#[derive(Debug)]
pub(super) struct Socket {
    pub(super) state: State,
    stream: Option<Stream>,
    scanner: Scanner,
    head: Vec<u8>,
    out: Vec<u8>,
    pub(super) hearing: Hearing,
    /// Since when it should be there.
    pub(super) due: u64,
    /// When this try began.
    pub(super) begun: u64,
    /// When it moves to another process, as the server asked.
    pub(super) moves_at: Option<u64>,
    /// Tries in a row that came to nothing.
    pub(super) tries: u32,
    /// Whether the kernel did not take everything.
    pub(super) blocked: bool,
    /// Whether the server has ever let it in.
    pub(super) was_live: bool,
}

/// A connection on its way, from a source of its own where the server is on this machine.
pub(super) fn connect(
    server: SocketAddr,
    tls: Option<&str>,
    source: u32,
) -> std::io::Result<Stream> {
    let socket = Raw::new(Domain::for_address(server), Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    // Thousands of closed connections would otherwise keep their ports for a minute.
    socket.set_linger(Some(std::time::Duration::ZERO))?;
    if let IpAddr::V4(address) = server.ip()
        && address.is_loopback()
    {
        let [high, low] = [source / 250, source % 250].map(|n| u8::try_from(n).unwrap_or(0));
        socket.bind(&SocketAddr::from(([127, 7, high, low + 1], 0)).into())?;
    }
    match socket.connect(&server.into()) {
        Err(error)
            if error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => {}
        other => other?,
    }
    Stream::new(socket.into(), tls)
}

impl Socket {
    pub(super) fn new(hearing: Hearing) -> Self {
        Self {
            state: State::Down,
            stream: None,
            scanner: Scanner::new(true),
            head: Vec::new(),
            out: Vec::new(),
            hearing,
            due: 0,
            moves_at: None,
            begun: 0,
            tries: 0,
            blocked: false,
            was_live: false,
        }
    }

    pub(super) const fn stream(&self) -> Option<&Stream> {
        self.stream.as_ref()
    }

    /// Begins to connect.
    pub(super) fn open(&mut self, plan: &Plan) -> std::io::Result<()> {
        self.cut();
        let source = plan.generator * ADDRESSES + self.hearing.local / ADDRESS_SOCKETS;
        self.state = State::Connecting;
        self.begun = now_ns();
        self.stream = Some(connect(plan.server, plan.tls.as_deref(), source)?);
        Ok(())
    }

    /// Closes it, without a word.
    pub(super) fn cut(&mut self) {
        self.stream = None;
        self.state = State::Down;
        self.scanner = Scanner::new(true);
        self.head.clear();
        self.out.clear();
        self.blocked = false;
        self.moves_at = None;
        self.hearing.cut();
    }

    /// The kernel has connected it, or takes more.
    pub(super) fn writable(&mut self, plan: &Plan) -> std::io::Result<()> {
        if self.state == State::Connecting {
            if let Some(stream) = &self.stream
                && let Some(error) = stream.socket().take_error()?
            {
                return Err(error);
            }
            self.out.extend_from_slice(
                format!(
                    "GET /v1/connect HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\n\
                     Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
                    plan.host
                )
                .as_bytes(),
            );
            self.state = State::Upgrading;
        }
        self.flush()
    }

    /// Puts a text into the queue.
    pub(super) fn tell(&mut self, text: &str) {
        wire::frame(opcode::TEXT, text.as_bytes(), &mut self.out);
    }

    pub(super) fn flush(&mut self) -> std::io::Result<()> {
        let Some(stream) = &mut self.stream else {
            return Ok(());
        };
        self.blocked = false;
        while !self.out.is_empty() {
            match stream.write(&self.out) {
                Ok(written) => drop(self.out.drain(..written)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    // Under TLS it may as well be the other side's turn.
                    self.blocked = stream.wants_write();
                    return Ok(());
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        match stream.flush() {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.blocked = stream.wants_write();
                Ok(())
            }
            other => other,
        }
    }

    /// Reads once; whether there may be more.
    pub(super) fn readable(
        &mut self,
        buffer: &mut [u8],
        token: &str,
        around: &mut Around<'_>,
    ) -> std::io::Result<bool> {
        let Some(stream) = &mut self.stream else {
            return Ok(false);
        };
        let read = match stream.read(buffer) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                // What waited for the other side's turn may go now.
                return self.flush().map(|()| false);
            }
            Err(error) => return Err(error),
        };
        around.now = now_ns();
        if self.state == State::Upgrading {
            self.head.extend_from_slice(&buffer[..read]);
            let whole = self.head.ends_with(b"\r\n\r\n");
            if whole && self.head.starts_with(b"HTTP/1.1 101") {
                let hello = self.hello(token, around.plan);
                self.tell(&hello);
                self.state = State::Greeting;
                return self.flush().map(|()| false);
            }
            if whole || self.head.len() > HEAD_BYTES_MAX {
                return Err(ErrorKind::ConnectionRefused.into());
            }
            return Ok(false);
        }
        let (scanner, hearing) = (&mut self.scanner, &mut self.hearing);
        let scanned = scanner.scan(&buffer[..read], |frame| hearing.take(frame, around));
        scanned.map_err(|_| ErrorKind::InvalidData)?;
        for ping in std::mem::take(&mut self.hearing.pings) {
            wire::frame(opcode::PONG, &ping, &mut self.out);
        }
        self.flush()?;
        Ok(read == buffer.len())
    }

    /// The first frame: where it goes on.
    fn hello(&self, token: &str, plan: &Plan) -> String {
        let positions = self.hearing.places.iter().filter_map(|place| {
            let id = plan.channels.get(place.channel as usize)?;
            Some((id.clone(), json!(place.position)))
        });
        let resume: Map<_, _> = positions.collect();
        if resume.is_empty() {
            return json!({ "type": "hello", "token": token }).to_string();
        }
        json!({ "type": "hello", "token": token, "resume": resume }).to_string()
    }
}
