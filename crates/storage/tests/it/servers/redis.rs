//! A Redis (or Valkey) server of a test's own, from the installed binary, on a free port.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// How long a server may take to answer.
const START_TIMEOUT: Duration = Duration::from_secs(20);

/// A running server, whose data go when it does.
pub struct RedisServer {
    directory: TempDir,
    binary: String,
    port: u16,
    settings: Vec<(String, String)>,
    process: Option<Child>,
}

impl RedisServer {
    /// Starts the installed `redis-server` as the log wants it.
    pub fn start() -> Self {
        Self::start_with("redis-server", &[])
    }

    /// Starts `binary` with settings beside the log's own.
    pub fn start_with(binary: &str, settings: &[(&str, &str)]) -> Self {
        let mut server = Self {
            directory: TempDir::new().unwrap(),
            binary: binary.to_owned(),
            port: free_port(),
            settings: settings
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            process: None,
        };
        server.restart();
        server
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// A blocking connection, for what a test does to the server behind the log's back.
    pub fn connection(&self) -> redis::Connection {
        redis::Client::open(self.url())
            .unwrap()
            .get_connection_with_timeout(Duration::from_secs(5))
            .unwrap()
    }

    /// Ends it at once, as `kill -9` does.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// Its process, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Child::id)
    }

    /// Starts it again on the same port and data.
    pub fn restart(&mut self) {
        self.kill();
        let mut command = Command::new(&self.binary);
        command
            .args(["--bind", "127.0.0.1", "--port", &self.port.to_string()])
            .args([
                "--save",
                "",
                "--appendonly",
                "yes",
                "--appendfsync",
                "always",
            ])
            .args(["--maxmemory-policy", "noeviction", "--daemonize", "no"])
            .arg("--dir")
            .arg(self.directory.path());
        for (name, value) in &self.settings {
            command.arg(format!("--{name}")).arg(value);
        }
        let log = std::fs::File::create(self.directory.path().join("log")).unwrap();
        command
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .stdout(log);
        self.process = Some(command.spawn().unwrap());
        let began = Instant::now();
        while !self.answers() {
            assert!(
                began.elapsed() < START_TIMEOUT,
                "{} does not answer",
                self.binary
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The newest file of the append-only log: what a torn write would cut.
    pub fn newest_log(&self) -> PathBuf {
        let directory = self.directory.path().join("appendonlydir");
        let files = std::fs::read_dir(directory).unwrap();
        files
            .map(|file| file.unwrap().path())
            .filter(|path| path.to_string_lossy().ends_with(".incr.aof"))
            .max_by_key(|path| path.metadata().unwrap().modified().unwrap())
            .unwrap()
    }

    fn answers(&self) -> bool {
        let Ok(client) = redis::Client::open(self.url()) else {
            return false;
        };
        let timeout = Duration::from_millis(500);
        let Ok(mut connection) = client.get_connection_with_timeout(timeout) else {
            return false;
        };
        redis::cmd("PING").exec(&mut connection).is_ok()
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A port that was free just now.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}
