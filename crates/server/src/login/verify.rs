//! Whose token it is: public keys, the rules of tokens, and what was revoked. It needs no secret
//! and no database, so every process that lets people through has its own.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use banter_protocol::session::Identity;
use banter_protocol::time::Timestamp;
use banter_storage::keys::Published;
use banter_storage::revocations::Revocation;
use tokio::sync::{Mutex, broadcast};

use super::jwks::{Edition, Jwks, PublicKeys};
use super::revocation::{Over, Revoked, Revoking};
use super::token::{Refused, Tokens};

/// Shortest time between two looks for a key that is not known: tokens of others cost little.
const LOOKS_APART: Duration = Duration::from_secs(1);

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
            Refused::Invalid | Refused::UnknownKey => Self::Invalid,
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

/// Checks access tokens.
pub struct Verifier {
    tokens: Tokens,
    keys: ArcSwap<PublicKeys>,
    revoking: Revoking,
    /// Where other processes publish their keys; absent in the process that makes them.
    source: Option<Source>,
}

/// Keys that others publish.
struct Source {
    published: Published,
    /// The newest edition that was read, and when; held while looking, so that one looks for all.
    read: Mutex<(i64, Option<Instant>)>,
}

impl Verifier {
    /// One that is told its keys.
    #[must_use]
    pub(super) fn new(tokens: Tokens, keys: Arc<PublicKeys>) -> Self {
        Self {
            tokens,
            keys: ArcSwap::new(keys),
            revoking: Revoking::default(),
            source: None,
        }
    }

    /// One that finds its keys where others publish them. It has none yet.
    #[must_use]
    pub(super) fn following(tokens: Tokens, published: Published) -> Self {
        Self {
            source: Some(Source {
                published,
                read: Mutex::new((-1, None)),
            }),
            ..Self::new(tokens, Arc::default())
        }
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

    /// The same, for who can wait: a key that is not known is looked for.
    ///
    /// # Errors
    /// Why it is not.
    pub async fn verify_patiently(&self, token: &str, now_ms: i64) -> Result<Identity, Denied> {
        // Once only where the key is known: a signature takes a quarter of a handshake's time.
        let identity = match self.tokens.verify(&self.keys.load(), token, now_ms) {
            Err(Refused::UnknownKey) => {
                self.look_for_keys().await;
                self.tokens.verify(&self.keys.load(), token, now_ms)?
            }
            known => known?,
        };
        self.standing(&identity)?;
        Ok(identity)
    }

    /// Whether a verified token's session and account are good still. Who keeps an identity asks
    /// this again after he has begun to listen to [`Verifier::revocations`].
    ///
    /// # Errors
    /// [`Denied::AccountDisabled`] or [`Denied::SessionEnded`].
    pub fn standing(&self, identity: &Identity) -> Result<(), Denied> {
        self.revoking.check(identity.user, identity.session)?;
        Ok(())
    }

    /// Whose sockets must be closed, from now on. A listener that has missed some asks
    /// [`Verifier::standing`] about everybody.
    #[must_use]
    pub fn revocations(&self) -> broadcast::Receiver<Revoked> {
        self.revoking.subscribe()
    }

    /// The published keys.
    #[must_use]
    pub fn jwks(&self) -> Jwks {
        self.keys.load().jwks().clone()
    }

    /// The rules of tokens.
    pub(super) const fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    /// Verifies with these keys from now on.
    pub(super) fn set_keys(&self, keys: Arc<PublicKeys>) {
        self.keys.store(keys);
    }

    /// Takes note of a revocation.
    pub(super) fn apply(&self, revocation: &Revocation) {
        self.revoking.apply(revocation);
    }

    /// Forgets what was over before `since`: no token of theirs is about.
    pub(super) fn forget(&self, since: Timestamp) {
        self.revoking.forget(since);
    }

    /// Reads the published keys unless that was just done. Should that fail, the last ones go on.
    async fn look_for_keys(&self) {
        let Some(source) = &self.source else { return };
        let just_read = |(_, at): &(i64, Option<Instant>)| {
            at.is_some_and(|at: Instant| at.elapsed() < LOOKS_APART)
        };
        // Whoever waits here while another one looks finds that it was just done.
        if just_read(&*source.read.lock().await) {
            return;
        }
        if let Err(error) = self.read_keys().await {
            tracing::warn!(%error, "a key that is not known could not be looked for");
        }
    }

    /// Reads the published keys; tells which edition they are, `None` where there are none.
    pub(super) async fn read_keys(&self) -> banter_storage::Result<Option<i64>> {
        let Some(source) = &self.source else {
            return Ok(None);
        };
        let mut read = source.read.lock().await;
        read.1 = Some(Instant::now());
        let Some(edition) = source.published.read().await? else {
            return Ok(None);
        };
        let edition = Edition::parse(&edition).ok_or_else(|| {
            banter_storage::Error::Corrupt("the published keys cannot be read".to_owned())
        })?;
        // An auth process that has yet to catch up may have published after one that has.
        if edition.revision >= read.0 {
            read.0 = edition.revision;
            self.set_keys(Arc::new(PublicKeys::from(&edition.jwks)));
        }
        Ok(Some(edition.revision))
    }
}
