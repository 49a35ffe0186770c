//! Who somebody is: accounts, passwords, sessions, tokens.
//!
//! A login costs a slow hash and gives two tokens. The access token is checked without asking
//! anybody; the refresh token renews it, once each, and gives away whoever copies it. What ends
//! before its tokens do is a revocation: a row of the database that every process follows.

pub mod jwks;
pub mod keys;
pub mod metric;
pub mod password;
pub mod refresh;
pub mod revocation;
pub mod secret;
pub mod throttle;
pub mod token;

mod account;
mod cookie;
mod follow;
mod publish;
mod routes;
mod session;
mod upkeep;
mod verify;

#[cfg(test)]
mod tests;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use arc_swap::ArcSwap;
use banter_protocol::limit;
use banter_protocol::time::Timestamp;
use banter_storage::accounts::Accounts;
use banter_storage::keys::Keys;
use banter_storage::revocations::Revocations;
use banter_storage::sessions::{Lifetimes, Sessions};
use banter_storage::{Database, Redis};
use tokio::sync::Mutex;

pub use account::routes as account_routes;
pub use follow::Follower;
pub use revocation::Revoked;
pub use routes::routes;
pub use session::{Issued, Refusal};
pub use upkeep::{close_ended, rotate_keys};
pub use verify::{Denied, Verifier};

use jwks::Edition;
use keys::{KeySet, Unusable};
use metric::LoginMetrics;
use password::{Cost, Hasher};
use publish::Publisher;
use secret::ServerSecret;
use throttle::{AccountThrottle, AddressThrottle};
use token::Tokens;

use crate::clock;
use crate::metric::Metrics;
use crate::settings::{Origin, Registration, Settings};

/// Name of the file in the data directory that holds the secret, where none is set.
const SECRET_FILE: &str = "secret.key";

/// Why logging in cannot work.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The server's secret can be neither read nor made.
    #[error("the server's secret {path} cannot be used")]
    Secret {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A cluster's secret is nobody's to make.
    #[error("set auth.secret (or auth.secret_file), the same as for the cluster's auth processes")]
    NoSecret,
    /// The stored keys cannot be used.
    #[error(transparent)]
    Keys(#[from] Unusable),
    /// The accounts' storage cannot be used.
    #[error("accounts cannot be read: {0}")]
    Storage(#[from] banter_storage::Error),
    /// The system gives no randomness.
    #[error("the system gives no randomness: {0}")]
    Randomness(#[from] getrandom::Error),
}

/// What outlives the process.
#[derive(Debug, Clone)]
struct Stores {
    accounts: Accounts,
    sessions: Sessions,
    keys: Keys,
    revocations: Revocations,
}

impl Stores {
    fn new(database: &Database) -> Self {
        Self {
            accounts: Accounts::new(database),
            sessions: Sessions::new(database),
            keys: Keys::new(database),
            revocations: Revocations::new(database),
        }
    }
}

/// The first step: it makes accounts, sessions and tokens.
pub struct Login {
    stores: Stores,
    registration: Registration,
    lifetimes: Lifetimes,
    hasher: Hasher,
    guesses: AccountThrottle,
    addresses: AddressThrottle,
    secret: ServerSecret,
    keys: ArcSwap<KeySet>,
    /// Number of the revocation that announced those keys.
    revision: AtomicI64,
    verifier: Arc<Verifier>,
    refresh_tokens: refresh::Issuer,
    /// Number of the last revocation that was applied; held while they are.
    followed: Mutex<i64>,
    /// In a cluster, the way to the gateways.
    publisher: Option<Publisher>,
    metrics: LoginMetrics,
    /// When this process began.
    since: Timestamp,
}

impl Login {
    /// Reads the keys, makes the first ones where there are none, and begins to follow what other
    /// processes revoke, until the last handle is dropped. In a cluster, gateways hear of it
    /// through `redis`.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(
        settings: &Settings,
        public_origin: &Origin,
        database: &Database,
        redis: Option<&Redis>,
        metrics: &Metrics,
    ) -> Result<Arc<Self>, StartError> {
        let (metrics, now) = (metrics.login.clone(), clock::now());
        let mut login = Self::open(settings, public_origin, database, metrics, now).await?;
        login.publisher = redis.map(Publisher::new);
        login.publish().await?;
        login.publish_keys().await?;
        let login = Arc::new(login);
        tokio::spawn(upkeep::run(Arc::downgrade(&login)));
        Ok(login)
    }

    async fn open(
        settings: &Settings,
        public_origin: &Origin,
        database: &Database,
        metrics: LoginMetrics,
        now: Timestamp,
    ) -> Result<Self, StartError> {
        let stores = Stores::new(database);
        let secret = server_secret(settings)?;
        let keys = upkeep::found_keys(&stores.keys, &secret, now).await?;
        metrics.signing_key(keys.active().created_at.as_ms());
        let auth = &settings.auth;
        let tokens = Tokens::new(public_origin.as_str(), auth.access_token_ttl);
        let login = Self {
            stores,
            registration: auth.registration,
            lifetimes: Lifetimes {
                idle: auth.session_idle_ttl,
                absolute: auth.session_ttl,
                grace: limit::REFRESH_GRACE,
            },
            hasher: Hasher::observed(Cost::DEFAULT, metrics.clone()),
            guesses: AccountThrottle::shared(database),
            addresses: AddressThrottle::new(
                settings.limits.address_logins_per_minute,
                limit::ADDRESS_LOGINS_BURST,
            ),
            verifier: Arc::new(Verifier::new(tokens, keys.public().clone())),
            keys: ArcSwap::from_pointee(keys),
            revision: AtomicI64::new(0),
            refresh_tokens: refresh::Issuer::new(&secret),
            secret,
            followed: Mutex::new(0),
            publisher: None,
            metrics,
            since: now,
        };
        login.follow().await?;
        Ok(login)
    }

    /// What checks the tokens that are made here.
    #[must_use]
    pub const fn verifier(&self) -> &Arc<Verifier> {
        &self.verifier
    }

    /// Passwords hashed since the start, for whoever compares the work of two answers.
    #[must_use]
    pub fn password_hashes(&self) -> u64 {
        self.hasher.hashes()
    }

    /// Signs and verifies with these keys from now on.
    fn set_keys(&self, keys: KeySet) {
        self.metrics.signing_key(keys.active().created_at.as_ms());
        self.verifier.set_keys(keys.public().clone());
        self.keys.store(Arc::new(keys));
    }

    /// The public keys, as gateways get them.
    fn edition(&self) -> Edition {
        Edition {
            revision: self.revision.load(Ordering::Relaxed),
            jwks: self.verifier.jwks(),
        }
    }
}

/// The secret of these settings, made where there is none.
///
/// # Errors
/// [`StartError::Secret`].
pub fn server_secret(settings: &Settings) -> Result<ServerSecret, StartError> {
    if let Some(secret) = &settings.auth.secret {
        return Ok(ServerSecret::from_text(secret.reveal()));
    }
    if settings.sqlite_path().is_none() {
        return Err(StartError::NoSecret);
    }
    let path = settings.in_data_dir(SECRET_FILE);
    ServerSecret::load_or_create(&path).map_err(|source| StartError::Secret { path, source })
}
