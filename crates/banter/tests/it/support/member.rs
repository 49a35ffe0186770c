//! A process of a chat: the whole of it, or a part of a cluster.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::PATIENCE;
use super::fixture::free_address;

/// What all processes of a chat have logged.
pub(crate) type Log = Arc<Mutex<Vec<String>>>;

/// A process, running or not. Dropped, it is killed.
#[derive(Debug)]
pub(crate) struct Member {
    /// The part that it runs; `None`: everything.
    pub(crate) role: Option<&'static str>,
    pub(crate) listen: SocketAddr,
    pub(crate) admin: SocketAddr,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    child: Child,
    log_reader: JoinHandle<()>,
    greeting: Mutex<mpsc::Receiver<String>>,
}

impl Member {
    pub(crate) fn new(role: Option<&'static str>) -> Self {
        Self {
            role,
            listen: free_address(),
            admin: free_address(),
            running: None,
        }
    }

    pub(crate) const fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Starts it with this command, to which its addresses are added.
    pub(crate) fn spawn(&mut self, mut command: Command, log: &Log) {
        assert!(self.running.is_none(), "it is running already");
        command
            .args(["--listen", &self.listen.to_string()])
            .args(["--admin-listen", &self.admin.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
        let stderr = BufReader::new(child.stderr.take().expect("piped"));
        let log = log.clone();
        let log_reader = std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                log.lock().expect("no reader panics").push(line);
            }
        });
        let (sender, greeting) = mpsc::channel();
        std::thread::spawn(move || {
            let mut greeting = String::new();
            let _ = stdout.read_line(&mut greeting);
            let _ = sender.send(greeting);
        });
        self.running = Some(Running {
            child,
            log_reader,
            greeting: Mutex::new(greeting),
        });
    }

    /// Waits until it can serve.
    ///
    /// # Errors
    /// What is known when it cannot.
    pub(crate) fn ready(&mut self) -> Result<(), String> {
        let address = match self.role {
            Some("worker") => self.admin,
            _ => self.listen,
        };
        let running = self.running.as_mut().expect("it was started");
        let since = Instant::now();
        let greeting = running.greeting.get_mut().expect("nobody panics");
        let greeting = greeting.recv_timeout(PATIENCE).unwrap_or_default();
        if greeting.trim_end().ends_with(&format!("http://{address}")) {
            return Ok(());
        }
        let (role, status) = (self.role, running.child.try_wait());
        let waited = since.elapsed();
        Err(format!(
            "{role:?} is not ready after {waited:?}: {greeting:?}, {status:?}"
        ))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.running.as_ref().expect("it is running").child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw);
        kill_process(pid.expect("a process has an id"), signal).expect("it is ours");
    }

    /// Waits until it has ended.
    #[track_caller]
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let mut running = self.running.take().expect("it is running");
        let started = Instant::now();
        loop {
            if let Some(status) = running.child.try_wait().expect("it is ours") {
                running.log_reader.join().expect("it reads on");
                return status;
            }
            assert!(started.elapsed() < PATIENCE, "the server did not end");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Resident memory, in KiB.
    pub(crate) fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()));
        let status = status.expect("it is running");
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let words = line.and_then(|line| line.split_whitespace().nth(1));
        words.and_then(|kib| kib.parse().ok()).expect("a number")
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        if let Some(mut running) = self.running.take() {
            let _ = running.child.kill();
            let _ = running.child.wait();
            let _ = running.log_reader.join();
        }
    }
}
