//! The public keys, as those read them who have no database and no secret.

use redis::Value;

use crate::error::{Error, Result};
use crate::redis::Redis;

const KEY: &str = "jwks";

/// The published keys in Redis: one text, whose form is its writer's. Cloning shares it.
#[derive(Debug, Clone)]
pub struct Published {
    redis: Redis,
}

impl Published {
    /// Those of this server.
    #[must_use]
    pub const fn new(redis: Redis) -> Self {
        Self { redis }
    }

    /// What was written last; `None` where nothing was, or Redis has lost it.
    ///
    /// # Errors
    /// When Redis cannot be used.
    pub async fn read(&self) -> Result<Option<String>> {
        let mut command = redis::cmd("GET");
        command.arg(KEY);
        let connection = self.redis.connection().await?;
        match self.redis.one(&connection, command).await? {
            Value::Nil => Ok(None),
            Value::BulkString(bytes) => String::from_utf8(bytes)
                .map(Some)
                .map_err(|error| Error::Corrupt(error.to_string())),
            other => Err(Error::Corrupt(format!("{KEY} is {other:?}"))),
        }
    }

    /// Writes it in place of what was there.
    ///
    /// # Errors
    /// When Redis cannot be used.
    pub async fn write(&self, text: &str) -> Result<()> {
        let mut command = redis::cmd("SET");
        command.arg(KEY).arg(text);
        let connection = self.redis.connection().await?;
        self.redis.one(&connection, command).await?;
        Ok(())
    }
}
