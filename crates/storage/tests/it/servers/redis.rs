//! A Redis server of a test's own, or a Valkey one.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

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
    pub(crate) fn start_valkey() -> Option<Self> {
        let program = std::env::var_os("BANTER_TEST_VALKEY")?;
        Some(Self::start_program(program.into(), &[]))
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
        while self.try_connection().is_none() {
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

    /// A connection of the test's own.
    pub(crate) fn connection(&self) -> redis::Connection {
        self.try_connection().unwrap()
    }

    /// Runs a command behind the log's back.
    pub(crate) fn command<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        let mut command = redis::Cmd::new();
        command.arg(words);
        command.query(&mut self.connection()).unwrap()
    }

    fn try_connection(&self) -> Option<redis::Connection> {
        let client = redis::Client::open(self.url()).unwrap();
        let timeout = Duration::from_secs(2);
        let mut connection = client.get_connection_with_timeout(timeout).ok()?;
        redis::cmd("PING").exec(&mut connection).ok()?;
        Some(connection)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}
