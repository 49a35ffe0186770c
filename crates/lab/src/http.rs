//! HTTP/1.1 on one kept connection, without anything that would blur a measured time.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde::de::DeserializeOwned;

/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A connection to a server.
#[derive(Debug)]
pub struct Http {
    server: SocketAddr,
    stream: BufReader<TcpStream>,
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The body of a success.
    ///
    /// # Errors
    /// It is none, or not JSON of this shape.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T> {
        if !(200..300).contains(&self.status) {
            let body = String::from_utf8_lossy(&self.body);
            bail!("the server answers {}: {body}", self.status);
        }
        serde_json::from_slice(&self.body).context("read an answer")
    }
}

impl Http {
    /// Connects.
    ///
    /// # Errors
    /// Nobody listens there.
    pub fn connect(server: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(server).context("connect to the server")?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self {
            server,
            stream: BufReader::new(stream),
        })
    }

    /// Asks, and waits for the whole answer.
    ///
    /// # Errors
    /// The connection ends, or the answer is no HTTP/1.1 with a length.
    pub fn ask(&mut self, method: &str, path: &str, token: &str, body: &str) -> Result<Answer> {
        let mut head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nContent-Length: {}\r\n",
            self.server,
            body.len()
        );
        if !token.is_empty() {
            head += &format!("Authorization: Bearer {token}\r\n");
        }
        if !body.is_empty() {
            head += "Content-Type: application/json\r\n";
        }
        self.stream
            .get_mut()
            .write_all(format!("{head}\r\n{body}").as_bytes())
            .context("send a request")?;
        self.answer()
    }

    fn answer(&mut self) -> Result<Answer> {
        let first = self.line()?;
        let status = first
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok());
        let status = status.with_context(|| format!("no HTTP: {first:?}"))?;
        let mut length = 0;
        loop {
            let line = self.line()?;
            let Some((name, value)) = line.split_once(':') else {
                break;
            };
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().context("read Content-Length")?;
            }
        }
        let mut body = vec![0; length];
        self.stream
            .read_exact(&mut body)
            .context("read an answer")?;
        Ok(Answer { status, body })
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.stream.read_line(&mut line).context("read an answer")?;
        if line.is_empty() {
            bail!("the server closed the connection");
        }
        line.truncate(line.trim_end().len());
        Ok(line)
    }
}
