//! From nothing to `welcome`.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use banter_protocol::id::Position;
use banter_protocol::websocket::opcode;
use serde::Deserialize;
use socket2::{Domain, Socket, Type};

use super::connection::{Connection, Place};
use super::{Channel, Seat};
use crate::wire::{self, Scanner};

/// Sockets that are on their way together: enough to keep the server busy.
const TOGETHER: usize = 64;
/// Sockets from one loopback address; its ports are some 28,000, and those of closed ones rest.
const ADDRESS_SOCKETS: usize = 4_000;
/// How long the server may take for one answer.
const PATIENCE: Duration = Duration::from_secs(20);
/// Kernel's buffer of a socket that does not read: little, so that the server feels it soon.
const DEAF_BYTES: usize = 4 * 1024;

#[derive(Deserialize)]
struct Welcome {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    channels: BTreeMap<String, Position>,
}

/// Connects all seats; each comes back with its number.
pub(super) fn all(
    addresses: &[SocketAddr],
    seats: &[Seat],
    channels: &[Channel],
) -> Result<Vec<(usize, Connection)>> {
    let numbers: Vec<usize> = (0..seats.len()).collect();
    let mut opened = Vec::with_capacity(seats.len());
    for together in numbers.chunks(TOGETHER) {
        let mut streams = Vec::new();
        for number in together {
            let address = addresses[number % addresses.len()];
            streams.push(connect(address, *number, seats[*number].reads)?);
        }
        for stream in &mut streams {
            upgrade(stream)?;
        }
        for (number, stream) in together.iter().zip(&mut streams) {
            hello(stream, &seats[*number].token)?;
        }
        for (number, mut stream) in together.iter().zip(streams) {
            let heads = welcome(&mut stream)?;
            let seat = &seats[*number];
            let place = |channel: &usize| {
                let head = heads.get(&channels[*channel].id);
                let head = head.context("the user is no member of a channel of the load")?;
                Ok(Place::new(*channel, *head))
            };
            let places: Result<_> = seat.channels.iter().map(place).collect();
            stream.set_nonblocking(true)?;
            opened.push((*number, Connection::new(stream, seat, places?)));
        }
    }
    Ok(opened)
}

fn connect(server: SocketAddr, number: usize, reads: bool) -> Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(server), Type::STREAM, None)?;
    if !reads {
        socket.set_recv_buffer_size(DEAF_BYTES)?;
    }
    if server.ip() == Ipv4Addr::LOCALHOST {
        let last = u8::try_from(number / ADDRESS_SOCKETS + 1).unwrap_or(u8::MAX);
        socket.bind(&SocketAddr::from(([127, 0, 0, last], 0)).into())?;
    }
    socket
        .connect(&server.into())
        .context("connect to the server")?;
    socket.set_tcp_nodelay(true)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    // Thousands of closed connections would otherwise keep their ports for a minute.
    socket.set_linger(Some(Duration::ZERO))?;
    let mut stream = TcpStream::from(socket);
    stream.write_all(
        format!(
            "GET /v1/connect HTTP/1.1\r\nHost: {server}\r\nConnection: Upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        .as_bytes(),
    )?;
    Ok(stream)
}

/// Reads the answer to the upgrade. Nothing follows it before the server has had a `hello`.
fn upgrade(stream: &mut TcpStream) -> Result<()> {
    let mut head = Vec::new();
    let mut piece = [0; 1024];
    while !head.ends_with(b"\r\n\r\n") {
        let read = stream.read(&mut piece).context("read the upgrade")?;
        head.extend_from_slice(&piece[..read]);
        if read == 0 || head.len() > 16 * 1024 {
            break;
        }
    }
    if !head.starts_with(b"HTTP/1.1 101") {
        bail!("no upgrade: {}", String::from_utf8_lossy(&head));
    }
    Ok(())
}

fn hello(stream: &mut TcpStream, token: &str) -> Result<()> {
    let mut bytes = Vec::new();
    let text = format!(r#"{{"type":"hello","token":"{token}"}}"#);
    wire::frame(opcode::TEXT, text.as_bytes(), &mut bytes);
    stream.write_all(&bytes).context("send hello")
}

/// The heads of the user's channels. The load has not begun, so nothing follows.
fn welcome(stream: &mut TcpStream) -> Result<BTreeMap<String, Position>> {
    let mut scanner = Scanner::new(true);
    let mut piece = [0; 4096];
    let mut text = None;
    while text.is_none() {
        let read = stream.read(&mut piece).context("read the welcome")?;
        let first = |frame: wire::Frame<'_>| {
            text.get_or_insert_with(|| frame.payload.to_vec());
        };
        let scanned = scanner.scan(&piece[..read], first);
        if read == 0 || scanned.is_err() {
            bail!("no welcome");
        }
    }
    let text = text.unwrap_or_default();
    match serde_json::from_slice::<Welcome>(&text) {
        Ok(welcome) if welcome.kind == "welcome" => Ok(welcome.channels),
        _ => bail!("no welcome: {}", String::from_utf8_lossy(&text)),
    }
}
