//! The generators' processes: told what to do, and heard.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::audit::Condensed;
use crate::load::plan::{Command, Plan, Told};

/// One of them. Dropped, it is killed.
#[derive(Debug)]
struct Generator {
    child: Child,
    stdin: ChildStdin,
    opened: u32,
    done: bool,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Generators {
    all: Vec<Generator>,
    heard: Receiver<(usize, Option<Told>)>,
    /// What they saw, once they are done.
    pub(super) condensed: Vec<Condensed>,
}

impl Drop for Generator {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Generators {
    /// Starts one for each plan.
    pub(super) fn start(command: &(PathBuf, Vec<String>), plans: Vec<Plan>) -> Result<Self> {
        let (give, heard) = channel();
        let mut all = Vec::new();
        for (number, plan) in plans.into_iter().enumerate() {
            let mut child = std::process::Command::new(&command.0)
                .args(&command.1)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                // A Ctrl-C is for whoever tells them what to do.
                .process_group(0)
                .spawn()
                .context("start a generator")?;
            let stdin = child.stdin.take().context("speak to a generator")?;
            let stdout = child.stdout.take().context("hear a generator")?;
            let give: Sender<_> = give.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                    let told = serde_json::from_str(&line);
                    let told = told.unwrap_or_else(|error| Told::Failed(error.to_string()));
                    if give.send((number, Some(told))).is_err() {
                        return;
                    }
                }
                // Whoever listened may have heard enough.
                let _ = give.send((number, None));
            });
            let mut generator = Generator {
                child,
                stdin,
                opened: 0,
                done: false,
            };
            generator.tell(&Command::Plan(Box::new(plan)))?;
            all.push(generator);
        }
        Ok(Self {
            all,
            heard,
            condensed: Vec::new(),
        })
    }

    pub(super) fn count(&self) -> usize {
        self.all.len()
    }

    pub(super) fn processes(&self) -> Vec<i32> {
        let pids = self.all.iter().map(|generator| generator.child.id());
        pids.filter_map(|pid| i32::try_from(pid).ok()).collect()
    }

    /// How many sockets were opened so far.
    pub(super) fn opened(&self) -> usize {
        let opened = self.all.iter().map(|generator| generator.opened as usize);
        opened.sum()
    }

    pub(super) fn are_done(&self) -> bool {
        self.all.iter().all(|generator| generator.done)
    }

    /// Tells all that are not done.
    pub(super) fn tell(&mut self, command: &Command) -> Result<()> {
        let mut working = self.all.iter_mut().filter(|generator| !generator.done);
        working.try_for_each(|generator| generator.tell(command))
    }

    /// Waits so long for something that one of them tells.
    pub(super) fn hear(&mut self, wait: Duration) -> Result<Option<Told>> {
        let (number, told) = match self.heard.recv_timeout(wait) {
            Ok(heard) => heard,
            Err(RecvTimeoutError::Timeout) => return Ok(None),
            Err(RecvTimeoutError::Disconnected) => bail!("the generators are gone"),
        };
        let generator = &mut self.all[number];
        match told {
            Some(Told::Opened(opened)) => generator.opened = opened,
            Some(Told::Done(condensed)) => {
                generator.done = true;
                self.condensed.push(*condensed);
                return Ok(None);
            }
            None if !generator.done => bail!("a generator ended before it was done"),
            _ => {}
        }
        Ok(told)
    }
}

impl Generator {
    fn tell(&mut self, command: &Command) -> Result<()> {
        let mut line = serde_json::to_vec(command).context("speak to a generator")?;
        line.push(b'\n');
        self.stdin.write_all(&line).context("speak to a generator")
    }
}
