//! What a cluster survives: each scenario harms a real one under load, and is judged by the audit.
//!
//! A scenario is a list of steps against a cluster that `banter cluster up` started. Meanwhile
//! people write, read, come back and log in, and keep what they wrote until it is stored, as every
//! client does. It holds when nothing that was acked is missing, nothing is there twice, everybody
//! saw everything in one order, all went on by itself, and nothing went wrong for people that has
//! to go on meanwhile.

mod found;
mod scenario;
mod trial;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};

use self::trial::Trial;
use crate::cluster::Cluster;
use crate::load::profile::{Action, Profile};
use crate::load::roster::Roster;
use crate::load::run::{Load, Progress, Stage};
use crate::load::slo::Slo;

pub use self::found::{Found, table};
pub use self::scenario::{ALL, Scenario};

/// What people do meanwhile.
const PEOPLE: &str = include_str!("../profiles/faults.toml");
/// How large the cluster is.
const SIZE: [&str; 4] = ["--gateways", "2", "--workers", "2"];
/// How long the cluster may take, after the load, until every process is ready and all is stored.
const SETTLE_MAX: Duration = Duration::from_secs(60);

/// Ends the load at hand. One runs at a time.
static STOP: AtomicBool = AtomicBool::new(false);

/// Runs scenarios, one after the other on the same cluster; on a new one after a failure.
pub struct Faults<'a> {
    program: PathBuf,
    dir: PathBuf,
    ground: Option<Ground>,
    clusters: u32,
    say: &'a (dyn Fn(&str) + Sync),
}

/// A cluster and the people on it.
struct Ground {
    cluster: Cluster,
    roster: Roster,
}

impl<'a> Faults<'a> {
    /// With this program, and clusters in directories below `dir`, which must not be there yet.
    #[must_use]
    pub fn new(program: &Path, dir: &Path, say: &'a (dyn Fn(&str) + Sync)) -> Self {
        Self {
            program: program.to_owned(),
            dir: dir.to_owned(),
            ground: None,
            clusters: 0,
            say,
        }
    }

    /// Tries one scenario. What does not hold is told by what was found.
    ///
    /// # Errors
    /// The cluster cannot be started, or the load cannot be put.
    pub fn run(&mut self, scenario: &Scenario) -> Result<Found> {
        let mut ground = match self.ground.take() {
            Some(ground) => ground,
            None => self.ground()?,
        };
        let found = self.judge(scenario, &mut ground)?;
        if found.holds() {
            self.ground = Some(ground);
        }
        Ok(found)
    }

    /// Stops the cluster.
    ///
    /// # Errors
    /// It does not end well.
    pub fn end(mut self) -> Result<()> {
        self.ground
            .take()
            .map_or(Ok(()), |ground| ground.cluster.stop())
    }

    fn ground(&mut self) -> Result<Ground> {
        self.clusters += 1;
        let dir = self.dir.join(format!("cluster-{}", self.clusters));
        (self.say)(&format!("starting a cluster in {}", dir.display()));
        std::fs::create_dir_all(&dir).with_context(|| format!("make {}", dir.display()))?;
        let cluster = Cluster::start(&self.program, &dir, &dir.join("cluster.log"), SIZE)?;
        let roster = Roster::open(&dir.join("load.json"))?;
        Ok(Ground { cluster, roster })
    }

    fn judge(&self, scenario: &Scenario, ground: &mut Ground) -> Result<Found> {
        let Ground { cluster, roster } = ground;
        let load = load(scenario)?;
        let stage = Stage {
            server: crate::load::target::Server::at(&cluster.status()?.url)?,
            watched: Vec::new(),
            generator: (
                self.program.clone(),
                vec!["load".into(), "--generator".into()],
            ),
            stop: &STOP,
            look_again: None,
            queue: None,
            accounts: None,
        };
        STOP.store(false, Ordering::Relaxed);
        let (give, seconds) = channel();
        let (outcome, tried) = std::thread::scope(|scope| {
            let cluster = &*cluster;
            let trial = Trial::new(cluster, load.users, seconds, self.say);
            let steps = scope.spawn(|| {
                let tried = trial.follow(scenario.steps);
                STOP.store(true, Ordering::Relaxed);
                tried
            });
            let view = move |progress: Progress<'_>| {
                if let Progress::Second(second, ..) = progress {
                    // The steps may have ended already.
                    let _ = give.send(second.clone());
                }
            };
            let outcome = load.run(&stage, roster, &view);
            // Steps that wait for a load which has ended are told so.
            drop(view);
            (outcome, steps.join())
        });
        let tried = tried.map_err(|_| anyhow!("a scenario panicked"))?;
        let outcome = outcome.with_context(|| format!("the load on {}", scenario.name))?;
        let mut found = Found::new(scenario, &outcome, tried);
        found.must(self.settled(cluster));
        Ok(found)
    }

    /// Afterwards everything is ready and stored, and nothing was rejected.
    fn settled(&self, cluster: &Cluster) -> Result<()> {
        cluster.settle(SETTLE_MAX)?;
        trial::is_stored(cluster, SETTLE_MAX)?;
        let rejected = cluster.queue(&["rejected", "--json"])?;
        let rejected = rejected.iter().filter(|byte| **byte == b'\n').count();
        anyhow::ensure!(
            rejected == 0,
            "{rejected} accepted entries could not be stored"
        );
        Ok(())
    }
}

/// What is put on the cluster, until it is stopped.
fn load(scenario: &Scenario) -> Result<Load> {
    let mut profile = Profile::parse(PEOPLE)?;
    if scenario.stays {
        profile.actions.remove(&Action::Reconnect);
    }
    Ok(Load {
        name: scenario.name.to_owned(),
        users: profile.users,
        profile,
        rate: None,
        slo: Slo(Vec::new()),
        generators: Some(1),
        seed: 1,
        faults: Vec::new(),
        open_ended: true,
        patience: None,
    })
}
