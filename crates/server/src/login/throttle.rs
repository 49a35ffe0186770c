//! How often a password may be guessed: by account and by address. The rules are functions of the
//! time; what they count is forgotten by itself.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use banter_protocol::limit;
use banter_protocol::time::Timestamp;
use banter_storage::Database;
use banter_storage::login_failures::{Failures, LoginFailures, Name};
use sha2::{Digest as _, Sha256};
use tokio::sync::Notify;

/// Lets nobody guess until the time that `failures` tells.
///
/// # Errors
/// The wait until then, in milliseconds.
fn admit(failures: &mut Failures, now_ms: i64) -> Result<(), i64> {
    forget(failures, now_ms);
    match failures.until_ms - now_ms {
        wait @ 1.. => Err(wait),
        _ => Ok(()),
    }
}

/// Counts a failure.
fn fail(failures: &mut Failures, now_ms: i64) {
    forget(failures, now_ms);
    failures.recent.push(now_ms);
    if failures.recent.len() > limit::LOGIN_FAILURES_FREE {
        failures.recent.remove(0);
    }
    if failures.level > 0 || failures.recent.len() == limit::LOGIN_FAILURES_FREE {
        let doubled = 1_i64.checked_shl(failures.level.min(31));
        let wait = doubled
            .unwrap_or(i64::MAX)
            .saturating_mul(ms(limit::LOGIN_WAIT_MIN));
        failures.until_ms = now_ms + wait.min(ms(limit::LOGIN_WAIT_MAX));
        failures.level = failures.level.saturating_add(1);
    }
}

/// Forgets what lies outside the window; an account that was throttled must first be left alone
/// for so long.
fn forget(failures: &mut Failures, now_ms: i64) {
    let since = now_ms - ms(limit::LOGIN_FAILURES_WINDOW);
    if failures.level > 0 && failures.until_ms <= since {
        *failures = Failures::default();
    }
    failures.recent.retain(|failed_ms| *failed_ms > since);
}

/// Failed logins of one account, as this process knows them.
#[derive(Debug, Default)]
struct Known {
    failures: Failures,
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

impl Known {
    fn admit(&mut self, now_ms: i64) -> Admission {
        if let Err(wait) = admit(&mut self.failures, now_ms) {
            return Admission::Throttled(wait);
        }
        let all_used = self.failures.recent.len() + self.pending >= limit::LOGIN_FAILURES_FREE;
        if self.pending > 0 && (self.failures.level > 0 || all_used) {
            return Admission::Wait;
        }
        self.pending += 1;
        Admission::Go
    }

    fn is_nothing(&mut self, now_ms: i64) -> bool {
        forget(&mut self.failures, now_ms);
        self.pending == 0 && self.failures.level == 0 && self.failures.recent.is_empty()
    }
}

/// Failed logins by account: in memory, where a restart forgives; in a cluster in the database
/// besides, for all auth processes together.
#[derive(Debug, Default)]
pub struct AccountThrottle {
    known: Mutex<HashMap<Name, Known>>,
    ended: Notify,
    shared: Option<LoginFailures>,
}

/// Why an attempt was not admitted.
#[derive(Debug, thiserror::Error)]
pub enum Held {
    /// Too many have failed; it may be tried again after so long.
    #[error("throttled for {0:?}")]
    For(Duration),
    /// It is not known how many have failed.
    #[error(transparent)]
    Storage(#[from] banter_storage::Error),
}

/// An attempt whose password is being looked at. Dropped without a word it counts for nothing; in
/// a cluster for a failure, for whoever goes away before the answer may have guessed.
#[derive(Debug)]
pub struct Attempt<'a> {
    throttle: &'a AccountThrottle,
    name: Name,
    now: Timestamp,
    /// In a cluster, what was known before this attempt was counted as a failure, and then.
    counted: Option<(Failures, Failures)>,
}

impl AccountThrottle {
    /// One for all processes that have this database.
    #[must_use]
    pub fn shared(database: &Database) -> Self {
        let shared = match database {
            Database::Sqlite(_) => None,
            Database::Postgres(postgres) => Some(LoginFailures::new(postgres)),
        };
        Self {
            shared,
            ..Self::default()
        }
    }

    /// Waits for the turn of an attempt to log in under this name.
    ///
    /// # Errors
    /// The wait after which it may be tried again; or that of storage.
    pub async fn admit(&self, username: &str, now: Timestamp) -> Result<Attempt<'_>, Held> {
        let digest = Sha256::digest(username.to_ascii_lowercase().as_bytes());
        let mut name = Name::default();
        name.copy_from_slice(&digest[..16]);
        let asked = Instant::now();
        loop {
            let ended = self.ended.notified();
            let now_ms = now.as_ms().saturating_add(ms(asked.elapsed()));
            let admission = self.with(|all| {
                make_room(all, limit::LOGIN_ACCOUNTS_MAX, |known| {
                    known.is_nothing(now_ms)
                });
                all.entry(name).or_default().admit(now_ms)
            });
            match admission {
                Admission::Go => break,
                Admission::Throttled(wait) => return Err(held(wait)),
                Admission::Wait => ended.await,
            }
        }
        // From here on it is an attempt of this process, however it ends.
        let mut attempt = Attempt {
            throttle: self,
            name,
            now,
            counted: None,
        };
        attempt.count().await?;
        Ok(attempt)
    }

    /// Forgets in the database what holds nobody up.
    ///
    /// # Errors
    /// When storage fails.
    pub async fn forget(&self, now: Timestamp) -> banter_storage::Result<()> {
        let Some(shared) = &self.shared else {
            return Ok(());
        };
        let window = ms(limit::LOGIN_FAILURES_WINDOW);
        shared
            .forget(Timestamp::from_ms(now.as_ms() - window))
            .await
    }

    fn with<T>(&self, work: impl FnOnce(&mut HashMap<Name, Known>) -> T) -> T {
        work(&mut self.known.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn held(wait_ms: i64) -> Held {
    Held::For(Duration::from_millis(wait_ms.unsigned_abs()))
}

impl Attempt<'_> {
    /// Counts it as failed where all processes look, before its password is looked at: so as many
    /// guesses as there are processes are no more than the rules allow.
    async fn count(&mut self) -> Result<(), Held> {
        let Some(shared) = &self.throttle.shared else {
            return Ok(());
        };
        let now_ms = self.now.as_ms();
        let counted = shared.change(&self.name, self.now, move |failures| {
            admit(failures, now_ms)?;
            let before = failures.clone();
            fail(failures, now_ms);
            Ok((before, failures.clone()))
        });
        self.counted = Some(counted.await?.map_err(held)?);
        Ok(())
    }

    /// The password was wrong, or the account cannot be used.
    pub fn failed(self) {
        let now_ms = self.now.as_ms();
        // In a cluster it is counted, and may have been forgiven by another that was right.
        if self.counted.is_none() {
            self.change(|known| fail(&mut known.failures, now_ms));
        }
    }

    /// The password was right: what failed before is forgiven.
    ///
    /// # Errors
    /// When storage fails.
    pub async fn succeeded(self) -> banter_storage::Result<()> {
        self.change(|known| known.failures = Failures::default());
        self.recount(|failures, _| *failures = Failures::default())
            .await
    }

    /// The password was not looked at.
    ///
    /// # Errors
    /// When storage fails.
    pub async fn void(self) -> banter_storage::Result<()> {
        let now_ms = self.now.as_ms();
        self.recount(move |failures, (before, after)| {
            if *failures == after {
                *failures = before;
            } else if let Some(at) = failures.recent.iter().position(|at| *at == now_ms) {
                failures.recent.remove(at);
            }
        })
        .await
    }

    async fn recount(
        &self,
        change: impl FnOnce(&mut Failures, (Failures, Failures)) + Send,
    ) -> banter_storage::Result<()> {
        let (Some(shared), Some(counted)) = (&self.throttle.shared, self.counted.clone()) else {
            return Ok(());
        };
        shared
            .change(&self.name, self.now, |failures| change(failures, counted))
            .await
    }

    fn change(&self, change: impl FnOnce(&mut Known)) {
        self.throttle.with(|all| {
            if let Some(known) = all.get_mut(&self.name) {
                change(known);
            }
        });
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        self.change(|known| known.pending = known.pending.saturating_sub(1));
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

    fn fail_once(failures: &mut Failures, now_ms: i64) {
        assert_eq!(admit(failures, now_ms), Ok(()));
        fail(failures, now_ms);
    }

    #[test]
    fn five_failures_are_free_then_waits_double_up_to_a_quarter_of_an_hour() {
        let mut failures = Failures::default();
        let mut now = 1_000_000;
        for _ in 0..5 {
            fail_once(&mut failures, now);
        }
        for wait in [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900, 900] {
            assert_eq!(admit(&mut failures, now), Err(wait * 1000));
            assert_eq!(admit(&mut failures, now + wait * 1000 - 1), Err(1));
            now += wait * 1000;
            fail_once(&mut failures, now);
        }
    }

    #[test]
    fn failures_are_forgotten_after_a_quarter_of_an_hour() {
        let mut known = Known::default();
        // One failure every 4 minutes: never five within 15.
        for round in 0..20 {
            fail_once(&mut known.failures, round * 240_000);
        }
        let mut now = 100_000_000;
        for _ in 0..5 {
            fail_once(&mut known.failures, now);
        }
        now += 1000 + 15 * 60_000;
        for _ in 0..5 {
            fail_once(&mut known.failures, now);
        }
        assert_eq!(known.admit(now), Admission::Throttled(1000));
        assert!(!known.is_nothing(now + 15 * 60_000));
        assert!(known.is_nothing(now + 1000 + 15 * 60_000));
    }

    #[tokio::test]
    async fn success_forgives() {
        let throttle = AccountThrottle::default();
        for _ in 0..5 {
            throttle.admit("ann", at(0)).await.unwrap().failed();
        }
        let right = throttle.admit("ann", at(1000)).await.unwrap();
        right.succeeded().await.unwrap();
        for _ in 0..5 {
            throttle.admit("ann", at(1000)).await.unwrap().failed();
        }
    }

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_ms(ms)
    }

    #[tokio::test]
    async fn attempts_under_way_count_until_they_have_ended() {
        let throttle = AccountThrottle::default();
        let mut attempts = Vec::new();
        for _ in 0..5 {
            attempts.push(throttle.admit("Ann", at(0)).await.unwrap());
        }
        let mut sixth = Box::pin(throttle.admit("ann", at(0)));
        let soon = Duration::from_millis(10);
        assert!(tokio::time::timeout(soon, &mut sixth).await.is_err());
        attempts.pop().unwrap().succeeded().await.unwrap();
        drop(sixth.await.unwrap());
        for attempt in attempts {
            attempt.failed();
        }
        throttle.admit("ann", at(0)).await.unwrap().failed();
        let refused = throttle.admit("ann", at(0)).await.unwrap_err();
        assert!(matches!(refused, Held::For(wait) if wait == Duration::from_secs(1)));
        assert!(throttle.admit("bob", at(0)).await.is_ok());
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
