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

/// The part of one worker in what a network holds up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Part {
    /// What workers before it have seen.
    before: usize,
    /// What it has.
    count: usize,
    /// What all have.
    all: usize,
}

/// How long it counts: a few looks, of which a busy worker may miss one.
const FRESH: Duration = Duration::from_millis(500);

impl Holders {
    /// A worker has seen `count` requests that come `from` a network.
    pub(crate) fn note(&self, from: IpAddr, worker: usize, count: usize, at: Instant) -> Part {
        let mut networks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        networks.retain(|_, held| {
            held.retain(|held| at.saturating_duration_since(held.at) < FRESH);
            !held.is_empty()
        });
        let held = networks.entry(from).or_default();
        held.retain(|held| held.worker != worker);
        held.push(Held { worker, count, at });
        let sum = |counts: fn(&Held, usize) -> bool| {
            let held = held.iter().filter(|held| counts(held, worker));
            held.map(|held| held.count).sum()
        };
        Part {
            before: sum(|held, worker| held.worker < worker),
            count,
            all: sum(|_, _| true),
        }
    }
}

impl Part {
    /// How many of the worker's requests are beyond the `share` of their network. Of all workers together they leave just that.
    pub(crate) fn surplus(self, share: usize) -> usize {
        let up_to = |count: usize| count.saturating_mul(share.min(self.all)) / self.all.max(1);
        let kept = up_to(self.before + self.count) - up_to(self.before);
        self.count.saturating_sub(kept)
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
        let all = |from, worker, count, at| holders.note(from, worker, count, at).all;
        assert_eq!(all(one, 0, 10, start), 10);
        assert_eq!(all(one, 1, 5, start), 15);
        assert_eq!(all(other, 1, 7, start), 7);
        assert_eq!(all(one, 0, 2, start), 7, "the last word of a worker counts");
        assert_eq!(all(one, 1, 1, start + FRESH), 1, "who says nothing holds nothing");
        assert_eq!(
            holders.0.lock().unwrap().len(),
            1,
            "what nobody holds is forgotten"
        );
    }

    /// However few each of them has.
    #[test]
    fn workers_leave_just_the_share() {
        for counts in [[1, 1, 1, 1], [5, 0, 1, 2], [0, 0, 0, 9], [300, 200, 100, 1]] {
            let holders = Holders::default();
            let from = IpAddr::from([192, 0, 2, 1]);
            let note = || {
                [0, 1, 2, 3].map(|worker: usize| holders.note(from, worker, counts[worker], Instant::now()))
            };
            note();
            let all: usize = counts.iter().sum();
            for share in [1, 2, 3, 256, 1000] {
                let surplus: usize = note().iter().map(|part| part.surplus(share)).sum();
                assert_eq!(all - surplus, share.min(all), "{counts:?}");
            }
        }
    }
}
