//! When something is due, whether the server keeps up or not.

use super::chance::Chance;
use super::profile::Arrivals;

const SECOND_NS: f64 = 1e9;

/// Times at which something is due.
#[derive(Debug, Clone)]
pub(super) struct Schedule {
    arrivals: Arrivals,
    /// How often a second.
    rate: f64,
    /// When the next one is due; infinite: never.
    next: f64,
    end: f64,
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "nanoseconds since the start of a machine are below 2^53 for a hundred days"
)]
impl Schedule {
    /// So often a second from `start` to `end`.
    pub(super) fn new(
        arrivals: Arrivals,
        rate: f64,
        (start, end): (u64, u64),
        phase: f64,
        chance: &mut Chance,
    ) -> Self {
        let mut schedule = Self {
            arrivals,
            rate,
            next: start as f64,
            end: end as f64,
        };
        match arrivals {
            Arrivals::Even => schedule.next += phase * SECOND_NS / rate,
            Arrivals::Random => schedule.step(chance),
        }
        schedule
    }

    /// The next time that has come.
    pub(super) fn due(&mut self, now: u64, chance: &mut Chance) -> Option<u64> {
        let due = self.next;
        // Not so when the rate is zero and this is no number.
        if due <= now as f64 && due < self.end {
            self.step(chance);
            return Some(due as u64);
        }
        None
    }

    /// How long nothing is due.
    pub(super) fn wait(&self, now: u64) -> u64 {
        if self.next < self.end {
            (self.next - now as f64).max(0.0) as u64
        } else {
            u64::MAX
        }
    }

    /// So often from now on.
    pub(super) fn set_rate(&mut self, rate: f64, now: u64, chance: &mut Chance) {
        self.rate = rate;
        self.next = now as f64;
        self.step(chance);
    }

    /// Nothing is due any more.
    pub(super) fn stop(&mut self) {
        self.end = 0.0;
    }

    fn step(&mut self, chance: &mut Chance) {
        let steps = match self.arrivals {
            Arrivals::Even => 1.0,
            Arrivals::Random => -(1.0 - chance.share()).ln(),
        };
        self.next += steps * SECOND_NS / self.rate;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_keep_the_rate_whatever_holds_them_up() {
        for arrivals in [Arrivals::Even, Arrivals::Random] {
            let mut chance = Chance::new(1);
            let span = (5_000_000_000, 105_000_000_000);
            let mut schedule = Schedule::new(arrivals, 100.0, span, 0.5, &mut chance);
            assert_eq!(schedule.due(4_999_999_999, &mut chance), None);
            let late = 200_000_000_000;
            let mut due = Vec::new();
            while let Some(at) = schedule.due(late, &mut chance) {
                due.push(at);
            }
            // A hundred seconds of a hundred, and every one at its own time.
            assert!((9_700..10_300).contains(&due.len()), "{}", due.len());
            assert!(due.is_sorted() && due[0] >= span.0 && due[due.len() - 1] < span.1);
            assert_eq!(schedule.wait(late), u64::MAX);
        }
    }

    #[test]
    fn a_rate_of_zero_is_never_due() {
        let mut chance = Chance::new(1);
        for arrivals in [Arrivals::Even, Arrivals::Random] {
            let mut schedule = Schedule::new(arrivals, 0.0, (0, 100), 0.5, &mut chance);
            assert_eq!(schedule.due(50, &mut chance), None);
            assert_eq!(schedule.wait(50), u64::MAX);
        }
    }
}
