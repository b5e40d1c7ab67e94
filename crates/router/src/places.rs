//! Where callers are, and how many of their connections may be open: in all, and from one address. What is counted exists only as long as its
//! connections, so the memory is bounded by the cap in all.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::settings::Edge;

/// Open connections of all workers. It is written when a connection opens or closes, never for a request.
#[derive(Debug, Default)]
pub(crate) struct Places {
    all: AtomicUsize,
    by_address: Mutex<HashMap<IpAddr, usize>>,
}

/// One open connection; given back when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    places: Arc<Places>,
    address: IpAddr,
}

/// Where a request comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Origin {
    /// That of the caller; see [`network`].
    pub(crate) network: IpAddr,
    /// Number of the caller's connection in this process.
    pub(crate) connection: u64,
}

/// Which cap refuses a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cap {
    /// That of one address.
    Address,
    /// That of all together.
    All,
}

impl Places {
    /// Open connections.
    pub(crate) fn count(&self) -> usize {
        self.all.load(Ordering::Relaxed)
    }

    /// Takes a place for a connection from `peer`.
    ///
    /// # Errors
    /// The cap that is reached.
    pub(crate) fn take(self: &Arc<Self>, peer: IpAddr, edge: &Edge) -> Result<Place, Cap> {
        if self.all.fetch_add(1, Ordering::Relaxed) >= edge.max_connections {
            self.all.fetch_sub(1, Ordering::Relaxed);
            return Err(Cap::All);
        }
        let address = network(canonical(peer));
        let mut counts = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.get(&address).copied().unwrap_or(0);
        if count >= edge.max_connections_per_address {
            self.all.fetch_sub(1, Ordering::Relaxed);
            return Err(Cap::Address);
        }
        counts.insert(address, count + 1);
        Ok(Place {
            places: Arc::clone(self),
            address,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.all.fetch_sub(1, Ordering::Relaxed);
        let counts = &self.places.by_address;
        let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut count) = counts.entry(self.address) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

/// A dual-stack socket shows IPv4 callers as IPv6.
pub(crate) fn canonical(ip: IpAddr) -> IpAddr {
    ip.to_canonical()
}

/// One caller has a whole /64 of IPv6 addresses.
pub(crate) fn network(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caps() {
        let edge = Edge {
            max_connections: 4,
            max_connections_per_address: 2,
            ..Edge::default()
        };
        let places = Arc::<Places>::default();
        let take = |peer: &str| places.take(peer.parse().unwrap(), &edge);
        let first = take("192.0.2.1").unwrap();
        let _second = take("::ffff:192.0.2.1").unwrap();
        assert_eq!(take("192.0.2.1").unwrap_err(), Cap::Address, "mapped is the same");
        let _third = take("2001:db8::1").unwrap();
        let fourth = take("2001:db8::ffff:2").unwrap();
        assert_eq!(take("192.0.2.9").unwrap_err(), Cap::All);
        drop(fourth);
        let sixth = take("2001:db8:0:1::1").unwrap();
        drop((first, sixth));
        assert_eq!(places.count(), 2, "a refusal leaves nothing behind");
        let _again = take("192.0.2.1").unwrap();
        drop(take("2001:db8::3").unwrap());
        assert_eq!(
            places.by_address.lock().unwrap().len(),
            2,
            "addresses without connections are forgotten"
        );
    }
}
