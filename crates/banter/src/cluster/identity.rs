//! Which process is which: an id alone may be another one's by now.

use serde::{Deserialize, Serialize};

/// A process, told from any other that had or will have its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    pub(crate) pid: u32,
    /// When it started, in the kernel's ticks since the machine did.
    pub(crate) started: u64,
}

/// What the kernel tells of a process.
struct Stat {
    state: char,
    group: u32,
    started: u64,
}

impl Stat {
    fn of(pid: u32) -> Option<Self> {
        let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The program's name stands in parentheses and may hold anything.
        let (_, rest) = text.rsplit_once(") ")?;
        let fields: Vec<_> = rest.split(' ').collect();
        Some(Self {
            state: fields.first()?.chars().next()?,
            group: fields.get(2)?.parse().ok()?,
            started: fields.get(19)?.parse().ok()?,
        })
    }

    /// Whether it runs: one that has ended stays until its parent has asked how.
    fn runs(&self) -> bool {
        !matches!(self.state, 'Z' | 'X')
    }
}

impl Identity {
    /// The process that has this id now.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        let started = Stat::of(pid)?.started;
        Some(Self { pid, started })
    }

    /// Whether it still runs.
    pub(crate) fn is_running(self) -> bool {
        Stat::of(self.pid).is_some_and(|stat| stat.runs() && stat.started == self.started)
    }

    /// Those that it left in its process group, itself among them if it runs.
    pub(crate) fn group(self) -> Vec<Self> {
        // An id is not given again while a group has it: whoever leads now tells whose it is.
        if Stat::of(self.pid).is_some_and(|leader| leader.started != self.started) {
            return Vec::new();
        }
        let Ok(entries) = std::fs::read_dir("/proc") else {
            return Vec::new();
        };
        let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        let mut found = Vec::new();
        for pid in pids {
            let Some(stat) = Stat::of(pid) else { continue };
            if stat.group == self.pid && stat.started >= self.started && stat.runs() {
                let started = stat.started;
                found.push(Self { pid, started });
            }
        }
        found
    }
}

/// What changes when the machine starts anew; empty where the kernel does not tell.
pub(crate) fn boot() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .unwrap_or_default()
        .trim()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_alone_is_not_a_process() {
        let me = Identity::of(std::process::id()).unwrap();
        assert!(me.is_running());
        let before = Identity {
            started: me.started - 1,
            ..me
        };
        assert!(!before.is_running());
        assert!(before.group().is_empty());
    }
}
