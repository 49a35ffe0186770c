//! Runs experiments, and keeps what they tell.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use super::experiment::{Experiment, PROFILES, Run, Server};
use super::told::{Kept, Told};
use crate::cluster::Cluster;

/// Exit codes after which there is a report: PASS, FAIL and INVALID.
const JUDGED: [i32; 3] = [0, 3, 4];

/// Runs experiments in a folder, where accounts, clusters and what was found are kept.
#[derive(Debug)]
pub struct Runner<'a> {
    binary: &'a Path,
    home: &'a Path,
    /// The cluster that runs, and its settings.
    cluster: Option<(Cluster, &'static str)>,
}

impl<'a> Runner<'a> {
    /// With this binary, in this folder.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn new(binary: &'a Path, home: &'a Path) -> Result<Self> {
        fs::create_dir_all(home).with_context(|| format!("make {}", home.display()))?;
        for (name, text) in PROFILES {
            fs::write(profile(home, name), text).context("write a profile")?;
        }
        Ok(Self {
            binary,
            home,
            cluster: None,
        })
    }

    /// Runs one, and keeps what it found; `say` hears of each of its commands.
    ///
    /// # Errors
    /// A server does not start, or a command ends without a report.
    pub fn run(&mut self, experiment: &Experiment, say: impl Fn(&str)) -> Result<()> {
        let mut reports = Vec::new();
        for run in experiment.runs {
            let flags = self.server(run.server)?;
            say(&format!("  banter {} {}", run.command, flags.join(" ")));
            reports.push((run.label.to_owned(), self.told(run, &flags)?));
        }
        let text = serde_json::to_vec(&Kept { reports }).context("keep what was found")?;
        let file = kept(self.home, experiment.name);
        fs::write(&file, text).with_context(|| format!("write {}", file.display()))
    }

    /// Has such a server; the flags by which it is found.
    fn server(&mut self, server: Server) -> Result<Vec<String>> {
        let Server::Cluster(gateways, workers, settings) = server else {
            // It starts its own, and would share the cores with a cluster.
            self.cluster = None;
            let directory = self.home.join("one-process").display().to_string();
            return Ok(vec!["--embedded".into(), "--data-dir".into(), directory]);
        };
        let directory = self.home.join("cluster");
        if self
            .cluster
            .as_ref()
            .is_none_or(|(_, held)| *held != settings)
        {
            self.cluster = None;
            let file = self.home.join("cluster-settings.toml");
            fs::write(&file, settings).context("write settings")?;
            let log = self.home.join("cluster.log");
            let flags = ["--config".into(), file.into_os_string()];
            let cluster = Cluster::start(self.binary, &directory, &log, flags)?;
            self.cluster = Some((cluster, settings));
        }
        if let Some((cluster, _)) = &self.cluster {
            cluster.order(&format!("scale gateways {gateways}"))?;
            cluster.order(&format!("scale workers {workers}"))?;
        }
        let directory = directory.display().to_string();
        Ok(vec!["--cluster".into(), "--data-dir".into(), directory])
    }

    fn told(&self, run: &Run, flags: &[String]) -> Result<Told> {
        let report = self.home.join("report.json");
        let log = self.home.join("load.log");
        let out = File::create(&log).context("write load.log")?;
        let mut command = Command::new(self.binary);
        for part in run.command.split(' ') {
            match part.strip_prefix('{').and_then(|it| it.strip_suffix('}')) {
                Some(name) => command.arg(profile(self.home, name)),
                None => command.arg(part),
            };
        }
        command
            .args(flags)
            .arg("--json")
            .arg(&report)
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out);
        let status = command.status().context("start banter")?;
        if !status.code().is_some_and(|code| JUDGED.contains(&code)) {
            let words = fs::read_to_string(&log).unwrap_or_default();
            let last = words.lines().rev().find(|line| !line.trim().is_empty());
            bail!(
                "banter {}: {status}: {}",
                run.command,
                last.unwrap_or("it said nothing")
            );
        }
        let text = fs::read(&report).context("read the report")?;
        let mut told: Told = serde_json::from_slice(&text).context("understand the report")?;
        run.command.clone_into(&mut told.command);
        Ok(told)
    }
}

fn profile(home: &Path, name: &str) -> PathBuf {
    home.join(format!("{name}.toml"))
}

/// Where the reports of an experiment are kept.
pub(super) fn kept(home: &Path, name: &str) -> PathBuf {
    home.join(format!("{name}.json"))
}
