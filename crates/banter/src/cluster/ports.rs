//! Ports for the processes of a cluster.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;

use anyhow::{Result, bail};

/// Where we look when the system does not tell which ports it gives to outgoing connections.
const EPHEMERAL_USUAL: u16 = 32_768;
/// How many ports below those are looked at.
const SPAN: u16 = 16_000;

/// Ports by name, on loopback.
///
/// They lie below those that the system gives to outgoing connections: a gateway that is started
/// again must find its port free, however many sockets the machine has open.
#[derive(Debug)]
pub(crate) struct Ports {
    taken: BTreeMap<String, u16>,
    /// Where to look first: apart from where another cluster looks.
    start: u16,
    lowest: u16,
}

impl Ports {
    /// For the cluster in this directory, which had these ports before.
    pub(crate) fn new(root: &Path, before: BTreeMap<String, u16>) -> Self {
        let highest = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")
            .ok()
            .and_then(|range| range.split_whitespace().next()?.parse().ok())
            .filter(|&lowest| lowest > SPAN + 1024)
            .unwrap_or(EPHEMERAL_USUAL);
        let mut hasher = DefaultHasher::new();
        root.hash(&mut hasher);
        let start = u16::try_from(hasher.finish() % u64::from(SPAN)).unwrap_or(0);
        Self {
            taken: before,
            start,
            lowest: highest - SPAN,
        }
    }

    /// The address of this name: the one that it had, if it is still free.
    ///
    /// # Errors
    /// When no port is free.
    pub(crate) fn take(&mut self, name: &str) -> Result<SocketAddr> {
        let before = self.taken.remove(name);
        let others: Vec<_> = self.taken.values().copied().collect();
        let all = (0..SPAN).map(|step| self.lowest + (self.start + step) % SPAN);
        let free = before
            .into_iter()
            .chain(all)
            .find(|port| !others.contains(port) && is_free(*port));
        let Some(port) = free else {
            bail!("no port is free on this machine");
        };
        self.taken.insert(name.to_owned(), port);
        Ok((Ipv4Addr::LOCALHOST, port).into())
    }

    /// All of them by name.
    pub(crate) fn taken(&self) -> BTreeMap<String, u16> {
        self.taken.clone()
    }
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_keeps_its_port_while_it_is_free() {
        let mut ports = Ports::new(Path::new("a"), BTreeMap::new());
        let (redis, nginx) = (ports.take("redis").unwrap(), ports.take("nginx").unwrap());
        assert_ne!(redis, nginx);
        assert_eq!(ports.take("redis").unwrap(), redis);
        let _held = TcpListener::bind(redis).unwrap();
        let other = ports.take("redis").unwrap();
        assert!(other != redis && other != nginx);
        let mut again = Ports::new(Path::new("a"), ports.taken());
        assert_eq!(again.take("redis").unwrap(), other);
    }
}
