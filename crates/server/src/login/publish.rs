//! What an auth process hands to the gateways, in Redis: every revocation, and the public keys.
//! Each of several does it, so that it is done while one of them is there; doing it twice changes
//! nothing, and what Redis loses is there again half a second later.

use banter_protocol::time::Timestamp;
use banter_storage::keys::Published;
use banter_storage::revocations::{Revocations, Stream};
use banter_storage::{Redis, Result};

use super::jwks::Edition;
use super::upkeep::PAGE;

/// Pages copied at once: more than a start after a long pause needs.
const COPIES_MAX: u32 = 1_000;

/// The way to the gateways.
#[derive(Debug, Clone)]
pub(super) struct Publisher {
    stream: Stream,
    published: Published,
}

impl Publisher {
    /// The way through this Redis.
    #[must_use]
    pub(super) fn new(redis: &Redis) -> Self {
        Self {
            stream: Stream::new(redis.clone()),
            published: Published::new(redis.clone()),
        }
    }

    /// Brings gateways up to revocation `followed`, and to these keys.
    ///
    /// # Errors
    /// When Redis or the database cannot be used; then it is done the next time.
    pub(super) async fn publish(
        &self,
        revocations: &Revocations,
        followed: i64,
        edition: &Edition,
    ) -> Result<()> {
        let there = self.published.read().await?;
        let there = there.as_deref().and_then(Edition::parse);
        match there {
            // A gateway that starts takes keys for the sign that all revocations are there…
            None => {
                self.copy(revocations, followed).await?;
                self.published.write(&edition.to_text()).await
            }
            // …and one that runs looks for the keys that a revocation announces.
            Some(there) if there.revision < edition.revision => {
                self.published.write(&edition.to_text()).await?;
                self.copy(revocations, followed).await
            }
            Some(_) => self.copy(revocations, followed).await,
        }
    }

    /// Publishes a set that no revocation announces: retired keys have gone, or this is the first.
    ///
    /// # Errors
    /// When Redis cannot be used.
    pub(super) async fn replace_keys(&self, edition: &Edition) -> Result<()> {
        let there = self.published.read().await?;
        let there = there.as_deref().and_then(Edition::parse);
        if there.is_some_and(|there| there != *edition && there.revision <= edition.revision) {
            self.published.write(&edition.to_text()).await?;
        }
        Ok(())
    }

    /// Forgets revocations from before `since`.
    ///
    /// # Errors
    /// When Redis cannot be used.
    pub(super) async fn forget(&self, since: Timestamp) -> Result<()> {
        self.stream.forget(since).await
    }

    async fn copy(&self, revocations: &Revocations, followed: i64) -> Result<()> {
        for _ in 0..COPIES_MAX {
            let newest = self.stream.newest().await?;
            if newest >= followed {
                return Ok(());
            }
            let mut rows = revocations.after(newest, PAGE).await?;
            // What was not followed here may announce keys that were not published yet.
            rows.retain(|row| row.id <= followed);
            if rows.is_empty() {
                return Ok(());
            }
            self.stream.append(newest, &rows).await?;
        }
        Ok(())
    }
}
