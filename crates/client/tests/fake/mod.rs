//! A server for one test: it hands every socket to the test, which plays the server's part, and
//! answers `history` and `refresh` by itself.

use std::sync::{Arc, Mutex};

use banter_client::Client;
use banter_client::frame::User;
use banter_client::session::Tokens;
use banter_protocol::id::{ChannelId, UserId};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_websockets::{CloseCode, Message, ServerBuilder, WebSocketStream};

pub(crate) const CHANNEL: ChannelId = ChannelId::from_bytes([9; 16]);

/// An entry of the channel, as its members read it.
pub(crate) fn entry(seq: u64) -> Value {
    json!({
        "type": "message", "channel": CHANNEL, "seq": seq, "epoch": 1, "id": format!("e{seq}"),
        "author": "bob", "body": format!("number {seq}"), "sent_at": "2026-11-24T20:34:10.007Z",
    })
}

#[derive(Default)]
pub(crate) struct Asked {
    pub(crate) history: Vec<String>,
    pub(crate) refreshed: u64,
    /// Whole answers for the next upgrades, last first; then upgrades succeed.
    pub(crate) refusals: Vec<String>,
}

pub(crate) struct Fake {
    pub(crate) client: Client,
    pub(crate) asked: Arc<Mutex<Asked>>,
    sockets: mpsc::Receiver<Peer>,
}

/// The server's end of one socket.
pub(crate) struct Peer(WebSocketStream<TcpStream>);

impl Fake {
    /// Its history has entries up to `head`.
    pub(crate) async fn start(head: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = format!("http://{}", listener.local_addr().unwrap());
        let (give, sockets) = mpsc::channel(8);
        let asked = Arc::new(Mutex::new(Asked::default()));
        let told = asked.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, give.clone(), told.clone(), head));
            }
        });
        let tokens = Tokens {
            user: user(),
            access_token: "token-0".into(),
            refresh_token: "refresh-0".into(),
            asked_ms: 0,
            expires_ms: i64::MAX,
        };
        Self {
            client: Client::with_tokens(&server, tokens).unwrap(),
            asked,
            sockets,
        }
    }

    /// The next socket, and its `hello`.
    pub(crate) async fn socket(&mut self) -> (Peer, Value) {
        let mut peer = self.sockets.recv().await.unwrap();
        let hello = peer.read().await;
        assert_eq!(hello["type"], "hello");
        (peer, hello)
    }

    /// The next socket, welcomed, with the channel's head.
    pub(crate) async fn welcomed(&mut self, head: u64) -> (Peer, Value) {
        let (mut peer, hello) = self.socket().await;
        peer.welcome(head, 600).await;
        (peer, hello)
    }
}

impl Peer {
    pub(crate) async fn welcome(&mut self, head: u64, expires_in: u64) {
        self.write(json!({
            "type": "welcome", "user": user(), "session": UserId::from_bytes([2; 16]),
            "expires_in": expires_in, "server_time": "2026-11-24T20:34:10.007Z", "level": "stored",
            "channels": { CHANNEL.to_string(): { "seq": head, "epoch": 1 } },
        }))
        .await;
    }

    pub(crate) async fn read(&mut self) -> Value {
        loop {
            let message = self.0.next().await.unwrap().unwrap();
            if let Some(text) = message.as_text() {
                return serde_json::from_str(text).unwrap();
            }
        }
    }

    pub(crate) async fn write(&mut self, frame: Value) {
        self.0.send(Message::text(frame.to_string())).await.unwrap();
    }

    /// Accepts a message under this number.
    pub(crate) async fn ack(&mut self, send: &Value, seq: u64, level: &str) {
        self.write(json!({
            "type": "ack", "id": send["id"], "channel": send["channel"], "seq": seq, "epoch": 1,
            "level": level, "sent_at": "2026-11-24T20:34:10.007Z",
        }))
        .await;
    }

    pub(crate) async fn close(mut self, code: u16) {
        let code = CloseCode::try_from(code).unwrap();
        self.0.send(Message::close(Some(code), "")).await.unwrap();
        while let Some(Ok(_)) = self.0.next().await {}
    }

    /// Waits for the client's close.
    pub(crate) async fn closed(mut self) -> u16 {
        loop {
            let message = self.0.next().await.unwrap().unwrap();
            if let Some((code, _)) = message.as_close() {
                return code.into();
            }
        }
    }
}

fn user() -> User {
    User {
        id: UserId::from_bytes([1; 16]),
        username: "ann".into(),
    }
}

async fn serve(
    mut stream: TcpStream,
    give: mpsc::Sender<Peer>,
    asked: Arc<Mutex<Asked>>,
    head: u64,
) {
    let mut start = [0; 16];
    while stream.peek(&mut start).await.unwrap() < start.len() {}
    if start.starts_with(b"GET /v1/connect ") {
        let refusal = asked.lock().unwrap().refusals.pop();
        if let Some(refusal) = refusal {
            read_head(&mut stream).await;
            stream.write_all(refusal.as_bytes()).await.unwrap();
            return;
        }
        let (_, stream) = ServerBuilder::new().accept(stream).await.unwrap();
        give.send(Peer(stream)).await.ok();
        return;
    }
    let request = read_head(&mut stream).await;
    let line = String::from_utf8_lossy(&request);
    let path = line.split(' ').nth(1).unwrap();
    let body = match path.split_once("after=") {
        Some((_, query)) => {
            asked.lock().unwrap().history.push(path.to_owned());
            let after = query.split('&').next().unwrap().parse::<u64>().unwrap();
            page(after, head)
        }
        None => {
            assert_eq!(path, "/v1/auth/refresh");
            let mut asked = asked.lock().unwrap();
            asked.refreshed += 1;
            tokens(asked.refreshed)
        }
    }
    .to_string();
    let head = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: application/json";
    let answer = format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    stream.write_all(answer.as_bytes()).await.unwrap();
}

async fn read_head(stream: &mut TcpStream) -> Vec<u8> {
    let mut request = Vec::new();
    while !request.windows(4).any(|w| w == b"\r\n\r\n") {
        assert_ne!(stream.read_buf(&mut request).await.unwrap(), 0);
    }
    request
}

fn page(after: u64, head: u64) -> Value {
    let last = (after + 3).min(head);
    let items: Vec<Value> = (after + 1..=last).map(entry).collect();
    json!({ "items": items, "has_older": after > 0, "has_newer": last < head, "complete": true })
}

fn tokens(number: u64) -> Value {
    json!({
        "access_token": format!("token-{number}"), "refresh_token": format!("refresh-{number}"),
        "token_type": "Bearer", "expires_in": 600, "user": user(),
    })
}
