//! Counters of what is sent to a cluster.

use std::sync::atomic::{AtomicU64, Ordering};

/// Classes of a status: the place of `status / 100`, all above 5xx in the last.
pub(crate) const CLASSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];

/// What was sent to one cluster. Shared by all workers, and by the cluster's versions: a changed cluster goes on counting.
#[derive(Debug, Default)]
pub(crate) struct Usage {
    requests: [AtomicU64; CLASSES.len()],
}

// === impl Usage ===

impl Usage {
    /// A request was sent and is over; status 0 when the upstream gave no answer.
    pub(crate) fn request(&self, status: u16) {
        let class = usize::from(status / 100).min(CLASSES.len() - 1);
        if let Some(counter) = self.requests.get(class) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// By class of the status; classes that did not occur are left out.
    pub(crate) fn classes(&self) -> impl Iterator<Item = (&'static str, u64)> {
        CLASSES
            .iter()
            .zip(&self.requests)
            .map(|(class, counter)| (*class, counter.load(Ordering::Relaxed)))
            .filter(|(_, count)| *count > 0)
    }
}
