//! How fast something may go: a token bucket.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use banter_protocol::limit::BURST_FACTOR;

/// So many a second on average, a few seconds' worth at once.
#[derive(Debug, Clone)]
pub struct Pace {
    per_second: f32,
    burst: f32,
    tokens: f32,
    at: Instant,
}

impl Pace {
    /// A rested pace with the ordinary burst.
    #[must_use]
    pub fn new(per_second: u32, now: Instant) -> Self {
        Self::with_burst(per_second, BURST_FACTOR, now)
    }

    /// A rested pace whose burst is so many seconds' worth.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "rates are far below 2^24")]
    pub fn with_burst(per_second: u32, seconds: u32, now: Instant) -> Self {
        let per_second = per_second as f32;
        let burst = per_second * seconds as f32;
        Self {
            per_second,
            burst,
            tokens: burst,
            at: now,
        }
    }

    /// Takes one.
    ///
    /// # Errors
    /// How long until there is one again.
    pub fn take(&mut self, now: Instant) -> Result<(), Duration> {
        self.fill(now);
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return Ok(());
        }
        let missing = (1.0 - self.tokens) / self.per_second.max(f32::MIN_POSITIVE);
        Err(Duration::try_from_secs_f32(missing).unwrap_or(Duration::MAX))
    }

    /// Whether forgetting this pace would change nothing.
    pub fn is_rested(&mut self, now: Instant) -> bool {
        self.fill(now);
        self.tokens >= self.burst
    }

    fn fill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_secs_f32();
        self.at = now;
        self.tokens = (self.tokens + passed * self.per_second).min(self.burst);
    }
}

/// Many that each have a pace of their own, by key. Those that have rested are forgotten.
#[derive(Debug)]
pub struct Paces<K> {
    per_second: u32,
    burst_seconds: u32,
    known: Mutex<HashMap<K, Pace>>,
}

impl<K: Eq + Hash> Paces<K> {
    /// So many a second for each, and so many seconds' worth at once.
    #[must_use]
    pub fn new(per_second: u32, burst_seconds: u32) -> Self {
        Self {
            per_second,
            burst_seconds,
            known: Mutex::default(),
        }
    }

    /// Takes one of those of `key`.
    ///
    /// # Errors
    /// How long until there is one again.
    pub fn take(&self, key: K, now: Instant) -> Result<(), Duration> {
        /// Keys whose pace is known before the rested ones are forgotten.
        const FORGET_ABOVE: usize = 4_096;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() > FORGET_ABOVE {
            known.retain(|_, pace| !pace.is_rested(now));
        }
        let (rate, burst) = (self.per_second, self.burst_seconds);
        let pace = known
            .entry(key)
            .or_insert_with(|| Pace::with_burst(rate, burst, now));
        pace.take(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_has_a_pace_of_its_own() {
        let (paces, now) = (Paces::new(1, 2), Instant::now());
        for key in ["a", "b"] {
            assert_eq!(paces.take(key, now), Ok(()));
            assert_eq!(paces.take(key, now), Ok(()));
            assert!(paces.take(key, now).is_err());
        }
        let later = now + Duration::from_secs(10);
        for key in 0..5_000 {
            let key = key.to_string().leak();
            assert_eq!(paces.take(key, later), Ok(()));
        }
        assert!(
            !paces.known.lock().unwrap().contains_key("a"),
            "it has rested"
        );
    }

    #[test]
    fn a_burst_then_the_rate() {
        let start = Instant::now();
        let mut pace = Pace::new(10, start);
        for _ in 0..20 {
            assert_eq!(pace.take(start), Ok(()));
        }
        let wait = pace.take(start).unwrap_err();
        assert!((90..=110).contains(&wait.as_millis()), "{wait:?}");
        assert_eq!(pace.take(start + Duration::from_millis(101)), Ok(()));
        assert!(pace.take(start + Duration::from_millis(102)).is_err());
        assert!(!pace.is_rested(start + Duration::from_millis(500)));
        assert!(pace.is_rested(start + Duration::from_secs(3)));
    }
}
