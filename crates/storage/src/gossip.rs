//! What the gateways of a cluster tell each other about themselves, every second or so.
//!
//! Each keeps a hash with a short life in Redis, and an index that all share. Nothing depends on it
//! but how evenly the sockets are spread.

use std::collections::HashMap;

use redis::Value;

use crate::error::Result;
use crate::redis::{Redis, text};
use crate::roll::Roll;

/// The processes that tell.
const ROLL: Roll = Roll("gossip");

/// How a gateway stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Standing {
    /// Open sockets.
    pub sockets: usize,
    /// Sockets that were opened since it is there: the load balancer sends it some.
    pub opened: u64,
    /// Whether it takes more.
    pub ready: bool,
    /// Thousandths of a core that it uses.
    pub millicores: u64,
}

/// A gateway's end of it.
#[derive(Debug, Clone)]
pub struct Gossip {
    redis: Redis,
    process: String,
}

impl Gossip {
    /// That of the process with this name, which no other has.
    #[must_use]
    pub const fn new(redis: Redis, process: String) -> Self {
        Self { redis, process }
    }

    /// Tells how this process stands, and hears how the others do.
    ///
    /// # Errors
    /// [`crate::Error::Unavailable`].
    pub async fn exchange(&self, own: Standing) -> Result<Vec<Standing>> {
        let connection = self.redis.connection().await?;
        let key = ROLL.key(&self.process);
        let mut tell = redis::pipe();
        tell.cmd("HSET").arg(&key).arg("sockets").arg(own.sockets);
        tell.arg("opened").arg(own.opened);
        tell.arg("ready").arg(u8::from(own.ready));
        tell.arg("millicores").arg(own.millicores);
        tell.cmd("PEXPIRE").arg(&key).arg(ROLL.life_ms());
        ROLL.enter(&mut tell, &self.process);
        ROLL.ask(&mut tell);
        let mut answers = self.redis.round(&connection, &tell).await?;
        let known = answers.pop().unwrap_or_default();
        let known = self.redis.checked(&connection, known)?;
        let mut hear = redis::pipe();
        for other in ROLL.others(&known, &self.process) {
            hear.cmd("HGETALL").arg(other);
        }
        let answers = self.redis.round(&connection, &hear).await?;
        Ok(answers.iter().filter_map(standing).collect())
    }
}

/// `None`: the process is gone.
fn standing(answer: &Value) -> Option<Standing> {
    let Value::Map(fields) = answer else {
        return None;
    };
    let fields: HashMap<String, u64> = fields
        .iter()
        .filter_map(|(name, value)| Some((text(name)?, text(value)?.parse().ok()?)))
        .collect();
    Some(Standing {
        sockets: usize::try_from(*fields.get("sockets")?).ok()?,
        opened: *fields.get("opened")?,
        ready: *fields.get("ready")? == 1,
        millicores: *fields.get("millicores")?,
    })
}
