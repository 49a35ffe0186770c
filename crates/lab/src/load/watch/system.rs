//! What the kernel tells of processes, besides their CPU time.

use std::fs;
use std::time::Duration;

use rustix::process::Pid;
use rustix::thread::sched_getaffinity;

use crate::process::{family_among, parents, stat};

/// A process and all that it has started, as far as they are there.
pub(crate) fn family(pid: i32) -> Vec<i32> {
    family_among(pid, &parents())
}

/// Resident memory, and what of it others may share, by the quick account of the kernel.
pub(super) fn memory(pid: i32) -> (u64, u64) {
    let text = fs::read_to_string(format!("/proc/{pid}/statm")).unwrap_or_default();
    let mut pages = text
        .split(' ')
        .skip(1)
        .map(|pages| pages.parse().unwrap_or(0));
    let mut bytes = || pages.next().unwrap_or(0_u64) * rustix::param::page_size() as u64;
    (bytes(), bytes())
}

pub(super) fn files(pid: i32) -> u32 {
    let listed = fs::read_dir(format!("/proc/{pid}/fd"));
    listed.map_or(0, |files| u32::try_from(files.count()).unwrap_or(u32::MAX))
}

pub(super) fn files_limit(pid: i32) -> u32 {
    let text = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("Max open files"));
    let soft = line.and_then(|line| line.split_ascii_whitespace().nth(3)?.parse().ok());
    soft.unwrap_or(u32::MAX)
}

pub(super) fn load_averages() -> [f64; 3] {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let mut numbers = text.split(' ').map(|number| number.parse().unwrap_or(0.0));
    std::array::from_fn(|_| numbers.next().unwrap_or(0.0))
}

/// How long the threads of a process could have run and had no core, as far as they are there.
pub(super) fn waited(pid: i32) -> Duration {
    let threads = fs::read_dir(format!("/proc/{pid}/task"));
    let each = threads
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|thread| {
            let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
            text.split_ascii_whitespace().nth(1)?.parse::<u64>().ok()
        });
    Duration::from_nanos(each.sum())
}

/// On how many cores a process may run.
pub(super) fn cores_allowed(pid: i32) -> f64 {
    let cores = Pid::from_raw(pid).and_then(|pid| sched_getaffinity(Some(pid)).ok());
    cores.map_or(f64::INFINITY, |cores| f64::from(cores.count()))
}

/// Whether a process stands still, stopped by a signal or whoever traces it.
pub(super) fn is_stopped(pid: i32) -> bool {
    stat(pid).is_some_and(|(state, _)| state.eq_ignore_ascii_case("t"))
}
