//! How often a password may be guessed: by account and by address. The rules are functions of the
//! time; what they count is forgotten by itself.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use banter_protocol::limit;
use sha2::{Digest as _, Sha256};
use tokio::sync::Notify;

/// Failed logins of one account.
#[derive(Debug, Default)]
struct Failures {
    /// Times of the last ones, at most [`limit::LOGIN_FAILURES_FREE`], in milliseconds.
    recent: VecDeque<i64>,
    /// Failures that were not free.
    level: u32,
    /// When the next attempt may be made.
    until_ms: i64,
    /// Attempts whose password is being looked at.
    pending: usize,
}

/// What becomes of an attempt to log in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Admission {
    /// The password is looked at.
    Go,
    /// Attempts are under way that may use up what is free: ask again when one has ended.
    Wait,
    /// It is refused, for so many milliseconds.
    Throttled(i64),
}

impl Failures {
    fn admit(&mut self, now_ms: i64) -> Admission {
        self.forget(now_ms);
        if now_ms < self.until_ms {
            return Admission::Throttled(self.until_ms - now_ms);
        }
        let all_used = self.recent.len() + self.pending >= limit::LOGIN_FAILURES_FREE;
        if self.pending > 0 && (self.level > 0 || all_used) {
            return Admission::Wait;
        }
        self.pending += 1;
        Admission::Go
    }

    fn failed(&mut self, now_ms: i64) {
        self.forget(now_ms);
        self.recent.push_back(now_ms);
        if self.recent.len() > limit::LOGIN_FAILURES_FREE {
            self.recent.pop_front();
        }
        if self.level > 0 || self.recent.len() == limit::LOGIN_FAILURES_FREE {
            let doubled = 1_i64.checked_shl(self.level.min(31)).unwrap_or(i64::MAX);
            let wait = doubled.saturating_mul(ms(limit::LOGIN_WAIT_MIN));
            self.until_ms = now_ms + wait.min(ms(limit::LOGIN_WAIT_MAX));
            self.level = self.level.saturating_add(1);
        }
    }

    fn succeeded(&mut self) {
        self.recent.clear();
        self.level = 0;
        self.until_ms = 0;
    }

    /// Forgets what lies outside the window; an account that was throttled must first be left
    /// alone for so long.
    fn forget(&mut self, now_ms: i64) {
        let since = now_ms - ms(limit::LOGIN_FAILURES_WINDOW);
        if self.level > 0 && self.until_ms <= since {
            self.succeeded();
        }
        self.recent.retain(|failed_ms| *failed_ms > since);
    }

    fn is_nothing(&mut self, now_ms: i64) -> bool {
        self.forget(now_ms);
        self.pending == 0 && self.level == 0 && self.recent.is_empty()
    }
}

/// An account as it is named in a login, whether or not it exists.
type AccountKey = [u8; 16];

/// Failed logins by account, in memory: a restart forgives.
#[derive(Debug, Default)]
pub struct AccountThrottle {
    failures: Mutex<HashMap<AccountKey, Failures>>,
    ended: Notify,
}

/// An attempt whose password is being looked at. Dropped without a word it counts for nothing.
#[derive(Debug)]
pub struct Attempt<'a> {
    throttle: &'a AccountThrottle,
    key: AccountKey,
}

impl AccountThrottle {
    /// Waits for the turn of an attempt to log in under this name.
    ///
    /// # Errors
    /// The wait after which it may be tried again.
    pub async fn admit(&self, username: &str, now_ms: i64) -> Result<Attempt<'_>, Duration> {
        let digest = Sha256::digest(username.to_ascii_lowercase().as_bytes());
        let mut key = AccountKey::default();
        key.copy_from_slice(&digest[..16]);
        let asked = Instant::now();
        loop {
            let ended = self.ended.notified();
            let now_ms = now_ms.saturating_add(ms(asked.elapsed()));
            let admission = self.with(|all| {
                make_room(all, limit::LOGIN_ACCOUNTS_MAX, |failures| {
                    failures.is_nothing(now_ms)
                });
                all.entry(key).or_default().admit(now_ms)
            });
            match admission {
                Admission::Go => {
                    return Ok(Attempt {
                        throttle: self,
                        key,
                    });
                }
                Admission::Throttled(wait) => {
                    return Err(Duration::from_millis(wait.unsigned_abs()));
                }
                Admission::Wait => ended.await,
            }
        }
    }

    fn with<T>(&self, work: impl FnOnce(&mut HashMap<AccountKey, Failures>) -> T) -> T {
        work(&mut self.failures.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Attempt<'_> {
    /// The password was wrong, or the account cannot be used.
    pub fn failed(self, now_ms: i64) {
        self.change(|failures| failures.failed(now_ms));
    }

    /// The password was right: what failed before is forgiven.
    pub fn succeeded(self) {
        self.change(Failures::succeeded);
    }

    fn change(&self, change: impl FnOnce(&mut Failures)) {
        self.throttle.with(|all| {
            if let Some(failures) = all.get_mut(&self.key) {
                change(failures);
            }
        });
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        self.change(|failures| failures.pending = failures.pending.saturating_sub(1));
        self.throttle.ended.notify_waiters();
    }
}

/// A bucket of tokens that fills by itself: `rate` a minute, up to `burst`.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    /// When it will be full, in milliseconds: one number tells everything.
    full_ms: i64,
}

impl Bucket {
    /// Takes a token; an error is the wait for the next, in milliseconds.
    fn take(&mut self, now_ms: i64, per_minute: u32, burst: u32) -> Result<(), i64> {
        let token_ms = 60_000 / i64::from(per_minute.max(1));
        let full_ms = self.full_ms.max(now_ms) + token_ms;
        let wait = full_ms - now_ms - token_ms * i64::from(burst.max(1));
        if wait > 0 {
            return Err(wait);
        }
        self.full_ms = full_ms;
        Ok(())
    }
}

/// Logins and registrations by address.
#[derive(Debug)]
pub struct AddressThrottle {
    per_minute: u32,
    burst: u32,
    buckets: Mutex<HashMap<IpAddr, Bucket>>,
}

impl AddressThrottle {
    /// So many a minute, and so many at once.
    #[must_use]
    pub fn new(per_minute: u32, burst: u32) -> Self {
        Self {
            per_minute,
            burst,
            buckets: Mutex::default(),
        }
    }

    /// Takes one.
    ///
    /// # Errors
    /// The wait after which there is another.
    pub fn take(&self, address: IpAddr, now_ms: i64) -> Result<(), Duration> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        make_room(&mut buckets, limit::ADDRESSES_MAX, |bucket| {
            bucket.full_ms <= now_ms
        });
        let bucket = buckets
            .entry(network(address))
            .or_insert(Bucket { full_ms: now_ms });
        let taken = bucket.take(now_ms, self.per_minute, self.burst);
        taken.map_err(|wait| Duration::from_millis(wait.unsigned_abs()))
    }
}

/// Who an address stands for: a provider gives each customer 2^64 addresses of IPv6.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() >> 64 << 64).into()),
        v4 => v4,
    }
}

/// Keeps a map below its limit: first those go that say nothing, then, under attack, any.
fn make_room<K: Clone + Eq + std::hash::Hash, V>(
    map: &mut HashMap<K, V>,
    max: usize,
    mut is_nothing: impl FnMut(&mut V) -> bool,
) {
    if map.len() < max {
        return;
    }
    map.retain(|_, value| !is_nothing(value));
    // An eighth at once, so that the search is not made for every newcomer.
    let excess = (map.len() + max / 8).saturating_sub(max);
    let victims: Vec<K> = map.keys().take(excess).cloned().collect();
    for victim in victims {
        map.remove(&victim);
    }
}

fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fail(failures: &mut Failures, now_ms: i64) {
        assert_eq!(failures.admit(now_ms), Admission::Go);
        failures.pending -= 1;
        failures.failed(now_ms);
    }

    #[test]
    fn five_failures_are_free_then_waits_double_up_to_a_quarter_of_an_hour() {
        let mut failures = Failures::default();
        let mut now = 1_000_000;
        for _ in 0..5 {
            fail(&mut failures, now);
        }
        for wait in [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900, 900] {
            let expected = Admission::Throttled(wait * 1000);
            assert_eq!(failures.admit(now), expected);
            assert_eq!(
                failures.admit(now + wait * 1000 - 1),
                Admission::Throttled(1)
            );
            now += wait * 1000;
            fail(&mut failures, now);
        }
    }

    #[test]
    fn failures_are_forgotten_after_a_quarter_of_an_hour() {
        let mut failures = Failures::default();
        // One failure every 4 minutes: never five within 15.
        for round in 0..20 {
            fail(&mut failures, round * 240_000);
        }
        let mut now = 100_000_000;
        for _ in 0..5 {
            fail(&mut failures, now);
        }
        now += 1000 + 15 * 60_000;
        for _ in 0..5 {
            fail(&mut failures, now);
        }
        assert_eq!(failures.admit(now), Admission::Throttled(1000));
        assert!(!failures.is_nothing(now + 15 * 60_000));
        assert!(failures.is_nothing(now + 1000 + 15 * 60_000));
    }

    #[test]
    fn success_forgives() {
        let mut failures = Failures::default();
        for _ in 0..5 {
            fail(&mut failures, 0);
        }
        assert_eq!(failures.admit(1000), Admission::Go);
        failures.pending -= 1;
        failures.succeeded();
        for _ in 0..5 {
            fail(&mut failures, 1000);
        }
    }

    #[tokio::test]
    async fn attempts_under_way_count_until_they_have_ended() {
        let throttle = AccountThrottle::default();
        let mut attempts = Vec::new();
        for _ in 0..5 {
            attempts.push(throttle.admit("Ann", 0).await.unwrap());
        }
        let mut sixth = Box::pin(throttle.admit("ann", 0));
        let soon = Duration::from_millis(10);
        assert!(tokio::time::timeout(soon, &mut sixth).await.is_err());
        attempts.pop().unwrap().succeeded();
        drop(sixth.await.unwrap());
        for attempt in attempts {
            attempt.failed(0);
        }
        throttle.admit("ann", 0).await.unwrap().failed(0);
        let refused = throttle.admit("ann", 0).await.unwrap_err();
        assert_eq!(refused, Duration::from_secs(1));
        assert!(throttle.admit("bob", 0).await.is_ok());
    }

    #[test]
    fn an_address_may_save_up_thirty_and_gets_ten_a_minute() {
        let throttle = AddressThrottle::new(10, 30);
        let address = "192.0.2.1".parse().unwrap();
        for _ in 0..30 {
            assert_eq!(throttle.take(address, 5), Ok(()));
        }
        assert_eq!(throttle.take(address, 5), Err(Duration::from_secs(6)));
        assert_eq!(throttle.take(address, 6_005), Ok(()));
        assert_eq!(throttle.take(address, 6_005), Err(Duration::from_secs(6)));
        assert!(throttle.take("192.0.2.2".parse().unwrap(), 5).is_ok());
    }

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        let of = |text: &str| network(text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    }

    #[test]
    fn maps_stay_below_their_limit() {
        let mut map: HashMap<u32, u32> = (0..16).map(|n| (n, n)).collect();
        make_room(&mut map, 16, |value| *value < 4);
        assert_eq!(map.len(), 12);
        let mut map: HashMap<u32, u32> = (0..16).map(|n| (n, n)).collect();
        make_room(&mut map, 16, |_| false);
        assert_eq!(map.len(), 14);
    }
}
