//! Faults during a load: a process is killed, or stopped for a while.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde::Serialize;

use super::profile::Span;
use super::watch::{Watched, family};

/// What is done to a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Harm {
    /// It is killed, as a crash does; whoever keeps it running starts it again.
    Kill,
    /// It stands still for so long.
    Stop(Duration),
}

/// A fault, and when it happens: counted from the first measured second.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What.
    pub harm: Harm,
    /// To whom.
    pub name: String,
    /// When.
    pub at: Duration,
}

/// It is no fault, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}: a fault is written kill:NAME@30s or stop:NAME@60s+10s")]
pub struct NoFault(String);

impl FromStr for Fault {
    type Err = NoFault;

    fn from_str(text: &str) -> Result<Self, NoFault> {
        let no = || NoFault(text.to_owned());
        let (harm, rest) = text.split_once(':').ok_or_else(no)?;
        let (name, times) = rest.split_once('@').ok_or_else(no)?;
        let time = |text: &str| text.parse::<Span>().map(|span| span.0).map_err(|_| no());
        let (harm, at) = match (harm, times.split_once('+')) {
            ("kill", None) => (Harm::Kill, time(times)?),
            ("stop", Some((at, length))) => (Harm::Stop(time(length)?), time(at)?),
            _ => return Err(no()),
        };
        if name.is_empty() {
            return Err(no());
        }
        Ok(Self {
            harm,
            name: name.to_owned(),
            at,
        })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.harm {
            Harm::Kill => write!(f, "kill {}", self.name),
            Harm::Stop(length) => write!(f, "stop {} for {}", self.name, Span(length)),
        }
    }
}

/// Something that happened, for charts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mark {
    /// When: seconds since the load began.
    pub second: u32,
    /// What.
    pub text: String,
    /// When the cause was over.
    pub healed: u32,
    /// Seconds from then until everything was as demanded for three seconds; `None`: never.
    pub recovered_after: Option<u32>,
}

/// A signal that is still to be sent.
#[derive(Debug)]
struct Due {
    at_ns: u64,
    signal: Signal,
    name: String,
    /// For the charts, where it is a beginning.
    mark: Option<Mark>,
}

/// The faults of a run.
#[derive(Debug)]
pub(super) struct Faults {
    due: Vec<Due>,
    /// What was stopped and did not go on yet.
    still: Vec<i32>,
    pub(super) marks: Vec<Mark>,
}

impl Faults {
    /// Faults of a load that began and is measured from these times on.
    pub(super) fn new(faults: &[Fault], start_ns: u64, measured_ns: u64) -> Self {
        let ns = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let mut due = Vec::new();
        for fault in faults {
            let at_ns = measured_ns.saturating_add(ns(fault.at));
            let second = |at: u64| {
                let second = at.saturating_sub(start_ns) / 1_000_000_000;
                u32::try_from(second).unwrap_or(u32::MAX)
            };
            let length = match fault.harm {
                Harm::Kill => 0,
                Harm::Stop(length) => ns(length),
            };
            let mut add = |at_ns, signal, mark| {
                due.push(Due {
                    at_ns,
                    signal,
                    name: fault.name.clone(),
                    mark,
                });
            };
            let mark = Mark {
                second: second(at_ns),
                text: fault.to_string(),
                healed: second(at_ns + length),
                recovered_after: None,
            };
            match fault.harm {
                Harm::Kill => add(at_ns, Signal::KILL, Some(mark)),
                Harm::Stop(_) => {
                    add(at_ns, Signal::STOP, Some(mark));
                    add(at_ns + length, Signal::CONT, None);
                }
            }
        }
        due.sort_by_key(|due| due.at_ns);
        Self {
            due,
            still: Vec::new(),
            marks: Vec::new(),
        }
    }

    /// When the next signal is to be sent.
    pub(super) fn next(&self) -> u64 {
        self.due.first().map_or(u64::MAX, |due| due.at_ns)
    }

    /// Sends what is due; what was done, in words.
    pub(super) fn act(&mut self, now: u64, watched: &[Watched]) -> Vec<String> {
        let mut done = Vec::new();
        while self.next() <= now {
            let due = self.due.remove(0);
            let found = watched.iter().find(|watched| watched.name == due.name);
            let Some(watched) = found else {
                done.push(format!("{} is not there", due.name));
                continue;
            };
            for pid in family(watched.pid) {
                // It may have ended by itself.
                let _ = Pid::from_raw(pid).map(|pid| kill_process(pid, due.signal));
                match due.signal {
                    Signal::STOP => self.still.push(pid),
                    Signal::CONT => self.still.retain(|still| *still != pid),
                    _ => {}
                }
            }
            match due.mark {
                Some(mark) => {
                    done.push(mark.text.clone());
                    self.marks.push(mark);
                }
                None => done.push(format!("{} goes on", due.name)),
            }
        }
        done
    }
}

impl Drop for Faults {
    fn drop(&mut self) {
        // Nothing that was stopped is left so, whatever ended the run.
        for pid in &self.still {
            let _ = Pid::from_raw(*pid).map(|pid| kill_process(pid, Signal::CONT));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_read() {
        let kill: Fault = "kill:gateway-1@30s".parse().unwrap();
        let seconds = Duration::from_secs;
        assert_eq!((kill.harm, kill.at), (Harm::Kill, seconds(30)));
        let stop: Fault = "stop:redis@1m+10s".parse().unwrap();
        assert_eq!(stop.to_string(), "stop redis for 10s");
        assert_eq!(stop.at, seconds(60));
        for wrong in [
            "",
            "kill:x",
            "kill:x@3",
            "stop:x@3s",
            "kill:@3s",
            "burn:x@3s",
            "kill:x@3s+1s",
        ] {
            let refused = wrong.parse::<Fault>().unwrap_err().to_string();
            assert!(refused.starts_with(wrong), "{refused}");
        }
    }
}
