//! HTTP calls of a load: many at once, each timed from the moment at which it was due.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::SocketAddr;

use super::now_ns;
use super::socket::connect;
use crate::load::plan::Plan;
use crate::load::sample::Measure;
use crate::stream::Stream;

/// Connections of a generator; a busy server has more calls waiting than these.
const LINES_MAX: usize = 512;
/// A server closes idle connections after a minute, a proxy perhaps sooner.
const IDLE_NS_MAX: u64 = 20_000_000_000;
/// A call without an answer for so long has failed.
const PATIENCE_NS: u64 = 30_000_000_000;
/// Source address of calls, beside those of sockets.
const SOURCE: u32 = 59;

/// A call.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) due: u64,
    pub(super) measure: Measure,
    /// Whose it is, by the number among the users of this generator.
    pub(super) user: u32,
    pub(super) request: Vec<u8>,
}

/// How a call ended.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) call: Call,
    /// 0: there was none.
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
}

/// A connection.
#[derive(Debug)]
struct Line {
    stream: Stream,
    connected: bool,
    call: Option<Call>,
    written: usize,
    /// Whether the kernel did not take everything.
    blocked: bool,
    answer: Vec<u8>,
    since: u64,
}

/// All calls and connections.
#[derive(Debug)]
pub(super) struct Calls {
    server: SocketAddr,
    tls: Option<String>,
    source: u32,
    lines: Vec<Option<Line>>,
    free: Vec<usize>,
    idle: Vec<usize>,
    waiting: VecDeque<Call>,
}

/// What a connection is waiting for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    Read,
    Write,
}

impl Calls {
    pub(super) fn new(plan: &Plan) -> Self {
        Self {
            server: plan.server,
            tls: plan.tls.clone(),
            source: plan.generator * 60 + SOURCE,
            lines: Vec::new(),
            free: Vec::new(),
            idle: Vec::new(),
            waiting: VecDeque::new(),
        }
    }

    /// A request's bytes.
    pub(super) fn request(
        host: &str,
        method: &str,
        path: &str,
        token: &str,
        body: &str,
    ) -> Vec<u8> {
        let length = body.len();
        let mut head =
            format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\n");
        if !token.is_empty() {
            head += &format!("Authorization: Bearer {token}\r\n");
        }
        if !body.is_empty() {
            head += "Content-Type: application/json\r\n";
        }
        format!("{head}\r\n{body}").into_bytes()
    }

    pub(super) fn add(&mut self, call: Call) {
        self.waiting.push_back(call);
    }

    /// Whether nothing is waiting or under way.
    pub(super) fn is_quiet(&self) -> bool {
        let busy = |line: &Line| line.call.is_some();
        self.waiting.is_empty() && !self.lines.iter().flatten().any(busy)
    }

    /// Gives waiting calls to connections, new ones where there is room; tells which are to be
    /// polled from now on, and for what.
    pub(super) fn assign(&mut self) -> std::io::Result<Vec<(usize, Wish)>> {
        let mut wishes = Vec::new();
        let now = now_ns();
        while !self.waiting.is_empty() {
            while let Some(key) = self.idle.pop() {
                let fresh = |line: &Line| now.saturating_sub(line.since) < IDLE_NS_MAX;
                if self.lines[key].as_ref().is_some_and(fresh) {
                    self.idle.push(key);
                    break;
                }
                self.close(key);
            }
            let open = self.lines.len() - self.free.len();
            let key = match self.idle.pop() {
                Some(key) => key,
                None if open < LINES_MAX => self.connect(now)?,
                None => break,
            };
            if let Some(line) = &mut self.lines[key] {
                line.call = self.waiting.pop_front();
                line.written = 0;
                line.since = now;
                line.answer.clear();
            }
            wishes.push((key, Wish::Write));
        }
        Ok(wishes)
    }

    fn connect(&mut self, now: u64) -> std::io::Result<usize> {
        let line = Line {
            stream: connect(self.server, self.tls.as_deref(), self.source)?,
            connected: false,
            call: None,
            written: 0,
            blocked: false,
            answer: Vec::new(),
            since: now,
        };
        let key = self.free.pop().unwrap_or(self.lines.len());
        if key == self.lines.len() {
            self.lines.push(None);
        }
        self.lines[key] = Some(line);
        Ok(key)
    }

    fn close(&mut self, key: usize) -> Option<Call> {
        let line = self.lines.get_mut(key)?.take()?;
        self.free.push(key);
        line.call
    }

    pub(super) fn stream(&self, key: usize) -> Option<&Stream> {
        let line = self.lines.get(key)?.as_ref()?;
        Some(&line.stream)
    }

    /// Something can be done; what is wished next, and an answer where one is whole.
    pub(super) fn ready(&mut self, key: usize) -> (Option<Wish>, Option<Answer>) {
        let Some(line) = self.lines.get_mut(key).and_then(Option::as_mut) else {
            return (None, None);
        };
        match line.step() {
            Ok(None) => {
                let waits = line.blocked;
                let wish = if waits { Wish::Write } else { Wish::Read };
                (Some(wish), None)
            }
            Ok(Some((status, body))) => {
                line.since = now_ns();
                let call = line.call.take();
                self.idle.push(key);
                let answer = call.map(|call| Answer { call, status, body });
                (Some(Wish::Read), answer)
            }
            Err(_) => {
                self.idle.retain(|idle| *idle != key);
                let answer = self.close(key).map(|call| Answer {
                    call,
                    status: 0,
                    body: Vec::new(),
                });
                (None, answer)
            }
        }
    }

    /// Gives up calls that were not answered in time.
    pub(super) fn expire(&mut self, now: u64) -> Vec<Answer> {
        let late = |line: &Line| line.call.is_some() && now > line.since + PATIENCE_NS;
        let keys: Vec<_> = (0..self.lines.len())
            .filter(|key| self.lines[*key].as_ref().is_some_and(late))
            .collect();
        let calls = keys.into_iter().filter_map(|key| self.close(key));
        let answers = calls.map(|call| Answer {
            call,
            status: 0,
            body: Vec::new(),
        });
        answers.collect()
    }
}

impl Line {
    /// Writes and reads as far as it goes; the answer when it is whole.
    fn step(&mut self) -> std::io::Result<Option<(u16, Vec<u8>)>> {
        if !self.connected {
            if let Some(error) = self.stream.socket().take_error()? {
                return Err(error);
            }
            self.connected = true;
        }
        self.put()?;
        let mut piece = [0; 16 * 1024];
        loop {
            match self.stream.read(&mut piece) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(read) => self.answer.extend_from_slice(&piece[..read]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        // Under TLS what was heard may have been what the request waited for.
        self.put()?;
        whole(&self.answer)
    }

    /// Writes as much of the request as the kernel takes.
    fn put(&mut self) -> std::io::Result<()> {
        self.blocked = false;
        let Some(call) = &self.call else {
            return Ok(());
        };
        loop {
            let went = match &call.request[self.written..] {
                [] => self.stream.flush().map(|()| None),
                rest => self.stream.write(rest).map(Some),
            };
            match went {
                Ok(None) => return Ok(()),
                Ok(Some(written)) => self.written += written,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.blocked = self.stream.wants_write();
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// Status and body of an answer, when it has come whole.
fn whole(bytes: &[u8]) -> std::io::Result<Option<(u16, Vec<u8>)>> {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Ok(None);
    };
    let head = String::from_utf8_lossy(&bytes[..end]);
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    let status = status.ok_or(ErrorKind::InvalidData)?;
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse::<usize>().ok())?
    });
    let length = match length {
        Some(length) => length,
        None if status == 204 => 0,
        None => return Err(ErrorKind::InvalidData.into()),
    };
    let body = &bytes[end + 4..];
    Ok((body.len() >= length).then(|| (status, body[..length].to_vec())))
}

#[cfg(test)]
mod tests {
    use super::whole;

    #[test]
    fn an_answer_is_whole_when_its_length_has_come() {
        let text = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";
        for cut in 0..text.len() {
            assert_eq!(whole(&text[..cut]).unwrap(), None);
        }
        assert_eq!(whole(text).unwrap(), Some((200, b"hello".to_vec())));
        assert!(whole(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
        let empty = b"HTTP/1.1 204 No Content\r\n\r\n";
        assert_eq!(whole(empty).unwrap(), Some((204, Vec::new())));
    }
}
