//! What the processes of a cluster write down of themselves while somebody looks: in Redis, for
//! some seconds, so that each of them can show all.

use std::time::Duration;

use redis::Value;

use crate::error::Result;
use crate::redis::{Redis, text};
use crate::roll::{Roll, millis};

/// The processes that write.
const ROLL: Roll = Roll("board");
/// There while somebody looks.
const ASKED: &str = "board:asked";
/// How long notes are written after somebody has looked last.
const INTEREST: Duration = Duration::from_secs(15);
/// There while somebody wants to see all that is known.
const ASKED_ALL: &str = "board:asked-all";
/// For how long: every process that writes once a second does so meanwhile.
const CURIOSITY: Duration = Duration::from_secs(3);

/// A process's end of it.
#[derive(Debug)]
pub struct Board {
    redis: Redis,
    process: String,
}

/// What those who look want to see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// Nobody looks.
    Nothing,
    /// What is new.
    News,
    /// All that is known.
    All,
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

    /// What is asked for. Costs Redis a read of two keys.
    ///
    /// # Errors
    /// [`crate::Error::Unavailable`].
    pub async fn asked(&self) -> Result<Asked> {
        let connection = self.redis.connection().await?;
        let mut exists = redis::pipe();
        exists.cmd("EXISTS").arg(ASKED);
        exists.cmd("EXISTS").arg(ASKED_ALL);
        let there = self.redis.round(&connection, &exists).await?;
        Ok(match there[..] {
            [_, Value::Int(1)] => Asked::All,
            [Value::Int(1), _] => Asked::News,
            _ => Asked::Nothing,
        })
    }

    /// Writes what the others are to see of this process.
    ///
    /// # Errors
    /// [`crate::Error::Unavailable`].
    pub async fn post(&self, note: &str) -> Result<()> {
        let connection = self.redis.connection().await?;
        let mut write = redis::pipe();
        write.cmd("SET").arg(ROLL.key(&self.process)).arg(note);
        write.arg("PX").arg(ROLL.life_ms());
        ROLL.enter(&mut write, &self.process);
        self.redis.round(&connection, &write).await.map(|_| ())
    }

    /// Asks the others to write all that they know for a moment.
    ///
    /// # Errors
    /// [`crate::Error::Unavailable`].
    pub async fn ask_for_all(&self) -> Result<()> {
        let connection = self.redis.connection().await?;
        let mut ask = redis::cmd("SET");
        ask.arg(ASKED_ALL).arg(1).arg("PX").arg(millis(CURIOSITY));
        self.redis.one(&connection, ask).await.map(|_| ())
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
        ROLL.ask(&mut ask);
        let mut answers = self.redis.round(&connection, &ask).await?.into_iter();
        let mut next = || {
            let answer = answers.next().unwrap_or_default();
            self.redis.checked(&connection, answer)
        };
        let is_first = next()? == Value::Nil;
        let mut read = redis::pipe();
        for other in ROLL.others(&next()?, &self.process) {
            read.cmd("GET").arg(other);
        }
        let answers = self.redis.round(&connection, &read).await?;
        Ok(Look {
            notes: answers.iter().filter_map(text).collect(),
            is_first,
        })
    }
}
