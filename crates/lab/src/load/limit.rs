//! What gave out first in a run that did not meet its demands.

use serde::Serialize;

use super::outcome::{Outcome, Process};
use super::sample::{Count, Measure};
use super::slo::{Verdict, number};

/// A process that kept more of its one core busy could not do more.
const ONE_CORE: f64 = 0.9;
/// A machine of which more is busy is full.
const MACHINE_FULL: f64 = 0.92;
/// A process with more of its files open is at its limit.
const FILES_FULL: f64 = 0.97;
/// A process that stood still for more of the time was kept from working.
const HELD: f64 = 0.15;
/// Entries of the queue older than this, in seconds: workers do not keep up.
const QUEUE_OLD_S: f64 = 5.0;
/// Cores of others that take the machine away from the server.
const OTHERS: f64 = 0.5;
/// Roles of which a process works on one core.
const SINGLE: [&str; 1] = ["redis"];
/// Late by more, in milliseconds, the generator was not able to keep the schedule.
const LATE_MS: f64 = 50.0;

/// What gave out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Limit {
    /// Its name, such as `CPU of gateway-1`, `file descriptors of banter` or `generator`.
    pub resource: String,
    /// What says so.
    pub evidence: String,
    /// Whether it is the server's, and not of whoever measures it.
    pub of_server: bool,
}

/// How a run that failed looked to people.
#[must_use]
pub fn failure_mode(outcome: &Outcome) -> &'static str {
    let kinds = || outcome.errors.keys();
    let has = |words: &[&str]| kinds().any(|kind| words.iter().any(|word| kind.contains(word)));
    if outcome.audit.violations > 0 {
        return "lost: promises were broken";
    }
    if has(&["closed with", "socket cut", "away at the end"]) {
        return "disconnected: sockets were closed";
    }
    if has(&[
        "overloaded",
        "slow_down",
        "unavailable",
        "503",
        "429",
        "no socket",
    ]) {
        return "refused: it said no";
    }
    if has(&["no answer", "unanswered"]) {
        return "silent: answers did not come";
    }
    "slower: everything came, late"
}

/// What gave out first, by what the system tells about processes.
#[must_use]
pub fn limit(outcome: &Outcome, cores: usize) -> Limit {
    #[expect(clippy::cast_precision_loss, reason = "no machine has 2^52 cores")]
    let cores = cores.max(1) as f64;
    let candidates = [
        files(outcome),
        held(outcome),
        generator(outcome),
        others(outcome, cores),
        one_core(outcome),
        queue(outcome),
        machine(outcome, cores),
    ];
    candidates.into_iter().flatten().next().unwrap_or(Limit {
        resource: "the disk, or something else that waits".to_owned(),
        evidence: "no process and no core was busy".to_owned(),
        of_server: true,
    })
}

fn of_server(resource: String, evidence: String) -> Option<Limit> {
    Some(Limit {
        resource,
        evidence,
        of_server: true,
    })
}

fn files(outcome: &Outcome) -> Option<Limit> {
    let full = outcome.processes.iter().find(|process| {
        let limit = f64::from(process.files_limit);
        limit > 0.0 && f64::from(process.files_max) >= limit * FILES_FULL
    })?;
    of_server(
        format!("file descriptors of {}", full.watched.name),
        format!("{} of {} were open", full.files_max, full.files_limit),
    )
}

fn held(outcome: &Outcome) -> Option<Limit> {
    let most = |a: &&Process, b: &&Process| a.stopped.total_cmp(&b.stopped);
    let held = outcome.processes.iter().max_by(most)?;
    if held.stopped < HELD {
        return None;
    }
    of_server(
        format!("CPU of {}", held.watched.name),
        format!(
            "it was kept from running for {:.0}% of the time",
            held.stopped * 100.0
        ),
    )
}

fn generator(outcome: &Outcome) -> Option<Limit> {
    let late = outcome.time(Measure::Late, 0.99).unwrap_or(0.0);
    let busy = outcome.busiest_generator;
    let evidence = if busy > ONE_CORE {
        format!("a generator kept {busy:.2} cores busy")
    } else if late > LATE_MS && outcome.others < OTHERS && busy > ONE_CORE / 2.0 {
        format!("it was late by {} ms (p99)", number(late))
    } else {
        return None;
    };
    Some(Limit {
        resource: "generator".to_owned(),
        evidence,
        of_server: false,
    })
}

fn others(outcome: &Outcome, cores: f64) -> Option<Limit> {
    let used: f64 = outcome.processes.iter().map(|process| process.cores).sum();
    let all = used + outcome.generator_cores + outcome.others;
    (outcome.others > OTHERS && all > cores * MACHINE_FULL).then(|| Limit {
        resource: "other programs on this machine".to_owned(),
        evidence: format!("they kept {:.2} of {cores:.0} cores busy", outcome.others),
        of_server: false,
    })
}

fn busiest(outcome: &Outcome) -> Option<&Process> {
    let more = |a: &&Process, b: &&Process| a.cores.total_cmp(&b.cores);
    outcome.processes.iter().max_by(more)
}

fn one_core(outcome: &Outcome) -> Option<Limit> {
    let full = outcome.processes.iter().find(|process| {
        SINGLE.contains(&process.watched.role.as_str()) && process.cores > ONE_CORE
    })?;
    of_server(
        format!("CPU of {}", full.watched.name),
        format!("it kept its one core busy ({:.2})", full.cores),
    )
}

/// Workers that do not keep up: with the database waiting for its CPU, or for something else.
fn queue(outcome: &Outcome) -> Option<Limit> {
    let looks = outcome
        .series
        .iter()
        .filter_map(|second| second.look.as_ref());
    let ages = looks.filter_map(|look| Some(look.queue?.oldest_s));
    let age = ages.reduce(f64::max).filter(|age| *age > QUEUE_OLD_S)?;
    let worker = |process: &&Process| process.watched.role == "worker";
    let workers: f64 = outcome
        .processes
        .iter()
        .filter(worker)
        .map(|p| p.cores)
        .sum();
    let resource = if workers > ONE_CORE {
        "worker lag (CPU of the workers)"
    } else {
        "PostgreSQL (workers wait for it)"
    };
    let evidence = format!("the oldest entry of the queue was {} s old", number(age));
    of_server(resource.to_owned(), evidence)
}

fn machine(outcome: &Outcome, cores: f64) -> Option<Limit> {
    let used: f64 = outcome.processes.iter().map(|process| process.cores).sum();
    let all = used + outcome.generator_cores + outcome.others;
    if all < cores * MACHINE_FULL {
        return None;
    }
    let busiest = busiest(outcome)?;
    if outcome.generator_cores > used {
        return Some(Limit {
            resource: "generator".to_owned(),
            evidence: format!(
                "all {cores:.0} cores were busy, {:.2} of them with the generators",
                outcome.generator_cores
            ),
            of_server: false,
        });
    }
    of_server(
        format!("CPU of {}", busiest.watched.name),
        format!(
            "all {cores:.0} cores were busy, {:.2} of them with it",
            busiest.cores
        ),
    )
}

/// What is to be said of a run that is known to be the last good one.
#[must_use]
pub fn capacity(outcome: &Outcome) -> String {
    format!(
        "{} users with {} actions/s: {} messages/s, {} deliveries/s",
        number(outcome.users.into()),
        number(outcome.rate),
        number(outcome.per_second(Count::Acked)),
        number(outcome.per_second(Count::Deliveries))
    )
}

/// Whether the demands were met.
pub(super) fn is_good(outcome: &Outcome) -> bool {
    matches!(outcome.verdict, Verdict::Pass)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::outcome::Second;
    use crate::load::queue::Depth;
    use crate::load::watch::{Look, Watched};

    fn process(name: &str, role: &str, cores: f64) -> Process {
        Process {
            watched: Watched {
                name: name.to_owned(),
                role: role.to_owned(),
                pid: 1,
                admin: None,
            },
            cores,
            cpu_seconds: cores,
            memory_max: 0,
            files_max: 100,
            files_limit: 1_000,
            memory_growth: 0.0,
            files_growth: 0.0,
            stopped: 0.0,
        }
    }

    fn cluster() -> Outcome {
        Outcome {
            processes: vec![
                process("gateway-1", "gateway", 0.3),
                process("redis", "redis", 0.2),
                process("worker-1", "worker", 0.1),
                process("postgres", "postgres", 0.1),
            ],
            generator_cores: 0.2,
            busiest_generator: 0.2,
            ..Outcome::default()
        }
    }

    #[test]
    fn each_resource_is_named_when_it_gives_out() {
        let named = |outcome: &Outcome| limit(outcome, 2).resource;
        let of = |change: &dyn Fn(&mut Outcome)| {
            let mut outcome = cluster();
            change(&mut outcome);
            named(&outcome)
        };
        let queue = |age| {
            let mut second = Second::default();
            second.look = Some(Look {
                queue: Some(Depth {
                    entries: 1e4,
                    oldest_s: age,
                }),
                ..Look::default()
            });
            second
        };
        assert_eq!(of(&|o| o.processes[0].cores = 1.6), "CPU of gateway-1");
        assert_eq!(of(&|o| o.processes[0].stopped = 0.5), "CPU of gateway-1");
        assert_eq!(of(&|o| o.processes[1].cores = 0.95), "CPU of redis");
        let files = of(&|o| o.processes[0].files_max = 999);
        assert_eq!(files, "file descriptors of gateway-1");
        assert_eq!(of(&|o| o.busiest_generator = 0.97), "generator");
        assert_eq!(of(&|o| o.generator_cores = 1.5), "generator");
        assert_eq!(of(&|o| o.others = 1.5), "other programs on this machine");
        let slow = of(&|o| o.series.push(queue(20.0)));
        assert_eq!(slow, "PostgreSQL (workers wait for it)");
        let lag = of(&|o| {
            o.series.push(queue(20.0));
            o.processes[2].cores = 0.95;
        });
        assert_eq!(lag, "worker lag (CPU of the workers)");
        // Nothing is starved: nothing is accused.
        assert!(of(&|_| {}).contains("waits"));
        assert!(of(&|o| o.series.push(queue(0.5))).contains("waits"));
    }

    #[test]
    fn a_failure_has_a_mode() {
        let of = |kind: &str| {
            let errors = [(kind.to_owned(), 3)].into();
            failure_mode(&Outcome {
                errors,
                ..Outcome::default()
            })
        };
        assert!(of("overloaded").starts_with("refused"));
        assert!(of("closed with 4408").starts_with("disconnected"));
        assert!(of("unanswered").starts_with("silent"));
        assert!(failure_mode(&Outcome::default()).starts_with("slower"));
    }
}
