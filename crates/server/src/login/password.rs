//! Passwords: which are taken, and the hashing of them on a bounded number of cores.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread::available_parallelism;

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use argon2::{Algorithm, Argon2, Params, Version};
use banter_protocol::error::Code;
use banter_protocol::limit;
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use super::metric::LoginMetrics;

/// The 3,000 commonest passwords that are long enough: the first 8 bytes of each one's SHA-256, in
/// ascending order (the words themselves are no pleasant reading; NOTICE tells their source).
static COMMON: &[u8] = include_bytes!("common_passwords.bin");

/// Bytes of a hash in [`COMMON`].
const PREFIX: usize = 8;

/// Memory and passes of argon2id: what OWASP asks at least, some 25 ms on a core.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// KiB of memory.
    pub memory_kib: u32,
    /// Passes over it.
    pub passes: u32,
}

impl Cost {
    /// What new hashes cost.
    pub const DEFAULT: Self = Self {
        memory_kib: 19_456,
        passes: 2,
    };
}

/// Checks a password that somebody wants to have: verbatim, neither too short, too long nor common.
///
/// # Errors
/// [`Code::PasswordWeak`].
pub fn check(password: &str) -> Result<(), Code> {
    let too_short = password.chars().count() < limit::PASSWORD_CHARS_MIN;
    if too_short || password.len() > limit::PASSWORD_BYTES_MAX || is_common(password) {
        return Err(Code::PasswordWeak);
    }
    Ok(())
}

/// Whether a password is among the commonest, as it is or in lower case.
fn is_common(password: &str) -> bool {
    let listed = |text: &str| {
        let digest = Sha256::digest(text.as_bytes());
        let (hashes, _) = COMMON.as_chunks::<PREFIX>();
        hashes
            .binary_search_by(|hash| hash[..].cmp(&digest[..PREFIX]))
            .is_ok()
    };
    listed(password) || listed(&password.to_lowercase())
}

/// What is stored for an account that nobody may log in to: finding that out is the same work as
/// for any other.
#[must_use]
pub fn nobodys() -> String {
    nobody(Cost::DEFAULT)
}

fn nobody(cost: Cost) -> String {
    // Nothing hashes to zeroes, as far as anybody knows.
    format!(
        "$argon2id$v=19$m={},t={},p=1${}${}",
        cost.memory_kib,
        cost.passes,
        "A".repeat(22),
        "A".repeat(43)
    )
}

/// More passwords are waiting than can be hashed in reasonable time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many passwords wait for a core")]
pub struct Overloaded;

/// What a look at a password came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// Whether it is the right one.
    pub matches: bool,
    /// A dearer hash to store instead, when the stored one is cheaper than today's.
    pub rehashed: Option<String>,
}

/// Hashes passwords on as many cores as there are; the rest wait their turn, up to a limit.
#[derive(Debug)]
pub struct Hasher {
    cost: Cost,
    cores: Arc<Semaphore>,
    waiting: AtomicUsize,
    waiting_max: usize,
    counted: Arc<Counted>,
    /// A hash that no password has, for accounts that do not exist.
    nobody: Arc<str>,
}

/// The work, counted.
#[derive(Debug)]
struct Counted {
    hashes: AtomicU64,
    metrics: LoginMetrics,
}

impl Hasher {
    /// A hasher that makes hashes of this cost, on all cores.
    #[must_use]
    pub fn new(cost: Cost) -> Self {
        Self::observed(cost, LoginMetrics::default())
    }

    /// The same, observed.
    #[must_use]
    pub fn observed(cost: Cost, metrics: LoginMetrics) -> Self {
        let cores = available_parallelism().map_or(1, std::num::NonZero::get);
        Self::with(cost, metrics, cores, limit::HASHES_WAITING_MAX)
    }

    fn with(cost: Cost, metrics: LoginMetrics, cores: usize, waiting_max: usize) -> Self {
        Self {
            cost,
            cores: Arc::new(Semaphore::new(cores)),
            waiting: AtomicUsize::new(0),
            waiting_max,
            counted: Arc::new(Counted {
                hashes: AtomicU64::new(0),
                metrics,
            }),
            nobody: nobody(cost).into(),
        }
    }

    /// Hashes a password for storage.
    ///
    /// # Errors
    /// [`Overloaded`].
    pub async fn hash(&self, password: &str) -> Result<String, Overloaded> {
        let (cost, counted) = (self.cost, Arc::clone(&self.counted));
        let password = Zeroizing::new(password.to_owned());
        self.on_a_core(move || counted.hash(cost, &password)).await
    }

    /// Compares a password with the stored hash. `None` stands for an account that does not exist:
    /// no password is right, and finding that out is the same work.
    ///
    /// # Errors
    /// [`Overloaded`].
    pub async fn verify(
        &self,
        password: &str,
        stored: Option<&str>,
    ) -> Result<Verified, Overloaded> {
        let (cost, counted) = (self.cost, Arc::clone(&self.counted));
        let stored: Arc<str> = stored.map_or_else(|| Arc::clone(&self.nobody), Arc::from);
        let password = Zeroizing::new(password.to_owned());
        self.on_a_core(move || {
            let matches = counted.verify(&password, &stored);
            let rehashed =
                (matches && is_cheaper(&stored, cost)).then(|| counted.hash(cost, &password));
            Verified { matches, rehashed }
        })
        .await
    }

    /// Hashes that were computed since the start.
    #[must_use]
    pub fn hashes(&self) -> u64 {
        self.counted.hashes.load(Ordering::Relaxed)
    }

    async fn on_a_core<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Overloaded> {
        let permit = match Arc::clone(&self.cores).try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => {
                let _place = Place::take(self)?;
                let acquired = Arc::clone(&self.cores).acquire_owned().await;
                acquired.map_err(|_| Overloaded)?
            }
        };
        let done = tokio::task::spawn_blocking(move || {
            let done = work();
            drop(permit);
            done
        });
        // The work does not panic, and the runtime that would refuse it is the one we run on.
        done.await.map_err(|_| Overloaded)
    }
}

/// A place in the queue, given back also by those who give up.
struct Place<'a>(&'a Hasher);

impl<'a> Place<'a> {
    fn take(hasher: &'a Hasher) -> Result<Self, Overloaded> {
        let before = hasher.waiting.fetch_add(1, Ordering::Relaxed);
        hasher.counted.metrics.waits();
        let place = Self(hasher);
        if before >= hasher.waiting_max {
            return Err(Overloaded);
        }
        Ok(place)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
        self.0.counted.metrics.waits_no_more();
    }
}

impl Counted {
    fn hash(&self, cost: Cost, password: &str) -> String {
        self.timed(|| {
            let hash = argon2(cost).hash_password(password.as_bytes());
            hash.expect("a salt of the usual length").to_string()
        })
    }

    fn verify(&self, password: &str, stored: &str) -> bool {
        self.timed(|| {
            // The cost is that of the stored hash.
            let Ok(stored) = PasswordHash::new(stored) else {
                return false;
            };
            let argon2 = argon2(Cost::DEFAULT);
            argon2.verify_password(password.as_bytes(), &stored).is_ok()
        })
    }

    fn timed<T>(&self, work: impl FnOnce() -> T) -> T {
        let started = std::time::Instant::now();
        let done = work();
        self.metrics.hashed(started.elapsed());
        self.hashes.fetch_add(1, Ordering::Relaxed);
        done
    }
}

fn argon2(cost: Cost) -> Argon2<'static> {
    let params = Params::new(cost.memory_kib, cost.passes, 1, None);
    Argon2::new(
        Algorithm::Argon2id,
        Version::V0x13,
        params.expect("costs within argon2's bounds"),
    )
}

/// Whether a stored hash costs less than hashes cost today, so that it is to be replaced.
fn is_cheaper(stored: &str, cost: Cost) -> bool {
    PasswordHash::new(stored)
        .ok()
        .and_then(|hash| Params::try_from(&hash).ok())
        .is_none_or(|params| params.m_cost() < cost.memory_kib || params.t_cost() < cost.passes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHEAP: Cost = Cost {
        memory_kib: 16,
        passes: 1,
    };

    fn with(cost: Cost, waiting_max: usize) -> Hasher {
        Hasher::with(cost, LoginMetrics::default(), 1, waiting_max)
    }

    #[test]
    fn weak_passwords_are_refused() {
        let long = "x".repeat(limit::PASSWORD_BYTES_MAX);
        for good in [
            "correct horse battery",
            "pässwörd",
            "        ",
            &long,
            "Tr0ub4dor&3",
        ] {
            assert_eq!(check(good), Ok(()), "{good:?}");
        }
        let longer = format!("{long}x");
        for weak in [
            "",
            "1234567",
            "ääää",
            "password",
            "PassWord",
            "12345678",
            "qwertyuiop",
            "PASSWORD123",
            &longer,
        ] {
            assert_eq!(check(weak), Err(Code::PasswordWeak), "{weak:?}");
        }
    }

    #[test]
    fn the_list_is_sorted_and_complete() {
        let (hashes, rest) = COMMON.as_chunks::<PREFIX>();
        assert_eq!((hashes.len(), rest.len()), (3_000, 0));
        assert!(hashes.is_sorted());
    }

    #[tokio::test]
    async fn only_the_very_password_matches() {
        let hasher = with(CHEAP, 8);
        let hash = hasher.hash("Correct horse ").await.unwrap();
        let matches = async |password| {
            let verified = hasher.verify(password, Some(&hash)).await.unwrap();
            assert_eq!(verified.rehashed, None);
            verified.matches
        };
        assert!(matches("Correct horse ").await);
        for wrong in ["correct horse ", "Correct horse", "", "Correct horse \0"] {
            assert!(!matches(wrong).await, "{wrong:?}");
        }
    }

    #[tokio::test]
    async fn an_unknown_user_costs_what_a_wrong_password_costs() {
        let hasher = with(CHEAP, 8);
        let hash = hasher.hash("correct horse").await.unwrap();
        for stored in [Some(hash.as_str()), None] {
            let before = hasher.hashes();
            let verified = hasher.verify("wrong horse", stored).await.unwrap();
            assert!(!verified.matches);
            assert_eq!(hasher.hashes() - before, 1);
        }
        let nobody = PasswordHash::new(&hasher.nobody).unwrap();
        let params = Params::try_from(&nobody).unwrap();
        assert_eq!((params.m_cost(), params.t_cost()), (16, 1));
    }

    #[tokio::test]
    async fn a_cheaper_hash_is_replaced_when_its_password_is_known() {
        let hash = with(CHEAP, 8).hash("correct horse").await.unwrap();
        let dearer = with(
            Cost {
                memory_kib: 32,
                passes: 1,
            },
            8,
        );
        let wrong = dearer.verify("wrong horse", Some(&hash)).await.unwrap();
        assert_eq!(wrong.rehashed, None);
        let right = dearer.verify("correct horse", Some(&hash)).await.unwrap();
        let rehashed = right.rehashed.unwrap();
        assert!(
            rehashed.starts_with("$argon2id$v=19$m=32,t=1,p=1$"),
            "{rehashed}"
        );
        let again = dearer
            .verify("correct horse", Some(&rehashed))
            .await
            .unwrap();
        assert_eq!((again.matches, again.rehashed), (true, None));
    }

    #[tokio::test]
    async fn a_full_queue_refuses_and_a_waiter_who_gives_up_leaves_it() {
        let hasher = with(CHEAP, 1);
        let held = Arc::clone(&hasher.cores).acquire_owned().await.unwrap();
        let mut first = Box::pin(hasher.hash("a"));
        assert!(futures_poll(&mut first).is_none());
        assert_eq!(hasher.hash("b").await, Err(Overloaded));
        drop(first);
        assert_eq!(hasher.waiting.load(Ordering::Relaxed), 0);
        let mut third = Box::pin(hasher.hash("c"));
        assert!(futures_poll(&mut third).is_none());
        drop(held);
        assert!(third.await.is_ok());
    }

    /// Polls once.
    fn futures_poll<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        match std::pin::Pin::new(future).poll(&mut context) {
            std::task::Poll::Ready(output) => Some(output),
            std::task::Poll::Pending => None,
        }
    }
}
