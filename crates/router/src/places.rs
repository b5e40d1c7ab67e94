//! Where callers are, and how much of them may be there: connections in all, connections and requests of one address. What is
//! counted exists only as long as it lasts, so the memory is bounded by the cap in all.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// What is open on all workers. It is written when a connection opens or closes, and for requests only where they are counted.
#[derive(Debug, Default)]
pub(crate) struct Places {
    all: AtomicUsize,
    connections: Arc<Addresses>,
    requests: Arc<Addresses>,
}

/// One open connection; given back when dropped.
#[derive(Debug)]
pub(crate) struct Place(Arc<Places>);

/// How much there is of each address, or of each /64 network of IPv6. One of which there is nothing takes no room.
#[derive(Debug, Default)]
struct Addresses(Mutex<HashMap<IpAddr, u32>>);

/// A connection or a request among those of its address; given back when dropped.
#[derive(Debug)]
pub(crate) struct Counted {
    among: Arc<Addresses>,
    network: IpAddr,
}

/// Where a request comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Origin {
    /// That of the caller; see [`network`].
    pub(crate) network: IpAddr,
    /// Number of the caller's connection in this process.
    pub(crate) connection: u64,
}

/// Why a connection is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// There are too many of one address.
    Address,
    /// There are too many.
    All,
    /// It does not begin with a good PROXY header, as its listener wants.
    Header,
}

impl Places {
    /// Open connections.
    pub(crate) fn count(&self) -> usize {
        self.all.load(Ordering::Relaxed)
    }

    /// Takes a place for a connection, unless there are `most`.
    pub(crate) fn take(self: &Arc<Self>, most: usize) -> Result<Place, Refusal> {
        if self.all.fetch_add(1, Ordering::Relaxed) >= most {
            self.all.fetch_sub(1, Ordering::Relaxed);
            return Err(Refusal::All);
        }
        Ok(Place(Arc::clone(self)))
    }

    /// Counts a connection of an address, unless there are `most` of it.
    pub(crate) fn connection(&self, address: IpAddr, most: u32) -> Result<Counted, Refusal> {
        self.connections.take(address, most).ok_or(Refusal::Address)
    }

    /// Counts a request of an address, unless there are `most` of it.
    pub(crate) fn request(&self, address: IpAddr, most: u32) -> Option<Counted> {
        self.requests.take(address, most)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.all.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Addresses {
    fn take(self: &Arc<Self>, address: IpAddr, most: u32) -> Option<Counted> {
        let network = network(canonical(address));
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.get(&network).copied().unwrap_or(0);
        if count >= most {
            return None;
        }
        counts.insert(network, count + 1);
        Some(Counted {
            among: Arc::clone(self),
            network,
        })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut counts = self.among.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut count) = counts.entry(self.network) {
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
    fn places_in_all() {
        let places = Arc::<Places>::default();
        let first = places.take(2).unwrap();
        let _second = places.take(2).unwrap();
        assert_eq!(places.take(2).unwrap_err(), Refusal::All);
        drop(first);
        assert_eq!(places.count(), 1, "a refusal leaves nothing behind");
        let _third = places.take(2).unwrap();
    }

    #[test]
    fn what_is_counted_as_one_address() {
        let places = Arc::<Places>::default();
        let take = |peer: &str| places.connection(peer.parse().unwrap(), 2);
        let first = take("192.0.2.1").unwrap();
        let _second = take("::ffff:192.0.2.1").unwrap();
        assert_eq!(
            take("192.0.2.1").unwrap_err(),
            Refusal::Address,
            "mapped is the same"
        );
        assert!(
            places.request("192.0.2.1".parse().unwrap(), 1).is_some(),
            "requests are others"
        );
        let _third = take("2001:db8::1").unwrap();
        let fourth = take("2001:db8::ffff:2").unwrap();
        assert_eq!(take("2001:db8::3").unwrap_err(), Refusal::Address);
        let other = take("2001:db8:0:1::1").unwrap();
        drop((first, fourth, other));
        let _again = take("192.0.2.1").unwrap();
        drop(take("2001:db8::3").unwrap());
        let held = |among: &Addresses| among.0.lock().unwrap().len();
        assert_eq!(
            held(&places.connections),
            2,
            "addresses without connections are forgotten"
        );
        assert_eq!(held(&places.requests), 0);
    }
}
