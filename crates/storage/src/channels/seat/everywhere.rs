//! Seats among processes: advisory locks of one session for each process.
//!
//! One connection carries all the locks of a process: one for each would be used up by a few dozen
//! who join at the same moment. So nobody may wait in the database, where all others of the process
//! would wait behind; who finds a seat taken by another process, which is rare, asks again.
//!
//! A lost connection is a lost lock. Then somebody may get past a limit by one, which harms nobody.

use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::PgConnection;
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::time::{Instant, sleep, timeout};

use banter_protocol::id::UserId;

use crate::error::{Error, Result};
use crate::postgres::{Postgres, lock};

/// How long an answer may take before the connection counts as lost.
const ANSWER_MAX: Duration = Duration::from_secs(2);
/// How long a seat is held elsewhere before its waiter gives up: many times what a join takes.
const WAIT_MAX: Duration = Duration::from_secs(5);
/// How soon it is asked for again: about what a join takes.
const ASK_AGAIN: Duration = Duration::from_millis(20);

/// The locks of this process. Cloning shares them.
#[derive(Debug, Clone)]
pub(super) struct Everywhere(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    database: Postgres,
    connection: Mutex<Option<PgConnection>>,
}

/// A lock, until it is dropped: then first the database's is released, then that of the process,
/// so that nobody of this process can be given what is about to be released.
#[derive(Debug)]
pub(super) struct Held {
    shared: Arc<Shared>,
    key: i32,
    here: Option<OwnedMutexGuard<()>>,
}

impl Everywhere {
    pub(super) fn new(database: Postgres) -> Self {
        Self(Arc::new(Shared {
            database,
            connection: Mutex::default(),
        }))
    }

    /// Waits until no process changes what `user` may join.
    pub(super) async fn hold(&self, user: UserId, here: OwnedMutexGuard<()>) -> Result<Held> {
        let shared = Arc::clone(&self.0);
        let [.., a, b, c, d] = *user.as_bytes();
        let key = i32::from_be_bytes([a, b, c, d]);
        // In a task of its own: a caller who goes away must not leave a question without its
        // answer on the connection. What the task then holds is dropped, and so released.
        let held = tokio::spawn(async move {
            let deadline = Instant::now() + WAIT_MAX;
            while !shared.ask(TAKE, key).await? {
                if Instant::now() >= deadline {
                    let reason = "another process is changing this user's memberships";
                    return Err(Error::Unavailable(reason.to_owned()));
                }
                sleep(ASK_AGAIN).await;
            }
            let here = Some(here);
            Ok(Held { shared, key, here })
        });
        held.await
            .map_err(|error| Error::Unavailable(error.to_string()))?
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let (shared, key, here) = (Arc::clone(&self.shared), self.key, self.here.take());
        // Without a runtime the process is at its end, and its connection with it.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                if let Err(error) = shared.ask(RELEASE, key).await {
                    tracing::warn!(%error, "a seat was lost before it was released");
                }
                drop(here);
            });
        }
    }
}

const TAKE: &str = "SELECT pg_try_advisory_lock($1, $2)";
const RELEASE: &str = "SELECT pg_advisory_unlock($1, $2)";

impl Shared {
    /// Asks once more over a new connection where the old one is lost.
    async fn ask(&self, question: &'static str, key: i32) -> Result<bool> {
        let mut connection = self.connection.lock().await;
        if let Some(old) = connection.as_mut()
            && let Ok(answer) = answer(old, question, key).await
        {
            return Ok(answer);
        }
        // Dropping it closes it, and the server releases what it held.
        *connection = None;
        let mut fresh = self.database.connect().await?;
        let answer = answer(&mut fresh, question, key).await?;
        *connection = Some(fresh);
        Ok(answer)
    }
}

async fn answer(connection: &mut PgConnection, question: &'static str, key: i32) -> Result<bool> {
    let asked = sqlx::query_scalar(question)
        .bind(lock::SEATS)
        .bind(key)
        .fetch_one(connection);
    match timeout(ANSWER_MAX, asked).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(Error::Unavailable("no answer".to_owned())),
    }
}
