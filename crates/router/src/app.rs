//! The table of contents: TLS, workers, ports, discovery, admin, in that order.

use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use trireme_proto::names::ENFORCER_REST_CLUSTER;
use trireme_routing::snapshot::{self, UpstreamProtocol};
use trireme_telemetry::Metrics;
use trireme_tls::Material;
use trireme_xds::client;

pub use crate::downstream::ports::{BindError, Bound};

use crate::admin;
use crate::cluster::{Cluster, InvalidCluster};
use crate::discovery::{self, Feed};
use crate::downstream::ports::Ports;
use crate::downstream::worker::{Command, Ready, Shared, Worker};
use crate::enforcer::Enforcer;
use crate::event::metrics::Tally;
use crate::exchange;
use crate::exporter::Exporter;
use crate::filters::Buckets;
use crate::settings::{Peer, Settings};
use crate::snapshot::Store;

/// Why the router does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The admin port cannot be bound.
    #[error("admin port cannot be bound")]
    Admin(#[source] std::io::Error),
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
    Tls(#[from] trireme_tls::TlsError),
}

/// A router that runs.
#[derive(Debug)]
pub struct Running {
    bound: watch::Receiver<Bound>,
    shared: Arc<Shared>,
    workers: Vec<Handle>,
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
/// binds what the environment fixes at once and serves when the first complete snapshot is there.
///
/// # Errors
/// [`StartError`]; nothing keeps running then.
pub async fn build(settings: Settings) -> Result<Running, StartError> {
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
    let tallies: Vec<Arc<Tally>> = (0..count).map(|_| Arc::default()).collect();
    let metrics = Metrics::new();
    metrics.collect(Exporter {
        tallies: tallies.clone(),
        store: Arc::clone(&shared.store),
        open: Arc::clone(&shared.open),
    });

    let channels: Vec<_> = (0..count).map(|_| mpsc::channel(64)).collect();
    let senders: Vec<_> = channels.iter().map(|(sender, _)| sender.clone()).collect();
    let (bound_sender, bound) = watch::channel(Bound::default());
    let ports = Ports::new(
        settings.http_bind,
        settings.https_bind,
        senders,
        bound_sender.clone(),
    )?;
    let admin_listener = TcpListener::bind(settings.admin_bind)
        .await
        .map_err(StartError::Admin)?;
    let admin_address = admin_listener.local_addr().map_err(StartError::Admin)?;
    bound_sender.send_modify(|bound| bound.admin = Some(admin_address));

    let connector = enforcer_material.connector(&[b"h2"]);
    let mut workers = Vec::with_capacity(count);
    for (index, ((sender, receiver), tally)) in channels.into_iter().zip(&tallies).enumerate() {
        let enforcer = Enforcer {
            peer: settings.enforcer.clone(),
            connector: connector.clone(),
            connect_timeout: Duration::from_secs(20),
        };
        let thread = Worker::spawn(
            index,
            Arc::clone(&shared),
            enforcer,
            Arc::clone(tally),
            receiver,
            exchange::serve,
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
    let pages = admin::pages(Arc::clone(&shared), metrics, status);
    tasks.spawn(pages.serve(admin_listener, stop.clone()));
    if let Some(path) = settings.bound_file.clone() {
        let fixed = settings.http_bind.is_some() && settings.https_bind.is_some();
        tasks.spawn(announce(path, bound.clone(), fixed));
    }
    Ok(Running {
        bound,
        shared,
        workers,
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

    /// Starts the shutdown when cancelled.
    pub fn drain_token(&self) -> CancellationToken {
        self.drain.clone()
    }

    /// Runs until the token of [`Running::drain_token`] is cancelled, then finishes what is open within the drain time.
    pub async fn run(mut self) {
        self.drain.cancelled().await;
        self.shared.ready.not_draining.miss();
        let limit = self.shared.edge.drain_time;
        info!(
            connections = self.shared.open.count(),
            limit_secs = limit.as_secs(),
            "draining"
        );
        for worker in &self.workers {
            if worker.commands.send(Command::Drain).await.is_err() {
                warn!("a worker had ended before");
            }
        }
        for Handle { commands, thread } in self.workers {
            let joined = tokio::task::spawn_blocking(move || thread.join());
            match tokio::time::timeout(limit + Duration::from_secs(5), joined).await {
                Ok(Ok(Ok(()))) => {}
                Ok(_) => warn!("a worker panicked"),
                Err(_) => warn!("a worker did not end in time"),
            }
            drop(commands);
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
