//! Whose requests hold up a cluster because their answers are not taken, counted over all workers.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// By network. It is written when a worker has seen such requests, never for a request.
#[derive(Debug, Default)]
pub(crate) struct Holders(Mutex<HashMap<IpAddr, Vec<Held>>>);

/// What a worker has seen.
#[derive(Debug)]
struct Held {
    worker: usize,
    count: usize,
    at: Instant,
}

/// How long it counts: a few looks, of which a busy worker may miss one.
const FRESH: Duration = Duration::from_millis(500);

impl Holders {
    /// A worker has seen `count` requests that come `from` a network. How many it holds on all workers.
    pub(crate) fn note(&self, from: IpAddr, worker: usize, count: usize, at: Instant) -> usize {
        let mut networks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        networks.retain(|_, held| {
            held.retain(|held| at.saturating_duration_since(held.at) < FRESH);
            !held.is_empty()
        });
        let held = networks.entry(from).or_default();
        held.retain(|held| held.worker != worker);
        held.push(Held { worker, count, at });
        held.iter().map(|held| held.count).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_are_added_up_while_they_say_so() {
        let holders = Holders::default();
        let (one, other) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        let start = Instant::now();
        assert_eq!(holders.note(one, 0, 10, start), 10);
        assert_eq!(holders.note(one, 1, 5, start), 15);
        assert_eq!(holders.note(other, 1, 7, start), 7);
        assert_eq!(
            holders.note(one, 0, 2, start),
            7,
            "the last word of a worker counts"
        );
        assert_eq!(
            holders.note(one, 1, 1, start + FRESH),
            1,
            "who says nothing holds nothing"
        );
        assert_eq!(
            holders.0.lock().unwrap().len(),
            1,
            "what nobody holds is forgotten"
        );
    }
}
