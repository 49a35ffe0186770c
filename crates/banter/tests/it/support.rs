//! The program under test, as its users start it.

pub(crate) mod audit;
pub(crate) mod cluster;
pub(crate) mod collector;
pub(crate) mod contract;
pub(crate) mod disk;
pub(crate) mod fixture;
pub(crate) mod hook;
pub(crate) mod http;
pub(crate) mod logs;
pub(crate) mod member;
pub(crate) mod message;
pub(crate) mod person;
pub(crate) mod schema;
pub(crate) mod seed;
pub(crate) mod servers;
pub(crate) mod socket;
pub(crate) mod talker;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// Longest wait for anything: far beyond what a loaded machine needs, so that reaching it is a
/// failure and not bad luck.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Everybody's password; looked for in logs.
pub(crate) const PASSWORD: &str = "correct horse battery staple";
/// A word of every message; looked for in logs.
pub(crate) const MARK: &str = "murmur";

/// `banter` with these arguments, in a directory of its own and with nothing from our environment
/// that would configure it.
pub(crate) fn banter(dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_banter"));
    for (variable, _) in std::env::vars_os() {
        if variable.to_string_lossy().starts_with("BANTER_") {
            command.env_remove(variable);
        }
    }
    command
        .args(arguments)
        .current_dir(dir)
        .stdin(Stdio::null());
    command
}

/// Runs a command to its end.
pub(crate) fn run(dir: &Path, arguments: &[&str]) -> Ran {
    Ran::from(banter(dir, arguments).output().expect("it starts"))
}

/// Runs a command to its end, with this standard input.
pub(crate) fn run_with_input(dir: &Path, arguments: &[&str], input: &str) -> Ran {
    let mut command = banter(dir, arguments);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    // A command that fails at once does not read its input.
    let _ = child
        .stdin
        .take()
        .expect("piped")
        .write_all(input.as_bytes());
    Ran::from(child.wait_with_output().expect("it ends"))
}

/// What a command came to.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).expect("UTF-8"),
            stderr: String::from_utf8(output.stderr).expect("UTF-8"),
        }
    }
}

impl Ran {
    /// It went well and had nothing to remark; gives its output.
    #[track_caller]
    pub(crate) fn succeeded(self) -> String {
        assert_eq!((self.code, self.stderr.as_str()), (Some(0), ""));
        self.stdout
    }

    /// It failed, saying so in one plain line; gives that line.
    #[track_caller]
    pub(crate) fn failed(self) -> String {
        assert_eq!(
            (self.code, self.stdout.as_str()),
            (Some(1), ""),
            "{}",
            self.stderr
        );
        assert_eq!(self.stderr.lines().count(), 1, "{}", self.stderr);
        self.stderr
    }

    /// It was used wrongly; gives the first line, which names the culprit.
    #[track_caller]
    pub(crate) fn refused(self) -> String {
        assert_eq!(
            (self.code, self.stdout.as_str()),
            (Some(2), ""),
            "{}",
            self.stderr
        );
        self.stderr.lines().next().expect("a line").to_owned()
    }
}

/// How a server is started on free ports.
const SERVE: [&str; 5] = [
    "serve",
    "--listen",
    "127.0.0.1:0",
    "--admin-listen",
    "127.0.0.1:0",
];

/// A running server. Dropped, it is killed.
pub(crate) struct Server {
    child: Child,
    stdout: BufReader<ChildStdout>,
    /// The line that it printed when it could serve.
    pub(crate) greeting: String,
    /// Reads what it logs, to its end.
    log: Option<JoinHandle<Vec<String>>>,
    dir: PathBuf,
    /// Removed when the server has ended.
    own_dir: Option<TempDir>,
}

impl Server {
    /// A server on free ports and a fresh data directory.
    pub(crate) fn start() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut server = Self::start_in(dir.path(), &[]);
        server.own_dir = Some(dir);
        server
    }

    /// The same, with settings in its environment.
    pub(crate) fn start_with(variables: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut command = banter(dir.path(), &SERVE);
        command.envs(variables.iter().copied());
        let mut server = Self::spawn(dir.path(), command);
        server.own_dir = Some(dir);
        server
    }

    /// A server that can be started again where it was.
    pub(crate) fn start_to_restart() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut arguments = SERVE;
        let address = fixture::free_address().to_string();
        arguments[2] = &address;
        let mut server = Self::spawn(dir.path(), banter(dir.path(), &arguments));
        server.own_dir = Some(dir);
        server
    }

    /// A server on free ports, in this directory, with more arguments.
    pub(crate) fn start_in(dir: &Path, arguments: &[&str]) -> Self {
        Self::spawn(dir, banter(dir, &[&SERVE, arguments].concat()))
    }

    /// Ends the process with this signal, and starts another one at the same address.
    pub(crate) fn restart(&mut self, signal: Signal) {
        self.restart_after(signal, |_| {});
    }

    /// The same, with something done meanwhile; it is given the data directory.
    pub(crate) fn restart_after(&mut self, signal: Signal, meanwhile: impl FnOnce(&Path)) {
        let address = self.url().trim_start_matches("http://").to_owned();
        self.signal(signal);
        self.child.wait().expect("it is ours");
        meanwhile(&self.dir.join("banter-data"));
        let mut arguments = SERVE;
        arguments[2] = &address;
        let own_dir = self.own_dir.take();
        *self = Self::spawn(&self.dir, banter(&self.dir, &arguments));
        self.own_dir = own_dir;
    }

    fn spawn(dir: &Path, mut command: Command) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        let stderr = BufReader::new(child.stderr.take().expect("piped"));
        let log = std::thread::spawn(|| stderr.lines().map_while(Result::ok).collect());
        let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || {
            let mut greeting = String::new();
            let _ = stdout.read_line(&mut greeting);
            let _ = sender.send((greeting, stdout));
        });
        let Ok((greeting, stdout)) = receiver.recv_timeout(PATIENCE) else {
            let _ = child.kill();
            panic!("the server was not ready within {PATIENCE:?}");
        };
        Self {
            child,
            stdout,
            greeting,
            log: Some(log),
            dir: dir.to_owned(),
            own_dir: None,
        }
    }

    /// Where it serves, without a slash at the end.
    pub(crate) fn url(&self) -> &str {
        let url = self.greeting.split_whitespace().last();
        url.expect("the greeting ends with the URL")
    }

    /// The directory in which it runs.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.expect("a process has an id"), signal).expect("it is ours");
    }

    /// Waits for its end; gives how it ended, and what it printed after the greeting.
    pub(crate) fn wait(mut self) -> (ExitStatus, String) {
        let started = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("it is ours") {
                break status;
            }
            assert!(started.elapsed() < PATIENCE, "the server did not end");
            std::thread::sleep(Duration::from_millis(5));
        };
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).expect("UTF-8");
        (status, rest)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let log = self.log.take().and_then(|log| log.join().ok());
        if !std::thread::panicking() {
            logs::check(&log.expect("it was read"), &[], &[]);
        }
    }
}
