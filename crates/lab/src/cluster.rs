//! A whole cluster on this machine, driven as an operator drives it: by `banter cluster`.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;

use crate::load::watch::Watched;

/// How long a cluster may take until people can come: a database is made, and machines are busy.
const READY_MAX: Duration = Duration::from_secs(180);
/// How long it may take to end: gateways spread their clients over time.
const STOP_MAX: Duration = Duration::from_secs(150);
/// How often it is asked whether something has come to pass.
const POLL: Duration = Duration::from_millis(50);

/// What a cluster tells of itself.
#[derive(Debug, Clone, Deserialize)]
pub struct Status {
    /// Where people reach it.
    pub url: String,
    /// Its processes.
    pub processes: Vec<Process>,
}

/// One of its processes.
#[derive(Debug, Clone, Deserialize)]
pub struct Process {
    /// What it is called, such as `gateway-1`.
    pub name: String,
    /// What it does, such as `gateway`.
    pub role: String,
    /// Its number, where it runs.
    pub pid: Option<i32>,
    /// Whether it can serve.
    pub ready: bool,
    /// How often it was started again after it had died.
    pub restarts: u32,
    /// Where it tells its metrics.
    pub admin: Option<SocketAddr>,
}

/// A running cluster. Dropped, it is stopped.
#[derive(Debug)]
pub struct Cluster {
    program: PathBuf,
    dir: PathBuf,
    url: String,
    child: Child,
}

impl Cluster {
    /// Starts one with this program, in a directory of its own. What its supervisor says goes into
    /// `supervisor.log` there. It ends when this process does, whatever becomes of it.
    ///
    /// # Errors
    /// It does not get ready; the error has what it said.
    pub fn up(program: &Path, dir: &Path, gateways: u32, workers: u32) -> Result<Self> {
        fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let log = dir.join("supervisor.log");
        let mut command = banter(program);
        command
            .args(["cluster", "up", "--until-input-ends"])
            .args(["--listen", "127.0.0.1:0"])
            .args(["--gateways", &gateways.to_string()])
            .args(["--workers", &workers.to_string()])
            .arg("--data-dir")
            .arg(dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // A Ctrl-C is for whoever started it.
            .process_group(0)
            .stderr(File::create(&log).with_context(|| format!("write {}", log.display()))?);
        let child = command.spawn();
        let mut child = child.with_context(|| format!("start {}", program.display()))?;
        let stdout = child.stdout.take().context("hear a cluster")?;
        let (give, first_line) = mpsc::channel();
        std::thread::spawn(move || {
            let mut line = String::new();
            let _ = BufReader::new(stdout).read_line(&mut line);
            // Whoever waited may have given up.
            let _ = give.send(line);
        });
        let mut cluster = Self {
            program: program.to_owned(),
            dir: dir.to_owned(),
            url: String::new(),
            child,
        };
        let line = first_line.recv_timeout(READY_MAX).unwrap_or_default();
        match line.trim().strip_prefix("Banter cluster serves ") {
            Some(url) => url.clone_into(&mut cluster.url),
            None => {
                let said = fs::read_to_string(&log).unwrap_or_default();
                bail!("the cluster does not get ready: {}", said.trim());
            }
        }
        Ok(cluster)
    }

    /// Where people reach it.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Where its data are.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Gives an order in words, such as `["kill", "redis"]`, and waits until it is carried out;
    /// what was told meanwhile.
    ///
    /// # Errors
    /// It is refused, or was not carried out.
    pub fn order(&self, words: &[&str]) -> Result<String> {
        let mut command = banter(&self.program);
        command.arg("cluster").args(words);
        command.arg("--data-dir").arg(&self.dir);
        told(command).with_context(|| format!("banter cluster {}", words.join(" ")))
    }

    /// What it looks like.
    ///
    /// # Errors
    /// It does not say.
    pub fn status(&self) -> Result<Status> {
        let told = self.order(&["status", "--json"])?;
        serde_json::from_str(&told).context("read what the cluster tells of itself")
    }

    /// One of its processes.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn process(&self, name: &str) -> Result<Process> {
        let processes = self.status()?.processes.into_iter();
        let mut found = processes.filter(|process| process.name == name);
        found.next().with_context(|| format!("there is no {name}"))
    }

    /// Waits until every process is ready.
    ///
    /// # Errors
    /// Some are not, after so long.
    pub fn settle(&self, patience: Duration) -> Result<()> {
        let begun = Instant::now();
        loop {
            let processes = self.status()?.processes;
            let away: Vec<_> = processes.iter().filter(|process| !process.ready).collect();
            if away.is_empty() {
                return Ok(());
            }
            if begun.elapsed() > patience {
                let names: Vec<_> = away.iter().map(|process| process.name.as_str()).collect();
                bail!("not ready after {patience:?}: {}", names.join(", "));
            }
            std::thread::sleep(POLL);
        }
    }

    /// Its processes that run, for who measures them.
    ///
    /// # Errors
    /// It does not say.
    pub fn watched(&self) -> Result<Vec<Watched>> {
        let running = self.status()?.processes.into_iter();
        let running = running.filter_map(|process| {
            Some(Watched {
                pid: process.pid?,
                name: process.name,
                role: process.role,
                admin: process.admin,
            })
        });
        Ok(running.collect())
    }

    /// What `banter queue` prints with these words.
    ///
    /// # Errors
    /// Redis or PostgreSQL cannot be asked.
    pub fn queue(&self, words: &[&str]) -> Result<String> {
        let mut command = banter(&self.program);
        command.arg("queue").args(words);
        command.arg("--config").arg(self.dir.join("banter.toml"));
        told(command).with_context(|| format!("banter queue {}", words.join(" ")))
    }

    /// Drains and stops it.
    ///
    /// # Errors
    /// It does not end, or not well.
    pub fn stop(mut self) -> Result<()> {
        self.end(Signal::TERM)?;
        let status = self.child.wait().context("watch the cluster")?;
        ensure!(status.success(), "the cluster ended badly ({status})");
        Ok(())
    }

    fn end(&mut self, signal: Signal) -> Result<()> {
        let begun = Instant::now();
        if self
            .child
            .try_wait()
            .context("watch the cluster")?
            .is_none()
        {
            kill_process(Pid::from_child(&self.child), signal).context("stop the cluster")?;
        }
        while self
            .child
            .try_wait()
            .context("watch the cluster")?
            .is_none()
        {
            ensure!(begun.elapsed() < STOP_MAX, "the cluster does not end");
            std::thread::sleep(POLL);
        }
        Ok(())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // The second signal kills all that is left.
        if self.end(Signal::TERM).is_err() {
            let _ = self.end(Signal::TERM);
        }
    }
}

/// The program, without settings of whoever runs us.
fn banter(program: &Path) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("BANTER_") {
            command.env_remove(name);
        }
    }
    command
}

/// Runs it, and gives what it prints.
fn told(mut command: Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().context("start it")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}", said.trim());
    String::from_utf8(output.stdout).context("read what it prints")
}
