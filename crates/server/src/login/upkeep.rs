//! What goes on beside the requests: following what was revoked, rotating keys, forgetting.

use std::sync::Weak;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use banter_protocol::close::Close;
use banter_protocol::limit;
use banter_protocol::time::Timestamp;
use banter_storage::Database;
use banter_storage::keys::Keys;
use banter_storage::revocations::{Change, Revocation};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{MissedTickBehavior, interval};

use super::keys::{self, KeySet};
use super::secret::ServerSecret;
use super::{Login, Revoked, StartError, Stores, server_secret};
use crate::broadcast::{Audience, Broadcast};
use crate::clock;
use crate::settings::Settings;

/// Revocations read at once.
pub(super) const PAGE: u32 = 1_000;
/// How often keys are looked at and old rows forgotten.
const HOUSEKEEPING: Duration = Duration::from_secs(3600);
/// The first time, when the start is over.
const HOUSEKEEPING_FIRST: Duration = Duration::from_secs(60);
/// How much longer than an access token lives a revocation is kept: clocks differ.
pub(super) const MARGIN: Duration = Duration::from_secs(60);

/// Follows and keeps house until the login is gone.
pub(super) async fn run(login: Weak<Login>) {
    let mut ticks = interval(limit::REVOCATION_POLL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut house_due = Instant::now() + HOUSEKEEPING_FIRST;
    let (mut failing, mut silent) = (false, false);
    loop {
        ticks.tick().await;
        let Some(login) = login.upgrade() else { return };
        let followed = login.follow().await;
        if let (Err(error), false) = (&followed, failing) {
            tracing::error!(%error, "what is revoked elsewhere is not heard of");
        } else if followed.is_ok() && failing {
            tracing::info!("what is revoked elsewhere is heard of again");
        }
        failing = followed.is_err();
        let published = login.publish().await;
        if let (Err(error), false) = (&published, silent) {
            tracing::error!(%error, "gateways do not hear what is revoked");
        } else if published.is_ok() && silent {
            tracing::info!("gateways hear again what is revoked");
        }
        silent = published.is_err();
        if Instant::now() >= house_due && !failing {
            house_due = Instant::now() + HOUSEKEEPING;
            if let Err(error) = login.keep_house(clock::now()).await {
                tracing::warn!(%error, "housekeeping of accounts failed");
            }
        }
    }
}

impl Login {
    /// Applies what has been revoked since the last time, here or elsewhere.
    pub(super) async fn follow(&self) -> Result<(), StartError> {
        let mut followed = self.followed.lock().await;
        loop {
            let page = self.stores.revocations.after(*followed, PAGE).await?;
            let Some(last) = page.last().map(|last| last.id) else {
                return Ok(());
            };
            for revocation in &page {
                self.apply(revocation).await?;
                *followed = revocation.id;
            }
            *followed = last;
        }
    }

    /// Applies what this very process has just revoked. Should that fail, it is not lost: the
    /// follower tries again in half a second.
    pub(super) async fn catch_up(&self) {
        if let Err(error) = self.follow().await {
            tracing::warn!(%error, "a revocation is applied late");
        }
        if let Err(error) = self.publish().await {
            tracing::warn!(%error, "a revocation is published late");
        }
    }

    /// Tells gateways of what was followed.
    pub(super) async fn publish(&self) -> banter_storage::Result<()> {
        let Some(publisher) = &self.publisher else {
            return Ok(());
        };
        let (followed, edition) = {
            // Both change while it is held.
            let followed = self.followed.lock().await;
            (*followed, self.edition())
        };
        let revocations = &self.stores.revocations;
        publisher.publish(revocations, followed, &edition).await
    }

    /// Tells gateways of keys that no revocation announces.
    pub(super) async fn publish_keys(&self) -> banter_storage::Result<()> {
        match &self.publisher {
            Some(publisher) => publisher.replace_keys(&self.edition()).await,
            None => Ok(()),
        }
    }

    async fn apply(&self, revocation: &Revocation) -> Result<(), StartError> {
        if let Change::KeysRotated | Change::KeysReplaced = revocation.change {
            let rows = self.stores.keys.all().await?;
            match KeySet::new(&rows, &self.secret) {
                Ok(keys) => {
                    self.set_keys(keys);
                    self.revision.store(revocation.id, Ordering::Relaxed);
                    tracing::info!("signing keys were changed");
                }
                // The old ones go on; there is nothing better.
                Err(error) => tracing::error!(%error, "the new signing keys cannot be used"),
            }
        }
        self.verifier.apply(revocation);
        Ok(())
    }

    /// Rotates the signing key when it is due, and forgets what nobody can ask about any more.
    pub(super) async fn keep_house(&self, now: Timestamp) -> Result<(), StartError> {
        let due = before(now, limit::KEY_ROTATION);
        if self.keys.load().active().since < due {
            let next = keys::generate(&self.secret)?;
            self.stores.keys.rotate(&next, now, Some(due)).await?;
            self.follow().await?;
        }
        let ttl = self.verifier.tokens().ttl();
        let since = before(now, ttl + MARGIN);
        self.verifier.forget(since);
        self.stores.revocations.forget(since).await?;
        if let Some(publisher) = &self.publisher {
            publisher.forget(since).await?;
        }
        self.stores
            .sessions
            .forget_over(since, &self.lifetimes)
            .await?;
        self.guesses.forget(now).await?;
        let since = before(now, ttl + limit::KEY_RETIRED_MARGIN);
        if self.stores.keys.forget_retired(since).await? {
            let rows = self.stores.keys.all().await?;
            self.set_keys(KeySet::new(&rows, &self.secret)?);
            self.publish_keys().await?;
        }
        Ok(())
    }
}

/// Makes the stored keys ready, and the first ones where there are none.
pub(super) async fn found_keys(
    keys: &Keys,
    secret: &ServerSecret,
    now: Timestamp,
) -> Result<KeySet, StartError> {
    let mut rows = keys.all().await?;
    if rows.is_empty() {
        let (active, next) = (keys::generate(secret)?, keys::generate(secret)?);
        keys.found(&active, &next, now).await?;
        rows = keys.all().await?;
    }
    Ok(KeySet::new(&rows, secret)?)
}

/// Makes the next signing key the active one, for `banter keys rotate`; the retired one's tokens
/// stay good. With `compromised` all keys are replaced, and with them every access token: sessions
/// go on with their refresh tokens.
///
/// # Errors
/// When the stored keys were encrypted with another secret, or storage fails.
pub async fn rotate_keys(
    settings: &Settings,
    database: &Database,
    compromised: bool,
) -> Result<(), StartError> {
    let now = clock::now();
    let secret = server_secret(settings)?;
    let keys = Stores::new(database).keys;
    if compromised {
        let (active, next) = (keys::generate(&secret)?, keys::generate(&secret)?);
        keys.replace(&active, &next, now).await?;
        return Ok(());
    }
    // What cannot be decrypted must not be mixed with what can.
    found_keys(&keys, &secret, now).await?;
    keys.rotate(&keys::generate(&secret)?, now, None).await?;
    Ok(())
}

/// Closes the sockets of whatever ends, until the login is gone.
pub async fn close_ended(mut revocations: broadcast::Receiver<Revoked>, sockets: Broadcast) {
    loop {
        let (audience, close) = match revocations.recv().await {
            Ok(Revoked::Session(session)) => (Audience::Session(session), Close::SessionEnded),
            Ok(Revoked::User(user)) => (Audience::User(user), Close::AccountDisabled),
            Ok(Revoked::Everyone) => (Audience::All, Close::TokenExpired),
            // Whose end was missed is not known: all come back, and are let in or not.
            Err(RecvError::Lagged(_)) => (Audience::All, Close::Restart),
            Err(RecvError::Closed) => return,
        };
        sockets.close(audience, close).await;
    }
}

/// The time so long before `now`.
pub(super) fn before(now: Timestamp, duration: Duration) -> Timestamp {
    let length = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
    Timestamp::from_ms(now.as_ms().saturating_sub(length))
}
