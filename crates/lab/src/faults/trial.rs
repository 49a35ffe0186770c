//! What the steps of a scenario can do, and what they wait for: seconds of the load, as people
//! have them.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;

use crate::cluster::{Cluster, Console};
use crate::load::outcome::Second;
use crate::load::sample::{Count, Measure};
use crate::load::watch::family;
use crate::scrape::Scrape;

/// Good seconds in a row that are a recovery.
const GOOD_SECONDS: u32 = 3;
/// How long anything may take to be good again by itself, without an operator.
const RECOVERY_MAX: Duration = Duration::from_secs(60);
/// What waits longer for the database than this, in seconds, waits too long.
const QUEUED_S_MAX: f64 = 1.0;
/// A time that people notice, in milliseconds.
const NOTICED_MS: f64 = 1_000.0;
/// The load tells of a second within this time, or is gone.
const SECOND_MAX: Duration = Duration::from_secs(120);

/// A scenario that is being tried.
pub(super) struct Trial<'a> {
    pub(super) cluster: &'a Cluster,
    users: u32,
    seconds: Receiver<Second>,
    say: &'a (dyn Fn(&str) + Sync),
    recovery_s: u32,
}

/// What became of the steps.
#[derive(Debug)]
pub(super) struct Tried {
    /// The longest time from the end of a fault until all was good again, in seconds.
    pub(super) recovery_s: u32,
    pub(super) done: Result<()>,
}

impl<'a> Trial<'a> {
    pub(super) const fn new(
        cluster: &'a Cluster,
        users: u32,
        seconds: Receiver<Second>,
        say: &'a (dyn Fn(&str) + Sync),
    ) -> Self {
        Self {
            cluster,
            users,
            seconds,
            say,
            recovery_s: 0,
        }
    }

    /// Does the steps, from the time on at which people have what they want.
    pub(super) fn follow(mut self, steps: fn(&mut Self) -> Result<()>) -> Tried {
        let done = self.good().and_then(|_| steps(&mut self));
        Tried {
            recovery_s: self.recovery_s,
            done,
        }
    }

    /// Gives an order.
    pub(super) fn order(&self, words: &str) -> Result<()> {
        (self.say)(words);
        self.cluster.order(words)
    }

    /// Tells what is done besides orders.
    pub(super) fn says(&self, what: &str) {
        (self.say)(what);
    }

    /// A word with Redis.
    pub(super) fn redis(&self) -> Result<Console> {
        Console::of(self.cluster)
    }

    /// The next second of the load.
    fn second(&self) -> Result<Second> {
        match self.seconds.recv_timeout(SECOND_MAX) {
            Ok(second) => Ok(second),
            Err(RecvTimeoutError::Timeout) => bail!("the load tells nothing any more"),
            Err(RecvTimeoutError::Disconnected) => bail!("the load has ended"),
        }
    }

    /// Lets it go on for so many seconds.
    pub(super) fn goes_on(&self, seconds: u32) -> Result<Vec<Second>> {
        self.forget();
        (0..seconds).map(|_| self.second()).collect()
    }

    /// The same, and messages are acked in each of them.
    pub(super) fn is_acked_for(&self, seconds: u32) -> Result<()> {
        for second in self.goes_on(seconds)? {
            let errors = &second.errors;
            ensure!(acked(&second) > 0, "nothing is acked meanwhile: {errors:?}");
        }
        Ok(())
    }

    /// Waits for a second in which this went wrong.
    pub(super) fn meets(&self, error: &str) -> Result<()> {
        self.forget();
        let begun = Instant::now();
        while !self.second()?.errors.contains_key(error) {
            let waited = begun.elapsed() < RECOVERY_MAX;
            ensure!(waited, "nobody met {error}, which was to be expected");
        }
        Ok(())
    }

    /// A fault is over: waits until people have everything again, and the database too.
    pub(super) fn recovers(&mut self) -> Result<()> {
        let begun = Instant::now();
        let mut after = self.good()?;
        let is_fresh = || oldest(self.cluster).is_ok_and(|age_s| age_s < QUEUED_S_MAX);
        if !is_fresh() {
            until("entries are stored soon", RECOVERY_MAX, || Ok(is_fresh()))?;
            after = u32::try_from(begun.elapsed().as_secs())?;
        }
        self.recovery_s = self.recovery_s.max(after);
        (self.say)(&format!("well again after {after} s"));
        Ok(())
    }

    /// Waits for good seconds in a row; gives how many came before them.
    fn good(&self) -> Result<u32> {
        self.forget();
        let begun = Instant::now();
        let (mut before, mut good) = (0, 0);
        let mut why = String::new();
        while good < GOOD_SECONDS {
            let second = self.second()?;
            match self.bad(&second) {
                None => good += 1,
                Some(bad) => {
                    before += good + 1;
                    (good, why) = (0, bad);
                }
            }
            ensure!(
                begun.elapsed() < RECOVERY_MAX,
                "not well again after {RECOVERY_MAX:?}: {why}"
            );
        }
        Ok(before)
    }

    /// What of a second people would complain about.
    fn bad(&self, second: &Second) -> Option<String> {
        if !second.errors.is_empty() {
            return Some(format!("{:?}", second.errors));
        }
        if acked(second) == 0 {
            return Some("nothing was acked".to_owned());
        }
        // Some are always on their way, as people come and go.
        if second.open < self.users * 9 / 10 {
            return Some(format!("only {} are connected", second.open));
        }
        for measure in [Measure::Ack, Measure::Delivery] {
            if let Some([_, p99, _]) = second.times.get(&measure)
                && *p99 > NOTICED_MS
            {
                return Some(format!("{} took {p99:.0} ms (p99)", measure.name()));
            }
        }
        None
    }

    /// Seconds that are over already.
    fn forget(&self) {
        while self.seconds.try_recv().is_ok() {}
    }

    /// How many accepted entries wait for the database.
    pub(super) fn waiting(&self) -> Result<u64> {
        Ok(waiting(self.cluster)?.entries)
    }

    /// A figure of a process, all its labels together.
    pub(super) fn metric(&self, process: &str, name: &str) -> Result<f64> {
        metric(self.cluster, process, name)
    }

    /// Waits until something is so.
    pub(super) fn until(&self, what: &str, holds: impl Fn() -> Result<bool>) -> Result<()> {
        until(what, RECOVERY_MAX, holds)
    }

    /// Stops a process for a while, as a machine does that swaps or a guest that is moved.
    pub(super) fn freeze(&self, name: &str) -> Result<Frozen> {
        let pid = self.cluster.process(name)?.pid;
        let pid = pid.with_context(|| format!("{name} does not run"))?;
        let frozen = Frozen(family(pid));
        frozen.signal(Signal::STOP);
        (self.say)(&format!("{name} stands still"));
        Ok(frozen)
    }
}

/// A process that stands still, with all that it has started. Dropped, it goes on.
#[derive(Debug)]
pub(super) struct Frozen(Vec<i32>);

impl Frozen {
    fn signal(&self, signal: Signal) {
        for pid in self.0.iter().filter_map(|pid| Pid::from_raw(*pid)) {
            // One that has ended needs none.
            let _ = kill_process(pid, signal);
        }
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        self.signal(Signal::CONT);
    }
}

/// What waits for the database.
#[derive(Deserialize)]
struct Waiting {
    entries: u64,
    oldest_age_seconds: f64,
}

fn waiting(cluster: &Cluster) -> Result<Waiting> {
    let told = cluster.queue(&["status", "--json"])?;
    serde_json::from_slice(&told).context("read what the queue tells")
}

/// For how long the oldest accepted entry waits for the database, in seconds.
fn oldest(cluster: &Cluster) -> Result<f64> {
    Ok(waiting(cluster)?.oldest_age_seconds)
}

/// Waits until everything is in the database.
pub(super) fn is_stored(cluster: &Cluster, patience: Duration) -> Result<()> {
    until("everything is stored", patience, || {
        Ok(waiting(cluster)?.entries == 0)
    })
}

fn until(what: &str, patience: Duration, holds: impl Fn() -> Result<bool>) -> Result<()> {
    let begun = Instant::now();
    while !holds()? {
        ensure!(
            begun.elapsed() < patience,
            "not so after {patience:?}: {what}"
        );
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

fn metric(cluster: &Cluster, process: &str, name: &str) -> Result<f64> {
    let admin = cluster.process(process)?.admin;
    let admin = admin.with_context(|| format!("{process} tells no metrics"))?;
    Ok(Scrape::of(admin)?.sum(name))
}

fn acked(second: &Second) -> u64 {
    second.counts.get(&Count::Acked).copied().unwrap_or(0)
}
