//! What every process of the server costs, second by second, and how busy the machine is.

mod held;
mod system;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use rustix::process::Pid;
use serde::Serialize;

use self::held::Held;
use super::queue::{AskQueue, Depth, Told};
use crate::process;

pub(crate) use self::system::family;

/// Roles that have people's sockets.
const SOCKET_ROLES: [&str; 3] = ["serve", "gateway", "nginx"];

/// A process that is watched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Watched {
    /// What it is called, such as `gateway-1`.
    pub name: String,
    /// What it does, such as `gateway`.
    pub role: String,
    /// Its number.
    pub pid: i32,
    /// Where it tells its metrics.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admin: Option<SocketAddr>,
}

/// One process in one second, with all that it has started.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Usage {
    /// Cores that it kept busy.
    pub cores: f64,
    /// Resident memory in bytes; what processes share counts once.
    pub memory: u64,
    /// Open files of the fullest of its processes, sockets among them.
    pub files: u32,
    /// How many that one may have open.
    pub files_limit: u32,
    /// Whether it stood still for most of the time, stopped by a signal.
    pub stopped: bool,
    /// For how much of the time it did, from 0 to 1.
    pub held: f64,
    /// Cores that it could have used besides, and did not get.
    pub waited: f64,
    /// Cores that the one of its processes that wanted most used, and waited for.
    pub wanted: f64,
    /// Cores on which it may run.
    pub allowed: f64,
}

/// One second of everything.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Look {
    /// Seconds since the load began.
    pub second: u32,
    /// Each watched process, in the order of their list; `None`: it is not there.
    pub processes: Vec<Option<Usage>>,
    /// Cores that the generators, and whoever reads this, kept busy together.
    pub generators: f64,
    /// Cores that the busiest generator kept busy.
    pub busiest_generator: f64,
    /// For how much of the time the generator that was stopped most stood still, from 0 to 1.
    pub generators_held: f64,
    /// Cores that the generator that waited most could have used besides.
    pub generators_waited: f64,
    /// Cores that others kept busy, stolen ones included.
    pub others: f64,
    /// The machine's load averages of 1, 5 and 15 minutes.
    pub load: [f64; 3],
    /// The queue between gateways and the database, where there is one.
    pub queue: Option<Depth>,
    /// Entries that were written to the database, a second.
    pub stored: Option<f64>,
    /// Sockets of each gateway, in the order of the processes, as they tell.
    pub sockets: Vec<Option<f64>>,
}

/// Accounts at the last look.
#[derive(Debug, Clone)]
struct Accounts {
    at: u64,
    /// Each process of each family.
    watched: Vec<BTreeMap<i32, Spent>>,
    generators: Vec<Spent>,
    idle: Duration,
}

/// What a process did with its time.
#[derive(Debug, Clone, Copy, Default)]
struct Spent {
    /// It ran.
    ran: Duration,
    /// It could have.
    waited: Duration,
}

impl Spent {
    fn of(pid: i32) -> Option<Self> {
        Some(Self {
            ran: process::cpu_time(Pid::from_raw(pid)?).ok()?,
            waited: system::waited(pid),
        })
    }

    /// Since an earlier look; threads that have ended take what they waited with them.
    fn since(self, before: Self) -> Self {
        Self {
            ran: self.ran.saturating_sub(before.ran),
            waited: self.waited.saturating_sub(before.waited),
        }
    }
}

/// Watches processes of this machine.
#[derive(Debug)]
pub struct Watch {
    /// The server's.
    pub watched: Vec<Watched>,
    generators: Vec<i32>,
    last: Accounts,
    told: Told,
    /// Entries that were written to the database until the last look.
    stored: Option<f64>,
    held: Held,
}

impl Watch {
    /// Watches from now on. `generators`: their processes; this one is added.
    #[must_use]
    pub fn new(watched: Vec<Watched>, generators: &[i32], queue: Option<AskQueue>) -> Self {
        let mut generators = generators.to_vec();
        generators.push(rustix::process::getpid().as_raw_nonzero().get());
        let last = accounts(&watched, &generators);
        let held = Held::follow();
        held.take(families(&last, &generators));
        Self {
            held,
            told: Told::follow(queue, &watched),
            stored: None,
            watched,
            generators,
            last,
        }
    }

    /// What the processes are called.
    pub(super) fn names(&self) -> Vec<String> {
        let names = self.watched.iter().map(|watched| watched.name.clone());
        names.collect()
    }

    /// Processes may have begun anew, or been added; names keep their places.
    pub fn set(&mut self, watched: Vec<Watched>) {
        for found in watched {
            match self
                .watched
                .iter_mut()
                .find(|known| known.name == found.name)
            {
                Some(known) => known.pid = found.pid,
                None => {
                    self.watched.push(found);
                    self.last.watched.push(BTreeMap::new());
                }
            }
        }
    }

    /// What was used since the last look.
    pub fn look(&mut self, second: u32) -> Look {
        let now = accounts(&self.watched, &self.generators);
        let held = self.held.take(families(&now, &self.generators));
        let wall = Duration::from_nanos(now.at - self.last.at).as_secs_f64();
        let cores = |time: Duration| time.as_secs_f64() / wall.max(1e-3);
        // One that was added since has no share yet.
        let share = |number: usize| held.get(number).copied().unwrap_or(0.0);
        let known = self.last.watched.iter().zip(&now.watched);
        let processes = known.zip(&self.watched).enumerate();
        let processes = processes.map(|(number, ((before, after), watched))| {
            let spent = after.iter().map(|(pid, spent)| {
                let before = before.get(pid).copied().unwrap_or_default();
                spent.since(before)
            });
            let spent: Vec<_> = spent.collect();
            let wanted = spent.iter().map(|spent| cores(spent.ran + spent.waited));
            after.contains_key(&watched.pid).then(|| Usage {
                cores: cores(spent.iter().map(|spent| spent.ran).sum()),
                waited: cores(spent.iter().map(|spent| spent.waited).sum()),
                wanted: wanted.fold(0.0, f64::max),
                stopped: share(number) > 0.5,
                held: share(number),
                ..usage(watched.pid, after.keys())
            })
        });
        let processes: Vec<Option<Usage>> = processes.collect();
        let each = self.last.generators.iter().zip(&now.generators);
        let each: Vec<_> = each.map(|(before, after)| after.since(*before)).collect();
        let most = |of: fn(&Spent) -> Duration| each.iter().map(of).max().map_or(0.0, cores);
        let generators = cores(each.iter().map(|spent| spent.ran).sum());
        let held = held.iter().skip(self.last.watched.len());
        let used: f64 = processes.iter().flatten().map(|usage| usage.cores).sum();
        #[expect(clippy::cast_precision_loss, reason = "no machine has 2^52 cores")]
        let all = process::cores_online() as f64;
        let idle = cores(now.idle.saturating_sub(self.last.idle));
        let others = (all - idle - used - generators).max(0.0);
        let counted = self.told.counted();
        let before = std::mem::replace(&mut self.stored, counted.as_ref().map(|told| told.stored));
        let stored = self.stored.zip(before);
        let sockets = self.watched.iter();
        let sockets = sockets.map(|watched| counted.as_ref()?.sockets.get(&watched.name).copied());
        let look = Look {
            second,
            processes,
            generators,
            busiest_generator: most(|spent| spent.ran),
            generators_held: held.copied().fold(0.0, f64::max),
            generators_waited: most(|spent| spent.waited),
            others,
            load: system::load_averages(),
            queue: self.told.queue(),
            // A process that began anew has forgotten what it counted.
            stored: stored.map(|(now, before)| (now - before).max(0.0) / wall.max(1e-3)),
            sockets: sockets.collect(),
        };
        self.last = now;
        look
    }
}

/// Resident memory of the processes that have people's sockets, in bytes; `None`: they are not
/// here.
pub(super) fn memory_of_sockets(watched: &[Watched]) -> Option<u64> {
    let parents = process::parents();
    let holds = |watched: &&Watched| SOCKET_ROLES.contains(&watched.role.as_str());
    let each = watched.iter().filter(holds).map(|watched| {
        let family = process::family_among(watched.pid, &parents);
        usage(watched.pid, family.iter()).memory
    });
    each.reduce(|a, b| a + b)
}

/// The processes to be looked at more often: each family, then each generator.
fn families(accounts: &Accounts, generators: &[i32]) -> Vec<Vec<i32>> {
    let watched = accounts.watched.iter();
    let watched = watched.map(|family| family.keys().copied().collect());
    watched
        .chain(generators.iter().map(|pid| vec![*pid]))
        .collect()
}

/// Memory and files of a family.
fn usage<'a>(root: i32, family: impl Iterator<Item = &'a i32>) -> Usage {
    let mut usage = Usage {
        allowed: system::cores_allowed(root),
        ..Usage::default()
    };
    for pid in family {
        let (resident, shared) = system::memory(*pid);
        usage.memory += if *pid == root {
            resident
        } else {
            resident.saturating_sub(shared)
        };
        let files = system::files(*pid);
        if files >= usage.files {
            usage.files = files;
            usage.files_limit = system::files_limit(*pid);
        }
    }
    usage
}

fn accounts(watched: &[Watched], generators: &[i32]) -> Accounts {
    let machine = process::machine();
    let parents = process::parents();
    let family = |watched: &Watched| -> BTreeMap<i32, Spent> {
        let pids = process::family_among(watched.pid, &parents).into_iter();
        pids.filter_map(|pid| Some((pid, Spent::of(pid)?)))
            .collect()
    };
    Accounts {
        at: super::engine::now_ns(),
        watched: watched.iter().map(family).collect(),
        generators: generators
            .iter()
            .map(|pid| Spent::of(*pid).unwrap_or_default())
            .collect(),
        idle: machine.map_or(Duration::ZERO, |(idle, _)| idle),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_process_is_seen() {
        let me = rustix::process::getpid().as_raw_nonzero().get();
        let watched = Watched {
            name: "me".to_owned(),
            role: "test".to_owned(),
            pid: me,
            admin: None,
        };
        let gone = Watched {
            pid: i32::MAX,
            ..watched.clone()
        };
        let mut watch = Watch::new(vec![watched, gone], &[], None);
        let begun = std::time::Instant::now();
        while begun.elapsed() < Duration::from_millis(200) {
            std::hint::black_box(begun.elapsed());
        }
        let look = watch.look(1);
        let usage = look.processes[0].as_ref().unwrap();
        // Other tests of this process may have started some of their own meanwhile.
        assert!(
            usage.cores > 0.0 && usage.wanted > 0.0 && usage.memory > 100_000 && usage.files > 2,
            "{look:?}"
        );
        assert!(usage.allowed >= 1.0, "{look:?}");
        assert!(look.processes[1].is_none());
    }
}
