//! Who somebody is: accounts, passwords, sessions, tokens.
//!
//! A login costs a slow hash and gives two tokens. The access token is checked without asking
//! anybody; the refresh token renews it, once each, and gives away whoever copies it. What ends
//! before its tokens do is a revocation: a row of the database that every process follows.

pub mod keys;
pub mod metric;
pub mod password;
pub mod refresh;
pub mod revocation;
pub mod secret;
pub mod throttle;
pub mod token;

mod cookie;
mod routes;
mod session;
mod upkeep;

#[cfg(test)]
mod tests;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use banter_protocol::limit;
use banter_protocol::session::Identity;
use banter_protocol::time::Timestamp;
use banter_storage::Sqlite;
use banter_storage::accounts::Accounts;
use banter_storage::keys::Keys;
use banter_storage::revocations::Revocations;
use banter_storage::sessions::{Lifetimes, Sessions};
use tokio::sync::{Mutex, broadcast};

pub use revocation::Revoked;
pub use routes::routes;
pub use session::{Issued, Refusal};
pub use upkeep::{close_ended, rotate_keys};

use keys::{Jwks, KeySet, Unusable};
use metric::LoginMetrics;
use password::{Cost, Hasher};
use revocation::{Over, Revoking};
use secret::ServerSecret;
use throttle::{AccountThrottle, AddressThrottle};
use token::{Refused, Tokens};

use crate::clock;
use crate::metric::Metrics;
use crate::settings::{Origin, Registration, Settings};

/// Name of the file in the data directory that holds the secret, where none is set.
const SECRET_FILE: &str = "secret.key";

/// Why logging in cannot work.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The server's secret can be neither read nor made.
    #[error("the server's secret {path} cannot be used: {source}")]
    Secret {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
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

/// Why an access token is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denied {
    /// It is none of ours. More is not told.
    Invalid,
    /// It was good until a while ago.
    Expired,
    /// Its session has ended.
    SessionEnded,
    /// Its account is disabled.
    AccountDisabled,
}

impl From<Refused> for Denied {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Invalid => Self::Invalid,
            Refused::Expired => Self::Expired,
        }
    }
}

impl From<Over> for Denied {
    fn from(over: Over) -> Self {
        match over {
            Over::Session => Self::SessionEnded,
            Over::Account => Self::AccountDisabled,
        }
    }
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
    fn sqlite(database: &Sqlite) -> Self {
        Self {
            accounts: Accounts::sqlite(database.clone()),
            sessions: Sessions::sqlite(database.clone()),
            keys: Keys::sqlite(database.clone()),
            revocations: Revocations::sqlite(database.clone()),
        }
    }
}

/// The first step: it makes accounts, sessions and tokens, and tells whose token is good.
pub struct Login {
    stores: Stores,
    registration: Registration,
    lifetimes: Lifetimes,
    hasher: Hasher,
    guesses: AccountThrottle,
    addresses: AddressThrottle,
    secret: ServerSecret,
    keys: ArcSwap<KeySet>,
    tokens: Tokens,
    refresh_tokens: refresh::Issuer,
    revoking: Revoking,
    /// Number of the last revocation that was applied; held while they are.
    followed: Mutex<i64>,
    metrics: LoginMetrics,
}

impl Login {
    /// Reads the keys, makes the first ones where there are none, and begins to follow what other
    /// processes revoke, until the last handle is dropped.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(
        settings: &Settings,
        public_origin: &Origin,
        database: &Sqlite,
        metrics: &Metrics,
    ) -> Result<Arc<Self>, StartError> {
        let (metrics, now) = (metrics.login.clone(), clock::now());
        let login = Self::open(settings, public_origin, database, metrics, now).await?;
        let login = Arc::new(login);
        tokio::spawn(upkeep::run(Arc::downgrade(&login)));
        Ok(login)
    }

    async fn open(
        settings: &Settings,
        public_origin: &Origin,
        database: &Sqlite,
        metrics: LoginMetrics,
        now: Timestamp,
    ) -> Result<Self, StartError> {
        let stores = Stores::sqlite(database);
        let secret = server_secret(settings)?;
        let keys = upkeep::found_keys(&stores.keys, &secret, now).await?;
        metrics.signing_key(keys.active().created_at.as_ms());
        let auth = &settings.auth;
        let login = Self {
            stores,
            registration: auth.registration,
            lifetimes: Lifetimes {
                idle: auth.session_idle_ttl,
                absolute: auth.session_ttl,
                grace: limit::REFRESH_GRACE,
            },
            hasher: Hasher::observed(Cost::DEFAULT, metrics.clone()),
            guesses: AccountThrottle::default(),
            addresses: AddressThrottle::new(
                settings.limits.address_logins_per_minute,
                limit::ADDRESS_LOGINS_BURST,
            ),
            keys: ArcSwap::from_pointee(keys),
            tokens: Tokens::new(public_origin.as_str(), auth.access_token_ttl),
            refresh_tokens: refresh::Issuer::new(&secret),
            secret,
            revoking: Revoking::default(),
            followed: Mutex::new(0),
            metrics,
        };
        login.follow().await?;
        Ok(login)
    }

    /// Whose token this is, if it is good at `now_ms` milliseconds since 1970.
    ///
    /// # Errors
    /// Why it is not.
    pub fn verify(&self, token: &str, now_ms: i64) -> Result<Identity, Denied> {
        let identity = self.tokens.verify(&self.keys.load(), token, now_ms)?;
        self.standing(&identity)?;
        Ok(identity)
    }

    /// Whether a verified token's session and account are good still. Who keeps an identity asks
    /// this again after he has begun to listen to [`Login::revocations`].
    ///
    /// # Errors
    /// [`Denied::AccountDisabled`] or [`Denied::SessionEnded`].
    pub fn standing(&self, identity: &Identity) -> Result<(), Denied> {
        self.revoking.check(identity.user, identity.session)?;
        Ok(())
    }

    /// Whose sockets must be closed, from now on. A listener that has missed some asks
    /// [`Login::standing`] about everybody.
    #[must_use]
    pub fn revocations(&self) -> broadcast::Receiver<Revoked> {
        self.revoking.subscribe()
    }

    /// Passwords hashed since the start, for whoever compares the work of two answers.
    #[must_use]
    pub fn password_hashes(&self) -> u64 {
        self.hasher.hashes()
    }

    /// The published keys.
    #[must_use]
    pub fn jwks(&self) -> Jwks {
        self.keys.load().jwks().clone()
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
    let path = settings.in_data_dir(SECRET_FILE);
    ServerSecret::load_or_create(&path).map_err(|source| StartError::Secret { path, source })
}
