//! What the processes of a cluster write down of themselves while somebody looks: in Redis, for
//! some seconds, so that each of them can show all.

use std::time::Duration;

use redis::Value;

use crate::error::Result;
use crate::gossip::now_ms;
use crate::redis::{Redis, text};

/// The processes, by the time they wrote last.
const INDEX: &str = "board";
/// There while somebody looks.
const ASKED: &str = "board:asked";
/// How long a note counts.
const LIFE: Duration = Duration::from_secs(5);
/// How long notes are written after somebody has looked last.
const INTEREST: Duration = Duration::from_secs(15);

/// A process's end of it.
#[derive(Debug)]
pub struct Board {
    redis: Redis,
    process: String,
}

/// What somebody who looks finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// What the others have written.
    pub notes: Vec<String>,
    /// Whether nobody had looked for a while, so that they are only now about to write.
    pub is_first: bool,
}

impl Board {
    /// That of the process with this name, which no other has.
    #[must_use]
    pub const fn new(redis: Redis, process: String) -> Self {
        Self { redis, process }
    }

    /// Whether somebody looks. Costs Redis a read of one key.
    ///
    /// # Errors
    /// [`crate::Error::Unavailable`].
    pub async fn is_asked(&self) -> Result<bool> {
        let connection = self.redis.connection().await?;
        let mut exists = redis::cmd("EXISTS");
        exists.arg(ASKED);
        Ok(self.redis.one(&connection, exists).await? == Value::Int(1))
    }

    /// Writes what the others are to see of this process.
    ///
    /// # Errors
    /// [`crate::Error::Unavailable`].
    pub async fn post(&self, note: &str) -> Result<()> {
        let connection = self.redis.connection().await?;
        let mut write = redis::pipe();
        write.cmd("SET").arg(key_of(&self.process)).arg(note);
        write.arg("PX").arg(millis(LIFE));
        // The server's own time is not asked: the score only tells which entries are very old.
        let now = now_ms();
        write.cmd("ZADD").arg(INDEX).arg(now).arg(&self.process);
        let long_ago = now.saturating_sub(100 * millis(LIFE));
        write
            .cmd("ZREMRANGEBYSCORE")
            .arg(INDEX)
            .arg(0)
            .arg(long_ago);
        self.redis.round(&connection, &write).await.map(|_| ())
    }

    /// Reads what the others have written, and keeps them writing.
    ///
    /// # Errors
    /// [`crate::Error::Unavailable`].
    pub async fn look(&self) -> Result<Look> {
        let connection = self.redis.connection().await?;
        let mut ask = redis::pipe();
        ask.cmd("SET").arg(ASKED).arg(1);
        ask.arg("PX").arg(millis(INTEREST)).arg("GET");
        ask.cmd("ZRANGE").arg(INDEX).arg(0).arg(-1);
        let mut answers = self.redis.round(&connection, &ask).await?.into_iter();
        let mut next = || {
            let answer = answers.next().unwrap_or_default();
            self.redis.checked(&connection, answer)
        };
        let is_first = next()? == Value::Nil;
        let Value::Array(known) = next()? else {
            return Ok(Look {
                notes: Vec::new(),
                is_first,
            });
        };
        let others = known.iter().filter_map(text);
        let others = others.filter(|it| *it != self.process);
        let mut read = redis::pipe();
        for process in others {
            read.cmd("GET").arg(key_of(&process));
        }
        let answers = self.redis.round(&connection, &read).await?;
        Ok(Look {
            notes: answers.iter().filter_map(text).collect(),
            is_first,
        })
    }
}

fn key_of(process: &str) -> String {
    format!("board:{process}")
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
