//! The server that a load is put on: one that is there, or one that is started for it.

use std::net::{SocketAddr, ToSocketAddrs as _};

use anyhow::{Context as _, Result, bail};

use crate::http::Http;

/// Where a server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Its address.
    pub address: SocketAddr,
    /// What it is called in `Host`.
    pub host: String,
}

impl Server {
    /// The server at this URL.
    ///
    /// # Errors
    /// It is none that the generator can speak to, or its name is not known.
    pub fn at(url: &str) -> Result<Self> {
        let Some(rest) = url.strip_prefix("http://") else {
            bail!("--server {url}: the generator speaks http:// only; name the address behind TLS");
        };
        let host = rest.split('/').next().unwrap_or_default();
        let with_port = if host
            .rsplit_once(':')
            .is_some_and(|(_, p)| p.parse::<u16>().is_ok())
        {
            host.to_owned()
        } else {
            format!("{host}:80")
        };
        let mut found = with_port
            .to_socket_addrs()
            .with_context(|| format!("--server {url}: no such host"))?;
        let address = found.next();
        let address = address.with_context(|| format!("--server {url}: no such host"))?;
        Ok(Self {
            address,
            host: host.to_owned(),
        })
    }

    /// A connection to it.
    ///
    /// # Errors
    /// Nobody listens there.
    pub fn connect(&self) -> Result<Http> {
        Http::connect_as(self.address, &self.host)
    }
}

impl From<SocketAddr> for Server {
    fn from(address: SocketAddr) -> Self {
        Self {
            address,
            host: address.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_an_address_and_a_name() {
        let server = Server::at("http://127.0.0.1:8080/").unwrap();
        assert_eq!(server, SocketAddr::from(([127, 0, 0, 1], 8080)).into());
        let server = Server::at("http://localhost").unwrap();
        assert_eq!(
            (server.address.port(), server.host.as_str()),
            (80, "localhost")
        );
        assert!(Server::at("https://chat.example").is_err());
        assert!(Server::at("http://nowhere.invalid").is_err());
    }
}
