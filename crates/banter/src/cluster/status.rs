//! What a cluster looks like, for programs and for people.

use std::time::{SystemTime, UNIX_EPOCH};

use banter_protocol::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::job::Role;
use super::member::{Member, State};

/// A cluster.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Status {
    /// Where people reach it.
    pub(crate) url: String,
    pub(crate) data_dir: String,
    /// The process that keeps all others running.
    pub(crate) supervisor: u32,
    pub(crate) processes: Vec<Process>,
}

/// One of its processes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Process {
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) pid: Option<u32>,
    pub(crate) state: State,
    pub(crate) ready: bool,
    /// What it waits for, as far as it tells.
    pub(crate) waits_for: Option<String>,
    /// Host and port where it serves others.
    pub(crate) listen: Option<String>,
    /// Host and port of metrics, health and drain.
    pub(crate) admin: Option<String>,
    /// File of its outputs.
    pub(crate) log: String,
    /// How often it was started again after it had died.
    pub(crate) restarts: u32,
    /// Since when it is in this state.
    pub(crate) since: Timestamp,
}

impl Process {
    pub(crate) fn of(member: &Member) -> Self {
        let seen = member.seen();
        Self {
            name: member.name.clone(),
            role: member.role,
            pid: seen.pid,
            state: seen.state,
            ready: seen.ready,
            waits_for: Some(seen.waits_for).filter(|reason| !reason.is_empty()),
            listen: member.job.listen.map(|address| address.to_string()),
            admin: member.job.admin.map(|address| address.to_string()),
            log: member.log.display().to_string(),
            restarts: seen.restarts,
            since: seen.since,
        }
    }

    fn looks(&self) -> String {
        let waits_for = self.waits_for.as_deref();
        match self.state {
            State::Running if self.ready => "ready".to_owned(),
            State::Running => match waits_for {
                Some(reason) => format!("waits for {reason}"),
                None => "not ready".to_owned(),
            },
            State::Stopping => "stopping".to_owned(),
            State::Restarting => "restarting".to_owned(),
            State::Stopped => "stopped".to_owned(),
        }
    }
}

impl Status {
    /// A table for people.
    pub(crate) fn table(&self) -> String {
        let mut rows = vec![
            ["NAME", "STATE", "FOR", "PID", "RESTARTS", "LISTEN", "ADMIN"]
                .map(str::to_owned)
                .to_vec(),
        ];
        let dash = || "-".to_owned();
        for process in &self.processes {
            rows.push(vec![
                process.name.clone(),
                process.looks(),
                age(process.since),
                process.pid.map_or_else(dash, |pid| pid.to_string()),
                process.restarts.to_string(),
                process.listen.clone().unwrap_or_else(dash),
                process.admin.clone().unwrap_or_else(dash),
            ]);
        }
        let ready = self.processes.iter().filter(|p| p.ready).count();
        let mut text = format!(
            "{}   {ready} of {} ready   {}\n\n",
            self.url,
            self.processes.len(),
            self.data_dir
        );
        let width = |column: usize| rows.iter().map(|row| row[column].len()).max();
        let widths: Vec<_> = (0..rows[0].len())
            .map(|column| width(column).unwrap_or(0))
            .collect();
        for row in &rows {
            let cells = row.iter().zip(&widths);
            let line: Vec<_> = cells
                .map(|(cell, width)| format!("{cell:width$}"))
                .collect();
            text.push_str(line.join("  ").trim_end());
            text.push('\n');
        }
        text
    }
}

/// How long ago, in two units at most.
fn age(since: Timestamp) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.unwrap_or_default().as_millis();
    let since = u128::try_from(since.as_ms()).unwrap_or(0);
    let seconds = now.saturating_sub(since) / 1000;
    match (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, minutes) => format!("{minutes}m{:02}s", seconds % 60),
        (0, hours, minutes) => format!("{hours}h{minutes:02}m"),
        (days, hours, _) => format!("{days}d{hours:02}h"),
    }
}
