//! One load from beginning to end: accounts, generators, measures, history, verdict.

mod generators;
mod history;

use std::path::PathBuf;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use banter_protocol::id::Seq;

use self::generators::Generators;
use super::crowd::Crowd;
use super::engine::now_ns;
use super::fault::{Fault, Faults};
use super::outcome::{Outcome, Second, Series};
use super::plan::{Command, Person, Plan, Told};
use super::profile::Profile;
use super::queue::AskQueue;
use super::roster::{Roster, Step, now_s};
use super::slo::Slo;
use super::target::Server;
use super::watch::{Watch, Watched, memory_of_sockets};
use crate::audit::{Audit, Event, Names};
use crate::process::raise_descriptors;

/// Files of a process besides its sockets: calls, the database, what it runs with.
const OTHER_FILES: u64 = 800;
/// Sockets of one generator, below the descriptors of a process.
const GENERATOR_SOCKETS: u32 = 12_000;
/// Most generators, as the command line has it too: beyond it they only share the cores.
const GENERATORS_MAX: u32 = 60;
/// Of fewer sockets the growth of memory says nothing about one.
const SOCKETS_MIN: u32 = 500;
/// Deliveries a second that one generator reads without trouble.
const GENERATOR_DELIVERIES: f64 = 60_000.0;
/// Seconds from one look for other processes to the next.
const LOOK_AGAIN: u32 = 5;
/// From the order to the first action.
const LEAD_NS: u64 = 200_000_000;
/// How long a server may let nobody in at the beginning before the load begins without the rest.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long generators may take to tell what they saw.
const FINISH_NS_MAX: u64 = 90_000_000_000;

/// What is to be put on a server.
#[derive(Debug, Clone)]
pub struct Load {
    /// What is done.
    pub profile: Profile,
    /// What it is called.
    pub name: String,
    /// By so many.
    pub users: u32,
    /// Actions a second in all, other than the profile says.
    pub rate: Option<f64>,
    /// What is demanded.
    pub slo: Slo,
    /// Generators; by default as many as it takes.
    pub generators: Option<u32>,
    /// Chance is had again with it.
    pub seed: u64,
    /// What is done to the server meanwhile.
    pub faults: Vec<Fault>,
    /// Whether it goes on until it is stopped, and its time is only the longest.
    pub open_ended: bool,
    /// How long the server may let nobody in at the beginning; by default a minute.
    pub patience: Option<Duration>,
}

/// Tells the server's processes.
pub type LookAgain = Rc<dyn Fn() -> Result<Vec<Watched>>>;
/// Makes accounts beside the server, where it is ours, as [`Roster::make`] wants them.
pub type Accounts = Rc<dyn Fn(&[String], &str) -> Result<Vec<String>>>;

/// Where a load finds what it needs.
#[derive(Clone)]
pub struct Stage {
    /// The server.
    pub server: Server,
    /// Its processes, where they are on this machine.
    pub watched: Vec<Watched>,
    /// Command that runs [`super::generate`] on its standard input and output.
    pub generator: (PathBuf, Vec<String>),
    /// Set to end the load early.
    pub stop: &'static AtomicBool,
    /// Tells the processes anew, where they may change.
    pub look_again: Option<LookAgain>,
    /// Asks for the queue before the database, where there is one.
    pub queue: Option<AskQueue>,
    /// Makes accounts; they are registered where there is no other way.
    pub accounts: Option<Accounts>,
}

impl Stage {
    pub(super) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// What happens meanwhile.
#[derive(Debug)]
pub enum Progress<'a> {
    /// Something is being made: what, how many, of how many.
    Making(&'a str, usize, usize),
    /// A second is over; so many are to come; these are the server's processes.
    Second(&'a Second, u32, &'a [String]),
    /// Something is begun.
    Says(&'a str),
}

/// Who is told of it.
pub type View<'a> = &'a (dyn Fn(Progress<'_>) + Sync);

impl Load {
    /// Actions a second in all.
    #[must_use]
    pub fn actions_per_second(&self) -> f64 {
        self.rate
            .unwrap_or_else(|| self.profile.rate_of(self.users))
    }

    /// The same for so many times the users.
    #[must_use]
    pub fn scaled(&self, times: u32) -> Self {
        let mut scaled = self.clone();
        scaled.users = self.users.saturating_mul(times);
        scaled.profile.users = scaled.users;
        scaled
    }

    /// Puts the load on the server. The accounts are made before anything is measured. One that is
    /// stopped tells what there is, if only that there is nothing.
    ///
    /// # Errors
    /// The server cannot be reached or refuses; descriptors are too few.
    pub fn run(&self, stage: &Stage, roster: &mut Roster, view: View<'_>) -> Result<Outcome> {
        let mut ready = match self.prepare(stage, roster, view) {
            Ok(ready) => ready,
            Err(_) if stage.is_stopped() => return Ok(Outcome::unmeasured(self)),
            Err(error) => return Err(error),
        };
        let series = self.measure(stage, &mut ready.generators, view)?;
        view(Progress::Says("reading history"));
        Ok(self.conclude(stage, roster, ready, series))
    }

    /// Accounts, channels, and every socket open.
    fn prepare(&self, stage: &Stage, roster: &mut Roster, view: View<'_>) -> Result<Ready> {
        self.check_descriptors()?;
        let say = |what: &str, done: usize, all: usize| view(Progress::Making(what, done, all));
        let stop = stage.stop;
        let step = |what| Step {
            what,
            say: &say,
            stop,
        };
        let server = &stage.server;
        match &stage.accounts {
            Some(accounts) => roster.make(self.users, &**accounts)?,
            None => roster.register(server, self.users, &step("accounts"))?,
        }
        let lasting = self.profile.warm_up + self.profile.duration;
        // A token of a server with short ones is renewed while the load runs.
        let lasting = lasting.min(Duration::from_secs(300));
        roster.renew(server, self.users, lasting, &step("tokens"))?;
        let (crowd, channels) =
            roster.channels(server, &self.profile, self.users, &step("memberships"))?;
        let sizes: Vec<usize> = crowd.channels.iter().map(Vec::len).collect();
        let plans = self.plans(stage, roster, &channels, crowd.everybody, &sizes)?;
        let before = memory_of_sockets(&stage.watched);
        let mut generators = Generators::start(&stage.generator, plans)?;
        self.connect(stage, &mut generators, view)?;
        let grown = memory_of_sockets(&stage.watched).zip(before);
        Ok(Ready {
            bytes_per_socket: grown.and_then(|(after, before)| self.per_user(after, before)),
            generators,
            crowd,
            channels,
        })
    }

    /// Reads history, and judges.
    fn conclude(
        &self,
        stage: &Stage,
        roster: &Roster,
        ready: Ready,
        mut series: Series,
    ) -> Outcome {
        let Ready {
            bytes_per_socket,
            mut generators,
            crowd,
            channels,
        } = ready;
        let sizes: Vec<usize> = crowd.channels.iter().map(Vec::len).collect();
        let mut audit = Audit::default();
        for condensed in generators.condensed.drain(..) {
            audit.absorb(condensed);
        }
        for (channel, members) in (0..).zip(&crowd.channels) {
            for member in members {
                let member = *member;
                audit.take(Event::Member { channel, member });
            }
        }
        let owners = crowd
            .channels
            .iter()
            .map(|members| members.first().copied());
        let tokens = owners.map(|owner| {
            let number = owner.unwrap_or(0) as usize;
            roster.users[number].access_token.clone()
        });
        let names: Vec<String> = roster.users.iter().map(|user| user.name.clone()).collect();
        let tokens: Vec<_> = tokens.collect();
        let read = history::read(&stage.server, &channels, &tokens, &names, &mut audit);
        if let Err(error) = read {
            series
                .objections
                .push(format!("history was not read: {error:#}"));
        }
        let names = Names {
            channels,
            clients: names,
        };
        let outcome = Outcome::new(self, series, audit.finish(), &names, sizes);
        Outcome {
            bytes_per_socket,
            ..outcome
        }
    }

    /// A rise by user; memory that was given back is none, and of few it tells nothing.
    #[expect(clippy::cast_precision_loss, reason = "sizes are far below 2^52")]
    fn per_user(&self, after: u64, before: u64) -> Option<f64> {
        let each = after.saturating_sub(before) as f64 / f64::from(self.users.max(1));
        (self.users >= SOCKETS_MIN).then_some(each)
    }

    /// Whether generators may open as many files as they need.
    ///
    /// # Errors
    /// Too few, and what to do.
    pub fn check_descriptors(&self) -> Result<()> {
        let generators = self.generators(&[]);
        let each = u64::from(self.users.div_ceil(generators));
        let files = raise_descriptors();
        ensure!(
            files >= each + OTHER_FILES,
            "{each} sockets of one generator need {} open files, and {files} are allowed: raise \
             the hard limit (ulimit -Hn), or use more generators",
            each + OTHER_FILES
        );
        Ok(())
    }

    /// What each generator is to do.
    fn plans(
        &self,
        stage: &Stage,
        roster: &Roster,
        channels: &[String],
        everybody: bool,
        sizes: &[usize],
    ) -> Result<Vec<Plan>> {
        let generators = self.generators(sizes);
        let names: Vec<_> = roster.users.iter().map(|user| user.name.clone()).collect();
        let (now, now_ns) = (now_s(), now_ns());
        let person = |number: u32| {
            let user = &roster.users[number as usize];
            Person {
                number,
                token: user.access_token.clone(),
                refresh_token: user.refresh_token.clone(),
                expires_ns: now_ns + user.expires_s.saturating_sub(now) * 1_000_000_000,
            }
        };
        let share = self.actions_per_second() / f64::from(generators);
        let plan = |generator: u32| Plan {
            server: stage.server.address,
            host: stage.server.host.clone(),
            tls: stage.server.tls.clone(),
            profile: self.profile.clone(),
            rate: share,
            phase: f64::from(generator) / f64::from(generators),
            seed: self.seed.wrapping_add(u64::from(generator)),
            generator,
            people: (0..self.users)
                .filter(|user| user % generators == generator)
                .map(person)
                .collect(),
            names: names.clone(),
            channels: channels.to_vec(),
            everybody,
            password: roster.password.clone(),
            patience_ns: nanoseconds(self.patience.unwrap_or(PATIENCE)),
        };
        Ok((0..generators).map(plan).collect())
    }

    /// As many as are asked for, or as it takes.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a small number"
    )]
    fn generators(&self, sizes: &[usize]) -> u32 {
        if let Some(generators) = self.generators {
            return generators.clamp(1, self.users.max(1));
        }
        let largest = sizes.iter().copied().max().unwrap_or(0) as f64;
        let sends = self.profile.weight(super::profile::Action::Send);
        let all: f64 = self.profile.actions.values().sum();
        let deliveries = self.actions_per_second() * largest * sends / all.max(1e-9);
        let for_deliveries = (deliveries / GENERATOR_DELIVERIES).ceil() as u32;
        let cores = std::thread::available_parallelism().map_or(1, |n| n.get() as u32);
        // Where fewer files are allowed, more processes share them.
        let sockets = raise_descriptors().saturating_sub(OTHER_FILES).max(1);
        let sockets = u32::try_from(sockets)
            .unwrap_or(u32::MAX)
            .min(GENERATOR_SOCKETS);
        let for_sockets = self.users.div_ceil(sockets).min(GENERATORS_MAX);
        for_deliveries.min(cores).max(for_sockets).max(1)
    }

    /// Waits until every socket is open.
    fn connect(&self, stage: &Stage, generators: &mut Generators, view: View<'_>) -> Result<()> {
        let mut ready = 0;
        while ready < generators.count() {
            match generators.hear(Duration::from_millis(100))? {
                Some(Told::Ready) => ready += 1,
                Some(Told::Opened(_)) => {
                    let open = generators.opened();
                    view(Progress::Making("sockets", open, self.users as usize));
                }
                Some(Told::Failed(why)) => bail!("{why}"),
                _ => {}
            }
            if stage.is_stopped() {
                bail!("stopped");
            }
        }
        Ok(())
    }

    /// Has the generators act, and watches.
    fn measure(
        &self,
        stage: &Stage,
        generators: &mut Generators,
        view: View<'_>,
    ) -> Result<Series> {
        let start_ns = now_ns() + LEAD_NS;
        let measured_ns = start_ns + nanoseconds(self.profile.warm_up);
        let end_ns = measured_ns + nanoseconds(self.profile.duration);
        let mut watch = Watch::new(
            stage.watched.clone(),
            &generators.processes(),
            stage.queue.clone(),
        );
        let mut series = Series::new(
            generators.count(),
            &watch.watched,
            whole_seconds(self.profile.warm_up),
            whole_seconds(self.profile.warm_up + self.profile.duration),
        );
        generators.tell(&Command::Go {
            start_ns,
            measured_ns,
            end_ns,
        })?;
        let names = watch.names();
        let mut faults = Faults::new(&self.faults, start_ns, measured_ns);
        let (mut stopped, mut looks) = (false, 0);
        while !generators.are_done() {
            let now = now_ns();
            let next = start_ns + u64::from(looks + 1) * 1_000_000_000;
            if now >= next {
                series.look(watch.look(looks));
                looks += 1;
                if let Some(again) = &stage.look_again
                    && looks.is_multiple_of(LOOK_AGAIN)
                {
                    watch.set(again().unwrap_or_default());
                }
                continue;
            }
            for done in faults.act(now, &watch.watched) {
                view(Progress::Says(&done));
            }
            let wake = next.min(faults.next().max(now));
            match generators.hear(Duration::from_nanos(wake - now))? {
                Some(Told::Sample(sample)) => {
                    let end = series.end();
                    if let Some(second) = series.add(*sample) {
                        let left = end.saturating_sub(second.second + 1);
                        view(Progress::Second(second, left, &names));
                    }
                }
                Some(Told::Failed(why)) => bail!("a generator gave up: {why}"),
                _ => {}
            }
            if stage.is_stopped() && !stopped {
                // One that has just ended does not have to be told.
                let _ = generators.tell(&Command::Stop);
                series.cut(seconds_since(start_ns), self.open_ended);
                stopped = true;
            }
            if now > end_ns + FINISH_NS_MAX {
                bail!("a generator did not tell what it saw");
            }
        }
        series.marks = std::mem::take(&mut faults.marks);
        series.watched.clone_from(&watch.watched);
        Ok(series)
    }
}

/// Everything that must be there before a load begins.
struct Ready {
    bytes_per_socket: Option<f64>,
    generators: Generators,
    crowd: Crowd,
    channels: Vec<String>,
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn seconds_since(start_ns: u64) -> u32 {
    let since = now_ns().saturating_sub(start_ns) / 1_000_000_000;
    u32::try_from(since).unwrap_or(u32::MAX)
}

fn whole_seconds(time: Duration) -> u32 {
    u32::try_from(time.as_millis().div_ceil(1000)).unwrap_or(u32::MAX)
}

/// What follows a number in a channel's history.
type After = Seq;
