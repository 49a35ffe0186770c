//! Questions to the processes of a cluster: are you ready, and what do you wait for?

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Longest wait for an answer: who takes longer is not ready.
const PATIENCE: Duration = Duration::from_secs(2);
/// Longest answer that is read, in bytes.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;

/// How a process tells whether it is ready.
#[derive(Debug, Clone)]
pub(crate) enum Health {
    /// Redis, with its password.
    Redis(SocketAddr, String),
    /// PostgreSQL, which keeps its state in its data directory.
    Postgres(PathBuf),
    /// NGINX, which counts at this address.
    Nginx(SocketAddr),
    /// A program of others that answers this page when it is ready.
    Page(SocketAddr, &'static str),
    /// One of our own, by its admin address.
    Role(SocketAddr),
}

impl Health {
    /// Asks the process with this id.
    ///
    /// # Errors
    /// What it waits for, for people; empty where it does not tell.
    pub(crate) async fn check(&self, pid: u32) -> Result<(), String> {
        match self {
            Self::Redis(address, password) => redis(*address, password).await,
            Self::Postgres(data) => postgres(data, pid),
            Self::Nginx(address) => match http("GET", *address, "/status").await {
                Some((200, _)) => Ok(()),
                _ => Err(String::new()),
            },
            Self::Page(address, path) => match http("GET", *address, path).await {
                Some((200, _)) => Ok(()),
                _ => Err(String::new()),
            },
            Self::Role(address) => match http("GET", *address, "/readyz?verbose").await {
                Some((200, _)) => Ok(()),
                Some((_, body)) => Err(waits_for(&body)),
                None => Err(String::new()),
            },
        }
    }
}

/// Asks one of our own to drain.
///
/// # Errors
/// When it did not take the order.
pub(crate) async fn drain(admin: SocketAddr) -> Result<(), ()> {
    match http("POST", admin, "/drain").await {
        Some((202, _)) => Ok(()),
        _ => Err(()),
    }
}

/// What is down, from the answer of `/readyz?verbose`.
fn waits_for(body: &str) -> String {
    let body: Value = serde_json::from_str(body).unwrap_or_default();
    if body["draining"] == true {
        return "its drain".to_owned();
    }
    let dependencies = body["dependencies"].as_object();
    let down: Vec<_> = dependencies
        .into_iter()
        .flatten()
        .filter(|(_, state)| *state != "up")
        .map(|(name, _)| name.as_str())
        .collect();
    down.join(", ")
}

/// One request; gives status and body.
async fn http(method: &str, address: SocketAddr, path: &str) -> Option<(u16, String)> {
    let length = if method == "POST" {
        "Content-Length: 0\r\n"
    } else {
        ""
    };
    let request =
        format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\n{length}Connection: close\r\n\r\n");
    let answer = talk(address, request.as_bytes(), |_| false).await?;
    let text = String::from_utf8_lossy(&answer);
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, body.to_owned()))
}

async fn redis(address: SocketAddr, password: &str) -> Result<(), String> {
    let request = format!("AUTH {password}\r\nPING\r\n");
    let whole = |answer: &[u8]| answer.iter().filter(|byte| **byte == b'\n').count() == 2;
    let answer = talk(address, request.as_bytes(), whole).await;
    let answer = answer.unwrap_or_default();
    let answer = String::from_utf8_lossy(&answer);
    match answer.lines().last() {
        Some("+PONG") => Ok(()),
        Some(line) if line.starts_with("-LOADING") => Err("its data to be read".to_owned()),
        Some(line) => Err(line.trim_start_matches('-').to_owned()),
        None => Err(String::new()),
    }
}

/// Sends a request and reads until the answer is whole, or the other side closes.
async fn talk(
    address: SocketAddr,
    request: &[u8],
    is_whole: impl Fn(&[u8]) -> bool,
) -> Option<Vec<u8>> {
    let work = async {
        let mut stream = TcpStream::connect(address).await.ok()?;
        stream.write_all(request).await.ok()?;
        let mut answer = Vec::new();
        let mut stream = stream.take(ANSWER_BYTES_MAX);
        while !is_whole(&answer) {
            if stream.read_buf(&mut answer).await.ok()? == 0 {
                break;
            }
        }
        Some(answer)
    };
    timeout(PATIENCE, work).await.ok().flatten()
}

/// PostgreSQL writes its state into the eighth line of its lock file, below its own id.
fn postgres(data: &std::path::Path, pid: u32) -> Result<(), String> {
    let text = std::fs::read_to_string(data.join("postmaster.pid")).unwrap_or_default();
    let lines: Vec<_> = text.lines().map(str::trim).collect();
    let own = lines.first() == Some(&pid.to_string().as_str());
    match lines.get(7) {
        Some(&"ready") if own => Ok(()),
        _ => Err(String::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_down_is_told() {
        let body = r#"{"status":"not ready","draining":false,
            "dependencies":{"database":"up","log":"down","keys":"down"}}"#;
        assert_eq!(waits_for(body), "keys, log");
        assert_eq!(waits_for(r#"{"draining":true}"#), "its drain");
        assert_eq!(waits_for("not ready"), "");
    }
}
