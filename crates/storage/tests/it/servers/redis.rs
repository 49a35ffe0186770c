//! A Redis server of a test's own, or a Valkey one.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use banter_protocol::id::ChannelId;

use super::{Place, free_port, installed};

/// How long a server may take to answer on a busy machine.
const START_TIMEOUT: Duration = Duration::from_secs(20);

/// A running server.
pub(crate) struct Server {
    place: Place,
    program: PathBuf,
    settings: Vec<String>,
    port: u16,
    process: Option<Child>,
}

impl Server {
    /// Starts Redis as the log wants it.
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts Redis with further settings, which win.
    pub(crate) fn start_with(settings: &[&str]) -> Self {
        let program = installed("redis-server", &[], "redis-server");
        Self::start_program(program, settings)
    }

    /// Starts Valkey, where `BANTER_TEST_VALKEY` names its program.
    pub(crate) fn start_valkey(settings: &[&str]) -> Option<Self> {
        let program = std::env::var_os("BANTER_TEST_VALKEY")?;
        Some(Self::start_program(program.into(), settings))
    }

    fn start_program(program: PathBuf, settings: &[&str]) -> Self {
        let mut server = Self {
            place: Place::new("redis.pid", None),
            program,
            settings: settings.iter().map(|it| (*it).to_owned()).collect(),
            port: free_port(),
            process: None,
        };
        server.up();
        server
    }

    /// Its address.
    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.process.as_ref().unwrap().id()
    }

    /// Starts it again where it was killed.
    pub(crate) fn up(&mut self) {
        let place = self.place.path();
        let log = File::create(place.join("log")).unwrap();
        let process = Command::new(&self.program)
            .args(["--bind", "127.0.0.1", "--port", &self.port.to_string()])
            .args([
                "--save",
                "",
                "--appendonly",
                "yes",
                "--appendfsync",
                "always",
            ])
            .args(["--maxmemory-policy", "noeviction", "--dir"])
            .arg(place)
            .arg("--pidfile")
            .arg(place.join("redis.pid"))
            .args(&self.settings)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        self.process = Some(process);
        // A pid file is written by daemons only.
        fs::write(place.join("redis.pid"), format!("{}\n", self.pid())).unwrap();
        let begun = Instant::now();
        while !self.answers() {
            assert!(
                begun.elapsed() < START_TIMEOUT,
                "{:?} does not answer",
                self.program
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Ends it at once.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// Cuts off the end of what it has written, as a power failure may. It must not be running.
    pub(crate) fn tear(&self, bytes: u64) {
        let directory = fs::read_dir(self.place.path().join("appendonlydir")).unwrap();
        let newest = directory
            .map(|file| file.unwrap().path())
            .filter(|path| path.to_string_lossy().ends_with(".incr.aof"))
            .max()
            .unwrap();
        let file = File::options().write(true).open(newest).unwrap();
        let length = file.metadata().unwrap().len();
        file.set_len(length.saturating_sub(bytes)).unwrap();
    }

    /// Runs a command behind the log's back.
    pub(crate) fn command<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        let mut command = redis::Cmd::new();
        command.arg(words);
        command.query(&mut self.connection()).unwrap()
    }

    /// What it has used of the processors so far.
    pub(crate) fn cpu_seconds(&self) -> f64 {
        let info: String = self.command(&["INFO", "cpu"]);
        let field = |name: &str| {
            let line = info
                .lines()
                .find_map(|line| line.strip_prefix(name))
                .unwrap();
            line.trim().parse::<f64>().unwrap()
        };
        field("used_cpu_user:") + field("used_cpu_sys:")
    }

    /// Hears what is announced of channels, until dropped.
    pub(crate) fn listen(&self, channels: &[ChannelId]) -> Listener {
        let topics: Vec<String> = channels.iter().map(topic).collect();
        let mut connection = self.connection();
        let timeout = Some(Duration::from_millis(100));
        connection.set_read_timeout(timeout).unwrap();
        let (begun, ready) = std::sync::mpsc::channel();
        let over = Arc::new(AtomicBool::new(false));
        let heard = Arc::clone(&over);
        let thread = std::thread::spawn(move || {
            let mut listening = connection.as_pubsub();
            listening.subscribe(&topics).unwrap();
            begun.send(()).unwrap();
            let mut messages = 0;
            while !heard.load(Ordering::Relaxed) {
                messages += usize::from(listening.get_message().is_ok());
            }
            messages
        });
        ready.recv().unwrap();
        Listener {
            over,
            thread: Some(thread),
        }
    }

    /// A connection of the test's own.
    pub(crate) fn connection(&self) -> redis::Connection {
        self.connect().unwrap()
    }

    fn connect(&self) -> redis::RedisResult<redis::Connection> {
        let client = redis::Client::open(self.url())?;
        client.get_connection_with_timeout(Duration::from_secs(2))
    }

    fn answers(&self) -> bool {
        let ping = |mut connection| redis::cmd("PING").exec(&mut connection);
        match self.connect().and_then(ping) {
            Ok(()) => true,
            // It wants a password, which is an answer.
            Err(error) => error.code() == Some("NOAUTH"),
        }
    }
}

/// A subscriber.
pub(crate) struct Listener {
    over: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<usize>>,
}

impl Listener {
    /// Ends it; gives how many announcements it heard.
    pub(crate) fn end(mut self) -> usize {
        self.over.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap()
    }
}

fn topic(channel: &ChannelId) -> String {
    let hex: String = channel
        .as_bytes()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("c:{hex}")
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}
