//! A small HTTP/1.1 client: one request, one answer, every byte of both under control.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use serde_json::Value;

use super::PATIENCE;

/// A request; its body and headers go out exactly as given.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// With the query.
    pub(crate) path: String,
    headers: Vec<(String, String)>,
    body: Option<Vec<u8>>,
}

impl Request {
    pub(crate) fn new(method: &str, path: impl Into<String>) -> Self {
        Self {
            method: method.to_owned(),
            path: path.into(),
            headers: Vec::new(),
            body: None,
        }
    }

    pub(crate) fn get(path: impl Into<String>) -> Self {
        Self::new("GET", path)
    }

    pub(crate) fn post(path: impl Into<String>) -> Self {
        Self::new("POST", path)
    }

    pub(crate) fn put(path: impl Into<String>) -> Self {
        Self::new("PUT", path)
    }

    pub(crate) fn delete(path: impl Into<String>) -> Self {
        Self::new("DELETE", path)
    }

    pub(crate) fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    pub(crate) fn bearer(self, token: &str) -> Self {
        self.header("Authorization", format!("Bearer {token}"))
    }

    pub(crate) fn json(self, body: &Value) -> Self {
        self.text("application/json", &body.to_string())
    }

    pub(crate) fn text(self, media_type: &str, body: &str) -> Self {
        self.header("Content-Type", media_type).bytes(body)
    }

    pub(crate) fn bytes(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// The path without the query.
    pub(crate) fn route(&self) -> &str {
        self.path.split('?').next().unwrap_or_default()
    }

    /// What goes over the wire.
    pub(crate) fn encode(&self, host: SocketAddr) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.path);
        let given = |name: &str| {
            self.headers
                .iter()
                .any(|(given, _)| given.eq_ignore_ascii_case(name))
        };
        if !given("host") {
            head += &format!("Host: {host}\r\n");
        }
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        if let Some(body) = &self.body
            && !given("content-length")
            && !given("transfer-encoding")
        {
            head += &format!("Content-Length: {}\r\n", body.len());
        }
        head += "\r\n";
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(self.body.as_deref().unwrap_or_default());
        bytes
    }
}

/// An answer.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// All values of a header.
    pub(crate) fn headers(&self, name: &str) -> Vec<&str> {
        let named = |(given, value)| given_is(given, name).then_some(value);
        self.headers
            .iter()
            .map(|(given, value)| (given.as_str(), value.as_str()))
            .filter_map(named)
            .collect()
    }

    /// The value of a header that stands once or not at all.
    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let values = self.headers(name);
        assert!(values.len() <= 1, "{name}: {values:?}");
        values.first().copied()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|_| panic!("{}: {} is no JSON", self.status, self.text()))
    }

    /// The answer has this status; gives its body.
    #[track_caller]
    pub(crate) fn ok(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        if self.body.is_empty() {
            Value::Null
        } else {
            self.json()
        }
    }

    /// The answer refuses with this status and code; gives the problem.
    #[track_caller]
    pub(crate) fn refused(&self, status: u16, code: &str) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        let problem = self.json();
        assert_eq!(problem["code"], code, "{problem}");
        problem
    }
}

fn given_is(given: &str, name: &str) -> bool {
    given.eq_ignore_ascii_case(name)
}

/// A connection that takes one request after another.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) stream: TcpStream,
    peer: SocketAddr,
    /// What was read beyond the last answer.
    pub(crate) early: Vec<u8>,
}

impl Connection {
    #[track_caller]
    pub(crate) fn open(peer: SocketAddr) -> Self {
        Self::try_open(peer).unwrap_or_else(|error| panic!("cannot connect to {peer}: {error}"))
    }

    /// # Errors
    /// When nobody listens there.
    pub(crate) fn try_open(peer: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect_timeout(&peer, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self {
            stream,
            peer,
            early: Vec::new(),
        })
    }

    /// Sends a request and reads the answer.
    ///
    /// # Errors
    /// When the connection ends before the answer does.
    pub(crate) fn try_call(&mut self, request: &Request) -> std::io::Result<Answer> {
        self.stream.write_all(&request.encode(self.peer))?;
        self.answer()
    }

    #[track_caller]
    pub(crate) fn call(&mut self, request: &Request) -> Answer {
        self.try_call(request)
            .unwrap_or_else(|error| panic!("{} {}: {error}", request.method, request.path))
    }

    /// Reads an answer to what was sent.
    ///
    /// # Errors
    /// When the connection ends before the answer does.
    pub(crate) fn answer(&mut self) -> std::io::Result<Answer> {
        let (length, mut answer) = loop {
            if let Some(head) = parse_head(&self.early)? {
                break head;
            }
            self.more()?;
        };
        self.early.drain(..length);
        if matches!(answer.status, 101 | 204 | 304) {
            return Ok(answer);
        }
        if answer.header("transfer-encoding") == Some("chunked") {
            self.chunks(&mut answer.body)?;
            return Ok(answer);
        }
        let length = answer.header("content-length").map(str::parse::<usize>);
        let length = length.transpose().map_err(std::io::Error::other)?;
        let length = length.unwrap_or_default();
        while self.early.len() < length {
            self.more()?;
        }
        answer.body = self.early.drain(..length).collect();
        Ok(answer)
    }

    fn chunks(&mut self, body: &mut Vec<u8>) -> std::io::Result<()> {
        loop {
            let line = loop {
                match self.early.windows(2).position(|pair| pair == b"\r\n") {
                    Some(end) => break end,
                    None => self.more()?,
                }
            };
            let size = String::from_utf8_lossy(&self.early[..line]).into_owned();
            let size = usize::from_str_radix(&size, 16).map_err(std::io::Error::other)?;
            while self.early.len() < line + 2 + size + 2 {
                self.more()?;
            }
            body.extend_from_slice(&self.early[line + 2..line + 2 + size]);
            self.early.drain(..line + 2 + size + 2);
            if size == 0 {
                return Ok(());
            }
        }
    }

    fn more(&mut self) -> std::io::Result<()> {
        let mut piece = [0; 16 * 1024];
        let read = loop {
            match self.stream.read(&mut piece) {
                // Whoever stops and continues this process interrupts it.
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => break read?,
            }
        };
        match read {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            read => {
                self.early.extend_from_slice(&piece[..read]);
                Ok(())
            }
        }
    }
}

/// Reads the head of an answer; its length too. `None`: it is not complete.
fn parse_head(bytes: &[u8]) -> std::io::Result<Option<(usize, Answer)>> {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Ok(None);
    };
    let head = String::from_utf8_lossy(&bytes[..end]);
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1));
    let status = status.unwrap_or_default().parse::<u16>();
    let header = |line: &str| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_owned(), value.trim().to_owned()))
    };
    let answer = Answer {
        status: status.map_err(std::io::Error::other)?,
        headers: lines.filter_map(header).collect(),
        body: Vec::new(),
    };
    Ok(Some((end + 4, answer)))
}
