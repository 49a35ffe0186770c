//! What a process of a cluster is: how it is started, asked for its health, and ended.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::process::Signal;
use serde::{Deserialize, Serialize};
use tokio::process::{Child, Command};

use super::probe::Health;

/// What a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Role {
    Redis,
    Postgres,
    Auth,
    Gateway,
    Worker,
    Nginx,
    RedisExporter,
    PostgresExporter,
    NginxExporter,
    NodeExporter,
    Alertmanager,
    Prometheus,
}

impl Role {
    /// Its name; with a number behind it for those of which there may be several.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Redis => "redis",
            Self::Postgres => "postgres",
            Self::Auth => "auth",
            Self::Gateway => "gateway",
            Self::Worker => "worker",
            Self::Nginx => "nginx",
            Self::RedisExporter => "redis-exporter",
            Self::PostgresExporter => "postgres-exporter",
            Self::NginxExporter => "nginx-exporter",
            Self::NodeExporter => "node-exporter",
            Self::Alertmanager => "alertmanager",
            Self::Prometheus => "prometheus",
        }
    }

    /// Whether there may be several, which can drain.
    pub(crate) const fn is_ours(self) -> bool {
        matches!(self, Self::Auth | Self::Gateway | Self::Worker)
    }

    /// How it is asked to end, and how long it may take: a drain spreads a gateway's clients over
    /// time, a database writes down what it holds.
    pub(crate) const fn end(self) -> (Signal, Duration) {
        match self {
            Self::Redis => (Signal::TERM, Duration::from_secs(20)),
            // Fast: sessions are cut, transactions rolled back.
            Self::Postgres => (Signal::INT, Duration::from_secs(60)),
            Self::Gateway => (Signal::TERM, Duration::from_secs(75)),
            Self::Auth | Self::Worker => (Signal::TERM, Duration::from_secs(30)),
            Self::Nginx
            | Self::RedisExporter
            | Self::PostgresExporter
            | Self::NginxExporter
            | Self::NodeExporter
            | Self::Alertmanager => (Signal::TERM, Duration::from_secs(5)),
            // It writes down the last samples.
            Self::Prometheus => (Signal::TERM, Duration::from_secs(20)),
        }
    }
}

/// Another user, under whom a process runs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Owner {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// How to run one process.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<OsString>,
    pub(crate) variables: Vec<(&'static str, OsString)>,
    /// Where it runs.
    pub(crate) dir: PathBuf,
    /// Not the user who started the cluster.
    pub(crate) owner: Option<Owner>,
    pub(crate) health: Health,
    /// Where it serves others.
    pub(crate) listen: Option<SocketAddr>,
    /// Where operators ask it.
    pub(crate) admin: Option<SocketAddr>,
}

/// Variables that would configure a process behind our back, by their beginning.
const FOREIGN: [&str; 9] = [
    "PG",
    "NGINX",
    "REDIS_",
    "DATA_SOURCE_",
    "SCRAPE_URI",
    "BANTER_CONFIG",
    "BANTER_SERVER__",
    "BANTER_DATABASE__",
    "BANTER_LOG__",
];
/// The same, by their whole name.
const FOREIGN_WHOLE: [&str; 2] = ["BANTER_AUTH__SECRET", "BANTER_AUTH__SECRET_FILE"];

impl Job {
    /// Starts it, in a process group of its own: Ctrl-C in the terminal is ours to handle.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(crate) fn spawn(&self, log: &std::path::Path) -> Result<Child> {
        let open = std::fs::File::options().create(true).append(true).open(log);
        let log = open.with_context(|| format!("cannot write {}", log.display()))?;
        let errors = log.try_clone().context("cannot share a log")?;
        let mut command = self.command();
        command
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .process_group(0);
        let child = command.spawn();
        child.with_context(|| format!("cannot start {}", self.program.display()))
    }

    /// The command, without its outputs.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).current_dir(&self.dir);
        for (variable, _) in std::env::vars_os() {
            let name = variable.to_string_lossy();
            let begins = FOREIGN.iter().any(|foreign| name.starts_with(foreign));
            if begins || FOREIGN_WHOLE.contains(&name.as_ref()) {
                command.env_remove(&variable);
            }
        }
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        if let Some(owner) = self.owner {
            command.uid(owner.uid).gid(owner.gid);
        }
        command
    }
}
