//! Local rate limits: token buckets of routes, shared by all workers. They lie beside the snapshot, so that a new one does
//! not refill them.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use trireme_routing::Matched;
use trireme_routing::snapshot::LocalLimit;

use crate::error::DownstreamError;

/// Takes a token where the route has a limit.
pub(super) fn on_request(buckets: &Buckets, matched: &Matched<'_>) -> Result<(), DownstreamError> {
    let Some(limit) = matched.route().filters.limit else {
        return Ok(());
    };
    let key = (matched.fragment(), matched.place());
    buckets
        .take(key, limit, Instant::now())
        .map_err(|()| DownstreamError::Limited)
}

/// A fragment's name and the place of a route in it.
type Key<'a> = (&'a str, (u32, u32));

/// The buckets of all limited routes. Only such routes come here: the lock is not on the way of others.
#[derive(Debug, Default)]
pub(crate) struct Buckets(Mutex<HashMap<String, Fragment>>);

/// By place of the route.
type Fragment = HashMap<(u32, u32), Bucket>;

#[derive(Debug)]
struct Bucket {
    limit: LocalLimit,
    tokens: u32,
    filled: Instant,
}

impl Buckets {
    /// Takes a token; an error when there is none left.
    pub(crate) fn take(&self, (fragment, place): Key<'_>, limit: LocalLimit, now: Instant) -> Result<(), ()> {
        let mut fragments = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !fragments.contains_key(fragment) {
            fragments.insert(fragment.to_owned(), HashMap::new());
        }
        let Some(buckets) = fragments.get_mut(fragment) else {
            return Ok(());
        };
        let fresh = || Bucket {
            limit,
            tokens: limit.tokens,
            filled: now,
        };
        let bucket = buckets.entry(place).or_insert_with(fresh);
        if bucket.limit != limit {
            *bucket = fresh();
        }
        bucket.refill(now);
        bucket.tokens = bucket.tokens.checked_sub(1).ok_or(())?;
        Ok(())
    }

    /// Drops the buckets of fragments that are gone.
    pub(crate) fn retain(&self, exists: impl Fn(&str) -> bool) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|fragment, _| exists(fragment));
    }
}

impl Bucket {
    /// Full again at every interval, as the original's.
    fn refill(&mut self, now: Instant) {
        let interval = self.limit.interval.max(Duration::from_millis(1));
        let passed = now.duration_since(self.filled).as_nanos() / interval.as_nanos();
        if passed > 0 {
            self.tokens = self.limit.tokens;
            self.filled += interval.saturating_mul(u32::try_from(passed).unwrap_or(u32::MAX));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_runs_out_and_fills_again() {
        let buckets = Buckets::default();
        let limit = LocalLimit {
            tokens: 2,
            interval: Duration::from_secs(1),
        };
        let start = Instant::now();
        let at = |place: u32, millis: u64| {
            buckets
                .take(("f", (0, place)), limit, start + Duration::from_millis(millis))
                .is_ok()
        };
        let got = [
            at(0, 0),
            at(0, 10),
            at(0, 20),
            at(1, 20),
            at(0, 999),
            at(0, 1000),
            at(0, 3500),
            at(0, 3501),
            at(0, 3999),
        ];
        assert_eq!(got, [true, true, false, true, false, true, true, true, false]);
    }

    #[test]
    fn a_changed_limit_starts_anew() {
        let buckets = Buckets::default();
        let now = Instant::now();
        let of = |tokens| LocalLimit {
            tokens,
            interval: Duration::from_secs(1),
        };
        assert!(buckets.take(("f", (0, 0)), of(1), now).is_ok());
        assert!(buckets.take(("f", (0, 0)), of(1), now).is_err());
        assert!(buckets.take(("f", (0, 0)), of(2), now).is_ok());
    }
}
