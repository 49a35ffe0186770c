//! Origins: scheme, host and port, as browsers send them.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

/// Scheme, host and, where it is not the scheme's own, port. Compared as text, so it is held in
/// the one form that browsers send.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Origin(String);

impl Origin {
    /// The origin of a listener without TLS. "Every address" cannot be visited: loopback stands in.
    #[must_use]
    pub fn of_listener(bound: SocketAddr) -> Self {
        let mut address = bound;
        if bound.ip().is_unspecified() {
            address.set_ip(match bound {
                SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
                SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
            });
        }
        if address.port() == 80 {
            let text = address.to_string();
            return Self(format!(
                "http://{}",
                text.strip_suffix(":80").unwrap_or(&text)
            ));
        }
        Self(format!("http://{address}"))
    }

    /// The origin as text, without a slash at the end.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is reached through TLS: then cookies are `Secure`.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.0.starts_with("https://")
    }

    /// Host and port, as a `Host` header names them.
    #[must_use]
    pub fn authority(&self) -> &str {
        self.0.split_once("://").map_or("", |(_, rest)| rest)
    }
}

impl FromStr for Origin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (scheme, authority) = text.split_once("://").unwrap_or_default();
        let default_port = match scheme {
            "http" => ":80",
            "https" => ":443",
            _ => return Err("must begin with http:// or https://".to_owned()),
        };
        let allowed =
            |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-_:[]".contains(c);
        if authority.is_empty() || !authority.chars().all(allowed) {
            return Err(
                "must be scheme, host and port alone, in lower case, such as https://chat.example"
                    .to_owned(),
            );
        }
        if authority.ends_with(default_port) {
            return Err(format!(
                "must not name the port {default_port}: browsers leave it out"
            ));
        }
        let host_and_port = match authority.strip_prefix('[') {
            Some(rest) => rest.split_once(']').filter(|(host, port)| {
                host.parse::<Ipv6Addr>().is_ok() && (port.is_empty() || port.starts_with(':'))
            }),
            None => Some(authority.split_at(authority.find(':').unwrap_or(authority.len()))),
        };
        let Some((host, port)) = host_and_port else {
            return Err("has a host that is no IPv6 address".to_owned());
        };
        let port = port.strip_prefix(':');
        if host.is_empty() || port.is_some_and(|port| port.parse::<u16>().is_err()) {
            return Err("has no host, or a port that is no number up to 65535".to_owned());
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_what_a_browser_sends() {
        for text in [
            "http://localhost:8080",
            "https://chat.example.org",
            "https://[2001:db8::1]:8443",
        ] {
            assert_eq!(text.parse::<Origin>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "chat.example.org",
            "ftp://chat.example.org",
            "https://",
            "https://:8443",
            "https://chat.example.org/",
            "https://Chat.example.org",
            "https://chat.example.org:443",
            "http://a:99999",
            "http://[::g]",
            "https://user@chat.example.org",
        ] {
            assert!(text.parse::<Origin>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_listener_on_every_address_is_visited_on_loopback() {
        let of = |text: &str| Origin::of_listener(text.parse().unwrap()).to_string();
        assert_eq!(of("0.0.0.0:8080"), "http://127.0.0.1:8080");
        assert_eq!(of("[::]:8080"), "http://[::1]:8080");
        assert_eq!(of("192.0.2.1:80"), "http://192.0.2.1");
    }
}
