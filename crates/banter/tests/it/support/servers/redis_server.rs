//! A Redis server of a chat's own: what is published is heard in all databases of a server.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use super::{Place, installed};
use crate::support::PATIENCE;
use crate::support::fixture::free_address;

/// A server that keeps what it acknowledged. Dropped, it is killed.
#[derive(Debug)]
pub(crate) struct Redis {
    place: Place,
    address: SocketAddr,
    child: Option<Child>,
}

impl Redis {
    pub(crate) fn start() -> Self {
        let mut server = Self {
            place: Place::new("redis.pid"),
            address: free_address(),
            child: None,
        };
        server.up();
        server
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://{}/0", self.address)
    }

    /// Starts it, unless it is running.
    pub(crate) fn up(&mut self) {
        if self.child.is_some() {
            return;
        }
        let port = self.address.port().to_string();
        let mut command = Command::new(installed("redis-server", &[], "redis-server"));
        command
            .args(["--port", &port, "--bind", "127.0.0.1", "--save", ""])
            .args(["--appendonly", "yes", "--appendfsync", "always"])
            .args(["--pidfile", "redis.pid", "--dir"])
            .arg(self.place.path())
            .current_dir(self.place.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let child = self.child.insert(command.spawn().expect("it starts"));
        let since = Instant::now();
        while TcpStream::connect(self.address).is_err() {
            let ended = child.try_wait().expect("it is ours");
            assert!(ended.is_none(), "Redis has ended: {ended:?}");
            assert!(since.elapsed() < PATIENCE, "Redis does not listen");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }

    /// Makes it forget everything.
    pub(crate) fn empty(&self) {
        assert_eq!(self.command(&["FLUSHALL"]), "OK");
    }

    /// Carries out a command that is answered with a text.
    pub(crate) fn command(&self, words: &[&str]) -> String {
        let mut request = format!("*{}\r\n", words.len());
        for word in words {
            request += &format!("${}\r\n{word}\r\n", word.len());
        }
        let mut stream = TcpStream::connect(self.address).expect("it is running");
        stream.write_all(request.as_bytes()).expect("it listens");
        let mut answer = BufReader::new(stream);
        let mut line = String::new();
        answer.read_line(&mut line).expect("it answers");
        let line = line.trim_end();
        let Some(bytes) = line.strip_prefix('$') else {
            return line.strip_prefix('+').expect("no error").to_owned();
        };
        let mut text = vec![0; bytes.parse().expect("there is something")];
        answer.read_exact(&mut text).expect("all of it");
        String::from_utf8(text).expect("a text")
    }

    /// Ends it as a crash does.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}
