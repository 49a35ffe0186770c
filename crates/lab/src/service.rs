//! The server that is measured: a child process.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::http::Http;

/// How long a server may take until it is ready.
const READY_MAX: Duration = Duration::from_secs(30);
/// How often it is asked whether it is.
const READY_POLL: Duration = Duration::from_millis(1);
/// How long it may take to end; its own drain has a limit below that.
const STOP_MAX: Duration = Duration::from_secs(15);

/// What every measured server is told, beyond where it lives: one identity for all, so that tokens
/// are good wherever the data directory was copied to, and no limit that is not under test.
const SETTINGS: [(&str, &str); 7] = [
    ("SERVER__PUBLIC_URL", "http://bench.invalid"),
    ("AUTH__ACCESS_TOKEN_TTL", "24h"),
    ("LIMITS__CHANNEL_ENTRIES_PER_SECOND", "1000000"),
    ("LIMITS__SOCKET_FRAMES_PER_SECOND", "1000000"),
    ("LIMITS__ADDRESS_SOCKETS", "1000000"),
    ("TELEMETRY__LOG_LEVEL", "warn"),
    ("TELEMETRY__LOG_FORMAT", "human"),
];

/// Gives a command that starts a server these settings, and none of whoever measures.
pub fn unlimit(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("BANTER_") {
            command.env_remove(name);
        }
    }
    for (name, value) in SETTINGS {
        command.env(format!("BANTER_{name}"), value);
    }
}

/// A running server. Dropped, it is killed.
#[derive(Debug)]
pub struct Service {
    child: Child,
    address: SocketAddr,
    admin: SocketAddr,
    started: Duration,
}

impl Service {
    /// Starts a binary on a data directory, and waits until it is ready. Its log goes to
    /// `banter.log` there.
    ///
    /// # Errors
    /// It does not start; the error has what it said.
    pub fn start(binary: &Path, directory: &Path) -> Result<Self> {
        Self::start_as(binary, directory, |_| {})
    }

    /// The same, after a change of the command.
    ///
    /// # Errors
    /// It does not start; the error has what it said.
    pub fn start_as(
        binary: &Path,
        directory: &Path,
        change: impl FnOnce(&mut Command),
    ) -> Result<Self> {
        let (address, admin) = (free_address()?, free_address()?);
        let log = directory.join("banter.log");
        let mut command = Command::new(binary);
        unlimit(&mut command);
        command
            .arg("serve")
            .args(["--listen", &address.to_string()])
            .args(["--admin-listen", &admin.to_string()])
            .arg("--data-dir")
            .arg(directory)
            .current_dir(directory)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log).with_context(|| format!("write {}", log.display()))?);
        change(&mut command);
        let begun = Instant::now();
        let child = command
            .spawn()
            .with_context(|| format!("start {}", binary.display()))?;
        let mut service = Self {
            child,
            address,
            admin,
            started: Duration::ZERO,
        };
        service.wait_until_ready(begun, &log)?;
        service.started = begun.elapsed();
        Ok(service)
    }

    fn wait_until_ready(&mut self, begun: Instant, log: &Path) -> Result<()> {
        while begun.elapsed() < READY_MAX {
            let ready = Http::connect(self.address)
                .and_then(|mut http| http.ask("GET", "/readyz", "", ""))
                .is_ok_and(|answer| answer.status == 200);
            if ready {
                return Ok(());
            }
            if let Some(status) = self.child.try_wait().context("watch the server")? {
                let said = std::fs::read_to_string(log).unwrap_or_default();
                bail!("the server ended ({status}): {}", said.trim());
            }
            std::thread::sleep(READY_POLL);
        }
        bail!("the server was not ready in time; see {}", log.display())
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it tells operators of itself.
    #[must_use]
    pub const fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// From its start until it was ready.
    #[must_use]
    pub const fn started(&self) -> Duration {
        self.started
    }

    /// Its process.
    ///
    /// # Panics
    /// Never: a child has a number.
    #[must_use]
    pub fn process(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Asks it to end, and waits until it has written everything.
    ///
    /// # Errors
    /// It does not end, or not well.
    pub fn stop(mut self) -> Result<()> {
        kill_process(self.process(), Signal::TERM).context("stop the server")?;
        let begun = Instant::now();
        while begun.elapsed() < STOP_MAX {
            if let Some(status) = self.child.try_wait().context("watch the server")? {
                if !status.success() {
                    bail!("the server ended badly ({status})");
                }
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        bail!("the server does not end")
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An address that nobody uses at the moment.
fn free_address() -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("find a free port")?;
    listener.local_addr().context("find a free port")
}

/// The binary to measure: `BANTER_BIN`, or the one beside this program.
///
/// # Errors
/// There is none.
pub fn binary() -> Result<PathBuf> {
    let path = match std::env::var_os("BANTER_BIN") {
        Some(path) => PathBuf::from(path),
        None => std::env::current_exe()
            .context("find this program")?
            .with_file_name("banter"),
    };
    if !path.is_file() {
        bail!(
            "there is no {}: cargo build --release -p banter, or set BANTER_BIN",
            path.display()
        );
    }
    path.canonicalize().context("find the binary")
}

/// A folder for data, beside that of this program: on the disk where things are built, not in
/// memory, as the system's folder for temporary files may be.
///
/// # Errors
/// It is not known where this program is.
pub fn beside(name: &str) -> Result<PathBuf> {
    let program = std::env::current_exe().context("find this program")?;
    let home = program.ancestors().nth(2).map(|folder| folder.join(name));
    home.context("find a place for data directories; name one with --dir")
}
