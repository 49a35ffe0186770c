//! A server of one channel that passes messages on, and does it wrong when asked to.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use banter_protocol::frame::ClientFrame;
use banter_protocol::id::ChannelId;
use banter_protocol::websocket::{Decoded, Decoder, Event, text_frame};
use serde_json::json;

/// The token of the socket that is lied to.
pub(crate) const DECEIVED: &str = "deceived";

/// What it does wrong, at the message of this number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lie {
    None,
    /// One socket never gets it.
    Lose(u64),
    /// One socket gets it twice.
    Repeat(u64),
    /// One socket gets it after the next one.
    Swap(u64),
    /// Nobody gets it, and the sender is told.
    Refuse(u64),
    /// Everything waits before it.
    Stall(u64, Duration),
    /// Everybody gets it with another text.
    Change(u64),
    /// It is acked, and nobody ever gets it.
    Swallow(u64),
}

pub(crate) struct Null {
    address: SocketAddr,
    channel: ChannelId,
    room: Arc<Mutex<Room>>,
}

struct Room {
    lie: Lie,
    channel: ChannelId,
    messages: u64,
    top: u64,
    /// Whether each is lied to, and the socket.
    sockets: Vec<(bool, TcpStream)>,
    /// What history would have.
    entries: Vec<String>,
    held: Option<Vec<u8>>,
}

impl Null {
    pub(crate) fn start(lie: Lie) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let channel = ChannelId::from_bytes([7; 16]);
        let room = Arc::new(Mutex::new(Room {
            lie,
            channel,
            messages: 0,
            top: 0,
            sockets: Vec::new(),
            entries: Vec::new(),
            held: None,
        }));
        let kept = room.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, room) = (stream.unwrap(), room.clone());
                std::thread::spawn(move || serve(stream, &room));
            }
        });
        Self {
            address,
            channel,
            room: kept,
        }
    }

    /// The entries that it passed on, as it told them.
    pub(crate) fn entries(&self) -> Vec<String> {
        self.room.lock().unwrap().entries.clone()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn channel(&self) -> ChannelId {
        self.channel
    }
}

/// Runs until the client is gone.
fn serve(mut stream: TcpStream, room: &Mutex<Room>) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    let answer = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n";
    stream.write_all(answer.as_bytes()).unwrap();
    let (mut input, mut decoder) = (Vec::new(), Decoder::default());
    let mut author = String::new();
    let mut piece = [0; 4096];
    while let Ok(read @ 1..) = stream.read(&mut piece) {
        input.extend_from_slice(&piece[..read]);
        while let Decoded::Frame(length, event) = decoder.decode(&mut input).unwrap() {
            input.drain(..length);
            if let Event::Text(text) = event {
                room.lock().unwrap().take(&text, &mut stream, &mut author);
            }
            if input.is_empty() {
                break;
            }
        }
    }
}

impl Room {
    fn take(&mut self, text: &str, stream: &mut TcpStream, author: &mut String) {
        match ClientFrame::parse(text).unwrap() {
            ClientFrame::Hello(hello) => {
                author.clone_from(&hello.token);
                let head = json!({ "seq": 0, "epoch": 1 });
                let channels = json!({ self.channel.to_string(): head });
                let welcome = json!({ "type": "welcome", "channels": channels });
                stream.write_all(&text_frame(&welcome.to_string())).unwrap();
                self.sockets
                    .push((hello.token == DECEIVED, stream.try_clone().unwrap()));
            }
            ClientFrame::Send(send) => self.pass_on(&send.id, &send.body, author, stream),
            other => panic!("not expected: {other:?}"),
        }
    }

    fn pass_on(&mut self, id: &str, body: &str, author: &str, sender: &mut TcpStream) {
        self.messages += 1;
        let number = self.messages;
        if self.lie == Lie::Refuse(number) {
            let error = json!({ "type": "error", "code": "slow_down", "id": id });
            sender.write_all(&text_frame(&error.to_string())).unwrap();
            return;
        }
        if let Lie::Stall(at, how_long) = self.lie
            && at == number
        {
            std::thread::sleep(how_long);
        }
        self.top += 1;
        let (channel, seq) = (self.channel, self.top);
        let told = match self.lie {
            Lie::Change(at) if at == number => body.replace('x', "y"),
            _ => body.to_owned(),
        };
        // As a server writes it, so that it is read the quick way.
        let message = format!(
            r#"{{"type":"message","channel":"{channel}","seq":{seq},"epoch":1,"id":"{id}","#
        );
        let message = message
            + &format!(
                r#""author":"{author}","body":"{told}","sent_at":"2026-01-01T00:00:00.000Z"}}"#
            );
        self.entries.push(message.clone());
        let frame = text_frame(&message);
        for (lied_to, socket) in &mut self.sockets {
            let lied_to = *lied_to;
            let late = if lied_to { self.held.take() } else { None };
            let copies = match self.lie {
                Lie::Lose(at) if lied_to && at == number => 0,
                Lie::Swallow(at) if at == number => 0,
                Lie::Repeat(at) if lied_to && at == number => 2,
                Lie::Swap(at) if lied_to && at == number => {
                    self.held = Some(frame.to_vec());
                    0
                }
                _ => 1,
            };
            for _ in 0..copies {
                socket.write_all(&frame).unwrap();
            }
            if let Some(late) = late {
                socket.write_all(&late).unwrap();
            }
        }
        let ack = json!({ "type": "ack", "id": id, "channel": channel, "seq": seq, "epoch": 1 });
        sender.write_all(&text_frame(&ack.to_string())).unwrap();
    }
}
