//! What every process of the server costs, second by second, and how busy the machine is.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use rustix::process::Pid;
use serde::Serialize;

use super::queue::{Depth, Queue};
use crate::process::{self, family_among, parents, stat};

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
    /// Whether it stood still, stopped by a signal.
    pub stopped: bool,
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
    /// Cores that others kept busy, stolen ones included.
    pub others: f64,
    /// The machine's load averages of 1, 5 and 15 minutes.
    pub load: [f64; 3],
    /// The queue between gateways and the database, where there is one.
    pub queue: Option<Depth>,
}

/// Accounts at the last look.
#[derive(Debug, Clone)]
struct Accounts {
    at: u64,
    /// CPU time of each process of each family.
    watched: Vec<BTreeMap<i32, Duration>>,
    generators: Vec<Duration>,
    idle: Duration,
}

/// Watches processes of this machine.
#[derive(Debug)]
pub struct Watch {
    /// The server's.
    pub watched: Vec<Watched>,
    generators: Vec<i32>,
    last: Accounts,
    queue: Queue,
}

impl Watch {
    /// Watches from now on. `generators`: their processes; this one is added.
    #[must_use]
    pub fn new(watched: Vec<Watched>, generators: &[i32]) -> Self {
        let mut generators = generators.to_vec();
        generators.push(rustix::process::getpid().as_raw_nonzero().get());
        let last = accounts(&watched, &generators);
        let admins = watched.iter().filter_map(|watched| watched.admin);
        Self {
            queue: Queue::follow(admins.collect()),
            watched,
            generators,
            last,
        }
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
        let wall = Duration::from_nanos(now.at - self.last.at).as_secs_f64();
        let cores = |time: Duration| time.as_secs_f64() / wall.max(1e-3);
        let families = self.last.watched.iter().zip(&now.watched);
        let processes = families
            .zip(&self.watched)
            .map(|((before, after), watched)| {
                let used = after.iter().map(|(pid, time)| {
                    let before = before.get(pid).copied().unwrap_or_default();
                    time.saturating_sub(before)
                });
                after.contains_key(&watched.pid).then(|| Usage {
                    cores: cores(used.sum()),
                    ..usage(watched.pid, after.keys())
                })
            });
        let processes: Vec<Option<Usage>> = processes.collect();
        let each = self.last.generators.iter().zip(&now.generators);
        let each: Vec<f64> = each.map(|(a, b)| cores(b.saturating_sub(*a))).collect();
        let generators: f64 = each.iter().sum();
        let used: f64 = processes.iter().flatten().map(|usage| usage.cores).sum();
        #[expect(clippy::cast_precision_loss, reason = "no machine has 2^52 cores")]
        let all = process::cores_online() as f64;
        let idle = cores(now.idle.saturating_sub(self.last.idle));
        let others = (all - idle - used - generators).max(0.0);
        self.last = now;
        Look {
            second,
            processes,
            generators,
            busiest_generator: each.iter().copied().fold(0.0, f64::max),
            others,
            load: load_averages(),
            queue: self.queue.depth(),
        }
    }
}

fn accounts(watched: &[Watched], generators: &[i32]) -> Accounts {
    let time = |pid: i32| Pid::from_raw(pid).and_then(|pid| process::cpu_time(pid).ok());
    let machine = process::machine();
    let parents = parents();
    let family = |watched: &Watched| -> BTreeMap<i32, Duration> {
        let pids = family_among(watched.pid, &parents).into_iter();
        pids.filter_map(|pid| Some((pid, time(pid)?))).collect()
    };
    Accounts {
        at: super::engine::now_ns(),
        watched: watched.iter().map(family).collect(),
        generators: generators
            .iter()
            .map(|pid| time(*pid).unwrap_or_default())
            .collect(),
        idle: machine.map_or(Duration::ZERO, |(idle, _)| idle),
    }
}

/// A process and all that it has started, as far as they are there.
pub(super) fn family(pid: i32) -> Vec<i32> {
    family_among(pid, &parents())
}

/// Memory and files of a family.
fn usage<'a>(root: i32, family: impl Iterator<Item = &'a i32>) -> Usage {
    let mut usage = Usage {
        stopped: stat(root).is_some_and(|(state, _)| state == "T"),
        ..Usage::default()
    };
    for pid in family {
        let (resident, shared) = memory(*pid);
        usage.memory += if *pid == root {
            resident
        } else {
            resident.saturating_sub(shared)
        };
        let files = files(*pid);
        if files >= usage.files {
            usage.files = files;
            usage.files_limit = files_limit(*pid);
        }
    }
    usage
}

/// Resident memory, and what of it others may share, by the quick account of the kernel.
fn memory(pid: i32) -> (u64, u64) {
    let text = fs::read_to_string(format!("/proc/{pid}/statm")).unwrap_or_default();
    let mut pages = text
        .split(' ')
        .skip(1)
        .map(|pages| pages.parse().unwrap_or(0));
    let mut bytes = || pages.next().unwrap_or(0_u64) * rustix::param::page_size() as u64;
    (bytes(), bytes())
}

fn files(pid: i32) -> u32 {
    let listed = fs::read_dir(format!("/proc/{pid}/fd"));
    listed.map_or(0, |files| u32::try_from(files.count()).unwrap_or(u32::MAX))
}

fn files_limit(pid: i32) -> u32 {
    let text = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("Max open files"));
    let soft = line.and_then(|line| line.split_ascii_whitespace().nth(3)?.parse().ok());
    soft.unwrap_or(u32::MAX)
}

fn load_averages() -> [f64; 3] {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let mut numbers = text.split(' ').map(|number| number.parse().unwrap_or(0.0));
    std::array::from_fn(|_| numbers.next().unwrap_or(0.0))
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
        let mut watch = Watch::new(vec![watched, gone], &[]);
        let begun = std::time::Instant::now();
        while begun.elapsed() < Duration::from_millis(200) {
            std::hint::black_box(begun.elapsed());
        }
        let look = watch.look(1);
        let usage = look.processes[0].as_ref().unwrap();
        assert!(
            usage.cores > 0.0 && usage.memory > 100_000 && usage.files > 2,
            "{look:?}"
        );
        assert!(look.processes[1].is_none());
    }
}
