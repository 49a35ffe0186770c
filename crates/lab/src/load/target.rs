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
    /// The name of its certificate, where it speaks TLS.
    pub tls: Option<String>,
}

impl Server {
    /// The server at this URL.
    ///
    /// # Errors
    /// It is none that the generator can speak to, or its name is not known.
    pub fn at(url: &str) -> Result<Self> {
        let Some((scheme, rest)) = url.split_once("://") else {
            bail!("--server {url}: a server is written http://host:port or https://host");
        };
        let (encrypted, port) = match scheme {
            "http" | "ws" => (false, 80),
            "https" | "wss" => (true, 443),
            _ => bail!("--server {url}: neither http:// nor https://"),
        };
        let host = rest.split('/').next().unwrap_or_default();
        let name = host
            .rsplit_once(':')
            .filter(|(_, p)| p.parse::<u16>().is_ok());
        let (name, with_port) = match name {
            Some((name, _)) => (name, host.to_owned()),
            None => (host, format!("{host}:{port}")),
        };
        let tls = encrypted.then(|| name.trim_matches(['[', ']']).to_owned());
        let mut found = with_port
            .to_socket_addrs()
            .with_context(|| format!("--server {url}: no such host"))?;
        let address = found.next();
        let address = address.with_context(|| format!("--server {url}: no such host"))?;
        Ok(Self {
            address,
            host: host.to_owned(),
            tls,
        })
    }

    /// A connection to it.
    ///
    /// # Errors
    /// Nobody listens there.
    pub fn connect(&self) -> Result<Http> {
        Http::connect_as(self.address, &self.host, self.tls.as_deref())
    }
}

impl From<SocketAddr> for Server {
    fn from(address: SocketAddr) -> Self {
        Self {
            address,
            host: address.to_string(),
            tls: None,
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
        let server = Server::at("wss://localhost").unwrap();
        assert_eq!(
            (server.address.port(), server.tls.as_deref()),
            (443, Some("localhost"))
        );
        let server = Server::at("https://[::1]:8443").unwrap();
        assert_eq!(
            (server.address.port(), server.tls.as_deref()),
            (8_443, Some("::1"))
        );
        assert!(Server::at("ftp://localhost").is_err());
        assert!(Server::at("localhost").is_err());
        assert!(Server::at("http://nowhere.invalid").is_err());
    }
}
