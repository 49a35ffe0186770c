//! Sections `[database]` and `[log]`: where accounts and entries are kept.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

pub use banter_storage::Durability;

use super::ServiceUrl;

/// Section `[database]`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Database {
    /// Which database.
    pub url: DatabaseUrl,
}

/// A database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DatabaseUrl {
    /// The file of an embedded database; a relative one lies in the data directory.
    Sqlite(PathBuf),
    /// `PostgreSQL`, which a cluster shares.
    Postgres(ServiceUrl),
}

impl Default for DatabaseUrl {
    fn default() -> Self {
        Self::Sqlite(PathBuf::from("banter.db"))
    }
}

impl FromStr for DatabaseUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.starts_with("postgres") {
            return ServiceUrl::parse(text, &["postgres", "postgresql"]).map(Self::Postgres);
        }
        let Some(file) = text.strip_prefix("sqlite:") else {
            return Err("must be sqlite:FILE or postgres://USER:PASSWORD@HOST/DATABASE".to_owned());
        };
        let file = file.strip_prefix("//").unwrap_or(file);
        if file.contains(['?', '\0']) || file == ":memory:" {
            return Err("must be sqlite:FILE, the name of a file and no options".to_owned());
        }
        if file.is_empty() {
            return Ok(Self::default());
        }
        Ok(Self::Sqlite(PathBuf::from(file)))
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(file) => write!(f, "sqlite:{}", file.display()),
            Self::Postgres(url) => url.fmt(f),
        }
    }
}

/// Section `[log]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// The queue of a cluster; absent: the embedded database is the log.
    pub url: Option<LogUrl>,
    /// What the queue must promise before anything is acknowledged as queued.
    pub durability: Durability,
    /// How long the queue may take for a round of commands.
    pub deadline: Duration,
    /// Rows that a worker writes in one transaction at most.
    pub batch_rows: u32,
    /// Which channels a gateway hears of.
    pub hear: Hear,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            url: None,
            durability: Durability::default(),
            deadline: banter_storage::REDIS_DEADLINE,
            batch_rows: 2_000,
            hear: Hear::Own,
        }
    }
}

/// Which channels a gateway hears of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hear {
    /// Those of the users that it serves.
    Own,
    /// All.
    All,
}

impl FromStr for Hear {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "own" => Ok(Self::Own),
            "all" => Ok(Self::All),
            _ => Err("must be own or all".to_owned()),
        }
    }
}

impl fmt::Display for Hear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Own => "own",
            Self::All => "all",
        })
    }
}

/// The queue of a cluster: Redis, or Valkey.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogUrl(pub ServiceUrl);

impl FromStr for LogUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        ServiceUrl::parse(text, &["redis", "rediss"]).map(Self)
    }
}

impl fmt::Display for LogUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
