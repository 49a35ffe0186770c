//! Revocations as gateways follow them: a copy of the database's rows in a stream of Redis, whose
//! ids are the rows' numbers. However many copy, and however often, each row stands there once and
//! in its place; what Redis has lost is copied again.

use std::collections::HashMap;

use banter_protocol::id::{SessionId, UserId};
use banter_protocol::time::Timestamp;
use redis::streams::StreamRangeReply;
use redis::{FromRedisValue as _, Value};
use uuid::Uuid;

use super::{Change, Revocation};
use crate::error::{Error, Result};
use crate::redis::{Redis, Script};

const KEY: &str = "revocations";

static APPEND: Script = Script::new(include_str!("redis/append.lua"));
static FORGET: Script = Script::new(include_str!("redis/forget.lua"));

/// All of them.
pub(crate) static SCRIPTS: [&Script; 2] = [&APPEND, &FORGET];

/// The stream. Cloning shares it.
#[derive(Debug, Clone)]
pub struct Stream {
    redis: Redis,
}

impl Stream {
    /// That of this server.
    #[must_use]
    pub const fn new(redis: Redis) -> Self {
        Self { redis }
    }

    /// Number of the newest one; 0 where there is none.
    ///
    /// # Errors
    /// When Redis cannot be used.
    pub async fn newest(&self) -> Result<i64> {
        let mut command = redis::cmd("XREVRANGE");
        command.arg(KEY).arg("+").arg("-").arg("COUNT").arg(1);
        Ok(self.read(command).await?.first().map_or(0, |row| row.id))
    }

    /// Up to `limit` of those after number `after`, in order.
    ///
    /// # Errors
    /// When Redis cannot be used, or holds what is none.
    pub async fn after(&self, after: i64, limit: u32) -> Result<Vec<Revocation>> {
        let mut command = redis::cmd("XRANGE");
        command.arg(KEY).arg(format!("({after}-0")).arg("+");
        command.arg("COUNT").arg(limit);
        self.read(command).await
    }

    /// Adds `rows`, ascending, if the newest one has number `after` still. Returns the number of
    /// the newest one then: that of the last row, unless somebody came first, or Redis lost some.
    ///
    /// # Errors
    /// When Redis cannot be used.
    pub async fn append(&self, after: i64, rows: &[Revocation]) -> Result<i64> {
        let mut call = APPEND.call(KEY);
        call.arg(after);
        for row in rows {
            let (kind, subject) = encode(&row.change);
            call.arg(row.id).arg(row.at.as_ms()).arg(kind).arg(subject);
        }
        let connection = self.redis.connection().await?;
        match self.redis.run(&connection, &[call]).await?.first() {
            Some(Value::Int(newest)) => Ok(*newest),
            other => Err(Error::Corrupt(format!("revocations answered {other:?}"))),
        }
    }

    /// Forgets those from before `since`: no access token lives so long.
    ///
    /// # Errors
    /// When Redis cannot be used.
    pub async fn forget(&self, since: Timestamp) -> Result<()> {
        let mut call = FORGET.call(KEY);
        call.arg(since.as_ms());
        let connection = self.redis.connection().await?;
        self.redis.run(&connection, &[call]).await?;
        Ok(())
    }

    async fn read(&self, command: redis::Cmd) -> Result<Vec<Revocation>> {
        let connection = self.redis.connection().await?;
        let answer = self.redis.one(&connection, command).await?;
        let found = StreamRangeReply::from_redis_value(answer)
            .map_err(|error| Error::Corrupt(error.to_string()))?;
        found
            .ids
            .iter()
            .map(|entry| decode(&entry.id, &entry.map).ok_or_else(|| ill(&entry.id)))
            .collect()
    }
}

fn ill(id: &str) -> Error {
    Error::Corrupt(format!("the revocation {id} in Redis"))
}

fn encode(change: &Change) -> (&'static str, String) {
    let text = |bytes: &[u8; 16]| Uuid::from_bytes(*bytes).to_string();
    match change {
        Change::SessionEnded(session) => ("session_ended", text(session.as_bytes())),
        Change::Disabled(user) => ("disabled", text(user.as_bytes())),
        Change::Enabled(user) => ("enabled", text(user.as_bytes())),
        Change::KeysRotated => ("keys_rotated", String::new()),
        Change::KeysReplaced => ("keys_replaced", String::new()),
    }
}

fn decode(id: &str, fields: &HashMap<String, Value>) -> Option<Revocation> {
    let text = |name| match fields.get(name)? {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok(),
        _ => None,
    };
    let subject = || Some(*text("subject")?.parse::<Uuid>().ok()?.as_bytes());
    let change = match text("kind")? {
        "session_ended" => Change::SessionEnded(SessionId::from_bytes(subject()?)),
        "disabled" => Change::Disabled(UserId::from_bytes(subject()?)),
        "enabled" => Change::Enabled(UserId::from_bytes(subject()?)),
        "keys_rotated" => Change::KeysRotated,
        "keys_replaced" => Change::KeysReplaced,
        _ => return None,
    };
    Some(Revocation {
        id: id.strip_suffix("-0")?.parse().ok()?,
        at: Timestamp::from_ms(text("at")?.parse().ok()?),
        change,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let (user, session) = (UserId::from_bytes([7; 16]), SessionId::from_bytes([8; 16]));
        for change in [
            Change::SessionEnded(session),
            Change::Disabled(user),
            Change::Enabled(user),
            Change::KeysRotated,
            Change::KeysReplaced,
        ] {
            let (kind, subject) = encode(&change);
            let bulk = |text: &str| Value::BulkString(text.into());
            let mut fields = HashMap::from([
                ("at".to_owned(), bulk("5")),
                ("kind".to_owned(), bulk(kind)),
                ("subject".to_owned(), bulk(&subject)),
            ]);
            let read = decode("9-0", &fields).unwrap();
            assert_eq!((read.id, read.at.as_ms(), read.change), (9, 5, change));
            assert_eq!(decode("9-1", &fields), None);
            fields.insert("kind".to_owned(), bulk("other"));
            assert_eq!(decode("9-0", &fields), None);
        }
    }
}
