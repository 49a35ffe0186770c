//! What processes cost, by the system's own accounts.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// A generator that used more of a core was the limit itself.
const GENERATOR_CORES_MAX: f64 = 0.9;
/// Other processes that used more disturbed the measurement.
const OTHERS_CORES_MAX: f64 = 0.2;

/// The processes of a server, by name. Each counts with all that it has started.
#[derive(Debug, Clone, Default)]
pub struct Server(Vec<(String, Pid)>);

/// The accounts at one moment.
#[derive(Debug, Clone)]
pub struct Look {
    at: Instant,
    /// Of each process of the server.
    server: Vec<Duration>,
    generator: Duration,
    idle: Duration,
    stolen: Duration,
}

/// What was used between two looks.
#[derive(Debug, Clone, PartialEq)]
pub struct Cost {
    /// How long it took.
    pub wall: Duration,
    /// CPU time of the server.
    pub server: Duration,
    /// CPU time of each of its processes, by name.
    pub each: BTreeMap<String, Duration>,
    /// Cores that this process kept busy.
    pub generator_cores: f64,
    /// Cores that everybody else kept busy, the kernel's own threads included.
    pub others_cores: f64,
    /// Cores that a hypervisor kept to itself.
    pub stolen_cores: f64,
}

impl Server {
    /// These processes.
    #[must_use]
    pub fn new(processes: impl IntoIterator<Item = (String, Pid)>) -> Self {
        Self(processes.into_iter().collect())
    }

    fn cpu_times(&self) -> Result<Vec<Duration>> {
        // A process alone is looked at without a walk through all.
        let parents = match &self.0[..] {
            [_] => BTreeMap::new(),
            _ => parents(),
        };
        let time = |(name, root): &(String, Pid)| {
            let (own, ended) = cpu_times(*root).with_context(|| format!("look at {name}"))?;
            let family = family_among(root.as_raw_nonzero().get(), &parents);
            let others = family.into_iter().skip(1).filter_map(Pid::from_raw);
            // One that has just ended is among the ended ones of its parent the next time.
            let others = others.filter_map(|pid| cpu_times(pid).ok());
            Ok(others.fold(own + ended, |sum, (own, ended)| sum + own + ended))
        };
        self.0.iter().map(time).collect()
    }
}

impl From<Pid> for Server {
    fn from(process: Pid) -> Self {
        Self(vec![("banter".to_owned(), process)])
    }
}

impl Look {
    /// Reads the accounts; the server's processes are measured apart from the rest.
    ///
    /// # Errors
    /// A process is gone, or this system has no `/proc`.
    pub fn take(server: &Server) -> Result<Self> {
        let (idle, stolen) = machine()?;
        Ok(Self {
            at: Instant::now(),
            server: server.cpu_times()?,
            generator: cpu_time(rustix::process::getpid())?,
            idle,
            stolen,
        })
    }

    /// What was used since then, by the same processes.
    ///
    /// # Errors
    /// As [`Self::take`].
    pub fn cost(&self, server: &Server) -> Result<Cost> {
        let end = Self::take(server)?;
        let wall = end.at - self.at;
        let used = end.server.iter().zip(&self.server);
        let used = used.map(|(end, start)| end.saturating_sub(*start));
        let names = server.0.iter().map(|(name, _)| name.clone());
        let each: BTreeMap<_, _> = names.zip(used).collect();
        let server: Duration = each.values().sum();
        let generator = end.generator.saturating_sub(self.generator);
        let cores = |time: Duration| time.as_secs_f64() / wall.as_secs_f64().max(1e-9);
        let (idle, stolen) = (
            end.idle.saturating_sub(self.idle),
            end.stolen.saturating_sub(self.stolen),
        );
        let all = wall * u32::try_from(cores_online()).unwrap_or(1);
        let busy = all.saturating_sub(idle + stolen);
        Ok(Cost {
            wall,
            server,
            each,
            generator_cores: cores(generator),
            others_cores: cores(busy.saturating_sub(server + generator)),
            stolen_cores: cores(stolen),
        })
    }
}

impl Cost {
    /// Cores that the server kept busy.
    #[must_use]
    pub fn server_cores(&self) -> f64 {
        self.server.as_secs_f64() / self.wall.as_secs_f64().max(1e-9)
    }

    /// The server's CPU time for each of so many, in microseconds.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    pub fn server_us_per(&self, count: u64) -> f64 {
        self.server.as_secs_f64() * 1e6 / count.max(1) as f64
    }

    /// CPU time of the processes with one of these beginnings of a name.
    #[must_use]
    pub fn of(&self, names: &[&str]) -> Duration {
        let each = self.each.iter();
        let named = each.filter(|(name, _)| names.iter().any(|begin| name.starts_with(begin)));
        named.map(|(_, time)| *time).sum()
    }

    /// Why nothing can be concluded from the measurement, if so.
    #[must_use]
    pub fn objection(&self) -> Option<String> {
        if self.generator_cores > GENERATOR_CORES_MAX {
            return Some(format!(
                "the generator used {:.2} cores; over {GENERATOR_CORES_MAX} it is the limit",
                self.generator_cores
            ));
        }
        let disturbed = self.others_cores + self.stolen_cores;
        (disturbed > OTHERS_CORES_MAX).then(|| {
            format!("other processes used {disturbed:.2} cores; over {OTHERS_CORES_MAX} disturbs")
        })
    }
}

/// CPU time of a process, threads that have ended included. The kernel counts it in nanoseconds and
/// tells it in ticks, of a hundredth of a second here.
pub(crate) fn cpu_time(process: Pid) -> Result<Duration> {
    cpu_times(process).map(|(own, _)| own)
}

/// The same, and that of its children that have ended.
fn cpu_times(process: Pid) -> Result<(Duration, Duration)> {
    let path = format!("/proc/{}/stat", process.as_raw_nonzero());
    let text = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
    // The second field is a name in parentheses, which may contain anything.
    let fields = text.rsplit_once(')').map_or("", |(_, fields)| fields);
    let mut fields = fields.split_ascii_whitespace().skip(11);
    let mut ticks = || fields.next().and_then(|field| field.parse::<u64>().ok());
    let mut time = || {
        ticks()
            .zip(ticks())
            .map(|(user, system)| from_ticks(user + system))
    };
    time().zip(time()).context("read /proc/PID/stat")
}

/// A process and all that it has started, as far as they are there.
pub(crate) fn family_among(pid: i32, parents: &BTreeMap<i32, i32>) -> Vec<i32> {
    let mut family = vec![pid];
    let mut next = 0;
    while let Some(parent) = family.get(next).copied() {
        let children = parents.iter().filter(|(_, of)| **of == parent);
        family.extend(children.map(|(child, _)| *child));
        next += 1;
    }
    family
}

/// The parent of each process.
pub(crate) fn parents() -> BTreeMap<i32, i32> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return BTreeMap::new();
    };
    let pids = entries.flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter_map(|pid| Some((pid, stat(pid)?.1))).collect()
}

/// State and parent of a process.
pub(crate) fn stat(pid: i32) -> Option<(String, i32)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is a name in parentheses, which may contain anything.
    let mut fields = text.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?.to_owned();
    Some((state, fields.next()?.parse().ok()?))
}

/// Idle and stolen time of all cores together.
pub(crate) fn machine() -> Result<(Duration, Duration)> {
    let text = fs::read_to_string("/proc/stat").context("read /proc/stat")?;
    let line = text.lines().next().unwrap_or_default();
    let fields: Vec<u64> = line
        .split_ascii_whitespace()
        .filter_map(|field| field.parse().ok())
        .collect();
    let [_, _, _, idle, iowait, _, _, stolen, ..] = fields[..] else {
        anyhow::bail!("/proc/stat is not as expected");
    };
    Ok((from_ticks(idle + iowait), from_ticks(stolen)))
}

fn from_ticks(ticks: u64) -> Duration {
    Duration::from_nanos(ticks * (1_000_000_000 / rustix::param::clock_ticks_per_second()))
}

/// Resident memory of a process, in bytes.
///
/// # Errors
/// The process is gone, or this system has no `/proc`.
pub fn resident(process: Pid) -> Result<u64> {
    let path = format!("/proc/{}/smaps_rollup", process.as_raw_nonzero());
    let text = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("Rss:"));
    let kilobytes =
        line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    Ok(kilobytes.with_context(|| format!("find Rss in {path}"))? * 1024)
}

/// Raises the limit of open files as far as this user may; children get it too.
#[must_use]
pub fn raise_descriptors() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    let current = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    current.unwrap_or(u64::MAX)
}

pub(crate) fn cores_online() -> usize {
    let online = fs::read_to_string("/proc/stat").unwrap_or_default();
    let cores = online.lines().filter(|line| {
        line.strip_prefix("cpu")
            .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    });
    cores.count().max(1)
}

/// The cores that this thread may run on. A child gets those of the thread that starts it.
#[derive(Debug, Clone)]
pub struct Cores(CpuSet);

impl Cores {
    /// All that it may use now.
    ///
    /// # Errors
    /// The system does not tell.
    pub fn now() -> Result<Self> {
        Ok(Self(sched_getaffinity(None).context("read the cores")?))
    }

    /// One of these cores alone; `None` when there are not so many.
    #[must_use]
    pub fn only(&self, number: usize) -> Option<Self> {
        let mut cores = (0..CpuSet::MAX_CPU).filter(|core| self.0.is_set(*core));
        let mut only = CpuSet::new();
        only.set(cores.nth(number)?);
        Some(Self(only))
    }

    /// Keeps this thread to them.
    ///
    /// # Errors
    /// The system does not allow it.
    pub fn apply(&self) -> Result<()> {
        sched_setaffinity(None, &self.0).context("choose the cores")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_counted() {
        let pid = rustix::process::getpid();
        let me = Server::from(pid);
        let before = Look::take(&me).unwrap();
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(200) {
            std::hint::black_box(begun.elapsed());
        }
        let cost = before.cost(&me).unwrap();
        assert!(cost.server > Duration::ZERO, "{cost:?}");
        assert_eq!(cost.of(&["ban", "redis"]), cost.server);
        assert!(cost.generator_cores > 0.0, "{cost:?}");
        assert!(resident(pid).unwrap() > 100_000);
    }

    #[test]
    fn what_a_process_has_started_counts_with_it() {
        let busy = "(while :; do :; done) & sleep 0.2; kill $!; wait; echo; exec sleep 60";
        let mut command = std::process::Command::new("sh");
        command
            .args(["-c", busy])
            .stdout(std::process::Stdio::piped());
        let mut shell = command.spawn().unwrap();
        let pid = Pid::from_child(&shell);
        let me = rustix::process::getpid();
        let both = Server::new([("shell".to_owned(), pid), ("test".to_owned(), me)]);
        let before = Look::take(&both).unwrap();
        let mut out = std::io::BufReader::new(shell.stdout.take().unwrap());
        std::io::BufRead::read_line(&mut out, &mut String::new()).unwrap();
        // The child has ended, and was waited for.
        let cost = before.cost(&both).unwrap();
        assert!(cost.of(&["shell"]) >= Duration::from_millis(20), "{cost:?}");
        shell.kill().unwrap();
        shell.wait().unwrap();
    }

    #[test]
    fn a_busy_generator_or_machine_is_told() {
        let quiet = Cost {
            wall: Duration::from_secs(2),
            server: Duration::from_secs(1),
            each: BTreeMap::new(),
            generator_cores: 0.5,
            others_cores: 0.1,
            stolen_cores: 0.0,
        };
        assert_eq!(quiet.objection(), None);
        assert!((quiet.server_us_per(1_000_000) - 1.0).abs() < 1e-9);
        let limit = Cost {
            generator_cores: 0.95,
            ..quiet.clone()
        };
        assert!(limit.objection().unwrap().contains("generator"));
        let disturbed = Cost {
            others_cores: 0.15,
            stolen_cores: 0.1,
            ..quiet
        };
        assert!(disturbed.objection().unwrap().contains("other processes"));
    }

    #[test]
    fn one_core_is_one_of_them() {
        let all = Cores::now().unwrap();
        assert_eq!(all.only(0).unwrap().0.count(), 1);
        assert!(all.only(CpuSet::MAX_CPU).is_none());
    }
}
