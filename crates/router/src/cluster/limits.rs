//! Circuit breakers of a cluster, counted over all workers, as in Envoy.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use trireme_routing::snapshot;

/// The circuit breakers of one cluster.
#[derive(Debug)]
pub(crate) struct Limits {
    connections: Counter,
    pending: Counter,
    requests: Counter,
    retries: Counter,
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
    /// Requests that wait for a connection.
    Pending,
    /// Requests under way.
    Request,
    /// Retries under way.
    Retry,
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
        }
    }

    /// One in so many of the requests that may be under way.
    pub(crate) const fn share(&self, parts: u32) -> u32 {
        self.requests.max / parts
    }

    /// Whether half of the requests that may be under way are, or half of the connections that may be open.
    pub(crate) fn is_busy(&self) -> bool {
        let half = |counter: &Counter| counter.now.load(Ordering::Relaxed) >= counter.max / 2;
        half(&self.requests) || half(&self.connections)
    }

    /// Open connections.
    pub(crate) fn connections(&self) -> u32 {
        self.connections.now.load(Ordering::Relaxed)
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

impl Drop for Permit {
    fn drop(&mut self) {
        self.limits
            .counter(self.resource)
            .now
            .fetch_sub(1, Ordering::Relaxed);
    }
}
