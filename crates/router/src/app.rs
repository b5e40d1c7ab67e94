//! The table of contents: TLS, workers, ports, discovery, admin, in that order.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};
use trireme_proto::names::ENFORCER_REST_CLUSTER;
use trireme_routing::snapshot::{self, UpstreamProtocol};
use trireme_telemetry::Metrics;
use trireme_tls::{Material, TlsError, generated};
use trireme_xds::client;

pub use crate::downstream::handover::HandoverError;
pub use crate::downstream::ports::{BindError, Bound};

use crate::admin;
use crate::cluster::{Cluster, InvalidCluster};
use crate::discovery::{self, Feed};
use crate::downstream::gate::Gate;
use crate::downstream::handover::{self, Door, Inheritance, Predecessor, Succession};
use crate::downstream::ports::Ports;
use crate::downstream::worker::{Command, Ready, Shared, Worker};
use crate::enforcer::Enforcer;
use crate::event::metrics::Tally;
use crate::exchange::Exchange;
use crate::exporter::Exporter;
use crate::filters::Buckets;
use crate::settings::{Peer, Settings};
use crate::snapshot::Store;

/// What the process is called.
pub(crate) const NAME: &str = "trireme-router";

/// Why the router does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The admin port cannot be bound.
    #[error("admin port cannot be bound")]
    Admin(#[source] std::io::Error),
    /// A router is there and hands nothing over.
    #[error(transparent)]
    Handover(#[from] HandoverError),
    /// A port from the environment cannot be bound.
    #[error(transparent)]
    Listen(#[from] BindError),
    /// The enforcer's host name cannot be used.
    #[error("{0:?} is no host name")]
    Peer(String),
    /// A thread cannot be started.
    #[error("worker thread cannot be started")]
    Thread(#[source] std::io::Error),
    /// Certificates or keys cannot be used.
    #[error("TLS material cannot be used")]
    Tls(#[from] TlsError),
}

/// A router that runs.
#[derive(Debug)]
pub struct Running {
    bound: watch::Receiver<Bound>,
    shared: Arc<Shared>,
    workers: Vec<Handle>,
    succession: Succession,
    drain: CancellationToken,
    stop: CancellationToken,
    tasks: JoinSet<()>,
    _watches: Vec<trireme_tls::Watch>,
}

#[derive(Debug)]
struct Handle {
    commands: mpsc::Sender<Command>,
    thread: JoinHandle<()>,
}

/// Starts a router on the current runtime, which becomes its control runtime; the data path has threads of its own. It
/// binds what the environment fixes at once, or takes it over from a router that runs, and takes connections when the first
/// complete snapshot is there and the enforcer is reached.
///
/// # Errors
/// [`StartError`]; nothing keeps running then.
pub async fn build(mut settings: Settings) -> Result<Running, StartError> {
    let stead = own_keys(&mut settings)?;
    let enforcer_material = Material::load(settings.enforcer_tls.clone())?;
    let adapter_material = Material::load(settings.adapter_tls.clone())?;
    let mut watches = Vec::new();
    for material in [&enforcer_material, &adapter_material] {
        match material.watch() {
            Ok(watch) => watches.push(watch),
            Err(error) => warn!(%error, "certificates are not watched"),
        }
    }

    let count = settings.workers.max(1);
    let shared = Arc::new(Shared {
        store: Arc::new(Store::default()),
        buckets: Buckets::default(),
        edge: settings.edge.clone(),
        open: Arc::default(),
        ready: Ready::new(count),
    });
    if let Some(stead) = stead {
        shared.ready.list.note(stead.complaint());
    }
    for shown in [enforcer_material.clone(), adapter_material.clone()] {
        shared.ready.list.note_while(move || shown.complaint());
    }
    let tallies: Vec<Arc<Tally>> = (0..count).map(|_| Arc::default()).collect();
    let metrics = Metrics::new();
    trireme_shell::state::look(settings.state_dir.as_deref(), &shared.ready.list, &metrics);
    metrics.collect(Exporter {
        tallies: tallies.clone(),
        store: Arc::clone(&shared.store),
        open: Arc::clone(&shared.open),
    });

    let inheritance = match &settings.handover {
        Some(path) => handover::take(path).await?,
        None => Inheritance::default(),
    };
    let (succession, gate) = (Succession::default(), Gate::default());
    let made = Arc::<watch::Sender<()>>::default();
    let channels: Vec<_> = (0..count).map(|_| mpsc::channel(64)).collect();
    let senders: Vec<_> = channels.iter().map(|(sender, _)| sender.clone()).collect();
    let (bound_sender, bound) = watch::channel(Bound::default());
    let ports = Ports::new(
        [settings.http_bind, settings.https_bind],
        inheritance.listeners,
        senders,
        bound_sender.clone(),
        gate.clone(),
        settings.handover.is_some().then(|| succession.clone()),
    )?;
    let handed = inheritance
        .admin
        .filter(|(address, _)| *address == settings.admin_bind);
    let admin_is_shared = handed.is_some();
    let admin_listener = match handed {
        Some((_, listener)) => TcpListener::from_std(listener),
        None => TcpListener::bind(settings.admin_bind).await,
    }
    .map_err(StartError::Admin)?;
    let admin_address = admin_listener.local_addr().map_err(StartError::Admin)?;
    if settings.handover.is_some() {
        let kept = std::os::fd::AsFd::as_fd(&admin_listener).try_clone_to_owned();
        succession.keep(None, kept.map_err(StartError::Admin)?.into());
    }
    bound_sender.send_modify(|bound| bound.admin = Some(admin_address));

    let connector = enforcer_material.connector(&[b"h2"]);
    let mut workers = Vec::with_capacity(count);
    for (index, ((sender, receiver), tally)) in channels.into_iter().zip(&tallies).enumerate() {
        let enforcer = Enforcer {
            peer: settings.enforcer.clone(),
            connector: connector.clone(),
            most: settings.edge.max_checks,
            connect_timeout: Duration::from_secs(20),
            made: Arc::clone(&made),
        };
        let thread = Worker::spawn(
            index,
            Arc::clone(&shared),
            enforcer,
            Arc::clone(tally),
            receiver,
            Exchange,
        )
        .map_err(StartError::Thread)?;
        workers.push(Handle {
            commands: sender,
            thread,
        });
    }

    let (drain, stop) = (CancellationToken::new(), CancellationToken::new());
    let rest = rest_cluster(&settings.enforcer_rest, &enforcer_material)
        .map_err(|_| StartError::Peer(settings.enforcer_rest.host.clone()))?;
    let feed = Feed::new(Arc::clone(&shared), ports, vec![rest]);
    let (status_sender, status) = watch::channel(client::Status::default());
    let mut tasks = JoinSet::new();
    tasks.spawn(discover(
        &settings,
        &adapter_material,
        feed,
        status_sender,
        stop.clone(),
    ));
    let first = inheritance.predecessor.is_none();
    let begun = CancellationToken::new();
    let mut door = settings.handover;
    if first {
        begun.cancel();
        if let Some(door) = door.take().and_then(|path| door_at(&path)) {
            tasks.spawn(until(stop.clone(), succession.clone().offer(door)));
        }
    }
    let entrance = Entrance {
        shared: Arc::clone(&shared),
        gate,
        bound: bound_sender,
        door,
        succession: succession.clone(),
    };
    let opening = entrance.open(inheritance.predecessor, begun.clone());
    tasks.spawn(until(stop.clone(), opening));
    let pages = admin::pages(Arc::clone(&shared), metrics, status);
    // A successor answers for both as soon as it serves.
    let administering = {
        let (relieved, stop) = (succession.relieved().clone(), stop.clone());
        async move {
            if admin_is_shared {
                begun.cancelled().await;
            }
            until(relieved, pages.serve(admin_listener, stop)).await;
        }
    };
    tasks.spawn(until(stop.clone(), administering));
    if let Some(path) = settings.bound_file.clone() {
        let fixed = settings.http_bind.is_some() && settings.https_bind.is_some() && first;
        tasks.spawn(announce(path, bound.clone(), fixed));
    }
    Ok(Running {
        bound,
        shared,
        workers,
        succession,
        drain,
        stop,
        tasks,
        _watches: watches,
    })
}

impl Running {
    /// Addresses that are bound now. Those of the listeners may come with the first snapshot only.
    pub fn bound(&self) -> Bound {
        *self.bound.borrow()
    }

    /// Waits until the first complete snapshot is served.
    pub async fn serving(&self) -> Bound {
        let mut bound = self.bound.clone();
        // The sender lives as long as discovery runs.
        bound
            .wait_for(|bound| bound.serving)
            .await
            .map_or_else(|_| Bound::default(), |bound| *bound)
    }

    /// Whether traffic should come here: a snapshot is served, the enforcer is connected, no shutdown is under way.
    pub fn is_ready(&self) -> bool {
        self.shared.ready.list.is_ready()
    }

    /// Whether somebody is told when it drains, to start a successor; see [`crate::follow`].
    pub fn is_awaited(&self) -> bool {
        self.succession.is_awaited()
    }

    /// Starts the shutdown when cancelled.
    pub fn drain_token(&self) -> CancellationToken {
        self.drain.clone()
    }

    /// Runs until the token of [`Running::drain_token`] is cancelled, or a successor serves; then finishes what is open within
    /// the time that there is for it.
    pub async fn run(mut self) {
        const LATE: Duration = Duration::from_secs(5);
        let (told, relieved) = (self.drain.clone(), self.succession.relieved().clone());
        let at_once = self.shared.edge.drain_time;
        let limit = tokio::select! {
            () = told.cancelled() => at_once,
            () = relieved.cancelled() => self.shared.edge.succession_time,
        };
        self.shared.ready.not_draining.miss();
        info!(
            connections = self.shared.open.count(),
            limit_secs = limit.as_secs(),
            "draining"
        );
        let left_behind = self.succession.drain();
        let (workers, threads): (Vec<_>, Vec<_>) = self
            .workers
            .into_iter()
            .map(|Handle { commands, thread }| (commands, thread))
            .unzip();
        drain(&workers, limit, left_behind).await;
        let mut ended =
            tokio::task::spawn_blocking(move || threads.into_iter().all(|thread| thread.join().is_ok()));
        let ended = tokio::select! {
            ended = tokio::time::timeout(limit + LATE, &mut ended) => ended,
            // What had time has none any more.
            () = told.cancelled(), if !told.is_cancelled() => {
                drain(&workers, at_once, left_behind).await;
                tokio::time::timeout(at_once + LATE, &mut ended).await
            }
        };
        match ended {
            Ok(Ok(true)) => {}
            Ok(_) => warn!("a worker panicked"),
            Err(_) => warn!("a worker did not end in time"),
        }
        if left_behind {
            self.succession.served().await;
        }
        self.stop.cancel();
        let ended = tokio::time::timeout(Duration::from_secs(3), async {
            while let Some(ended) = self.tasks.join_next().await {
                if let Err(error) = ended
                    && error.is_panic()
                {
                    warn!(%error, "a task panicked");
                }
            }
        });
        if ended.await.is_err() {
            self.tasks.abort_all();
        }
        info!("stopped");
    }
}

async fn drain(workers: &[mpsc::Sender<Command>], limit: Duration, left_behind: bool) {
    for worker in workers {
        if worker.send(Command::Drain { limit, left_behind }).await.is_err() {
            debug!("a worker had ended before");
        }
    }
}

/// What stands between the start and the first request.
struct Entrance {
    shared: Arc<Shared>,
    gate: Gate,
    bound: watch::Sender<Bound>,
    /// Where a successor comes to, once there is no predecessor.
    door: Option<PathBuf>,
    succession: Succession,
}

impl Entrance {
    /// Lets connections in once something is served and every worker has reached the enforcer. The enforcer is waited for
    /// only so long, unless there is a predecessor that serves meanwhile; it is relieved then.
    async fn open(self, predecessor: Option<Predecessor>, begun: CancellationToken) {
        let Self {
            shared,
            gate,
            bound,
            door,
            succession,
        } = self;
        shared.ready.wait(false).await;
        let grace = shared.edge.enforcer_grace;
        let long_enough = async {
            if let Some(predecessor) = &predecessor {
                predecessor.gone().await;
            }
            tokio::time::sleep(grace).await;
        };
        tokio::select! {
            () = shared.ready.wait(true) => {}
            () = long_enough => warn!(
                waited_secs = grace.as_secs_f64(),
                "taking connections although the enforcer is not reached: requests are refused until it is"
            ),
        }
        gate.open().await;
        shared.ready.ports.meet();
        // Before anybody is told: who comes for the next one finds this door, and waits behind it.
        let door = door.and_then(|path| door_at(&path));
        bound.send_modify(|bound| bound.serving = true);
        if let Some(predecessor) = predecessor
            && predecessor.relieve().await
        {
            succession.expect();
        }
        begun.cancel();
        if let Some(door) = door {
            succession.offer(door).await;
        }
    }
}

fn door_at(path: &Path) -> Option<Door> {
    Door::open(path)
        .inspect_err(|error| warn!(%error, path = %path.display(), "no successor can take over"))
        .ok()
}

/// A key pair that is made for want of a mounted one takes its place.
fn own_keys(settings: &mut Settings) -> Result<Option<generated::Stead>, TlsError> {
    let Settings {
        adapter_tls,
        enforcer_tls,
        state_dir,
        ..
    } = settings;
    let (key, certificate) = (&adapter_tls.key, &adapter_tls.certificate);
    let stead = generated::instead_of(key, certificate, NAME, state_dir.as_deref())?;
    if let Some(stead) = &stead {
        stead.stand_in(adapter_tls);
        stead.stand_in(enforcer_tls);
    }
    Ok(stead)
}

/// Runs until it completes or the token is cancelled.
async fn until(stop: CancellationToken, task: impl Future<Output = ()>) {
    tokio::select! {
        () = task => {}
        () = stop.cancelled() => {}
    }
}

/// Subscribes to the adapter for as long as the process lives.
fn discover(
    settings: &Settings,
    material: &Material,
    feed: Feed,
    status: watch::Sender<client::Status>,
    shutdown: CancellationToken,
) -> impl Future<Output = ()> + Send + use<> {
    let Peer {
        host,
        port,
        server_name,
    } = settings.adapter.clone();
    let channel = trireme_tls::channel::channel(
        trireme_tls::channel::Target {
            host,
            port,
            server_name,
        },
        material.connector(trireme_tls::GRPC_ALPN),
    );
    let mut subscription = client::Settings::new(discovery::node(settings), discovery::TYPES.to_vec());
    subscription.last_good = settings
        .state_dir
        .as_ref()
        .map(|folder| folder.join("router.snapshot"));
    client::run(channel, subscription, feed, status, shutdown)
}

/// The enforcer's utility server, which the system routes name.
fn rest_cluster(peer: &Peer, material: &Material) -> Result<Arc<Cluster>, InvalidCluster> {
    let config = snapshot::Cluster {
        name: ENFORCER_REST_CLUSTER.to_owned(),
        endpoints: vec![snapshot::Endpoint {
            host: peer.host.clone(),
            port: peer.port,
            priority: 0,
            tls: None,
        }],
        connect_timeout: Duration::from_secs(20),
        dns_refresh: Duration::from_secs(5),
        respect_dns_ttl: false,
        protocol: UpstreamProtocol::Http1,
        health: None,
        limits: snapshot::ClusterLimits::default(),
    };
    Cluster::fixed(config, &material.connector(&[b"http/1.1"]), &peer.server_name)
}

/// Writes the bound addresses to a file whenever they change. It is written when all of them are known: at once when the
/// environment fixes them, else with the first snapshot.
async fn announce(path: PathBuf, mut bound: watch::Receiver<Bound>, fixed: bool) {
    let mut written = None;
    loop {
        let now = *bound.borrow_and_update();
        let addresses = (now.http, now.https, now.admin);
        if (fixed || now.serving) && written != Some(addresses) {
            match trireme_shell::bound::write(&path, now.addresses()) {
                Ok(()) => written = Some(addresses),
                Err(error) => warn!(%error, path = %path.display(), "bound addresses not written"),
            }
        }
        if bound.changed().await.is_err() {
            return;
        }
    }
}
