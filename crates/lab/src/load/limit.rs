//! What gave out first in a run that did not meet its demands.
//!
//! It is told by what the kernel counts, as shares of time: what a process ran, what it could have
//! run and had no core for, and for how long it stood still. How fast anything was says nothing, so
//! that a busy machine changes neither what is named nor its reasons.

use serde::Serialize;

use super::engine::NOT_LET_IN;
use super::outcome::{OTHERS_CORES_MAX, Outcome, Process};
use super::sample::{Count, Measure};
use super::slo::number;

/// A process that kept more of a core that it may use busy could not do more.
const FULL: f64 = 0.9;
/// A machine of which more is busy is full.
const MACHINE_FULL: f64 = 0.92;
/// A process with more of its files open is at its limit.
const FILES_FULL: f64 = 0.97;
/// A process that stood still for more of the time was kept from working.
const HELD: f64 = 0.15;
/// Entries of the queue older than this, in seconds: workers do not keep up.
pub(super) const QUEUE_OLD_S: f64 = 5.0;
/// A process that ran or waited for a core for more of the time needs a core, not something else.
const WANTS_CPU: f64 = 0.7;
/// Cores of others that take the machine away from the server.
const OTHERS: f64 = 0.5;
/// Cores that the server, or a generator, waited for and did not get: the others have a part in it.
const WAITED: f64 = 0.1;
/// Roles of which a process works on one core.
const SINGLE: [&str; 1] = ["redis"];
/// Late by more, in milliseconds, a generator was not able to keep the schedule…
const LATE_MS: f64 = 50.0;
/// …and by more than this share of the slowest time, that is what was measured.
const LATE_SHARE: f64 = 0.5;

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
        NOT_LET_IN,
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
        full_generator(outcome),
        queue(outcome),
        full_process(outcome),
        others(outcome, cores),
        machine(outcome, cores),
        late_generator(outcome),
    ];
    candidates.into_iter().flatten().next().unwrap_or(Limit {
        resource: "the disk, or something else that waits".to_owned(),
        evidence: "no process and no core was busy".to_owned(),
        // What may be a disturbance is nobody's limit.
        of_server: outcome.others <= OTHERS_CORES_MAX,
    })
}

fn of_server(resource: String, evidence: String) -> Option<Limit> {
    Some(Limit {
        resource,
        evidence,
        of_server: true,
    })
}

fn of_generator(evidence: String) -> Option<Limit> {
    Some(Limit {
        resource: "generator".to_owned(),
        evidence,
        of_server: false,
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

/// Whoever stood still most, the generators among them.
fn held(outcome: &Outcome) -> Option<Limit> {
    let most = |a: &&Process, b: &&Process| a.stopped.total_cmp(&b.stopped);
    let held = outcome.processes.iter().max_by(most);
    let share = held.map_or(0.0, |held| held.stopped);
    let told = |share: f64| {
        let percent = share * 100.0;
        format!("it was kept from running for {percent:.0}% of the time")
    };
    if outcome.generators_held > share.max(HELD) {
        return of_generator(told(outcome.generators_held));
    }
    let held = held.filter(|_| share > HELD)?;
    of_server(format!("CPU of {}", held.watched.name), told(share))
}

/// A generator works on one core.
fn full_generator(outcome: &Outcome) -> Option<Limit> {
    let busy = outcome.busiest_generator;
    (busy > FULL).then_some(())?;
    of_generator(format!("it kept {busy:.2} of its one core busy"))
}

/// A process that kept all cores busy that it may use, where these are not all.
fn full_process(outcome: &Outcome) -> Option<Limit> {
    let all = outcome.processes.iter().map(|process| process.allowed);
    let all = all.fold(0.0, f64::max);
    let mut processes = outcome.processes.iter();
    let (full, cores) = processes.find_map(|process| {
        let single = SINGLE.contains(&process.watched.role.as_str());
        let cores = if single { 1.0 } else { process.allowed };
        let fewer = single || cores < all;
        (fewer && process.cores > cores * FULL).then_some((process, cores))
    })?;
    of_server(
        format!("CPU of {}", full.watched.name),
        format!("it kept {:.2} of {cores:.0} cores busy", full.cores),
    )
}

/// Workers that do not keep up: for want of a core, or because the database makes them wait.
fn queue(outcome: &Outcome) -> Option<Limit> {
    let age = outcome.queue_age().filter(|age| *age > QUEUE_OLD_S)?;
    let age = format!("the oldest entry of the queue was {} s old", number(age));
    let of = |role: &str| {
        let processes = outcome.processes.iter();
        let of_role = processes.filter(|process| process.watched.role == role);
        of_role.max_by(|a, b| a.wanted.total_cmp(&b.wanted))
    };
    for (role, resource) in [
        ("worker", "worker lag (CPU of the workers)"),
        ("postgres", "PostgreSQL (its CPU)"),
    ] {
        let Some(process) = of(role).filter(|process| process.wanted > WANTS_CPU) else {
            continue;
        };
        // What others have taken from it is not its own limit.
        if process.waited > process.cores && outcome.others > OTHERS {
            return None;
        }
        let (name, wanted) = (&process.watched.name, process.wanted);
        return of_server(
            resource.to_owned(),
            format!(
                "{age}; {name} ran or waited for a core for {:.0}% of the time",
                wanted * 100.0
            ),
        );
    }
    of_server(
        "PostgreSQL (workers wait for it)".to_owned(),
        format!("{age}; neither worker nor database wanted a core"),
    )
}

fn used(outcome: &Outcome) -> f64 {
    outcome.processes.iter().map(|process| process.cores).sum()
}

fn is_full(outcome: &Outcome, cores: f64) -> bool {
    used(outcome) + outcome.generator_cores + outcome.others > cores * MACHINE_FULL
}

fn others(outcome: &Outcome, cores: f64) -> Option<Limit> {
    let waited: f64 = outcome.processes.iter().map(|process| process.waited).sum();
    let waited = waited + outcome.generators_waited;
    let theirs = outcome.others > OTHERS && waited > WAITED && is_full(outcome, cores);
    theirs.then(|| Limit {
        resource: "other programs on this machine".to_owned(),
        evidence: format!("they kept {:.2} of {cores:.0} cores busy", outcome.others),
        of_server: false,
    })
}

fn machine(outcome: &Outcome, cores: f64) -> Option<Limit> {
    is_full(outcome, cores).then_some(())?;
    if outcome.generator_cores > used(outcome) {
        return of_generator(format!(
            "all {cores:.0} cores were busy, {:.2} of them with the generators",
            outcome.generator_cores
        ));
    }
    let more = |a: &&Process, b: &&Process| a.cores.total_cmp(&b.cores);
    let busiest = outcome.processes.iter().max_by(more)?;
    of_server(
        format!("CPU of {}", busiest.watched.name),
        format!(
            "all {cores:.0} cores were busy, {:.2} of them with it",
            busiest.cores
        ),
    )
}

/// A generator that was late for reasons of its own, such as memory that it waited for.
fn late_generator(outcome: &Outcome) -> Option<Limit> {
    let p99 = |measure| outcome.time(measure, 0.99).unwrap_or(0.0);
    let slowest = [Measure::Ack, Measure::Delivery, Measure::History];
    let slowest = slowest.map(p99).into_iter().fold(0.0, f64::max);
    let late = p99(Measure::Late);
    (late > LATE_MS && late > slowest * LATE_SHARE).then_some(())?;
    of_generator(format!("it was late by {} ms (p99)", number(late)))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::outcome::{Row, Second};
    use crate::load::queue::Depth;
    use crate::load::slo::SHARES;
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
            waited: 0.0,
            wanted: cores,
            allowed: 2.0,
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
            seconds: 10,
            ..Outcome::default()
        }
    }

    /// What is named in a run of a cluster on two cores after this change.
    fn named(change: impl Fn(&mut Outcome)) -> String {
        let mut outcome = cluster();
        change(&mut outcome);
        limit(&outcome, 2).resource
    }

    fn late(outcome: &mut Outcome, ms: f64) {
        for measure in [Measure::Late, Measure::Ack] {
            outcome.times.push(Row {
                measure,
                count: 100,
                ms: vec![ms; SHARES.len()],
            });
        }
    }

    fn queue_of(outcome: &mut Outcome, oldest_s: f64) {
        let queue = Some(Depth {
            entries: 1e4,
            oldest_s,
        });
        let mut second = Second::default();
        second.look = Some(Look {
            queue,
            ..Look::default()
        });
        outcome.series.push(second);
    }

    #[test]
    fn each_resource_is_named_when_it_gives_out() {
        assert_eq!(named(|o| o.processes[0].cores = 1.6), "CPU of gateway-1");
        assert_eq!(named(|o| o.processes[0].stopped = 0.5), "CPU of gateway-1");
        assert_eq!(named(|o| o.processes[1].cores = 0.95), "CPU of redis");
        // One that is bound to a core of its own fills that one alone.
        let bound = named(|o| (o.processes[0].allowed, o.processes[0].cores) = (1.0, 0.95));
        assert_eq!(bound, "CPU of gateway-1");
        let files = named(|o| o.processes[0].files_max = 999);
        assert_eq!(files, "file descriptors of gateway-1");
        for starved in [
            |o: &mut Outcome| o.busiest_generator = 0.97,
            |o: &mut Outcome| o.generator_cores = 1.5,
            |o: &mut Outcome| o.generators_held = 0.6,
            |o: &mut Outcome| late(o, 300.0),
        ] {
            assert_eq!(named(starved), "generator");
        }
        let slow = named(|o| queue_of(o, 20.0));
        assert_eq!(slow, "PostgreSQL (workers wait for it)");
        let lag = named(|o| {
            queue_of(o, 20.0);
            o.processes[2].wanted = 0.95;
        });
        assert_eq!(lag, "worker lag (CPU of the workers)");
        let database = named(|o| {
            queue_of(o, 20.0);
            o.processes[3].wanted = 0.95;
        });
        assert_eq!(database, "PostgreSQL (its CPU)");
        // Nothing is starved: nothing is accused.
        assert!(named(|_| {}).contains("waits"));
        assert!(named(|o| queue_of(o, 0.5)).contains("waits"));
        assert!(named(|o| late(o, 20.0)).contains("waits"));
    }

    #[test]
    fn a_busy_machine_changes_no_name() {
        // Others take all that is left, and everybody waits a little for a core.
        let busy = |o: &mut Outcome| {
            o.others = 1.3;
            o.generators_waited = 0.05;
            for process in &mut o.processes {
                process.waited = 0.1;
                process.wanted = process.cores + 0.1;
            }
        };
        let with = |change: &dyn Fn(&mut Outcome)| {
            named(|o| {
                busy(o);
                change(o);
            })
        };
        assert_eq!(with(&|_| {}), "other programs on this machine");
        assert_eq!(with(&|o| o.processes[0].stopped = 0.5), "CPU of gateway-1");
        let files = with(&|o| o.processes[0].files_max = 999);
        assert_eq!(files, "file descriptors of gateway-1");
        assert_eq!(with(&|o| o.generators_held = 0.6), "generator");
        let slow = with(&|o| queue_of(o, 20.0));
        assert_eq!(slow, "PostgreSQL (workers wait for it)");
        // A worker that waits for a core most of the time has no lag of its own.
        let kept = with(&|o| {
            queue_of(o, 20.0);
            (o.processes[2].waited, o.processes[2].wanted) = (0.8, 0.9);
        });
        assert_eq!(kept, "other programs on this machine");
        // Programs that leave a core whenever it is wanted are in nobody's way.
        let polite = named(|o| o.others = 1.3);
        assert_ne!(polite, "other programs on this machine");
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
        assert!(of(NOT_LET_IN).starts_with("refused"));
        assert!(of("unanswered").starts_with("silent"));
        assert!(failure_mode(&Outcome::default()).starts_with("slower"));
    }
}
