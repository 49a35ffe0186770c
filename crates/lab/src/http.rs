//! HTTP/1.1 on a kept connection, without anything that would blur a measured time.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use serde::de::DeserializeOwned;

use crate::stream::Stream;

/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A connection to a server.
#[derive(Debug)]
pub struct Http {
    server: SocketAddr,
    host: String,
    tls: Option<String>,
    stream: BufReader<Stream>,
    /// The server has said that it answers nothing more on it: proxies do after some requests.
    is_over: bool,
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
        Self::connect_as(server, &server.to_string(), None)
    }

    /// Connects to a server that goes by a name; `tls`: that of its certificate, where it has one.
    ///
    /// # Errors
    /// Nobody listens there.
    pub fn connect_as(server: SocketAddr, host: &str, tls: Option<&str>) -> Result<Self> {
        Ok(Self {
            server,
            host: host.to_owned(),
            tls: tls.map(str::to_owned),
            stream: open(server, tls)?,
            is_over: false,
        })
    }

    /// Asks, and waits for the whole answer.
    ///
    /// # Errors
    /// The connection ends, or the answer is no HTTP/1.1 with a length.
    pub fn ask(&mut self, method: &str, path: &str, token: &str, body: &str) -> Result<Answer> {
        let mut head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nContent-Length: {}\r\n",
            self.host,
            body.len()
        );
        if !token.is_empty() {
            head += &format!("Authorization: Bearer {token}\r\n");
        }
        if !body.is_empty() {
            head += "Content-Type: application/json\r\n";
        }
        if self.is_over {
            self.stream = open(self.server, self.tls.as_deref())?;
            self.is_over = false;
        }
        self.stream
            .get_mut()
            .write_all(format!("{head}\r\n{body}").as_bytes())
            .context("send a request")?;
        self.stream.get_mut().flush().context("send a request")?;
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
            self.is_over |= name.eq_ignore_ascii_case("connection")
                && value.trim().eq_ignore_ascii_case("close");
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

fn open(server: SocketAddr, tls: Option<&str>) -> Result<BufReader<Stream>> {
    let stream = TcpStream::connect(server).context("connect to the server")?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut stream = Stream::new(stream, tls).context("speak TLS")?;
    // Whom nobody here trusts is told at once.
    stream.flush().context("speak TLS")?;
    Ok(BufReader::new(stream))
}

/// Does something for each item, over several connections at once. The order of the results is
/// that of the items.
///
/// # Errors
/// The first that any of it meets.
pub fn together<T: Sync, R: Send>(
    connect: impl Fn() -> Result<Http> + Sync,
    callers: usize,
    items: &[T],
    work: impl Fn(&mut Http, &T) -> Result<R> + Sync,
) -> Result<Vec<R>> {
    let share = items.len().div_ceil(callers).max(1);
    let results = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        let threads: Vec<_> = items
            .chunks(share)
            .enumerate()
            .map(|(number, items)| {
                let (results, work, connect) = (&results, &work, &connect);
                scope.spawn(move || -> Result<()> {
                    let mut http = connect()?;
                    let done: Result<Vec<R>> =
                        items.iter().map(|item| work(&mut http, item)).collect();
                    let mut results = results.lock().map_err(|_| anyhow!("a caller panicked"))?;
                    results.insert(number, done?);
                    Ok(())
                })
            })
            .collect();
        for thread in threads {
            thread.join().map_err(|_| anyhow!("a caller panicked"))??;
        }
        Ok::<_, anyhow::Error>(())
    })?;
    let results = results
        .into_inner()
        .map_err(|_| anyhow!("a caller panicked"))?;
    Ok(results.into_values().flatten().collect())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// As a proxy does after a thousand requests.
    #[test]
    fn a_server_that_ends_a_connection_is_asked_on_another() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let serving = std::thread::spawn(move || {
            for body in ["one", "two"] {
                let (mut stream, _) = listener.accept().unwrap();
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
                while lines.next().is_some_and(|line| !line.unwrap().is_empty()) {}
                let head = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 3";
                write!(stream, "{head}\r\n\r\n{body}").unwrap();
            }
        });
        let mut http = Http::connect(address).unwrap();
        for body in ["one", "two"] {
            assert_eq!(http.ask("GET", "/", "", "").unwrap().body, body.as_bytes());
        }
        serving.join().unwrap();
    }
}
