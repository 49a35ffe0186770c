//! A generator: thousands of users on one thread, each with a socket, and HTTP calls.

mod act;
mod call;
mod drain;
mod entry;
mod hearing;
mod socket;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::mpsc::{Receiver, TryRecvError};

use anyhow::{Context as _, Result, bail};
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::time::{ClockId, clock_gettime};

use self::call::{Calls, Wish};
use self::hearing::Hearing;
use self::socket::{Socket, State};
use super::chance::Chance;
use super::plan::{Command, Plan, Told};
use super::profile::Action;
use super::sample::{Count, Measure, Tally};
use super::schedule::Schedule;
use crate::audit::{Audit, Event};

pub(super) use self::entry::{Members, slow as read_entry};

/// What one read takes at most: as much as the kernel has for a busy socket.
const READ_BYTES: usize = 256 * 1024;
/// Sockets that one look at the kernel tells of.
const EVENTS_MAX: usize = 1_024;
/// Longest sleep: orders are looked for so often.
const SLEEP_NS_MAX: u64 = 20_000_000;
/// Sockets that are on their way together at the beginning: enough to keep a server busy.
const TOGETHER: usize = 64;
/// How long a socket may take from the first byte to its `welcome`.
const WELCOME_NS_MAX: u64 = 20_000_000_000;
/// What befell a user who did not get in before the load began.
pub(super) const NOT_LET_IN: &str = "not let in";
/// Keys of calls, among the keys of sockets.
const CALL: u64 = 1 << 40;

/// Nanoseconds of the machine's monotonic clock, which all generators share.
pub(super) fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}

/// What sockets need besides themselves.
struct Around<'a> {
    plan: &'a Plan,
    now: u64,
    names: &'a Members,
    channels: &'a HashMap<String, u32>,
    audit: &'a mut Audit,
    tally: &'a mut Tally,
}

impl Around<'_> {
    fn channel(&self, id: &str) -> Option<u32> {
        self.channels.get(id).copied()
    }
}

/// What is to be done at a certain time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Connect(usize),
    Refresh(usize),
}

/// Everything of a generator.
struct Engine<'a> {
    plan: Plan,
    tell: &'a mut dyn FnMut(Told) -> Result<()>,
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
    buffer: Vec<u8>,
    sockets: Vec<Socket>,
    calls: Calls,
    timers: BinaryHeap<Reverse<(u64, Timer)>>,
    audit: Audit,
    tally: Tally,
    chance: Chance,
    names: Members,
    channels: HashMap<String, u32>,
    /// What may be done, and how often.
    actions: Vec<(Action, f64)>,
    /// When acting began.
    start: u64,
    second: u32,
}

/// Does what it is told until it has told everything.
///
/// # Errors
/// The system refuses, or the server cannot be reached at the beginning. That is told, too.
pub fn generate(
    commands: &Receiver<Command>,
    tell: &mut dyn FnMut(Told) -> Result<()>,
) -> Result<()> {
    let done = (|| {
        let Ok(Command::Plan(plan)) = commands.recv() else {
            return Ok(());
        };
        let mut engine = Engine::new(*plan, tell)?;
        engine.open(commands)?;
        (engine.tell)(Told::Ready)?;
        engine.work(commands)
    })();
    if let Err(error) = &done {
        // Whoever is to hear it may be gone.
        let _ = tell(Told::Failed(format!("{error:#}")));
    }
    done
}

impl<'a> Engine<'a> {
    fn new(plan: Plan, tell: &'a mut dyn FnMut(Told) -> Result<()>) -> Result<Self> {
        let mut audit = Audit::default();
        let sockets = (0..).zip(&plan.people).map(|(local, person)| {
            audit.take(Event::Opened {
                client: person.number,
                member: person.number,
            });
            Socket::new(Hearing::new(person.number, local))
        });
        let sockets = sockets.collect();
        let numbered = |list: &[String]| list.iter().cloned().zip(0..).collect();
        let actions = plan.profile.actions.iter();
        let timers = plan.people.iter().enumerate();
        Ok(Self {
            tell,
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC).context("poll sockets")?,
            events: Vec::with_capacity(EVENTS_MAX),
            buffer: vec![0; READ_BYTES],
            sockets,
            calls: Calls::new(&plan),
            timers: timers
                .map(|(user, person)| Reverse((act::renewal(person), Timer::Refresh(user))))
                .collect(),
            audit,
            tally: Tally::default(),
            chance: Chance::new(plan.seed),
            names: numbered(&plan.names),
            channels: numbered(&plan.channels),
            actions: actions.map(|(action, weight)| (*action, *weight)).collect(),
            start: 0,
            second: 0,
            plan,
        })
    }

    /// Connects everybody, some at a time. A server that lets only some in gets a load of these.
    fn open(&mut self, commands: &Receiver<Command>) -> Result<()> {
        let (mut begun, mut told, mut progress) = (0, 0, now_ns());
        loop {
            let live = self.live();
            if live > told {
                (told, progress) = (live, now_ns());
                (self.tell)(Told::Opened(u32::try_from(live)?))?;
            }
            if live == self.sockets.len() {
                return Ok(());
            }
            while begun < self.sockets.len() && begun < live + TOGETHER {
                self.connect(begun, now_ns());
                begun += 1;
            }
            if now_ns() > progress + self.plan.patience_ns {
                if live > 0 {
                    return Ok(());
                }
                let errors = self.tally.sample(0, 0).errors;
                bail!("no socket was accepted: {errors:?}");
            }
            if matches!(
                commands.try_recv(),
                Ok(Command::Stop) | Err(TryRecvError::Disconnected)
            ) {
                bail!("stopped while connecting");
            }
            self.turn(SLEEP_NS_MAX)?;
        }
    }

    /// Acts as it is told.
    fn work(&mut self, commands: &Receiver<Command>) -> Result<()> {
        let mut schedule = None;
        let (mut end, mut storm) = (u64::MAX, u64::MAX);
        while now_ns() < end {
            match commands.try_recv() {
                Ok(Command::Go {
                    start_ns,
                    measured_ns,
                    end_ns,
                }) => {
                    (self.start, end) = (start_ns, end_ns);
                    self.tally = Tally::default();
                    self.tally.measured = Some((measured_ns, end_ns));
                    for _ in self.live()..self.sockets.len() {
                        self.tally.error(NOT_LET_IN);
                    }
                    schedule = Some(self.schedule(start_ns, end_ns));
                    let every = self.plan.profile.storm.map(|storm| storm.every);
                    storm = every.map_or(u64::MAX, |every| start_ns + nanoseconds(every));
                }
                Ok(Command::Rate(rate)) => {
                    if let Some(schedule) = &mut schedule {
                        schedule.set_rate(rate, now_ns(), &mut self.chance);
                    }
                }
                Ok(Command::Stop) | Err(TryRecvError::Disconnected) => break,
                Ok(Command::Plan(_)) | Err(TryRecvError::Empty) => {}
            }
            let now = now_ns();
            if now >= storm {
                self.storm(storm, now);
                let every = self.plan.profile.storm.map(|storm| storm.every);
                storm += every.map_or(u64::MAX / 2, nanoseconds);
            }
            let mut wait = SLEEP_NS_MAX.min(end.saturating_sub(now));
            if let Some(schedule) = &mut schedule {
                while let Some(due) = schedule.due(now, &mut self.chance) {
                    self.tally.count(Count::Due);
                    self.tally.time(Measure::Late, due, now_ns());
                    self.act(due);
                }
                wait = wait.min(schedule.wait(now_ns()));
                self.second_over(now)?;
            }
            self.turn(wait)?;
        }
        if let Some(schedule) = &mut schedule {
            schedule.stop();
        }
        self.drain()
    }

    fn schedule(&mut self, start: u64, end: u64) -> Schedule {
        let (arrivals, rate) = (self.plan.profile.arrivals, self.plan.rate);
        Schedule::new(
            arrivals,
            rate,
            (start, end),
            self.plan.phase,
            &mut self.chance,
        )
    }

    /// Tells of the seconds that are over.
    fn second_over(&mut self, now: u64) -> Result<()> {
        let second = now.saturating_sub(self.start) / 1_000_000_000;
        let second = u32::try_from(second).unwrap_or(u32::MAX);
        if second == self.second || now < self.start {
            return Ok(());
        }
        let open = u32::try_from(self.live()).unwrap_or(u32::MAX);
        let sample = self.tally.sample(self.second, open);
        self.second = second;
        for user in 0..self.sockets.len() {
            self.give_up_waiting(user, now);
            self.put_refused(user, now);
        }
        for answer in self.calls.expire(now) {
            self.answered(answer);
        }
        (self.tell)(Told::Sample(Box::new(sample)))
    }

    fn live(&self) -> usize {
        let live = |socket: &&Socket| socket.state == State::Live;
        self.sockets.iter().filter(live).count()
    }

    /// Does what is due, sends, waits for something to read, and reads it.
    fn turn(&mut self, wait: u64) -> Result<()> {
        let now = now_ns();
        while let Some(Reverse((at, timer))) = self.timers.peek().copied() {
            if at > now {
                break;
            }
            self.timers.pop();
            match timer {
                Timer::Connect(user) => self.come_back(user, at),
                Timer::Refresh(user) => self.refresh(user),
            }
        }
        let assigned = self.calls.assign();
        for (key, wish) in assigned.context("connect to the server")? {
            self.wish(key, wish)?;
        }
        let timeout = Timespec {
            tv_sec: 0,
            tv_nsec: i64::try_from(wait.min(SLEEP_NS_MAX)).unwrap_or(0),
        };
        self.events.clear();
        let waited = epoll::wait(
            &self.epoll,
            spare_capacity(&mut self.events),
            Some(&timeout),
        );
        match waited {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).context("poll sockets"),
        }
        for event in std::mem::take(&mut self.events) {
            let key = event.data.u64();
            if key >= CALL {
                self.call_ready(usize::try_from(key - CALL)?)?;
            } else {
                self.socket_ready(usize::try_from(key)?, event.flags);
            }
        }
        if self.events.capacity() < EVENTS_MAX {
            self.events.reserve(EVENTS_MAX);
        }
        Ok(())
    }

    /// A call's connection wants to be polled for this.
    fn wish(&self, key: usize, wish: Wish) -> Result<()> {
        let Some(stream) = self.calls.stream(key) else {
            return Ok(());
        };
        let flags = match wish {
            Wish::Read => epoll::EventFlags::IN,
            Wish::Write => epoll::EventFlags::OUT,
        };
        self.listen(stream, CALL + key as u64, flags)
            .context("poll a connection")
    }

    fn listen(&self, stream: impl AsFd, key: u64, flags: epoll::EventFlags) -> Result<()> {
        let data = epoll::EventData::new_u64(key);
        match epoll::modify(&self.epoll, &stream, data, flags) {
            Err(rustix::io::Errno::NOENT) => epoll::add(&self.epoll, &stream, data, flags)?,
            other => other?,
        }
        Ok(())
    }

    fn call_ready(&mut self, key: usize) -> Result<()> {
        let (wish, answer) = self.calls.ready(key);
        if let Some(wish) = wish {
            self.wish(key, wish)?;
        }
        if let Some(answer) = answer {
            self.answered(answer);
        }
        Ok(())
    }

    /// A part of the engine that sockets may change while one of them is worked on.
    fn around(&mut self) -> (&mut [Socket], &mut [u8], Around<'_>) {
        let around = Around {
            plan: &self.plan,
            now: now_ns(),
            names: &self.names,
            channels: &self.channels,
            audit: &mut self.audit,
            tally: &mut self.tally,
        };
        (&mut self.sockets, &mut self.buffer, around)
    }
}

fn nanoseconds(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
