//! How long to wait before the next try: full jitter, so that thousands of clients of a restarted
//! server come back spread over time.

use std::time::Duration;

/// Most that the very first try waits: a restart that took everybody off must not bring them all
/// back in one instant.
pub const FIRST_MAX: Duration = Duration::from_secs(1);
/// What the wait doubles from.
pub const BASE: Duration = Duration::from_millis(500);
/// What no wait goes beyond, unless the server asks for it.
pub const CAP: Duration = Duration::from_secs(30);

/// The waits of one connection.
#[derive(Debug, Default, Clone)]
pub struct Backoff {
    tries: u32,
}

impl Backoff {
    /// The wait before the next try. `random` is uniform in 0 ≤ r < 1; `asked` is what the server
    /// asked for: never less, and the jitter comes on top.
    pub fn next(&mut self, random: f64, asked: Option<Duration>) -> Duration {
        let most = match self.tries {
            0 => FIRST_MAX,
            tries => BASE.saturating_mul(1 << tries.min(16)).min(CAP),
        };
        self.tries = self.tries.saturating_add(1);
        asked.unwrap_or_default() + most.mul_f64(random.clamp(0.0, 1.0))
    }

    /// Begins anew: the last try held.
    pub fn reset(&mut self) {
        self.tries = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_cap() {
        let mut backoff = Backoff::default();
        let most: Vec<u128> = (0..9)
            .map(|_| backoff.next(1.0, None).as_millis())
            .collect();
        let expected = [1000, 1000, 2000, 4000, 8000, 16000, 30000, 30000, 30000];
        assert_eq!(most, expected);
        backoff.reset();
        assert_eq!(backoff.next(0.5, None), Duration::from_millis(500));
    }

    #[test]
    fn any_wait_may_be_short_but_never_shorter_than_asked() {
        let mut backoff = Backoff::default();
        assert_eq!(backoff.next(0.0, None), Duration::ZERO);
        let asked = Duration::from_secs(40);
        assert_eq!(backoff.next(0.0, Some(asked)), asked);
        assert!(backoff.next(0.9, Some(asked)) > asked);
    }
}
