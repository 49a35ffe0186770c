//! A cluster that runs on this machine, as `banter cluster status --json` tells of it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use banter_lab::load::watch::Watched;
use serde::Deserialize;

/// What is needed of a cluster.
#[derive(Debug, Deserialize)]
pub(super) struct Status {
    /// Where people reach it.
    pub(super) url: String,
    /// Where its data and its configuration are.
    pub(super) data_dir: PathBuf,
    processes: Vec<Process>,
}

#[derive(Debug, Deserialize)]
struct Process {
    name: String,
    role: String,
    pid: Option<i32>,
    admin: Option<String>,
}

/// Asks for it.
///
/// # Errors
/// None runs, or not here.
pub(super) fn status(program: &Path, dir: Option<&PathBuf>) -> Result<Status> {
    let mut command = Command::new(program);
    command.args(["cluster", "status", "--json"]);
    if let Some(dir) = dir {
        command.arg("--data-dir").arg(dir);
    }
    let output = command.output().context("ask for the cluster")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.lines().next().unwrap_or_default();
        bail!("--cluster: {}", said.trim_start_matches("banter: "));
    }
    serde_json::from_slice(&output.stdout).context("read what the cluster tells of itself")
}

impl Status {
    /// Its processes that run.
    pub(super) fn watched(self) -> Vec<Watched> {
        let running = self.processes.into_iter();
        running
            .filter_map(|process| {
                Some(Watched {
                    pid: process.pid?,
                    name: process.name,
                    role: process.role,
                    admin: process.admin.and_then(|admin| admin.parse().ok()),
                })
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_cluster_tells_is_understood() {
        let text = r#"{"url":"http://127.0.0.1:8080","data_dir":"/tmp/c","processes":[
            {"name":"gateway-1","role":"gateway","pid":7,"state":"running","admin":"127.0.0.1:9"},
            {"name":"redis","role":"redis","pid":8,"state":"running","admin":null},
            {"name":"worker-1","role":"worker","pid":null,"state":"stopped"}]}"#;
        let status: Status = serde_json::from_str(text).unwrap();
        let watched = status.watched();
        let names: Vec<_> = watched
            .iter()
            .map(|watched| watched.name.as_str())
            .collect();
        assert_eq!(names, ["gateway-1", "redis"]);
        assert_eq!(watched[0].admin, "127.0.0.1:9".parse().ok());
    }
}
