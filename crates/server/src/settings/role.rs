//! Which steps a process takes, and which settings that needs.

use std::fmt;
use std::str::FromStr;

use banter_protocol::entry::Level;

use super::{DatabaseUrl, Settings};

/// The part of the server that a process runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Role {
    /// Every step, over one file.
    #[default]
    All,
    /// Accounts, sessions and their tokens.
    Auth,
    /// Sockets, channels, messages and history.
    Gateway,
    /// From the queue into the database.
    Worker,
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auth" => Ok(Self::Auth),
            "gateway" => Ok(Self::Gateway),
            "worker" => Ok(Self::Worker),
            _ => Err("must be auth, gateway or worker; without it every part runs".to_owned()),
        }
    }
}

impl Role {
    /// What acknowledgements stand for where this part runs.
    #[must_use]
    pub const fn level(self) -> Level {
        match self {
            Self::All => Level::Stored,
            Self::Auth | Self::Gateway | Self::Worker => Level::Queued,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::All => "all",
            Self::Auth => "auth",
            Self::Gateway => "gateway",
            Self::Worker => "worker",
        })
    }
}

impl Role {
    /// Whether the process answers people, and not operators alone.
    #[must_use]
    pub const fn is_public(self) -> bool {
        !matches!(self, Self::Worker)
    }

    /// Whether the process lets people in.
    #[must_use]
    pub const fn logs_in(self) -> bool {
        matches!(self, Self::All | Self::Auth)
    }
}

impl Settings {
    /// Whether a process of this role can run with these settings.
    ///
    /// # Errors
    /// What is missing, as a sentence for the operator.
    pub fn suit(&self, role: Role) -> Result<(), String> {
        let clustered = matches!(self.database.url, DatabaseUrl::Postgres(_));
        if role == Role::All {
            if clustered {
                return Err(
                    "banter serve runs every part over SQLite; with PostgreSQL start the \
                            parts: banter serve auth, banter serve gateway, banter serve worker"
                        .to_owned(),
                );
            }
            return Ok(());
        }
        if !clustered {
            return Err(format!(
                "banter serve {role} is part of a cluster; \
                 set database.url (postgres://…) and log.url (redis://…)"
            ));
        }
        if role.is_public() && self.server.public_url.is_none() {
            return Err(format!(
                "banter serve {role} needs server.public_url, the address of the load balancer: \
                 tokens name it, so it must be the same for auth and gateways"
            ));
        }
        if role == Role::Auth && self.auth.secret.is_none() {
            return Err(
                "banter serve auth needs auth.secret (or auth.secret_file), \
                        the same for every auth process"
                    .to_owned(),
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_role_says_what_it_lacks() {
        let mut settings = Settings::default();
        let lacks = |settings: &Settings, role| settings.suit(role).err().unwrap_or_default();
        assert_eq!(lacks(&settings, Role::All), "");
        for role in [Role::Auth, Role::Gateway, Role::Worker] {
            assert!(lacks(&settings, role).contains("database.url"));
        }
        settings.database.url = "postgres://db/banter".parse().unwrap();
        assert!(lacks(&settings, Role::All).contains("banter serve gateway"));
        assert!(lacks(&settings, Role::Gateway).contains("server.public_url"));
        assert_eq!(lacks(&settings, Role::Worker), "");
        settings.server.public_url = Some("https://chat.example.org".parse().unwrap());
        assert_eq!(lacks(&settings, Role::Gateway), "");
        assert!(lacks(&settings, Role::Auth).contains("auth.secret"));
        let secret = "0123456789abcdef0123456789abcdef";
        settings.auth.secret = Some(secret.parse().unwrap());
        assert_eq!(lacks(&settings, Role::Auth), "");
    }
}
