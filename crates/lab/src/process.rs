//! What processes cost, by the system's own accounts.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// A generator that used more of a core was the limit itself.
const GENERATOR_CORES_MAX: f64 = 0.9;
/// Other processes that used more disturbed the measurement.
const OTHERS_CORES_MAX: f64 = 0.2;

/// The accounts at one moment.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    at: Instant,
    server: Duration,
    generator: Duration,
    idle: Duration,
    stolen: Duration,
}

/// What was used between two looks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cost {
    /// How long it took.
    pub wall: Duration,
    /// CPU time of the server.
    pub server: Duration,
    /// Cores that this process kept busy.
    pub generator_cores: f64,
    /// Cores that everybody else kept busy, the kernel's own threads included.
    pub others_cores: f64,
    /// Cores that a hypervisor kept to itself.
    pub stolen_cores: f64,
}

impl Look {
    /// Reads the accounts; `server` is measured apart from the rest.
    ///
    /// # Errors
    /// The process is gone, or this system has no `/proc`.
    pub fn take(server: Pid) -> Result<Self> {
        let (idle, stolen) = machine()?;
        Ok(Self {
            at: Instant::now(),
            server: cpu_time(server)?,
            generator: cpu_time(rustix::process::getpid())?,
            idle,
            stolen,
        })
    }

    /// What was used since then.
    ///
    /// # Errors
    /// As [`Self::take`].
    pub fn cost(&self, server: Pid) -> Result<Cost> {
        Ok(self.until(&Self::take(server)?))
    }

    fn until(&self, end: &Self) -> Cost {
        let wall = end.at - self.at;
        let server = end.server.saturating_sub(self.server);
        let generator = end.generator.saturating_sub(self.generator);
        let cores = |time: Duration| time.as_secs_f64() / wall.as_secs_f64().max(1e-9);
        let (idle, stolen) = (end.idle - self.idle, end.stolen - self.stolen);
        let all = wall * u32::try_from(cores_online()).unwrap_or(1);
        let busy = all.saturating_sub(idle + stolen);
        Cost {
            wall,
            server,
            generator_cores: cores(generator),
            others_cores: cores(busy.saturating_sub(server + generator)),
            stolen_cores: cores(stolen),
        }
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
    let path = format!("/proc/{}/stat", process.as_raw_nonzero());
    let text = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
    // The second field is a name in parentheses, which may contain anything.
    let fields = text.rsplit_once(')').map_or("", |(_, fields)| fields);
    let mut fields = fields.split_ascii_whitespace().skip(11);
    let mut ticks = || fields.next().and_then(|field| field.parse::<u64>().ok());
    let (user, system) = ticks().zip(ticks()).context("read /proc/PID/stat")?;
    Ok(from_ticks(user + system))
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
        let me = rustix::process::getpid();
        let before = Look::take(me).unwrap();
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(200) {
            std::hint::black_box(begun.elapsed());
        }
        let cost = before.cost(me).unwrap();
        assert!(cost.server > Duration::ZERO, "{cost:?}");
        assert!(cost.generator_cores > 0.0, "{cost:?}");
        assert!(resident(me).unwrap() > 100_000);
    }

    #[test]
    fn a_busy_generator_or_machine_is_told() {
        let quiet = Cost {
            wall: Duration::from_secs(2),
            server: Duration::from_secs(1),
            generator_cores: 0.5,
            others_cores: 0.1,
            stolen_cores: 0.0,
        };
        assert_eq!(quiet.objection(), None);
        assert!((quiet.server_us_per(1_000_000) - 1.0).abs() < 1e-9);
        let limit = Cost {
            generator_cores: 0.95,
            ..quiet
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
