//! Which processes of a cluster are there: an index in Redis that all share, by the time each wrote
//! last, and beside it what each has written, with a short life.
//!
//! Clocks may differ: what is written tells who is there, the index only where to look.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use redis::{Pipeline, Value};

use crate::redis::text;

/// How long what a process has written counts.
const LIFE: Duration = Duration::from_secs(5);

/// One index: its key, and the beginning of its processes' keys.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Roll(pub(crate) &'static str);

impl Roll {
    /// Where `process` writes; it is to live for [`Roll::life_ms`].
    pub(crate) fn key(self, process: &str) -> String {
        format!("{}:{process}", self.0)
    }

    /// How long what is written lives, in milliseconds.
    pub(crate) fn life_ms(self) -> u64 {
        millis(LIFE)
    }

    /// Adds commands by which `process` is there, and whoever was not for long is forgotten.
    pub(crate) fn enter(self, commands: &mut Pipeline, process: &str) {
        let now = now_ms();
        let long_ago = now.saturating_sub(100 * self.life_ms());
        commands.cmd("ZADD").arg(self.0).arg(now).arg(process);
        commands.cmd("ZREMRANGEBYSCORE").arg(self.0);
        commands.arg(0).arg(long_ago);
    }

    /// Adds the command that asks who is there.
    pub(crate) fn ask(self, commands: &mut Pipeline) {
        commands.cmd("ZRANGE").arg(self.0).arg(0).arg(-1);
    }

    /// Where the others write that an answer names, all but `own`.
    pub(crate) fn others(self, answer: &Value, own: &str) -> Vec<String> {
        let Value::Array(known) = answer else {
            return Vec::new();
        };
        let others = known.iter().filter_map(text).filter(|it| it != own);
        others.map(|process| self.key(&process)).collect()
    }
}

/// Whole milliseconds, as Redis wants them.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn now_ms() -> u64 {
    millis(
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default(),
    )
}
