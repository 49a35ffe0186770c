//! How a gateway learns of keys and revocations: from Redis, where auth processes copy them to.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use banter_protocol::limit;
use banter_storage::Redis;
use banter_storage::keys::Published;
use banter_storage::revocations::{Change, Stream};
use tokio::time::{MissedTickBehavior, interval};

use super::jwks::PublicKeys;
use super::token::Tokens;
use super::upkeep::{MARGIN, PAGE, before};
use super::verify::Verifier;
use crate::clock;

/// How often old revocations are forgotten.
const HOUSEKEEPING: Duration = Duration::from_secs(60);

/// What a gateway knows of logins, and where it hears more.
pub struct Follower {
    verifier: Arc<Verifier>,
    progress: Progress,
}

/// How far it is.
struct Progress {
    stream: Stream,
    /// Number of the last revocation that was applied.
    followed: i64,
    /// The edition of the keys that a revocation has announced.
    wanted: i64,
    /// The edition of the keys in use.
    edition: i64,
}

impl Follower {
    /// One that knows nothing yet.
    #[must_use]
    pub fn new(redis: &Redis, issuer: &str, ttl: Duration) -> Self {
        let published = Published::new(redis.clone());
        let verifier = Verifier::following(Tokens::new(issuer, ttl), published);
        Self {
            verifier: Arc::new(verifier),
            progress: Progress {
                stream: Stream::new(redis.clone()),
                followed: 0,
                wanted: 0,
                edition: -1,
            },
        }
    }

    /// Reads all that is there. `Ok(false)`: no auth process has published its keys yet.
    ///
    /// # Errors
    /// When Redis cannot be used.
    pub async fn read(&mut self) -> banter_storage::Result<bool> {
        let Some(edition) = self.verifier.read_keys().await? else {
            return Ok(false);
        };
        self.progress.edition = edition;
        self.progress.follow(&self.verifier).await?;
        Ok(true)
    }

    /// Goes on following until the last handle of the verifier is dropped.
    #[must_use]
    pub fn start(self) -> Arc<Verifier> {
        tokio::spawn(run(Arc::downgrade(&self.verifier), self.progress));
        self.verifier
    }
}

async fn run(verifier: Weak<Verifier>, mut progress: Progress) {
    let mut ticks = interval(limit::REVOCATION_POLL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut house_due = Instant::now() + HOUSEKEEPING;
    let mut failing = false;
    loop {
        ticks.tick().await;
        let Some(verifier) = verifier.upgrade() else {
            return;
        };
        let followed = progress.follow(&verifier).await;
        if let (Err(error), false) = (&followed, failing) {
            tracing::error!(%error, "what is revoked elsewhere is not heard of");
        } else if followed.is_ok() && failing {
            tracing::info!("what is revoked elsewhere is heard of again");
        }
        failing = followed.is_err();
        if Instant::now() >= house_due {
            house_due = Instant::now() + HOUSEKEEPING;
            verifier.forget(before(clock::now(), verifier.tokens().ttl() + MARGIN));
        }
    }
}

impl Progress {
    /// Applies what has been revoked since the last time.
    async fn follow(&mut self, verifier: &Verifier) -> banter_storage::Result<()> {
        loop {
            // What Redis has lost and is given again has the old numbers, and was applied.
            let page = self.stream.after(self.followed, PAGE).await?;
            if page.is_empty() {
                break;
            }
            for revocation in &page {
                if let Change::KeysRotated | Change::KeysReplaced = revocation.change {
                    self.wanted = self.wanted.max(revocation.id);
                    self.renew_keys(verifier, revocation.change).await;
                }
                verifier.apply(revocation);
                self.followed = revocation.id;
            }
        }
        if self.edition < self.wanted {
            self.renew_keys(verifier, Change::KeysRotated).await;
        }
        Ok(())
    }

    /// Reads the keys that a revocation has announced. What replaced keys have signed is good no
    /// more, even where the new ones cannot be read yet.
    async fn renew_keys(&mut self, verifier: &Verifier, change: Change) {
        if self.edition >= self.wanted {
            return;
        }
        match verifier.read_keys().await {
            Ok(Some(edition)) => self.edition = edition,
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "the new signing keys are read late"),
        }
        if self.edition >= self.wanted {
            tracing::info!("signing keys were changed");
        } else if change == Change::KeysReplaced {
            verifier.set_keys(Arc::new(PublicKeys::default()));
        }
    }
}
