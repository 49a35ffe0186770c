//! For how much of the time processes stood still: one look a second would see what it happens to.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use super::system;
use crate::load::chance::Chance;

/// Least and most time between two looks: not in step with anything that comes and goes.
const PERIOD_MS: (u64, u64) = (15, 45);

/// Several processes that count as one, and what was seen of them.
#[derive(Debug, Default)]
struct Family {
    pids: Vec<i32>,
    looks: u32,
    stopped: u32,
}

/// Looks at families of processes, in the background.
#[derive(Debug)]
pub(super) struct Held {
    families: Arc<Mutex<Vec<Family>>>,
}

impl Held {
    /// Looks from now on, until it is dropped.
    pub(super) fn follow() -> Self {
        let families = Arc::new(Mutex::default());
        let weak = Arc::downgrade(&families);
        std::thread::spawn(move || look(&weak));
        Self { families }
    }

    /// For how much of the time since the last call some process of each family stood still, from
    /// 0 to 1. From now on the families are these.
    pub(super) fn take(&self, next: Vec<Vec<i32>>) -> Vec<f64> {
        let mut families = self.families.lock().unwrap_or_else(PoisonError::into_inner);
        let shares = families.iter();
        let shares =
            shares.map(|family| f64::from(family.stopped) / f64::from(family.looks.max(1)));
        let shares = shares.collect();
        *families = next
            .into_iter()
            .map(|pids| Family {
                pids,
                ..Family::default()
            })
            .collect();
        shares
    }
}

fn look(families: &Weak<Mutex<Vec<Family>>>) {
    let mut chance = Chance::new(1);
    let (least, most) = PERIOD_MS;
    while let Some(families) = families.upgrade() {
        let mut families = families.lock().unwrap_or_else(PoisonError::into_inner);
        for family in families.iter_mut() {
            family.looks += 1;
            family.stopped += u32::from(family.pids.iter().any(|pid| system::is_stopped(*pid)));
        }
        drop(families);
        let span = usize::try_from(most - least).unwrap_or(0);
        std::thread::sleep(Duration::from_millis(least + chance.below(span) as u64));
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::Instant;

    use rustix::process::{Pid, Signal, kill_process};

    use super::*;

    #[test]
    fn a_process_that_runs_for_a_part_of_the_time_is_told_from_one_that_runs() {
        let start = || Command::new("sleep").arg("60").spawn().unwrap();
        let mut children = [start(), start()];
        let pids: Vec<_> = children.iter().map(Pid::from_child).collect();
        let held = Held::follow();
        held.take(
            pids.iter()
                .map(|pid| vec![pid.as_raw_nonzero().get()])
                .collect(),
        );
        let begun = Instant::now();
        // Stopped for some four of five parts, in step with whole seconds.
        while begun.elapsed() < Duration::from_secs(2) {
            for (signal, ms) in [(Signal::STOP, 80), (Signal::CONT, 20)] {
                kill_process(pids[0], signal).unwrap();
                std::thread::sleep(Duration::from_millis(ms));
            }
        }
        let shares = held.take(Vec::new());
        for child in &mut children {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        assert!(shares[0] > 0.5 && shares[1] < 0.01, "{shares:?}");
        assert_eq!(held.take(Vec::new()), Vec::<f64>::new());
    }
}
