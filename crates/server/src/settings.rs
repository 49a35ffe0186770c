//! What an operator may set. Plain values with their defaults: reading files, the environment and
//! flags is the binary's work, as is explaining what is wrong there.

mod address;
mod collector;
mod database;
mod origin;
mod role;
mod secret;
mod service;

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use banter_protocol::limit;

pub use address::Network;
pub use collector::CollectorUrl;
pub use database::{Database, DatabaseUrl, Durability, Hear, Log, LogUrl};
pub use origin::Origin;
pub use role::Role;
pub use secret::Secret;
pub use service::ServiceUrl;

/// Everything that can be set, in the sections of the configuration file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Settings {
    /// Where the process listens and what it may touch.
    pub server: Server,
    /// Accounts and their tokens.
    pub auth: Auth,
    /// Where entries and accounts are kept.
    pub database: Database,
    /// Where entries are queued on their way there.
    pub log: Log,
    /// Limits that depend on the community, not on the protocol.
    pub limits: Limits,
    /// What the process tells about itself.
    pub telemetry: Telemetry,
}

/// Section `[server]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Address of the public interface.
    pub listen: SocketAddr,
    /// Address of metrics, status and drain: for operators only.
    pub admin_listen: SocketAddr,
    /// Directory of the database, the keys' secret and the lock.
    pub data_dir: PathBuf,
    /// The origin under which people reach this server; absent: made from the listening address.
    pub public_url: Option<Origin>,
    /// Origins of other sites whose pages may connect.
    pub allowed_origins: Vec<Origin>,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<Network>,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: (Ipv4Addr::LOCALHOST, 8080).into(),
            admin_listen: (Ipv4Addr::LOCALHOST, 8090).into(),
            data_dir: PathBuf::from("./banter-data"),
            public_url: None,
            allowed_origins: Vec::new(),
            trusted_proxies: Network::loopback(),
        }
    }
}

impl Server {
    /// The origin of this server, given the address that the public listener got: the setting, or
    /// that address, loopback standing in for "every address".
    #[must_use]
    pub fn public_origin(&self, bound: SocketAddr) -> Origin {
        self.public_url
            .clone()
            .unwrap_or_else(|| Origin::of_listener(bound))
    }

    /// Whether `address` belongs to a trusted proxy.
    #[must_use]
    pub fn trusts(&self, address: std::net::IpAddr) -> bool {
        self.trusted_proxies.iter().any(|n| n.contains(address))
    }
}

/// Section `[auth]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Auth {
    /// Who may make an account over the network.
    pub registration: Registration,
    /// How long an access token is good: what an ended session may at most do elsewhere, were
    /// revocation to fail.
    pub access_token_ttl: Duration,
    /// How long a session lives without being refreshed.
    pub session_idle_ttl: Duration,
    /// How long a session lives at most.
    pub session_ttl: Duration,
    /// What the signing keys are encrypted with in the database; absent: made at the first start
    /// and kept in the data directory, readable by its owner alone.
    pub secret: Option<Secret>,
}

impl Default for Auth {
    fn default() -> Self {
        Self {
            registration: Registration::Open,
            access_token_ttl: Duration::from_secs(10 * 60),
            session_idle_ttl: Duration::from_secs(14 * 24 * 3600),
            session_ttl: Duration::from_secs(90 * 24 * 3600),
            secret: None,
        }
    }
}

/// Who may make an account over the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Registration {
    /// Everybody who reaches the server.
    Open,
    /// Nobody: accounts are made with `banter user add`.
    Closed,
}

impl FromStr for Registration {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "open" => Ok(Self::Open),
            "closed" => Ok(Self::Closed),
            _ => Err("must be open or closed".to_owned()),
        }
    }
}

impl fmt::Display for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "open",
            Self::Closed => "closed",
        })
    }
}

/// Section `[limits]`; everything about an address does not apply to loopback peers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Entries that a channel takes in a second; the burst is twice that.
    pub channel_entries_per_second: u32,
    /// Frames that a socket may send in a second; the burst is twice that.
    pub socket_frames_per_second: u32,
    /// Bytes that may wait for a socket beyond the kernel's buffers.
    pub outbound_bytes: usize,
    /// Logins and registrations of one address in a minute.
    pub address_logins_per_minute: u32,
    /// WebSocket upgrades of one address in a second.
    pub address_upgrades_per_second: u32,
    /// Sockets that one address may have open.
    pub address_sockets: u32,
    /// Messages that a webhook may post in a second; the burst is twice that.
    pub webhook_messages_per_second: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            channel_entries_per_second: limit::CHANNEL_ENTRIES_PER_SECOND,
            socket_frames_per_second: limit::SOCKET_FRAMES_PER_SECOND,
            outbound_bytes: limit::OUTBOUND_BYTES,
            address_logins_per_minute: limit::ADDRESS_LOGINS_PER_MINUTE,
            address_upgrades_per_second: limit::ADDRESS_UPGRADES_PER_SECOND,
            address_sockets: limit::ADDRESS_SOCKETS,
            webhook_messages_per_second: limit::WEBHOOK_MESSAGES_PER_SECOND,
        }
    }
}

/// Section `[telemetry]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Telemetry {
    /// What is logged: a level, or directives such as `info,banter_server=debug`.
    pub log_level: String,
    /// How it is written.
    pub log_format: LogFormat,
    /// Who is told of traces; absent: nobody, and none are made.
    pub otlp_endpoint: Option<CollectorUrl>,
    /// One entry in so many has a trace.
    pub trace_one_in: u32,
}

impl Default for Telemetry {
    fn default() -> Self {
        Self {
            log_level: "info".to_owned(),
            log_format: LogFormat::Auto,
            otlp_endpoint: None,
            trace_one_in: 100,
        }
    }
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people in a terminal, JSON everywhere else.
    Auto,
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}

impl FromStr for LogFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "human" => Ok(Self::Human),
            "json" => Ok(Self::Json),
            _ => Err("must be auto, human or json".to_owned()),
        }
    }
}

impl fmt::Display for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Human => "human",
            Self::Json => "json",
        })
    }
}

impl Settings {
    /// The embedded database's file, where it is used.
    #[must_use]
    pub fn sqlite_path(&self) -> Option<PathBuf> {
        match &self.database.url {
            DatabaseUrl::Sqlite(file) => Some(self.in_data_dir(file)),
            DatabaseUrl::Postgres(_) => None,
        }
    }

    /// A file of the data directory.
    #[must_use]
    pub fn in_data_dir(&self, file: impl AsRef<Path>) -> PathBuf {
        self.server.data_dir.join(file)
    }

    /// What is legal for this role but seldom meant, as sentences for the operator.
    #[must_use]
    pub fn warnings(&self, role: Role) -> Vec<String> {
        let mut warnings = Vec::new();
        let server = &self.server;
        let open = role.logs_in() && self.auth.registration == Registration::Open;
        if open && !server.listen.ip().is_loopback() {
            warnings.push(format!(
                "anybody who reaches {} can make an account; \
                 to prevent it set auth.registration = \"closed\" and use banter user add",
                server.listen
            ));
        }
        if !server.admin_listen.ip().is_loopback() {
            warnings.push(format!(
                "whoever reaches {} can read metrics and drain this server; \
                 server.admin_listen is best kept on loopback",
                server.admin_listen
            ));
        }
        if server.trusted_proxies.iter().any(Network::is_everything) {
            warnings.push(
                "server.trusted_proxies trusts every address: anybody can claim any address"
                    .to_owned(),
            );
        }
        warnings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_database_is_a_file_in_the_data_directory_unless_absolute() {
        let mut settings = Settings::default();
        let path = |settings: &Settings| settings.sqlite_path().unwrap();
        assert_eq!(path(&settings), Path::new("./banter-data/banter.db"));
        settings.database.url = "sqlite:///var/chat.db".parse().unwrap();
        assert_eq!(path(&settings), Path::new("/var/chat.db"));
        settings.database.url = "sqlite:".parse().unwrap();
        assert_eq!(settings.database.url, DatabaseUrl::default());
        assert!("sqlite::memory:".parse::<DatabaseUrl>().is_err());
        settings.database.url = "postgres://db/banter".parse().unwrap();
        assert_eq!(settings.sqlite_path(), None);
    }

    #[test]
    fn defaults_are_silent_and_open_doors_are_told() {
        let mut settings = Settings::default();
        assert_eq!(settings.warnings(Role::All), Vec::<String>::new());
        settings.server.listen = "0.0.0.0:80".parse().unwrap();
        settings.server.admin_listen = "[::]:81".parse().unwrap();
        settings.server.trusted_proxies = vec!["0.0.0.0/0".parse().unwrap()];
        assert_eq!(settings.warnings(Role::Auth).len(), 3);
        assert_eq!(settings.warnings(Role::Gateway).len(), 2);
    }
}
