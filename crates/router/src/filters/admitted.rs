//! What leaves the request filters for the upstream.

use std::sync::Arc;
use std::time::Duration;

use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use tokio::time::Instant;
use trireme_routing::snapshot::Retry;

use super::check::Pass;
use crate::cluster::Cluster;
use crate::enforcer;

/// A request that may be sent upstream. It can only be made by the filters, after the check.
#[derive(Debug)]
pub(crate) struct Admitted {
    /// Where to.
    pub(crate) cluster: Arc<Cluster>,
    /// Method towards the upstream.
    pub(crate) method: Method,
    /// Path and query for the upstream.
    pub(crate) path: PathAndQuery,
    /// Host as the caller sent it.
    pub(crate) authority: HeaderValue,
    /// Send the endpoint's host name instead.
    pub(crate) auto_host: bool,
    /// Headers for the upstream, without Host.
    pub(crate) headers: HeaderMap,
    /// Names that the trailers must not hold; absent where no trailers can come.
    pub(crate) barred: Option<Vec<HeaderName>>,
    /// How long it may take.
    pub(crate) bounds: Bounds,
    /// Retries by status.
    pub(crate) retries: Retries,
    /// Nobody else has one.
    pub(super) _pass: Pass,
}

/// Bounds of one exchange; zero means none.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// From the end of the request to the head of the response.
    pub(crate) response: Duration,
    /// Without anything moving.
    pub(crate) idle: Duration,
    /// For the whole request to arrive.
    pub(crate) request: Duration,
    /// End of the whole stream.
    pub(crate) deadline: Option<Instant>,
}

/// Retries by status code.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Retries {
    /// How often beyond the first time.
    pub(crate) count: u32,
    /// For which answers.
    pub(crate) statuses: Vec<u16>,
    /// Base of the exponential backoff.
    pub(crate) base: Duration,
}

impl Retries {
    /// Envoy's base where none is configured.
    const BASE: Duration = Duration::from_millis(25);
    /// Greatest number of retries, whoever asks for more.
    const MOST: u32 = 32;

    /// By the route's policy, which the enforcer's word changes.
    pub(super) fn of(route: Option<&Retry>, told: &enforcer::Retry) -> Self {
        let base = route.map_or(Self::BASE, |retry| retry.backoff_base);
        let mut statuses = route.map(|retry| retry.statuses.clone()).unwrap_or_default();
        statuses.extend(&told.statuses);
        let configured = route.map_or(0, |retry| retry.count);
        let count = match (told.on, told.count) {
            (_, Some(count)) if told.on || route.is_some() => count,
            (true, _) => configured.max(1),
            (false, _) => configured,
        };
        Self {
            count: count.min(Self::MOST),
            statuses,
            base,
        }
    }

    /// Whether an answer of that status is asked for again.
    pub(crate) fn retries(&self, status: StatusCode) -> bool {
        self.statuses.contains(&status.as_u16())
    }

    /// Wait before the retry after `done` others: random below a bound that doubles, at most ten times the base.
    pub(crate) fn backoff(&self, done: u32) -> Duration {
        let bound = self
            .base
            .saturating_mul(1_u32.checked_shl(done + 1).unwrap_or(u32::MAX))
            .min(self.base * 10);
        bound.mul_f64(fastrand::f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_backoff_doubles_up_to_ten_times_its_base() {
        let retries = Retries {
            count: 9,
            statuses: vec![504],
            base: Duration::from_millis(25),
        };
        for (done, bound) in [(0, 50), (1, 100), (2, 200), (3, 250), (40, 250)] {
            for _ in 0..50 {
                assert!(
                    retries.backoff(done) <= Duration::from_millis(bound),
                    "after {done}"
                );
            }
        }
    }

    #[test]
    fn the_route_and_the_enforcer_together() {
        let route = Retry {
            count: 0,
            statuses: vec![504],
            backoff_base: Duration::from_micros(25),
        };
        let told = |on, count, statuses: &[u16]| enforcer::Retry {
            on,
            count,
            statuses: statuses.to_vec(),
        };
        type Case<'a> = (&'a str, enforcer::Retry, Option<&'a Retry>, u32, &'a [u16]);
        let cases: [Case<'_>; 7] = [
            ("nothing", told(false, None, &[]), None, 0, &[]),
            ("route alone", told(false, None, &[]), Some(&route), 0, &[504]),
            (
                "enforcer alone",
                told(true, Some(3), &[502, 503]),
                None,
                3,
                &[502, 503],
            ),
            ("both", told(true, Some(2), &[500]), Some(&route), 2, &[504, 500]),
            (
                "a count without a policy",
                told(false, Some(2), &[]),
                None,
                0,
                &[],
            ),
            ("on without a count", told(true, None, &[]), None, 1, &[]),
            ("too many", told(true, Some(1000), &[]), None, 32, &[]),
        ];
        for (name, told, route, count, statuses) in cases {
            let got = Retries::of(route, &told);
            assert_eq!((got.count, got.statuses.as_slice()), (count, statuses), "{name}");
        }
    }

    #[test]
    fn only_listed_statuses_are_retried() {
        let retries = Retries {
            count: 1,
            statuses: vec![504],
            base: Retries::BASE,
        };
        assert!(retries.retries(StatusCode::GATEWAY_TIMEOUT));
        assert!(!retries.retries(StatusCode::BAD_GATEWAY));
    }
}
