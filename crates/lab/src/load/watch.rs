//! What every process of the server costs, second by second, and how busy the machine is.

use std::fs;
use std::time::Duration;

use rustix::process::Pid;
use serde::Serialize;

use crate::process;

/// A process that is watched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Watched {
    /// What it is called, such as `gateway-1`.
    pub name: String,
    /// What it does, such as `gateway`.
    pub role: String,
    /// Its number.
    pub pid: i32,
}

/// One process in one second.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Usage {
    /// Cores that it kept busy.
    pub cores: f64,
    /// Resident memory, in bytes.
    pub memory: u64,
    /// Open files, sockets among them.
    pub files: u32,
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
}

/// Accounts at the last look.
#[derive(Debug, Clone)]
struct Accounts {
    at: u64,
    watched: Vec<Option<Duration>>,
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
}

impl Watch {
    /// Watches from now on. `generators`: their processes; this one is added.
    #[must_use]
    pub fn new(watched: Vec<Watched>, generators: &[i32]) -> Self {
        let mut generators = generators.to_vec();
        generators.push(rustix::process::getpid().as_raw_nonzero().get());
        let last = accounts(&watched, &generators);
        Self {
            watched,
            generators,
            last,
        }
    }

    /// Watches other processes of the server from now on.
    pub fn set(&mut self, watched: Vec<Watched>) {
        if watched != self.watched {
            self.watched = watched;
            self.last = accounts(&self.watched, &self.generators);
        }
    }

    /// What was used since the last look.
    pub fn look(&mut self, second: u32) -> Look {
        let now = accounts(&self.watched, &self.generators);
        let wall = Duration::from_nanos(now.at - self.last.at).as_secs_f64();
        let cores = |time: Duration| time.as_secs_f64() / wall.max(1e-3);
        let processes = self.watched.iter().enumerate().map(|(number, watched)| {
            let (before, after) = (self.last.watched[number]?, now.watched[number]?);
            let pid = Pid::from_raw(watched.pid)?;
            Some(Usage {
                cores: cores(after.saturating_sub(before)),
                memory: resident(pid),
                files: files(pid),
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
        }
    }
}

fn accounts(watched: &[Watched], generators: &[i32]) -> Accounts {
    let time = |pid: i32| Pid::from_raw(pid).and_then(|pid| process::cpu_time(pid).ok());
    let machine = process::machine();
    Accounts {
        at: super::engine::now_ns(),
        watched: watched.iter().map(|watched| time(watched.pid)).collect(),
        generators: generators
            .iter()
            .map(|pid| time(*pid).unwrap_or_default())
            .collect(),
        idle: machine.map_or(Duration::ZERO, |(idle, _)| idle),
    }
}

/// Resident memory by the quick account, which may be some pages old.
fn resident(pid: Pid) -> u64 {
    let text = fs::read_to_string(format!("/proc/{}/statm", pid.as_raw_nonzero()));
    let text = text.unwrap_or_default();
    let pages = text.split(' ').nth(1).and_then(|pages| pages.parse().ok());
    pages.unwrap_or(0_u64) * rustix::param::page_size() as u64
}

fn files(pid: Pid) -> u32 {
    let listed = fs::read_dir(format!("/proc/{}/fd", pid.as_raw_nonzero()));
    listed.map_or(0, |files| u32::try_from(files.count()).unwrap_or(u32::MAX))
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
