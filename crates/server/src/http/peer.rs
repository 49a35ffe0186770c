//! Who is at the other end of a request.

use std::net::{IpAddr, SocketAddr};

use axum::extract::{FromRef, FromRequestParts};
use axum::http::HeaderMap;
use axum::http::request::Parts;
use banter_protocol::error::Code;

use crate::app::Process;
use crate::problem::Problem;
use crate::settings;

/// The address of the TCP connection that a request came over.
#[derive(Debug, Clone, Copy)]
pub struct Socket(pub SocketAddr);

/// Whose rules apply to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// The client's address, as far as trusted proxies tell it.
    pub address: IpAddr,
    /// Whether rules per address do not apply: the client is on this machine.
    pub exempt: bool,
}

impl Peer {
    fn of(socket: IpAddr, headers: &HeaderMap, server: &settings::Server) -> Self {
        let address = forwarded(socket, headers, server)
            .unwrap_or(socket)
            .to_canonical();
        Self {
            address,
            exempt: address.is_loopback(),
        }
    }

    /// The address whose limits count; `None`: none does.
    pub fn counted(self) -> Option<IpAddr> {
        (!self.exempt).then_some(self.address)
    }
}

/// The last untrusted address that trusted proxies vouch for; where all are trusted, the first.
fn forwarded(socket: IpAddr, headers: &HeaderMap, server: &settings::Server) -> Option<IpAddr> {
    if !server.trusts(socket.to_canonical()) {
        return None;
    }
    let mut first = None;
    for value in headers.get_all("x-forwarded-for").iter().rev() {
        for hop in value.to_str().ok()?.rsplit(',') {
            // What a proxy cannot have written ends what can be believed.
            let Some(address) = parse(hop.trim()) else {
                return first;
            };
            first = Some(address);
            if !server.trusts(address) {
                return first;
            }
        }
    }
    first
}

/// An address with or without a port; an IPv6 one may stand in brackets.
fn parse(hop: &str) -> Option<IpAddr> {
    let address = hop
        .parse::<IpAddr>()
        .or_else(|_| hop.parse::<SocketAddr>().map(|socket| socket.ip()))
        .or_else(|_| hop.trim_matches(['[', ']']).parse::<IpAddr>())
        .ok()?;
    Some(address.to_canonical())
}

impl<S: Sync> FromRequestParts<S> for Peer
where
    Process: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Socket(address) = parts.extensions.get().copied().ok_or(Code::Internal)?;
        let server = &Process::from_ref(state).settings.server;
        Ok(Self::of(address.ip(), &parts.headers, server))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(socket: &str, forwarded: &[&str]) -> Peer {
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append("x-forwarded-for", value.parse().unwrap());
        }
        Peer::of(
            socket.parse().unwrap(),
            &headers,
            &settings::Server::default(),
        )
    }

    #[test]
    fn the_last_untrusted_address_counts() {
        for (socket, forwarded, address, exempt) in [
            ("127.0.0.1", &[][..], "127.0.0.1", true),
            ("127.0.0.1", &["203.0.113.7"], "203.0.113.7", false),
            (
                "127.0.0.1",
                &["10.0.0.1, 203.0.113.7, 127.0.0.2"],
                "203.0.113.7",
                false,
            ),
            (
                "127.0.0.1",
                &["10.0.0.1", "203.0.113.7"],
                "203.0.113.7",
                false,
            ),
            ("127.0.0.1", &["127.0.0.9, 127.0.0.8"], "127.0.0.9", true),
            ("127.0.0.1", &["203.0.113.7, nonsense"], "127.0.0.1", true),
            ("203.0.113.9", &["127.0.0.1"], "203.0.113.9", false),
            (
                "::ffff:127.0.0.1",
                &["[2001:db8::1]:99"],
                "2001:db8::1",
                false,
            ),
        ] {
            let found = peer(socket, forwarded);
            assert_eq!(found.address.to_string(), address, "{socket} {forwarded:?}");
            assert_eq!(found.exempt, exempt, "{socket} {forwarded:?}");
        }
    }
}
