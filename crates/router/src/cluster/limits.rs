//! Circuit breakers of a cluster, counted over all workers, as in Envoy.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use trireme_routing::snapshot;

use super::waiting::Waiting;
use crate::places::Origin;

/// The circuit breakers of one cluster.
#[derive(Debug)]
pub(crate) struct Limits {
    connections: Counter,
    pending: Counter,
    requests: Counter,
    retries: Counter,
    waiting: Waiting,
}

#[derive(Debug)]
struct Counter {
    now: AtomicU32,
    max: u32,
}

/// Which breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resource {
    /// Open connections.
    Connection,
    /// Requests that wait for a connection; see [`Limits::wait`].
    Pending,
    /// Requests under way.
    Request,
    /// Retries under way.
    Retry,
}

/// A request that waits for a connection; it does until this is dropped.
#[derive(Debug)]
pub(crate) struct Wait {
    permit: Permit,
    origin: Origin,
}

/// A counted use of a cluster; given back when dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    limits: Arc<Limits>,
    resource: Resource,
}

// === impl Limits ===

impl Limits {
    /// Nothing is in use yet.
    pub(crate) fn new(limits: snapshot::ClusterLimits) -> Self {
        let counter = |max: Option<u32>, default| Counter {
            now: AtomicU32::new(0),
            max: max.unwrap_or(default),
        };
        Self {
            connections: counter(limits.max_connections, 1024),
            pending: counter(limits.max_pending, 1024),
            requests: counter(limits.max_requests, 1024),
            retries: counter(limits.max_retries, 3),
            waiting: Waiting::default(),
        }
    }

    /// How many requests one network may hold up, which is one in so many `parts` and one at least. Where requests wait for a
    /// connection: of those that all connections carry, `streams` each. Where it is busy: of those that may be under way. None
    /// where nobody is in need.
    pub(crate) fn share(&self, parts: u32, streams: u32) -> Option<u32> {
        let whole = if self.is_short() {
            self.requests
                .max
                .min(self.connections.max.saturating_mul(streams))
        } else if self.is_busy() {
            self.requests.max
        } else {
            return None;
        };
        Some((whole / parts).max(1))
    }

    /// Whether half of the requests that may be under way are, or half of the connections that may be open.
    fn is_busy(&self) -> bool {
        let half = |counter: &Counter| counter.now.load(Ordering::Relaxed) >= counter.max / 2;
        half(&self.requests) || half(&self.connections)
    }

    /// Whether requests wait for a connection of which there are as many as may be.
    pub(crate) fn is_short(&self) -> bool {
        self.is_awaited() && self.connections() >= self.connections.max
    }

    /// Whether requests wait for a connection though there may be more.
    pub(crate) fn has_room(&self) -> bool {
        self.is_awaited() && self.connections() < self.connections.max
    }

    fn is_awaited(&self) -> bool {
        self.pending.now.load(Ordering::Relaxed) > 0
    }

    /// Open connections.
    pub(crate) fn connections(&self) -> u32 {
        self.connections.now.load(Ordering::Relaxed)
    }

    /// Counts a request that waits for a connection; none when as many do as may, and those from where it comes are no fewer
    /// than others.
    pub(crate) fn wait(self: &Arc<Self>, origin: Origin) -> Option<Wait> {
        let few = self.waiting.enter(origin, self.pending.max);
        let permit = self.permit(Resource::Pending);
        let permit = permit.or_else(|| few.then(|| self.force(Resource::Pending)));
        if permit.is_none() {
            self.waiting.leave(origin);
        }
        permit.map(|permit| Wait { permit, origin })
    }

    /// Counts a use; none when its breaker is open.
    pub(crate) fn permit(self: &Arc<Self>, resource: Resource) -> Option<Permit> {
        self.counter(resource).take(false).then(|| self.counted(resource))
    }

    /// Counts a use even beyond the limit.
    pub(crate) fn force(self: &Arc<Self>, resource: Resource) -> Permit {
        self.counter(resource).take(true);
        self.counted(resource)
    }

    fn counted(self: &Arc<Self>, resource: Resource) -> Permit {
        Permit {
            limits: Arc::clone(self),
            resource,
        }
    }

    const fn counter(&self, resource: Resource) -> &Counter {
        match resource {
            Resource::Connection => &self.connections,
            Resource::Pending => &self.pending,
            Resource::Request => &self.requests,
            Resource::Retry => &self.retries,
        }
    }
}

impl Counter {
    fn take(&self, force: bool) -> bool {
        if self.now.fetch_add(1, Ordering::Relaxed) < self.max || force {
            return true;
        }
        self.now.fetch_sub(1, Ordering::Relaxed);
        false
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.permit.limits.waiting.leave(self.origin);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.limits
            .counter(self.resource)
            .now
            .fetch_sub(1, Ordering::Relaxed);
    }
}
