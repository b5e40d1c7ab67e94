//! Upstream connections of one worker. Nothing here is shared with other threads; only the circuit breakers are.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};
use tokio::time::{Instant, timeout_at};
use trireme_routing::snapshot::UpstreamProtocol;

use super::body::RequestBody;
use super::connect::{Connection, Sender, Unreachable, connect};
use super::queue::Queue;
use crate::cluster::limits::{Limits, Resource};
use crate::cluster::{Cluster, Host};
use crate::event::metrics::Tally;
use crate::places::Origin;

/// The pools of all clusters.
#[derive(Debug, Default)]
pub(crate) struct Pools {
    clusters: RefCell<HashMap<u64, Rc<ClusterPool>>>,
}

/// The pool of one cluster.
#[derive(Debug)]
pub(crate) struct ClusterPool {
    /// Where round robin stands.
    pub(crate) cursor: Cell<usize>,
    limits: Arc<Limits>,
    hosts: RefCell<HashMap<(SocketAddr, u32), Rc<HostPool>>>,
}

/// The connections to one address.
#[derive(Debug)]
pub(crate) struct HostPool {
    idle: RefCell<Vec<Idle>>,
    shared: RefCell<Vec<Rc<Shared>>>,
    /// Connections that exist, idle or not.
    open: Cell<usize>,
    connecting: Cell<bool>,
    queue: Queue,
    limits: Arc<Limits>,
    retired: Cell<bool>,
}

#[derive(Debug)]
struct Idle {
    sender: http1::SendRequest<RequestBody>,
    local: Option<SocketAddr>,
    since: Instant,
}

/// An HTTP/2 connection.
#[derive(Debug)]
struct Shared {
    sender: http2::SendRequest<RequestBody>,
    local: Option<SocketAddr>,
    streams: Cell<u32>,
}

/// Why there is no connection to send on.
#[derive(Debug)]
pub(crate) enum Unleased {
    /// None could be made.
    Connect(Unreachable),
    /// A breaker is open.
    Overflow,
}

/// The right to send one request on a connection.
#[derive(Debug)]
pub(crate) struct Lease {
    pool: Rc<HostPool>,
    kind: Kind,
    /// Our address on it.
    pub(crate) local: Option<SocketAddr>,
    /// The connection had served a request before, so it may have gone stale meanwhile.
    pub(crate) reused: bool,
    /// The connection is not to be used again.
    last: bool,
}

#[derive(Debug)]
enum Kind {
    Http1(http1::SendRequest<RequestBody>),
    Http2(Stream),
}

#[derive(Debug)]
struct Stream {
    pool: Rc<HostPool>,
    connection: Rc<Shared>,
}

/// Idle connections are closed after this time; services commonly close theirs after 60 s and more.
const IDLE: Duration = Duration::from_secs(55);

// === impl Pools ===

impl Pools {
    /// The pool of a cluster.
    pub(crate) fn of(&self, cluster: &Cluster) -> Rc<ClusterPool> {
        let mut clusters = self.clusters.borrow_mut();
        Rc::clone(clusters.entry(cluster.id).or_insert_with(|| {
            Rc::new(ClusterPool {
                // Workers start at different places, or the first endpoint would get all first requests.
                cursor: Cell::new(fastrand::usize(..1 << 16)),
                limits: Arc::clone(&cluster.limits),
                hosts: RefCell::default(),
            })
        }))
    }

    /// Calls those who wait where there is room again: another worker has given a connection up, and cannot tell them. Where
    /// there is none and nobody here needs what is idle, makes some.
    pub(crate) fn call(&self) {
        for cluster in self.clusters.borrow().values() {
            for host in cluster.hosts.borrow().values() {
                if cluster.limits.has_room() {
                    host.queue.call_one();
                } else if cluster.limits.is_short() && host.queue.is_over() {
                    host.close_one();
                }
            }
        }
    }

    /// Drops the pools of clusters that are gone, connections that were idle for too long, and addresses that nobody is
    /// connected to: names resolve to ever new ones.
    pub(crate) fn sweep(&self, now: Instant, exists: impl Fn(u64) -> bool) {
        self.clusters.borrow_mut().retain(|id, pool| {
            let stays = exists(*id);
            pool.hosts.borrow_mut().retain(|_, host| {
                host.sweep(now);
                if !stays {
                    host.retire();
                }
                host.open.get() > 0 || Rc::strong_count(host) > 1
            });
            stays
        });
    }
}

impl ClusterPool {
    /// The pool of an address.
    pub(crate) fn host(&self, host: &Host) -> Rc<HostPool> {
        let mut hosts = self.hosts.borrow_mut();
        let pool = hosts.entry((host.address, host.priority)).or_insert_with(|| {
            Rc::new(HostPool {
                idle: RefCell::default(),
                shared: RefCell::default(),
                open: Cell::new(0),
                connecting: Cell::new(false),
                queue: Queue::default(),
                limits: Arc::clone(&self.limits),
                retired: Cell::new(false),
            })
        });
        Rc::clone(pool)
    }
}

// === impl HostPool ===

impl HostPool {
    /// A connection to send one request on: an idle one, else a new one.
    ///
    /// # Errors
    /// [`Unleased`].
    pub(crate) async fn acquire(
        self: &Rc<Self>,
        cluster: &Arc<Cluster>,
        host: &Host,
        origin: Origin,
        tally: &Tally,
    ) -> Result<Lease, Unleased> {
        let streams = cluster.streams();
        // Who waits goes first, or it would wait for as long as others come.
        let mut may_go = self.queue.is_over();
        if may_go && let Some(lease) = self.reuse(streams) {
            return Ok(lease);
        }
        let _wait = cluster.limits.wait(origin).ok_or(Unleased::Overflow)?;
        let mut in_vain = false;
        let multiplexed = matches!(cluster.config.protocol, UpstreamProtocol::Http2 { .. });
        let bound = cluster.config.connect_timeout.max(Duration::from_millis(100));
        let mut deadline = Instant::now() + bound;
        loop {
            // One handshake serves all who wait for an HTTP/2 connection.
            let permit = if !std::mem::replace(&mut may_go, true) || (multiplexed && self.connecting.get()) {
                None
            } else if self.open.get() == 0 {
                // Every worker may have one connection whatever the others hold, else it could never serve.
                Some(cluster.limits.force(Resource::Connection))
            } else {
                cluster.limits.permit(Resource::Connection)
            };
            let Some(permit) = permit else {
                let place = self.queue.join(origin, in_vain);
                if !(multiplexed && self.connecting.get()) {
                    // In the queue: as long as the request may take.
                    place.await;
                    deadline = Instant::now() + bound;
                } else if timeout_at(deadline, place).await.is_err() {
                    return Err(Unleased::Connect(Unreachable("connection timeout".into())));
                }
                if let Some(lease) = self.reuse(streams) {
                    self.pass_on(streams);
                    return Ok(lease);
                }
                in_vain = !multiplexed;
                continue;
            };
            if !multiplexed {
                self.pass_on(streams);
            }
            let _connecting = multiplexed.then(|| Connecting::start(self));
            let open = Open::new(self);
            let outcome = connect(cluster, host, (permit, open)).await;
            tally.connect(outcome.is_ok());
            return outcome
                .map(|connection| self.lease(connection))
                .map_err(Unleased::Connect);
        }
    }

    /// Calls the next if there is something for it: it may have come when somebody was called, who did not take it all.
    fn pass_on(&self, streams: u32) {
        let shared = || {
            let shared = self.shared.borrow();
            shared.iter().any(|connection| connection.streams.get() < streams)
        };
        if self.limits.has_room() || !self.idle.borrow().is_empty() || shared() {
            self.queue.call_one();
        }
    }

    fn reuse(self: &Rc<Self>, streams: u32) -> Option<Lease> {
        let mut shared = self.shared.borrow_mut();
        shared.retain(|connection| !connection.sender.is_closed());
        if let Some(connection) = shared
            .iter()
            .find(|connection| connection.streams.get() < streams)
        {
            return Some(Lease {
                pool: Rc::clone(self),
                kind: Kind::Http2(Stream::new(self, connection)),
                local: connection.local,
                reused: true,
                last: false,
            });
        }
        drop(shared);
        let mut idle = self.idle.borrow_mut();
        // The one used last is the least likely to have been closed by the peer.
        let mut at = idle.len();
        while at > 0 {
            at -= 1;
            let sender = &idle.get(at)?.sender;
            if sender.is_ready() {
                let Idle { sender, local, .. } = idle.swap_remove(at);
                return Some(Lease {
                    pool: Rc::clone(self),
                    kind: Kind::Http1(sender),
                    local,
                    reused: true,
                    last: false,
                });
            }
            if sender.is_closed() {
                idle.swap_remove(at);
            }
        }
        None
    }

    fn lease(self: &Rc<Self>, connection: Connection) -> Lease {
        let Connection { sender, local } = connection;
        let kind = match sender {
            Sender::Http1(sender) => Kind::Http1(sender),
            Sender::Http2(sender) => {
                let connection = Rc::new(Shared {
                    sender,
                    local,
                    streams: Cell::new(0),
                });
                let stream = Stream::new(self, &connection);
                self.shared.borrow_mut().push(connection);
                Kind::Http2(stream)
            }
        };
        Lease {
            pool: Rc::clone(self),
            kind,
            local,
            reused: false,
            last: false,
        }
    }

    fn sweep(&self, now: Instant) {
        self.idle
            .borrow_mut()
            .retain(|idle| !idle.sender.is_closed() && now.duration_since(idle.since) < IDLE);
        self.shared
            .borrow_mut()
            .retain(|connection| !connection.sender.is_closed());
    }

    /// Closes a connection that nobody uses: the one that is idle for the longest time, or one without a stream.
    fn close_one(&self) {
        let mut idle = self.idle.borrow_mut();
        let oldest = idle.iter().enumerate().min_by_key(|(_, idle)| idle.since);
        if let Some((at, _)) = oldest {
            idle.swap_remove(at);
            return;
        }
        let mut shared = self.shared.borrow_mut();
        let unused = shared.iter().position(|connection| connection.streams.get() == 0);
        if let Some(at) = unused {
            shared.swap_remove(at);
        }
    }

    fn retire(&self) {
        self.retired.set(true);
        self.idle.borrow_mut().clear();
        self.shared.borrow_mut().clear();
    }
}

// === impl Lease ===

impl Lease {
    /// Whether the connection speaks HTTP/2.
    pub(crate) const fn is_http2(&self) -> bool {
        matches!(self.kind, Kind::Http2(_))
    }

    /// Whether nothing else is under way to this address. That one request may be, as its connection may be open, whatever
    /// others hold.
    pub(crate) fn is_only(&self) -> bool {
        let alone = match &self.kind {
            Kind::Http1(_) => true,
            Kind::Http2(stream) => stream.connection.streams.get() == 1,
        };
        alone && self.pool.open.get() == 1
    }

    /// Sends the request; the response head.
    pub(crate) async fn send(
        &mut self,
        request: Request<RequestBody>,
    ) -> Result<Response<Incoming>, TrySendError<Request<RequestBody>>> {
        match &mut self.kind {
            Kind::Http1(sender) => sender.try_send_request(request).await,
            Kind::Http2(stream) => stream.connection.sender.clone().try_send_request(request).await,
        }
    }

    /// This exchange is the connection's last.
    pub(crate) const fn last(&mut self) {
        self.last = true;
    }

    /// The exchange is over and the connection intact.
    pub(crate) fn give_back(self) {
        let Self {
            pool,
            kind,
            local,
            last,
            ..
        } = self;
        // That of HTTP/2 calls when it is dropped.
        let Kind::Http1(sender) = kind else { return };
        // Where all connections are taken and nobody waits for one here, somebody waits on another worker.
        let elsewhere = pool.queue.is_over() && pool.limits.is_short();
        if !last && !sender.is_closed() && !pool.retired.get() && !elsewhere {
            pool.idle.borrow_mut().push(Idle {
                sender,
                local,
                since: Instant::now(),
            });
        }
        pool.queue.call_one();
    }
}

impl Stream {
    fn new(pool: &Rc<HostPool>, connection: &Rc<Shared>) -> Self {
        connection.streams.set(connection.streams.get() + 1);
        Self {
            pool: Rc::clone(pool),
            connection: Rc::clone(connection),
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.connection.streams.set(self.connection.streams.get() - 1);
        self.pool.queue.call_one();
    }
}

/// Counts a connection as long as its task runs.
#[derive(Debug)]
pub(crate) struct Open(Weak<HostPool>);

impl Open {
    fn new(pool: &Rc<HostPool>) -> Self {
        pool.open.set(pool.open.get() + 1);
        Self(Rc::downgrade(pool))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Some(pool) = self.0.upgrade() {
            pool.open.set(pool.open.get() - 1);
            pool.queue.call_one();
        }
    }
}

/// A handshake under way; whoever waits for it looks again when it is over, however it ended.
#[derive(Debug)]
struct Connecting(Rc<HostPool>);

impl Connecting {
    fn start(pool: &Rc<HostPool>) -> Self {
        pool.connecting.set(true);
        Self(Rc::clone(pool))
    }
}

impl Drop for Connecting {
    fn drop(&mut self) {
        self.0.connecting.set(false);
        self.0.queue.call_all();
    }
}

#[cfg(test)]
mod tests;
