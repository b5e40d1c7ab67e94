//! Whose requests wait for a connection of a cluster, counted over all workers.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use crate::places::Origin;

/// By network and by connection. It is written when a request finds no connection that is ready for it.
#[derive(Debug, Default)]
pub(super) struct Waiting(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    networks: HashMap<IpAddr, u32>,
    connections: HashMap<u64, u32>,
}

impl Waiting {
    /// Counts a request. Whether its network or its connection has no more than an even part of `places` then: such a one gets
    /// in even where there is no place. Parts get smaller while others come and are not taken back, so that this adds, for
    /// networks and for connections, `places` / 1 + `places` / 2 + … at most: 15 times 1,024 for that many.
    pub(super) fn enter(&self, origin: Origin, places: u32) -> bool {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let network = add(&mut counts.networks, origin.network, places);
        let connection = add(&mut counts.connections, origin.connection, places);
        network || connection
    }

    /// It waits no longer.
    pub(super) fn leave(&self, origin: Origin) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        take(&mut counts.networks, &origin.network);
        take(&mut counts.connections, &origin.connection);
    }
}

fn add<K: Hash + Eq>(counts: &mut HashMap<K, u32>, key: K, places: u32) -> bool {
    let count = counts.entry(key).or_default();
    *count += 1;
    let count = *count;
    let even = places / u32::try_from(counts.len()).unwrap_or(u32::MAX);
    count <= even
}

fn take<K: Hash + Eq>(counts: &mut HashMap<K, u32>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(host: u8, connection: u64) -> Origin {
        Origin {
            network: IpAddr::from([192, 0, 2, host]),
            connection,
        }
    }

    #[test]
    fn an_even_part_is_everybodys() {
        let waiting = Waiting::default();
        for count in 1..=8 {
            assert_eq!(waiting.enter(from(1, 1), 4), count <= 4);
        }
        // Two of its network, of which each connection has two places.
        assert!(waiting.enter(from(1, 2), 4));
        assert!(waiting.enter(from(1, 2), 4));
        assert!(!waiting.enter(from(1, 2), 4));
        // Another network has two, and its one connection one.
        assert!(waiting.enter(from(2, 3), 4));
        assert!(waiting.enter(from(2, 3), 4));
        assert!(!waiting.enter(from(2, 3), 4));
        for (host, connection, count) in [(1, 1, 8), (1, 2, 3), (2, 3, 3)] {
            for _ in 0..count {
                waiting.leave(from(host, connection));
            }
        }
        let counts = waiting.0.lock().unwrap();
        assert!(counts.networks.is_empty() && counts.connections.is_empty());
    }

    #[test]
    fn a_crowd_gets_no_more_than_there_is() {
        let waiting = Waiting::default();
        let admitted = (0..=255)
            .filter(|host| waiting.enter(from(*host, u64::from(*host)), 16))
            .count();
        assert_eq!(admitted, 16);
    }

    /// Who comes with ever more networks and connections gets as much as it can, which has an end.
    #[test]
    fn what_is_let_in_has_an_end() {
        let waiting = Waiting::default();
        let mut admitted = 0;
        for number in 0..=u16::MAX {
            let network = IpAddr::from([198, 18, number.to_be_bytes()[0], number.to_be_bytes()[1]]);
            for connection in [2, 3] {
                let connection = u64::from(number) * connection;
                let origin = Origin { network, connection };
                while waiting.enter(origin, 1024) {
                    admitted += 1;
                }
                waiting.leave(origin);
            }
        }
        assert!(admitted > 2 * 1024 && admitted < 15 * 1024, "{admitted}");
    }
}
