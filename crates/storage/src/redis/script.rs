//! Lua scripts that run in Redis, each as one step that nobody sees half done.

use std::sync::OnceLock;

use redis::{Cmd, Pipeline, ToRedisArgs, Value};

use super::{Connection, Redis};
use crate::error::Result;

/// A script, known to a server by the hash of its text.
#[derive(Debug)]
pub(crate) struct Script {
    source: &'static str,
    hash: OnceLock<String>,
}

impl Script {
    /// The script with this text.
    pub(crate) const fn new(source: &'static str) -> Self {
        Self {
            source,
            hash: OnceLock::new(),
        }
    }

    /// A call of it on the data that `key` belongs to.
    pub(crate) fn call(&'static self, key: &str) -> Call {
        let hash = self
            .hash
            .get_or_init(|| redis::Script::new(self.source).get_hash().to_owned());
        let mut command = redis::cmd("EVALSHA");
        command.arg(hash).arg(1).arg(key);
        Call {
            script: self,
            command,
        }
    }
}

/// A call of a script. Making it twice may do it twice.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    script: &'static Script,
    command: Cmd,
}

impl Call {
    /// Adds an argument.
    pub(crate) fn arg(&mut self, argument: impl ToRedisArgs) -> &mut Self {
        self.command.arg(argument);
        self
    }
}

impl Redis {
    /// Makes calls in one round; the answers stand in their order. The error of any of them is the
    /// error of all, though the others may be done.
    pub(crate) async fn run(&self, connection: &Connection, calls: &[Call]) -> Result<Vec<Value>> {
        let mut answers = self.round(connection, &pipeline(calls.iter())).await?;
        let unknown = |answer: &Value| matches!(answer, Value::ServerError(error) if error.code() == "NOSCRIPT");
        let missed: Vec<_> = (0..answers.len())
            .filter(|n| unknown(&answers[*n]))
            .collect();
        if !missed.is_empty() {
            // The server has forgotten them. It has done nothing of these calls.
            let mut again = Pipeline::new();
            for n in &missed {
                again.cmd("SCRIPT").arg("LOAD").arg(calls[*n].script.source);
                again.add_command(calls[*n].command.clone());
            }
            let late = self.round(connection, &again).await?;
            for (n, answer) in missed.into_iter().zip(late.into_iter().skip(1).step_by(2)) {
                answers[n] = answer;
            }
        }
        let checked = answers.into_iter().map(|it| self.checked(connection, it));
        checked.collect()
    }
}

fn pipeline<'a>(calls: impl Iterator<Item = &'a Call>) -> Pipeline {
    let mut commands = Pipeline::new();
    for call in calls {
        commands.add_command(call.command.clone());
    }
    commands
}

/// What every new connection teaches its server.
pub(super) fn sources() -> impl Iterator<Item = &'static str> {
    let scripts = crate::log::SCRIPTS.iter();
    let all = scripts.chain(&crate::revocations::redis::SCRIPTS);
    all.map(|script| script.source)
}
