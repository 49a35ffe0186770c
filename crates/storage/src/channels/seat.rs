//! Seats: one change of an account's memberships at a time.
//!
//! A user may be a member of so many channels and no more, and one who is barred does not get in.
//! Both are read before the log is asked, so whatever adds a membership of a user, or bars the
//! user, holds that user's seat meanwhile.

mod everywhere;

use std::sync::Arc;

use tokio::sync::{Mutex, OwnedMutexGuard};

use banter_protocol::id::UserId;

use self::everywhere::{Everywhere, Held};
use crate::database::Database;
use crate::error::Result;

/// Users share locks; with so many of them, two who join at the same moment seldom meet.
const LOCKS: usize = 256;

/// The seat of one user, until it is dropped.
#[derive(Debug)]
#[must_use]
pub struct Seat {
    _kept: Kept,
}

/// Only kept for what happens when it is dropped.
#[derive(Debug)]
#[expect(dead_code, reason = "guards are held, not read")]
enum Kept {
    Here(OwnedMutexGuard<()>),
    Everywhere(Held),
}

/// The seats of all users. Cloning shares them.
#[derive(Debug, Clone)]
pub(super) struct Seats {
    /// Within a process users wait here, so that one who joins a hundred times at once makes the
    /// database wait only once.
    here: Arc<[Arc<Mutex<()>>]>,
    /// Other processes are kept out by the database that they share.
    everywhere: Option<Everywhere>,
}

impl Seats {
    pub(super) fn new(database: &Database) -> Self {
        let everywhere = match database {
            Database::Sqlite(_) => None,
            Database::Postgres(postgres) => Some(Everywhere::new(postgres.clone())),
        };
        Self {
            here: (0..LOCKS).map(|_| Arc::default()).collect(),
            everywhere,
        }
    }

    pub(super) async fn hold(&self, user: UserId) -> Result<Seat> {
        // The end of a UUIDv7 is random.
        let last = usize::from(user.as_bytes()[15]);
        let here = Arc::clone(&self.here[last % LOCKS]).lock_owned().await;
        let kept = match &self.everywhere {
            None => Kept::Here(here),
            Some(everywhere) => Kept::Everywhere(everywhere.hold(user, here).await?),
        };
        Ok(Seat { _kept: kept })
    }
}
