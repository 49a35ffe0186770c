//! Epochs: the histories of a shard. A server that is not known to hold everything that was seen
//! of a shard begins a new one.
//!
//! A shard's epoch is a row in the database, and a copy in Redis that names the server process it
//! was made on. No copy, or one of another process: Redis was emptied, or restarted with data that
//! may be older than what was acknowledged. Under one lock of the database:
//!
//! 1. the next epoch is committed there: no worker of an older one commits any more;
//! 2. Redis's data become those of the new epoch, or are wiped where they are of an older history;
//! 3. the database notes that the epoch is installed;
//! 4. Redis opens it.
//!
//! Whoever dies in between leaves an epoch that is not open, and the next comer begins another.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use banter_protocol::id::Epoch;
use redis::Value;

use super::shard::{SHARDS, Shard};
use super::stored::Stored;
use super::{INSTALL, OPEN, reply};
use crate::error::{Error, Result};
use crate::redis::{Call, Connection, Redis};

/// How long an epoch that replaced another is young: ids from before may be unknown to Redis. As
/// long as ids are remembered.
const YOUNG: Duration = Duration::from_secs(600);
/// How often others may be ahead before the caller gives up.
const ATTEMPTS_MAX: u32 = 3;

/// The epochs of all shards, as far as they are known.
#[derive(Debug)]
pub(super) struct Epochs {
    redis: Redis,
    database: Stored,
    era: Mutex<Option<Arc<Era>>>,
    /// Held while finding out: one finds out for everybody.
    turn: tokio::sync::Mutex<()>,
    changes: [AtomicU64; Cause::ALL.len()],
}

/// Why an epoch took another one's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Redis runs as another process.
    Restarted,
    /// Redis has no epoch: its data are gone.
    Emptied,
    /// The database has another epoch: whoever began it did not get to its end.
    Unfinished,
}

impl Cause {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Restarted, Self::Emptied, Self::Unfinished];

    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Restarted => "restarted",
            Self::Emptied => "emptied",
            Self::Unfinished => "unfinished",
        }
    }
}

/// The epochs that hold on one connection.
pub(super) struct Era {
    connection: Connection,
    shards: Vec<Open>,
}

/// An open epoch of a shard.
#[derive(Debug)]
struct Open {
    /// As it stands in Redis.
    token: String,
    epoch: Epoch,
    young_until: Option<Instant>,
}

impl std::fmt::Debug for Era {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Era")
            .field("shards", &self.shards)
            .finish_non_exhaustive()
    }
}

impl Era {
    pub(super) const fn connection(&self) -> &Connection {
        &self.connection
    }

    /// What scripts compare with the epoch in Redis.
    pub(super) fn token(&self, shard: Shard) -> &str {
        &self.shards[shard.index()].token
    }

    pub(super) fn epoch(&self, shard: Shard) -> Epoch {
        self.shards[shard.index()].epoch
    }

    /// Whether ids must be looked up in the database, however fresh they are.
    pub(super) fn is_young(&self, shard: Shard) -> bool {
        let until = self.shards[shard.index()].young_until;
        until.is_some_and(|until| Instant::now() < until)
    }
}

impl Epochs {
    pub(super) fn new(redis: Redis, database: Stored) -> Self {
        Self {
            redis,
            database,
            era: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
            changes: Default::default(),
        }
    }

    /// Shards for which this process has begun an epoch in place of another, by cause.
    pub(super) fn changes(&self) -> [(Cause, u64); Cause::ALL.len()] {
        let count = |cause: Cause| self.changes[cause as usize].load(Ordering::Relaxed);
        Cause::ALL.map(|cause| (cause, count(cause)))
    }

    /// The epochs on the current connection, installed where they are not.
    pub(super) async fn era(self: &Arc<Self>) -> Result<Arc<Era>> {
        let connection = self.redis.connection().await?;
        if let Some(era) = self.known(&connection) {
            return Ok(era);
        }
        let this = Arc::clone(self);
        // A task of its own: a caller that gives up must not leave an epoch half installed.
        let finding = tokio::spawn(async move { this.find_out(connection).await });
        finding
            .await
            .map_err(|error| Error::Unavailable(error.to_string()))?
    }

    /// What was known turned out stale.
    pub(super) fn forget(&self, era: &Arc<Era>) {
        let mut known = self.lock();
        if known.as_ref().is_some_and(|known| Arc::ptr_eq(known, era)) {
            *known = None;
        }
    }

    /// The database has another epoch: Redis must have it too before anything goes on.
    pub(super) async fn doubt(self: &Arc<Self>, era: &Arc<Era>) -> Result<()> {
        self.forget(era);
        let (this, connection) = (Arc::clone(self), era.connection.clone());
        let installing = tokio::spawn(async move {
            let _turn = this.turn.lock().await;
            this.install(&connection).await
        });
        installing
            .await
            .map_err(|error| Error::Unavailable(error.to_string()))?
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Arc<Era>>> {
        self.era.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known(&self, connection: &Connection) -> Option<Arc<Era>> {
        let known = self.lock().clone();
        known.filter(|era| era.connection.number() == connection.number())
    }

    async fn find_out(&self, connection: Connection) -> Result<Arc<Era>> {
        let _turn = self.turn.lock().await;
        if let Some(era) = self.known(&connection) {
            return Ok(era);
        }
        for _ in 0..ATTEMPTS_MAX {
            let found = self.read(&connection).await?;
            if let Some(shards) = found.open() {
                let era = Arc::new(Era { connection, shards });
                *self.lock() = Some(Arc::clone(&era));
                return Ok(era);
            }
            self.install(&connection).await?;
        }
        Err(super::restless())
    }

    async fn read(&self, connection: &Connection) -> Result<Found> {
        let mut commands = redis::pipe();
        for shard in Shard::all() {
            commands.cmd("GET").arg(shard.key("epoch"));
        }
        commands.cmd("TIME");
        let mut answers = self.redis.round(connection, &commands).await?;
        let time = self
            .redis
            .checked(connection, answers.pop().unwrap_or_default())?;
        let Value::Array(time) = time else {
            return Err(reply::unexpected());
        };
        let seconds = reply::number(time.into_iter().next())?;
        let mut tokens = Vec::with_capacity(usize::from(SHARDS));
        for answer in answers {
            tokens.push(match self.redis.checked(connection, answer)? {
                Value::Nil => String::new(),
                token => String::from_utf8_lossy(&reply::bytes(token)?).into_owned(),
            });
        }
        Ok(Found {
            tokens,
            run_id: connection.run_id().to_owned(),
            now_ms: seconds * 1000,
        })
    }

    /// Begins a new epoch for every shard that has none open on this server.
    async fn install(&self, connection: &Connection) -> Result<()> {
        let mut ledger = self.database.lock_epochs().await?;
        // Another may have done it while this one waited for the lock.
        let found = self.read(connection).await?;
        let committed = ledger.epochs().await?;
        let is_open =
            |shard| found.is_open(shard) && committed.get(&shard) == Some(&found.epoch(shard));
        let closed: Vec<_> = Shard::all().filter(|shard| !is_open(*shard)).collect();
        if closed.is_empty() {
            return Ok(());
        }
        let begun = ledger
            .begin(closed.iter().map(|shard| (*shard, found.epoch(*shard))))
            .await?;
        let installs = begun.iter().map(|it| {
            let mut call = INSTALL.call(&it.shard.key("epoch"));
            call.arg(it.epoch).arg(it.installed);
            call
        });
        self.all_done(connection, installs.collect()).await?;
        ledger.installed(&begun).await?;
        let opens = begun.iter().map(|it| {
            let mut call = OPEN.call(&it.shard.key("epoch"));
            let replaces = u8::from(it.installed > 0);
            call.arg(it.epoch).arg(connection.run_id());
            call.arg(it.shard.number()).arg(replaces);
            call
        });
        self.all_done(connection, opens.collect()).await?;
        // The very first epoch takes nobody's place.
        for it in begun.iter().filter(|it| it.installed > 0) {
            self.changes[found.cause(it.shard) as usize].fetch_add(1, Ordering::Relaxed);
        }
        tracing::warn!(
            shards = begun.len(),
            "began a new epoch of the log in Redis"
        );
        Ok(())
    }

    async fn all_done(&self, connection: &Connection, calls: Vec<Call>) -> Result<()> {
        for answer in self.redis.run(connection, &calls).await? {
            if reply::bytes(answer)? != b"OK" {
                return Err(Error::Unavailable("another epoch began meanwhile".into()));
            }
        }
        Ok(())
    }
}

/// The epochs as they stand in Redis: `<epoch> <run_id> <ms since it is open, 0: the first>`.
struct Found {
    tokens: Vec<String>,
    run_id: String,
    now_ms: u64,
}

impl Found {
    fn epoch(&self, shard: Shard) -> Epoch {
        let number = self.tokens[shard.index()].split(' ').next();
        number.and_then(|text| text.parse().ok()).unwrap_or(0)
    }

    fn is_open(&self, shard: Shard) -> bool {
        self.tokens[shard.index()].split(' ').nth(1) == Some(&self.run_id)
    }

    /// Why a shard needs another epoch.
    fn cause(&self, shard: Shard) -> Cause {
        match self.tokens[shard.index()].split(' ').nth(1) {
            None => Cause::Emptied,
            // Not opened, or not what the database has.
            Some("-") => Cause::Unfinished,
            Some(run_id) if run_id == self.run_id => Cause::Unfinished,
            Some(_) => Cause::Restarted,
        }
    }

    /// All of them, where they are all open.
    fn open(&self) -> Option<Vec<Open>> {
        let open = Shard::all().map(|shard| {
            let token = &self.tokens[shard.index()];
            let since: u64 = token.split(' ').nth(2)?.parse().ok()?;
            let age = Duration::from_millis(self.now_ms.saturating_sub(since));
            let young_until = (since > 0 && age < YOUNG).then(|| Instant::now() + YOUNG - age);
            self.is_open(shard).then(|| Open {
                token: token.clone(),
                epoch: self.epoch(shard),
                young_until,
            })
        });
        open.collect()
    }
}
