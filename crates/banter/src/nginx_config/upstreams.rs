//! Addresses of gateways and authentication services, as people write them.

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::str::FromStr;

use anyhow::{Context as _, Result, anyhow};

/// Host and port of one server: an address, or a name that NGINX looks up when it starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Upstream(String);

impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<SocketAddr> for Upstream {
    fn from(address: SocketAddr) -> Self {
        Self(address.to_string())
    }
}

impl FromStr for Upstream {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let rule = "must be host and port, such as 10.0.0.1:8080";
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Ok(address.into());
        }
        // What is let through is also what cannot be anything else in NGINX's language.
        let allowed = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '-';
        let (host, port) = text.rsplit_once(':').ok_or(rule)?;
        let named = !host.is_empty() && host.chars().all(allowed);
        let reachable = port.parse::<u16>().is_ok_and(|port| port > 0);
        if named && reachable {
            return Ok(Self(text.to_owned()));
        }
        Err(rule)
    }
}

/// Adds what a file names: a line each, `gateway ADDRESS` or `auth ADDRESS`; `#` begins a comment.
///
/// # Errors
/// When it cannot be read, and the first line that is neither.
pub(crate) fn read(
    file: &Path,
    gateways: &mut Vec<Upstream>,
    auths: &mut Vec<Upstream>,
) -> Result<()> {
    let shown = file.display();
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {shown}"))?;
    for (number, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default();
        let mut words = line.split_whitespace();
        let Some(role) = words.next() else { continue };
        let at = format!("{shown}, line {}", number + 1);
        let list = match role {
            "gateway" => &mut *gateways,
            "auth" => &mut *auths,
            _ => {
                return Err(anyhow!(
                    "{at}: must be gateway ADDRESS or auth ADDRESS, not {role}"
                ));
            }
        };
        let address = words.next().unwrap_or_default();
        let upstream = address
            .parse::<Upstream>()
            .map_err(|rule| anyhow!("{at}: {address:?} {rule}"))?;
        if let Some(rest) = words.next() {
            return Err(anyhow!("{at}: {rest:?} is too much"));
        }
        list.push(upstream);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upstream_is_host_and_port_and_nothing_else() {
        for sound in ["10.0.0.1:8080", "[::1]:80", "gateway-1.internal:8080"] {
            assert_eq!(sound.parse::<Upstream>().unwrap().to_string(), sound);
        }
        for ill in [
            "",
            "10.0.0.1",
            ":80",
            "a:0",
            "a:99999",
            "a:80;",
            "a b:80",
            "a:80 down",
            "http://a:80",
        ] {
            assert!(ill.parse::<Upstream>().is_err(), "{ill}");
        }
    }
}
