//! One thread of the data path: its own runtime, sockets, upstream connections and enforcer connection. It shares nothing
//! with the others on the way of a request but the snapshot and the circuit breakers.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use slab::Slab;
use tokio::sync::mpsc;
use tokio::task::LocalSet;
use tokio::time::{Instant, interval};
use tracing::{debug, error, warn};
use trireme_shell::{Condition, Readiness};

use super::connection::{Conn, Serve};
use super::listener::{self, Socket};
use super::streams::Untaken;
use crate::enforcer::{Client, Enforcer};
use crate::event::active::Clock;
use crate::event::metrics::Tally;
use crate::filters::Buckets;
use crate::places::Places;
use crate::settings::Edge;
use crate::snapshot::{Snapshot, Store};
use crate::upstream::pool::Pools;

/// What all workers and the control runtime share.
#[derive(Debug)]
pub(crate) struct Shared {
    /// What is served.
    pub(crate) store: Arc<Store>,
    /// Local limits.
    pub(crate) buckets: Buckets,
    /// Bounds of the edge.
    pub(crate) edge: Edge,
    /// Open downstream connections.
    pub(crate) open: Arc<Places>,
    /// Whether traffic should come here.
    pub(crate) ready: Ready,
}

/// What readiness depends on.
#[derive(Debug)]
pub(crate) struct Ready {
    /// The list of it.
    pub(crate) list: Readiness,
    /// Something is served.
    pub(crate) configuration: Condition,
    /// One for each worker: it has, or had within the grace, a connection to the enforcer.
    enforcer: Vec<Condition>,
    /// The ports are open.
    pub(crate) ports: Condition,
    /// No socket failed to listen.
    pub(crate) listening: Condition,
    /// No shutdown is under way.
    pub(crate) not_draining: Condition,
}

/// What the control runtime tells a worker.
#[derive(Debug)]
pub(crate) enum Command {
    /// Accept on a socket.
    Listen(Socket),
    /// Stop accepting on the socket of that number, and drain what it accepted.
    Unlisten(u64),
    /// Stop accepting at all, finish what is open, end. Told again, with less time to do it.
    Drain {
        /// Until connections that are still open are cut.
        limit: Duration,
        /// Another process has the sockets as well.
        left_behind: bool,
    },
}

/// One thread of the data path.
#[derive(Debug)]
pub(crate) struct Worker {
    index: usize,
    /// Shared with the others.
    pub(crate) shared: Arc<Shared>,
    /// The enforcer.
    pub(crate) check: Client,
    /// Upstream connections.
    pub(crate) pools: Pools,
    /// Counters.
    pub(crate) tally: Arc<Tally>,
    /// Open connections.
    pub(crate) connections: RefCell<Slab<Rc<Conn>>>,
    /// Accepted connections, those still in their handshake included.
    pub(crate) open: Cell<usize>,
    /// A clock that is good enough for idle times and costs nothing to read.
    pub(crate) clock: Clock,
    /// When the log last told of a connection without its PROXY header.
    told: Cell<Option<Instant>>,
    view: RefCell<View>,
    /// Since when, and for how long.
    draining: Cell<Option<(Instant, Duration)>>,
}

/// A snapshot with a count of references that is the worker's own; the inner one is shared with other threads.
pub(crate) type View = Rc<Arc<Snapshot>>;

/// How often idle connections are looked for.
const TICK: Duration = Duration::from_millis(100);
/// Between two lines of the log about the same fault of callers.
const TELLING: Duration = Duration::from_secs(60);
/// Ticks between two looks at the upstream pools.
const SWEEP: u64 = 50;

impl Ready {
    /// Nothing of it is there yet.
    pub(crate) fn new(workers: usize) -> Self {
        let list = Readiness::default();
        Self {
            configuration: list.condition("configuration"),
            enforcer: (0..workers).map(|_| list.condition("enforcer")).collect(),
            ports: list.condition("ports"),
            listening: list.unless("listening"),
            not_draining: list.unless("draining"),
            list,
        }
    }

    /// The condition of a worker's connection to the enforcer.
    fn enforcer(&self, worker: usize) -> Condition {
        let condition = self.enforcer.get(worker).cloned();
        condition.unwrap_or_else(|| self.list.condition("enforcer"))
    }

    /// Completes when something is served, and every worker has reached the enforcer if `asked` too.
    pub(crate) async fn wait(&self, asked: bool) {
        let mut changes = self.list.subscribe();
        let met = || self.configuration.is_met() && (!asked || self.enforcer.iter().all(Condition::is_met));
        while !met() {
            // The sender is in the list.
            changes.changed().await.unwrap_or_default();
        }
    }
}

impl Worker {
    /// What is served. The count of references is the worker's own, so no request writes to memory that other threads use.
    pub(crate) fn snapshot(&self) -> View {
        let current = self.shared.store.load();
        let mut view = self.view.borrow_mut();
        if !Arc::ptr_eq(&current, &view) {
            *view = Rc::new(Arc::clone(&current));
        }
        Rc::clone(&view)
    }

    /// Whether traffic should come here.
    pub(crate) fn is_ready(&self) -> bool {
        self.shared.ready.list.is_ready()
    }

    /// Whether connections are to be given up.
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.get().is_some()
    }

    /// Tells of a connection without the PROXY header that its listener wants; of one in a minute aloud.
    pub(super) fn unproxied(&self, peer: SocketAddr, reason: &str) {
        let now = Instant::now();
        if self
            .told
            .get()
            .is_some_and(|told| now.duration_since(told) < TELLING)
        {
            return debug!(%peer, reason, "no PROXY header");
        }
        self.told.set(Some(now));
        warn!(%peer, reason, "connections without a good PROXY header are closed");
    }

    /// Starts the thread, which answers requests by `exchange`. It ends after
    /// [`Command::Drain`], when the last connection is gone, or when all senders are.
    pub(crate) fn spawn(
        index: usize,
        shared: Arc<Shared>,
        enforcer: Enforcer,
        tally: Arc<Tally>,
        commands: mpsc::Receiver<Command>,
        exchange: impl Serve,
    ) -> std::io::Result<std::thread::JoinHandle<()>> {
        let reachable = shared.ready.enforcer(index);
        std::thread::Builder::new()
            .name(format!("worker-{index}"))
            .spawn(move || {
                let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                    Ok(runtime) => runtime,
                    Err(error) => {
                        error!(%error, "worker has no runtime");
                        return;
                    }
                };
                let local = LocalSet::new();
                local.block_on(&runtime, async move {
                    let worker = Rc::new(Self {
                        index,
                        told: Cell::new(None),
                        view: RefCell::new(Rc::new(Arc::clone(&shared.store.load()))),
                        shared,
                        check: Client::new(enforcer, reachable),
                        pools: Pools::default(),
                        tally,
                        connections: RefCell::default(),
                        open: Cell::new(0),
                        clock: Rc::new(Cell::new(Instant::now())),
                        draining: Cell::new(None),
                    });
                    worker.run(commands, exchange).await;
                });
            })
    }

    async fn run(self: Rc<Self>, mut commands: mpsc::Receiver<Command>, exchange: impl Serve) {
        let link = tokio::task::spawn_local(self.check.clone().run());
        let mut listeners = listener::Listeners::default();
        let mut ticks = interval(TICK);
        let mut count = 0_u64;
        loop {
            tokio::select! {
                command = commands.recv() => match command {
                    Some(Command::Listen(socket)) => listeners.open(&self, socket, exchange),
                    Some(Command::Unlisten(id)) => listeners.close(id),
                    Some(Command::Drain { limit, left_behind }) => {
                        self.drain(limit);
                        listeners.close_all(left_behind);
                    }
                    None => break,
                },
                now = ticks.tick() => {
                    self.tick(now, count);
                    count += 1;
                    if self.is_over(&listeners, now) {
                        break;
                    }
                }
            }
        }
        link.abort();
    }

    fn drain(&self, limit: Duration) {
        let now = Instant::now();
        let drain = match self.draining.get() {
            Some((since, before)) => (since, before.min(now.duration_since(since) + limit)),
            None => (now, limit),
        };
        self.draining.set(Some(drain));
        for (_, connection) in self.connections.borrow().iter() {
            connection.drain();
        }
    }

    fn tick(&self, now: Instant, count: u64) {
        self.clock.set(now);
        self.check.review(self.shared.edge.enforcer_grace);
        let snapshot = self.snapshot();
        let drain = self
            .draining
            .get()
            .map(|(since, limit)| (now.duration_since(since), limit));
        let mut untaken = Untaken::default();
        for (_, connection) in self.connections.borrow().iter() {
            connection.review(now, &snapshot, self.shared.edge.header_time, drain, &mut untaken);
        }
        untaken.relieve(self.index, now);
        self.pools.call();
        if count.is_multiple_of(SWEEP) {
            let ids: std::collections::HashSet<u64> =
                snapshot.clusters.values().map(|cluster| cluster.id).collect();
            self.pools.sweep(now, |id| ids.contains(&id));
        }
    }

    fn is_over(&self, listeners: &listener::Listeners, now: Instant) -> bool {
        let Some((since, limit)) = self.draining.get() else {
            return false;
        };
        let late = now.duration_since(since) > limit + Duration::from_secs(2);
        late || (listeners.are_closed() && self.open.get() == 0)
    }
}
