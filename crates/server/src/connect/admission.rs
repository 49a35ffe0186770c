//! Who may open another socket: limits per address and per user.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use banter_protocol::id::UserId;
use banter_protocol::limit;

use crate::http::Peer;
use crate::send::Paces;

/// Open sockets of this process. Cloning shares it.
#[derive(Debug, Clone)]
pub struct Admissions {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    sockets_per_address: usize,
    addresses: Mutex<HashMap<IpAddr, usize>>,
    upgrades: Paces<IpAddr>,
    users: Mutex<HashMap<UserId, usize>>,
}

/// A place that is given back when it is dropped.
#[derive(Debug)]
pub struct Place {
    shared: Arc<Shared>,
    of: Holder,
}

/// Why there is no place for a peer's socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Crowded {
    /// Which limit was met, as metrics name it.
    pub scope: &'static str,
    /// When to try again.
    pub wait: Duration,
}

#[derive(Debug, Clone, Copy)]
enum Holder {
    Address(IpAddr),
    User(UserId),
    /// Counted nowhere.
    Exempt,
}

impl Admissions {
    /// With the limits of the settings.
    #[must_use]
    pub fn new(upgrades_per_second: u32, sockets_per_address: u32) -> Self {
        const BURST_SECONDS: u32 =
            limit::ADDRESS_UPGRADES_BURST / limit::ADDRESS_UPGRADES_PER_SECOND;
        Self {
            shared: Arc::new(Shared {
                sockets_per_address: usize::try_from(sockets_per_address).unwrap_or(usize::MAX),
                addresses: Mutex::default(),
                upgrades: Paces::new(upgrades_per_second, BURST_SECONDS),
                users: Mutex::default(),
            }),
        }
    }

    /// A place for a socket of this peer.
    ///
    /// # Errors
    /// Which limit is in the way, and for how long.
    pub fn upgrade(&self, peer: Peer, now: Instant) -> Result<Place, Crowded> {
        let Some(address) = peer.counted() else {
            return Ok(self.place(Holder::Exempt));
        };
        let taken = self.shared.upgrades.take(address, now);
        taken.map_err(|wait| Crowded {
            scope: "address_upgrades",
            wait,
        })?;
        let mut addresses = lock(&self.shared.addresses);
        if !count(&mut addresses, address, self.shared.sockets_per_address) {
            return Err(Crowded {
                scope: "address_sockets",
                wait: Duration::from_secs(5),
            });
        }
        Ok(self.place(Holder::Address(address)))
    }

    /// A place among a user's sockets; `None`: there are as many as one may have.
    pub fn user(&self, user: UserId) -> Option<Place> {
        count(&mut lock(&self.shared.users), user, limit::SOCKETS_PER_USER)
            .then(|| self.place(Holder::User(user)))
    }

    fn place(&self, of: Holder) -> Place {
        Place {
            shared: self.shared.clone(),
            of,
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        match self.of {
            Holder::Address(address) => uncount(&mut lock(&self.shared.addresses), address),
            Holder::User(user) => uncount(&mut lock(&self.shared.users), user),
            Holder::Exempt => {}
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn count<K: Eq + Hash>(counts: &mut HashMap<K, usize>, key: K, most: usize) -> bool {
    let open = counts.entry(key).or_default();
    let fits = *open < most;
    *open += usize::from(fits);
    fits
}

fn uncount<K: Eq + Hash>(counts: &mut HashMap<K, usize>, key: K) {
    if let Some(open) = counts.get_mut(&key) {
        *open -= 1;
        if *open == 0 {
            counts.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_and_given_back() {
        let admissions = Admissions::new(1_000, 2);
        let peer = Peer {
            address: "203.0.113.1".parse().unwrap(),
            exempt: false,
        };
        let now = Instant::now();
        let first = admissions.upgrade(peer, now).unwrap();
        let _second = admissions.upgrade(peer, now).unwrap();
        assert!(admissions.upgrade(peer, now).is_err());
        drop(first);
        assert!(admissions.upgrade(peer, now).is_ok());
        let near = Peer {
            address: "127.0.0.1".parse().unwrap(),
            exempt: true,
        };
        let many: Vec<_> = (0..10)
            .map(|_| admissions.upgrade(near, now).unwrap())
            .collect();
        drop(many);
    }

    #[test]
    fn a_user_has_so_many_sockets() {
        let admissions = Admissions::new(1, 1);
        let user = UserId::from_bytes([7; 16]);
        let places: Vec<_> = (0..limit::SOCKETS_PER_USER)
            .map(|_| admissions.user(user).unwrap())
            .collect();
        assert!(admissions.user(user).is_none());
        drop(places);
        assert!(admissions.user(user).is_some());
    }
}
