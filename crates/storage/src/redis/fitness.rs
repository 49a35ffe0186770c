//! Whether a Redis server keeps what it is given: its version, its persistence, its eviction.

use redis::Value;

use crate::error::{Error, Result};

/// The oldest Redis with flags for scripts (`allow-oom`).
const REDIS_MIN: (u32, &str) = (7, "7.0");
/// The oldest Valkey that will do.
const VALKEY_MIN: (u32, &str) = (8, "8.0");

/// What an acknowledged entry has been through in Redis (`log.durability`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Durability {
    /// Only memory: whatever is not stored yet is lost when Redis ends.
    None,
    /// Written, and fsynced within a second: a power failure loses the last second.
    Everysec,
    /// Fsynced.
    #[default]
    Always,
}

impl Durability {
    /// As the configuration, and Redis, write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Everysec => "everysec",
            Self::Always => "always",
        }
    }
}

impl std::str::FromStr for Durability {
    type Err = ();

    fn from_str(text: &str) -> std::result::Result<Self, ()> {
        let all = [Self::None, Self::Everysec, Self::Always];
        all.into_iter().find(|it| it.as_str() == text).ok_or(())
    }
}

/// Why a Redis server must not be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unfit {
    /// The setting is no address.
    #[error("the address of Redis must be a redis:// or rediss:// URL")]
    Address,
    /// It lacks what the log needs.
    #[error("{name} {found} is too old")]
    TooOld {
        /// Redis or Valkey.
        name: &'static str,
        /// Its version.
        found: String,
        /// The oldest that will do.
        needed: &'static str,
    },
    /// It throws away entries when memory is full.
    #[error("Redis would evict what is not stored yet; set `maxmemory-policy noeviction` there")]
    Evicts,
    /// It does not keep entries as safely as was asked for.
    #[error(
        "Redis persists {found}, not {wanted}; set `appendonly yes` and `appendfsync {wanted}` \
         there, or accept what can be lost with log.durability = \"{found}\""
    )]
    Forgets {
        /// What it does.
        found: &'static str,
        /// What was asked for.
        wanted: &'static str,
    },
    /// It does not let us see.
    #[error(
        "Redis does not tell its appendfsync (CONFIG GET is refused); let it, or accept what can \
         be lost with log.durability = \"everysec\""
    )]
    Hides,
}

impl From<Unfit> for Error {
    fn from(unfit: Unfit) -> Self {
        match unfit {
            Unfit::TooOld {
                name,
                found,
                needed,
            } => Self::TooOld {
                server: name,
                found,
                needed,
            },
            other => Self::Settings(other.to_string()),
        }
    }
}

/// What a server tells of itself.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) run_id: String,
    valkey: bool,
    version: String,
    evicts: bool,
    persists: Option<Durability>,
}

impl Server {
    /// Reads the answers to `INFO` and to `CONFIG GET appendfsync`.
    pub(super) fn read(answers: &[Value]) -> Result<Self> {
        let info = answers.first().and_then(text).ok_or_else(silent)?;
        let field = |name: &str| field(&info, name);
        let valkey = field("valkey_version");
        let appends = field("aof_enabled") == Some("1");
        let persists = match answers.get(1).map(appendfsync) {
            _ if !appends => Some(Durability::None),
            Some(Some(setting)) if setting == "always" => Some(Durability::Always),
            Some(Some(setting)) if setting == "everysec" => Some(Durability::Everysec),
            Some(Some(_)) => Some(Durability::None),
            _ => None,
        };
        Ok(Self {
            run_id: field("run_id").ok_or_else(silent)?.into(),
            valkey: valkey.is_some(),
            version: valkey.or(field("redis_version")).ok_or_else(silent)?.into(),
            evicts: field("maxmemory_policy").is_some_and(|policy| policy != "noeviction"),
            persists,
        })
    }

    pub(super) fn check(&self, wanted: Durability) -> std::result::Result<(), Unfit> {
        let (name, oldest) = match self.valkey {
            true => ("Valkey", VALKEY_MIN),
            false => ("Redis", REDIS_MIN),
        };
        let major = self.version.split('.').next().and_then(|n| n.parse().ok());
        if major < Some(oldest.0) {
            return Err(Unfit::TooOld {
                name,
                found: self.version.clone(),
                needed: oldest.1,
            });
        }
        if self.evicts {
            return Err(Unfit::Evicts);
        }
        match self.persists {
            None if wanted == Durability::Always => Err(Unfit::Hides),
            Some(found) if found < wanted => Err(Unfit::Forgets {
                found: found.as_str(),
                wanted: wanted.as_str(),
            }),
            _ => Ok(()),
        }
    }
}

/// The value of a line `name:value` of `INFO`.
pub(crate) fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines()
        .filter_map(|line| line.split_once(':'))
        .find_map(|(found, value)| (found == name).then(|| value.trim()))
}

/// A text of the server.
pub(crate) fn text(value: &Value) -> Option<String> {
    match value {
        Value::BulkString(bytes) => String::from_utf8(bytes.clone()).ok(),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => Some(text.clone()),
        _ => None,
    }
}

fn appendfsync(answer: &Value) -> Option<String> {
    match answer {
        Value::Map(pairs) => pairs.first().and_then(|(_, value)| text(value)),
        Value::Array(pair) => pair.get(1).and_then(text),
        _ => None,
    }
}

fn silent() -> Error {
    Error::Unavailable("Redis does not tell who it is".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(info: &str, appendfsync: Option<&str>) -> Server {
        let info = format!("run_id:abc\r\nmaxmemory_policy:noeviction\r\n{info}");
        let bulk = |text: &str| Value::BulkString(text.into());
        let setting = appendfsync.map_or(Value::Nil, |setting| {
            Value::Map(vec![(bulk("appendfsync"), bulk(setting))])
        });
        Server::read(&[bulk(&info), setting]).unwrap()
    }

    #[test]
    fn a_server_that_forgets_is_named() {
        let seven = "redis_version:7.0.15\r\naof_enabled:1\r\n";
        let check = |info: &str, setting, wanted| server(info, setting).check(wanted);
        let forgets = |found, wanted| Err(Unfit::Forgets { found, wanted });
        let (always, everysec) = (Some("always"), Some("everysec"));
        assert_eq!(check(seven, always, Durability::Always), Ok(()));
        assert_eq!(
            check(seven, everysec, Durability::Always),
            forgets("everysec", "always")
        );
        assert_eq!(check(seven, everysec, Durability::Everysec), Ok(()));
        assert_eq!(
            check(
                "redis_version:7.2.1\r\naof_enabled:0\r\n",
                always,
                Durability::Everysec
            ),
            forgets("none", "everysec")
        );
        assert_eq!(check(seven, None, Durability::Always), Err(Unfit::Hides));
        assert_eq!(check(seven, None, Durability::Everysec), Ok(()));
        assert_eq!(
            check(
                &format!("{seven}maxmemory_policy:allkeys-lru"),
                always,
                Durability::None
            ),
            Ok(()),
            "the first line counts"
        );
    }

    #[test]
    fn a_server_that_evicts_or_is_too_old_is_named() {
        let evicts = "run_id:a\r\nredis_version:7.0.0\r\nmaxmemory_policy:allkeys-lru\r\n";
        let read =
            |info: &str| Server::read(&[Value::BulkString(info.into()), Value::Nil]).unwrap();
        assert_eq!(read(evicts).check(Durability::None), Err(Unfit::Evicts));
        let old = |info: &str| server(info, None).check(Durability::None);
        assert!(matches!(
            old("redis_version:6.2.9"),
            Err(Unfit::TooOld { name: "Redis", .. })
        ));
        let valkey = "redis_version:7.2.4\r\nvalkey_version:7.2.5\r\n";
        assert!(matches!(
            old(valkey),
            Err(Unfit::TooOld { name: "Valkey", .. })
        ));
        assert_eq!(
            old("redis_version:7.2.4\r\nvalkey_version:9.1.2\r\n"),
            Ok(())
        );
    }
}
