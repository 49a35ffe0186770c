//! A cluster that is measured: started, asked and ordered about as an operator does it.

mod console;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::Pid;
use serde::Deserialize;

pub(crate) use self::console::Console;
use crate::process::Server;
use crate::scrape::Scrape;
use crate::service::unlimit;

/// How long it may take until everything is ready: a database may have to be made.
const READY_MAX: Duration = Duration::from_secs(180);
/// How long it may take to drain and stop: gateways spread their clients over time.
const STOP_MAX: Duration = Duration::from_secs(150);
/// How often it is asked whether something has come to pass.
const POLL: Duration = Duration::from_millis(50);

/// A running cluster. Dropped, it is stopped.
#[derive(Debug)]
pub struct Cluster {
    supervisor: Child,
    binary: PathBuf,
    directory: PathBuf,
    log: PathBuf,
}

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
    /// Such as `gateway-1`.
    pub name: String,
    /// Such as `gateway`.
    pub role: String,
    /// Its number, while it runs.
    pub pid: Option<i32>,
    /// Whether it can serve.
    #[serde(default)]
    pub ready: bool,
    /// How often it was started again after it had died.
    #[serde(default)]
    pub restarts: u32,
    /// Where it serves others.
    pub listen: Option<SocketAddr>,
    /// Where it tells its metrics.
    pub admin: Option<SocketAddr>,
}

impl Cluster {
    /// Starts one in a directory, of the size that flags such as `--gateways 4` say, and waits
    /// until everything is ready. What it says goes to `log`. It ends when this process does,
    /// whatever becomes of it.
    ///
    /// # Errors
    /// It does not start.
    pub fn start(
        binary: &Path,
        directory: &Path,
        log: &Path,
        size: impl IntoIterator<Item = impl AsRef<OsStr>>,
    ) -> Result<Self> {
        let mut command = Command::new(binary);
        unlimit(&mut command);
        command
            .args(["cluster", "up", "--until-input-ends"])
            .args(["--listen", "127.0.0.1:0", "--data-dir"])
            .arg(directory)
            .args(size)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(log).with_context(|| format!("write {}", log.display()))?)
            // A Ctrl-C is for whoever started it.
            .process_group(0);
        let mut supervisor = command
            .spawn()
            .with_context(|| format!("start {}", binary.display()))?;
        let (tell, told) = channel();
        if let Some(out) = supervisor.stdout.take() {
            std::thread::spawn(move || {
                let mut line = String::new();
                let read = BufReader::new(out).read_line(&mut line);
                // Whoever waits for it may have given up.
                let _ = tell.send(read.is_ok_and(|read| read > 0));
            });
        }
        let cluster = Self {
            supervisor,
            binary: binary.to_owned(),
            directory: directory.to_owned(),
            log: log.to_owned(),
        };
        if told.recv_timeout(READY_MAX) != Ok(true) {
            bail!("the cluster did not start: {}", cluster.last_words());
        }
        Ok(cluster)
    }

    fn last_words(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let last = text.lines().rev().find(|line| !line.trim().is_empty());
        let last = last.unwrap_or("it said nothing");
        last.trim_start_matches("banter: ").to_owned()
    }

    /// Where it keeps everything.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Gives an order, such as `scale gateways 4`, and waits until it is done.
    ///
    /// # Errors
    /// It is refused.
    pub fn order(&self, order: &str) -> Result<()> {
        self.ask(&order.split(' ').collect::<Vec<_>>()).map(drop)
    }

    fn ask(&self, arguments: &[&str]) -> Result<Vec<u8>> {
        let place = ("--data-dir", self.directory.as_path());
        self.told(&[&["cluster"], arguments].concat(), place)
    }

    /// What `banter queue` prints with these words.
    ///
    /// # Errors
    /// Redis or PostgreSQL cannot be asked.
    pub fn queue(&self, words: &[&str]) -> Result<Vec<u8>> {
        let config = self.directory.join("banter.toml");
        self.told(&[&["queue"], words].concat(), ("--config", &config))
    }

    /// What the program prints that is told where the cluster is.
    fn told(&self, words: &[&str], (flag, place): (&str, &Path)) -> Result<Vec<u8>> {
        let mut command = Command::new(&self.binary);
        let output = command.args(words).arg(flag).arg(place).output();
        let output = output.context("ask the cluster")?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("banter {}: {}", words.join(" "), said.trim());
        }
        Ok(output.stdout)
    }

    /// What runs.
    ///
    /// # Errors
    /// The supervisor is gone.
    pub fn status(&self) -> Result<Status> {
        let text = self.ask(&["status", "--json"])?;
        serde_json::from_slice(&text).context("read what the cluster tells of itself")
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

    /// The number that Redis gives a field of its `INFO memory`.
    ///
    /// # Errors
    /// It does not answer, or not with such a field.
    pub fn redis_memory(&self, field: &str) -> Result<f64> {
        let told = Console::of(self)?.ask(&["INFO", "memory"])?;
        let mut fields = told.lines().filter_map(|line| line.split_once(':'));
        let found = fields.find(|(name, _)| *name == field);
        let (_, value) = found.with_context(|| format!("Redis does not tell its {field}"))?;
        value.trim().parse().context("read what Redis says")
    }

    /// Has `psql` do what a script says on the cluster's database; gives what it prints.
    ///
    /// # Errors
    /// There is no `psql`, or the script fails.
    pub fn sql(&self, script: &str) -> Result<String> {
        let url = self.setting("database", "url")?;
        let mut psql = Command::new("psql")
            .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", &url])
            .args(["-f", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("start psql, which comes with PostgreSQL")?;
        if let Some(mut stdin) = psql.stdin.take() {
            stdin.write_all(script.as_bytes())?;
        }
        let output = psql.wait_with_output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "psql: {}", said.trim());
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// A setting of all its roles.
    pub(crate) fn setting(&self, section: &str, key: &str) -> Result<String> {
        let text = fs::read_to_string(self.directory.join("banter.toml"))?;
        let table: toml::Table = text.parse().context("read the cluster's settings")?;
        let value = table.get(section).and_then(|section| section.get(key));
        let value = value.and_then(toml::Value::as_str);
        Ok(value.context("find a setting of the cluster")?.to_owned())
    }

    /// Drains and stops it.
    ///
    /// # Errors
    /// It does not end, or not well.
    pub fn stop(mut self) -> Result<()> {
        let status = self.end()?;
        ensure!(status, "the cluster ended badly: {}", self.last_words());
        Ok(())
    }

    /// Whether it ended well.
    fn end(&mut self) -> Result<bool> {
        drop(self.supervisor.stdin.take());
        let begun = Instant::now();
        while begun.elapsed() < STOP_MAX {
            if let Some(status) = self.supervisor.try_wait()? {
                return Ok(status.success());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        bail!("the cluster does not end; see {}", self.log.display())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // It has ended, or whoever looks into its directory finds out why not.
        let _ = self.end();
    }
}

impl Status {
    /// Processes of a role that run, by name.
    fn of(&self, role: &str) -> impl Iterator<Item = &Process> {
        let running = self
            .processes
            .iter()
            .filter(|process| process.pid.is_some());
        running.filter(move |process| process.role == role)
    }

    /// Where those of a role serve others.
    #[must_use]
    pub fn addresses(&self, role: &str) -> Vec<SocketAddr> {
        self.of(role).filter_map(|process| process.listen).collect()
    }

    /// All that run, to be measured.
    #[must_use]
    pub fn server(&self) -> Server {
        let running = self.processes.iter();
        let running = running.filter_map(|process| {
            let pid = Pid::from_raw(process.pid?)?;
            Some((process.name.clone(), pid))
        });
        Server::new(running)
    }

    /// What a metric of each process of a role is now, by name.
    ///
    /// # Errors
    /// One does not answer.
    pub fn metric(&self, role: &str, name: &str) -> Result<BTreeMap<String, f64>> {
        let each = self.of(role).filter_map(|process| {
            let admin = process.admin?;
            let value = Scrape::of(admin).map(|scrape| scrape.sum(name));
            Some(value.map(|value| (process.name.clone(), value)))
        });
        each.collect()
    }

    /// The sum of it.
    ///
    /// # Errors
    /// One does not answer.
    pub fn total(&self, role: &str, name: &str) -> Result<f64> {
        Ok(self.metric(role, name)?.values().sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_cluster_tells_is_understood() {
        let text = r#"{"url":"http://127.0.0.1:8080","processes":[
            {"name":"gateway-1","role":"gateway","pid":7,
             "listen":"127.0.0.1:8","admin":"127.0.0.1:9"},
            {"name":"gateway-2","role":"gateway","pid":null,"listen":"127.0.0.1:6","admin":null},
            {"name":"redis","role":"redis","pid":8,"listen":"127.0.0.1:10","admin":null}]}"#;
        let status: Status = serde_json::from_str(text).unwrap();
        assert_eq!(
            status.addresses("gateway"),
            ["127.0.0.1:8".parse().unwrap()]
        );
        assert_eq!(status.addresses("redis").len(), 1);
    }
}
