//! One process of a cluster, kept running: started, asked for its health, started again when it
//! dies, ended when it is told to.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use banter_protocol::time::Timestamp;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde::{Deserialize, Serialize};
use tokio::process::Child;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};

use super::identity::Identity;
use super::job::{Job, Role};
use super::record::Record;
use super::{probe, say};

/// From a death to the first new start; each further one in a row waits twice as long…
const BACKOFF_MIN: Duration = Duration::from_millis(100);
/// …up to this: what keeps dying must not keep a core busy.
const BACKOFF_MAX: Duration = Duration::from_secs(5);
/// Who lived so long did not die of its start.
const STABLE: Duration = Duration::from_secs(10);
/// Between two questions to a process that is not ready…
const ASK_SOON: Duration = Duration::from_millis(50);
/// …and to one that is.
const ASK_LATER: Duration = Duration::from_secs(1);
/// Who waits for so long says for what.
const PATIENT: Duration = Duration::from_secs(2);
/// Orders that may wait for one process: nobody gives more at once.
const ORDERS_MAX: usize = 64;

/// What a process is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// Run, and be started again whenever it dies.
    Run,
    /// End in good order, and stay away.
    Stop,
    /// The same, by a call of its admin address.
    Drain,
    /// SIGKILL. It is started again if it is meant to run.
    Kill,
    /// Read the configuration again.
    Reload,
}

/// What a process is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    /// It is there.
    Running,
    /// It was told to end and has not yet.
    Stopping,
    /// It died and will be started again in a moment.
    Restarting,
    /// It is not meant to run.
    Stopped,
}

/// What is seen of a process.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) state: State,
    pub(crate) pid: Option<u32>,
    pub(crate) ready: bool,
    /// What it waits for, as far as it tells.
    pub(crate) waits_for: String,
    /// How often it was started again after it had died.
    pub(crate) restarts: u32,
    /// Deaths in a row that came before it was ever ready.
    pub(crate) stillborn: u32,
    /// Since when it is in this state, the process the same.
    pub(crate) since: Timestamp,
}

/// One process. Dropped, it is killed.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) job: Job,
    pub(crate) log: PathBuf,
    orders: mpsc::Sender<Order>,
    seen: watch::Receiver<Seen>,
}

impl Member {
    /// Takes a process into care; it runs once it is told to.
    pub(crate) fn new(name: String, role: Role, job: Job, log: PathBuf, record: Record) -> Self {
        let (orders, ordered) = mpsc::channel(ORDERS_MAX);
        let (tell, seen) = watch::channel(Seen {
            state: State::Stopped,
            pid: None,
            ready: false,
            waits_for: String::new(),
            restarts: 0,
            stillborn: 0,
            since: now(),
        });
        let keeper = Keeper {
            name: name.clone(),
            role,
            job: job.clone(),
            log: log.clone(),
            record,
            orders: ordered,
            seen: tell,
            wanted: false,
            told: true,
        };
        tokio::spawn(keeper.keep());
        Self {
            name,
            role,
            job,
            log,
            orders,
            seen,
        }
    }

    pub(crate) fn seen(&self) -> Seen {
        self.seen.borrow().clone()
    }

    pub(crate) async fn order(&self, order: Order) {
        // The keeper goes only when we do.
        let _ = self.orders.send(order).await;
    }

    /// Waits until it looks so.
    pub(crate) async fn until(&self, is_so: impl FnMut(&Seen) -> bool) {
        let _ = self.seen.clone().wait_for(is_so).await;
    }

    /// Ends it in good order and waits until it has ended.
    pub(crate) async fn stop(&self) {
        self.order(Order::Stop).await;
        self.until(|seen| seen.state == State::Stopped).await;
    }
}

/// Members by role and number.
pub(crate) type Members = Vec<Arc<Member>>;

struct Keeper {
    name: String,
    role: Role,
    job: Job,
    log: PathBuf,
    record: Record,
    orders: mpsc::Receiver<Order>,
    seen: watch::Sender<Seen>,
    /// Whether it is meant to run.
    wanted: bool,
    /// Whether people know that it runs.
    told: bool,
}

impl Keeper {
    /// Keeps it running until nobody cares any more.
    async fn keep(mut self) {
        let mut backoff = BACKOFF_MIN;
        loop {
            while !self.wanted {
                match self.orders.recv().await {
                    Some(order) => self.wanted = order == Order::Run,
                    None => return,
                }
            }
            let started = Instant::now();
            match self.job.spawn(&self.log) {
                Ok(child) => self.attend(child).await,
                Err(error) => self.say(format_args!("{error:#}")),
            }
            if !self.wanted {
                self.show(State::Stopped, None);
                continue;
            }
            if started.elapsed() > STABLE {
                backoff = BACKOFF_MIN;
            }
            self.seen.send_modify(|seen| {
                seen.restarts += 1;
                seen.stillborn += 1;
            });
            self.show(State::Restarting, None);
            tokio::select! {
                () = sleep(backoff) => {}
                order = self.orders.recv() => match order {
                    Some(Order::Stop | Order::Drain) => {
                        self.wanted = false;
                        self.show(State::Stopped, None);
                    }
                    Some(_) => {}
                    None => return,
                }
            }
            backoff = (backoff * 2).min(BACKOFF_MAX);
        }
    }

    /// Watches over a process until it has ended.
    async fn attend(&mut self, mut child: Child) {
        let Some(pid) = child.id() else { return };
        let recorded = Identity::of(pid).map(|identity| self.record.started(&self.name, identity));
        if let Some(Err(error)) = recorded {
            // Better than not to run: it matters only if we are killed too.
            self.say(format_args!("{error:#}"));
        }
        self.show(State::Running, Some(pid));
        let started = Instant::now();
        let mut kill_at = None;
        let mut answer = Box::pin(ask(self.job.health.clone(), pid, Duration::ZERO));
        let status = loop {
            tokio::select! {
                status = child.wait() => break status,
                order = self.orders.recv() => {
                    if let Some(patience) = self.obey(order, pid).await {
                        kill_at = Some(Instant::now() + patience);
                    }
                }
                () = sleep_until(kill_at.unwrap_or_else(Instant::now)), if kill_at.is_some() => {
                    self.say(format_args!("does not end; killing it"));
                    signal_group(pid, Signal::KILL);
                    kill_at = None;
                }
                healthy = &mut answer => {
                    let ready = healthy.is_ok();
                    self.observe(healthy, started);
                    let pause = if ready { ASK_LATER } else { ASK_SOON };
                    answer = Box::pin(ask(self.job.health.clone(), pid, pause));
                }
            }
        };
        // NGINX's workers outlive a master that was killed, and keep its port.
        signal_group(pid, Signal::KILL);
        self.record.ended(&self.name);
        let how = match status {
            Ok(status) => how(status),
            Err(error) => error.to_string(),
        };
        if self.wanted {
            self.say(format_args!("(process {pid}) {how}; starting it again"));
            self.told = false;
        } else {
            self.say(format_args!("stopped ({how})"));
        }
    }

    /// Carries out an order for the running process; gives how long it may take to end.
    async fn obey(&mut self, order: Option<Order>, pid: u32) -> Option<Duration> {
        let (signal, patience) = self.role.end();
        match order {
            Some(Order::Run) => self.wanted = true,
            Some(Order::Kill) => signal_group(pid, Signal::KILL),
            Some(Order::Reload) => signal_one(pid, Signal::HUP),
            Some(Order::Stop) => {
                self.wanted = false;
                self.show(State::Stopping, Some(pid));
                signal_one(pid, signal);
                return Some(patience);
            }
            Some(Order::Drain) => {
                self.wanted = false;
                self.show(State::Stopping, Some(pid));
                let drained = match self.job.admin {
                    Some(admin) if self.role.is_ours() => probe::drain(admin).await,
                    _ => Err(()),
                };
                if drained.is_err() {
                    signal_one(pid, signal);
                }
                return Some(patience);
            }
            // Nobody cares any more, and nobody would know of it.
            None => {
                self.wanted = false;
                signal_group(pid, Signal::KILL);
                // The channel stays closed; the process ends in no time.
                return Some(patience);
            }
        }
        None
    }

    /// Takes note of an answer about the health, and tells what people want to know.
    fn observe(&mut self, healthy: Result<(), String>, started: Instant) {
        let before = self.seen.borrow().clone();
        let (ready, waits_for) = match healthy {
            Ok(()) => (true, String::new()),
            Err(reason) => (false, reason),
        };
        let stopping = before.state == State::Stopping;
        let news = waits_for != before.waits_for || before.ready;
        if ready && !before.ready && !stopping && !self.told {
            self.say(format_args!("is ready again"));
            self.told = true;
        } else if !ready && news && !stopping && started.elapsed() > PATIENT {
            let reason = if waits_for.is_empty() {
                "does not answer".to_owned()
            } else {
                format!("waits for {waits_for}")
            };
            self.say(format_args!("{reason}"));
            self.told = false;
        }
        if ready != before.ready || waits_for != before.waits_for {
            self.seen.send_modify(|seen| {
                seen.ready = ready;
                seen.waits_for = waits_for;
                if ready {
                    seen.stillborn = 0;
                }
            });
        }
    }

    fn show(&self, state: State, pid: Option<u32>) {
        self.seen.send_modify(|seen| {
            if state != State::Stopping {
                seen.ready = false;
                seen.waits_for.clear();
            }
            seen.state = state;
            seen.pid = pid;
            seen.since = now();
        });
    }

    fn say(&self, what: std::fmt::Arguments<'_>) {
        say(format_args!("{:<10} {what}", self.name));
    }
}

async fn ask(health: probe::Health, pid: u32, pause: Duration) -> Result<(), String> {
    sleep(pause).await;
    health.check(pid).await
}

fn how(status: std::process::ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt as _;

    match (status.code(), status.signal()) {
        (Some(0), _) => "ended".to_owned(),
        (Some(code), _) => format!("ended with exit code {code}"),
        (_, Some(signal)) => format!("was killed by signal {signal}"),
        _ => "ended".to_owned(),
    }
}

fn signal_one(pid: u32, signal: Signal) {
    if let Some(pid) = as_pid(pid) {
        // It has not been waited for, so the id is still its own.
        let _ = kill_process(pid, signal);
    }
}

fn signal_group(pid: u32, signal: Signal) {
    if let Some(pid) = as_pid(pid) {
        let _ = kill_process_group(pid, signal);
    }
}

fn as_pid(pid: u32) -> Option<Pid> {
    i32::try_from(pid).ok().and_then(Pid::from_raw)
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let ms = since.unwrap_or_default().as_millis();
    Timestamp::from_ms(i64::try_from(ms).unwrap_or(i64::MAX))
}
