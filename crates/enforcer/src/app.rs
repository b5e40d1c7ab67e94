//! The enforcer's table of contents: key material, discovery, listeners, workers, admin, and the way down.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use trireme_config::{ConfigError, EnforcerEnv, Env};
use trireme_fetch::{Client, Settings as Outside};
use trireme_proto::envoy::config::core::v3::Node;
use trireme_proto::google::protobuf::{Struct, Value, value::Kind};
use trireme_shell::{Condition, Readiness, bound};
use trireme_telemetry::Metrics;
use trireme_tls::channel::{Target, channel};
use trireme_tls::{ClientAuth, GRPC_ALPN, Material, Settings as TlsSettings, generated};
use trireme_xds::client;

use crate::admin::{self, Facts, Tallies};
use crate::check;
use crate::credential::jwks::Fetcher;
use crate::discovery::{Discovery, TYPES};
use crate::error::StartError;
use crate::event::Counters;
use crate::health::Probe;
use crate::java;
use crate::limits::{Handover, Places};
use crate::service::Service;
use crate::snapshot::Current;
use crate::utility::{Utility, rest};
use crate::worker::Worker;

/// What the process is called.
pub(crate) const NAME: &str = "trireme-enforcer";
/// How long checks in progress may take once the process is told to stop.
const DRAIN_BOUND: Duration = Duration::from_secs(10);
/// Longest wait between two attempts to reach the adapter, whatever `XDS_RETRY_PERIOD` says: what is deployed waits for it.
const MAX_BACKOFF: Duration = Duration::from_secs(1);
/// Name of the last-good file in the state folder.
const LAST_GOOD: &str = "enforcer.snapshot";

/// Everything the enforcer is told at start.
#[derive(Debug, Clone)]
pub struct Config {
    /// Its own variables.
    pub env: EnforcerEnv,
    /// All variables, for `$env{NAME}` in settings from the adapter.
    pub variables: Env,
}

impl Config {
    /// Reads the enforcer's variables.
    ///
    /// # Errors
    /// Every variable that can't be used.
    pub fn read(variables: Env) -> Result<Self, Vec<ConfigError>> {
        Ok(Self {
            env: EnforcerEnv::read(&variables)?,
            variables,
        })
    }
}

/// A running enforcer. Dropping it leaves the workers running; [`Running::drain`] ends it.
#[derive(Debug)]
pub struct Running {
    /// Where checks are answered.
    pub grpc: SocketAddr,
    /// Where test tokens and keys are.
    pub rest: SocketAddr,
    /// Where the admin port is.
    pub admin: SocketAddr,
    readiness: Readiness,
    not_draining: Condition,
    /// Cancelled first: nothing new is taken.
    drain: CancellationToken,
    /// Cancelled last: what still runs is broken off.
    stop: CancellationToken,
    tasks: TaskTracker,
    workers: Vec<JoinHandle<()>>,
    handover: Arc<Handover>,
    _watch: trireme_tls::Watch,
}

/// Starts the enforcer and returns once every port is bound. Checks are refused until settings and a first set of APIs
/// are there. Without an address for checks, their port is one of the settings, and this waits for them; dropping the
/// future gives up.
///
/// # Errors
/// When key material can't be used or a port can't be had.
pub async fn build(config: Config) -> Result<Running, StartError> {
    let Config { mut env, variables } = config;
    for variable in &env.process.ignored {
        tracing::warn!(variable, "variable has no effect");
    }
    for found in java::without_effect(&env.process.home) {
        tracing::warn!("{found}");
    }
    let metrics = Metrics::new();
    let counters = Counters::new(&metrics);
    // Callers are trusted for the certificates of the installation only, never for a public one; servers out there may
    // have a public one.
    let mut tls = TlsSettings {
        key: env.private_key.clone(),
        certificate: env.certificate.clone(),
        trust: vec![env.trust.clone()],
        ..Default::default()
    };
    let state = env.process.state_dir.as_deref();
    let stead = generated::instead_of(&tls.key, &tls.certificate, NAME, state);
    let stead = stead.map_err(StartError::Tls)?;
    if let Some(stead) = &stead {
        stead.stand_in(&mut tls);
        for path in [&mut env.opa_private_key, &mut env.opa_certificate] {
            *path = stead.file(path).to_owned();
        }
    }
    let inside = Material::load(tls).map_err(StartError::Tls)?;
    let outside = Client::new(Outside {
        trust: vec![env.trust.clone()],
        trust_system: env.trust_system,
        ..Outside::default()
    });
    let watch = inside.watch().map_err(StartError::Tls)?;

    let (drain, stop, tasks) = (
        CancellationToken::new(),
        CancellationToken::new(),
        TaskTracker::new(),
    );
    // Until the workers run, giving up must take down what was started.
    let abandoned = stop.clone().drop_guard();
    let readiness = Readiness::default();
    trireme_shell::state::look(env.process.state_dir.as_deref(), &readiness, &metrics);
    if let Some(stead) = &stead {
        readiness.note(stead.complaint());
    }
    let shown = inside.clone();
    readiness.note_while(move || shown.complaint());
    let current = Arc::new(Current::new(&readiness));
    let utility = Arc::new(Utility::default());
    let not_draining = readiness.unless("draining");

    let (status, discovery) = watch::channel(client::Status::default());
    metrics.collect(Facts {
        discovery: discovery.clone(),
        material: inside.clone(),
    });
    metrics.collect(Tallies(Arc::clone(&current)));
    let admin_listener = listen(env.admin_bind).await?;
    let rest_listener = listen(env.rest_bind).await?;
    let (admin_address, rest_address) = (address(&admin_listener)?, address(&rest_listener)?);
    let pages = admin::pages(
        readiness.clone(),
        metrics.clone(),
        Arc::clone(&current),
        discovery,
    );
    tasks.spawn(pages.serve(admin_listener, stop.clone()));

    let fetcher = Fetcher::new(Handle::current(), tasks.clone(), outside, counters.clone());
    let target = Target {
        host: env.adapter.host.clone(),
        port: env.adapter.port,
        server_name: env.adapter_server_name.clone(),
    };
    let channel = channel(target, inside.connector(GRPC_ALPN));
    let handover = Arc::new(Handover::new(env.process.state_dir.as_deref()));
    let mut seed = [0; 16];
    aws_lc_rs::rand::fill(&mut seed).map_err(|_| StartError::Random)?;
    let apply = Discovery {
        current: Arc::clone(&current),
        utility: Arc::clone(&utility),
        fetcher,
        // A store is part of the installation, and trusted as the adapter is.
        places: Places::new(
            metrics.clone(),
            seed,
            Some(inside.connector(&[])),
            Arc::clone(&handover),
        ),
        env: variables,
        stead,
        refuses_defaults: !rest_address.ip().is_loopback() && !env.process.allow_default_credentials,
        counters: counters.clone(),
    };
    tasks.spawn(client::run(
        channel,
        subscription(&env),
        apply,
        status,
        stop.clone(),
    ));

    let acceptor = inside.acceptor(ClientAuth::Required, rest::ALPN);
    let router = rest::router(utility);
    tasks.spawn(rest::serve(
        rest_listener,
        acceptor,
        router,
        drain.clone(),
        tasks.clone(),
    ));

    let bind = match env.grpc_bind {
        Some(bind) => bind,
        None => configured(&current).await?,
    };
    let count = env
        .process
        .workers
        .or_else(|| std::thread::available_parallelism().ok());
    let bound = trireme_shell::listen::bind(bind, count.map_or(1, NonZeroUsize::get)).and_then(|bound| {
        bound.1.iter().try_for_each(trireme_shell::listen::start)?;
        Ok(bound)
    });
    let (grpc_address, listeners) = bound.map_err(|source| StartError::Bind {
        address: bind,
        source,
    })?;
    // One for all, so that a session resumes on any worker.
    let acceptor = inside.acceptor(ClientAuth::Required, GRPC_ALPN);
    let mut workers = Vec::with_capacity(listeners.len());
    for (index, listener) in listeners.into_iter().enumerate() {
        let worker = Worker {
            listener,
            acceptor: acceptor.clone(),
            service: Service {
                current: Arc::clone(&current),
                counters: counters.clone(),
                stages: check::stages,
                drain: drain.clone(),
            },
            probe: Probe {
                readiness: readiness.clone(),
                drain: drain.clone(),
            },
            stop: stop.clone(),
        };
        workers.push(worker.start(index).map_err(StartError::Worker)?);
    }
    if let Some(path) = &env.process.bound_file {
        let addresses = [
            ("grpc", grpc_address),
            ("rest", rest_address),
            ("admin", admin_address),
        ];
        bound::write(path, addresses).map_err(StartError::BoundFile)?;
    }
    tracing::info!(grpc = %grpc_address, rest = %rest_address, admin = %admin_address, workers = workers.len(), "listening");
    drop(abandoned.disarm());
    Ok(Running {
        grpc: grpc_address,
        rest: rest_address,
        admin: admin_address,
        readiness,
        not_draining,
        drain,
        stop,
        tasks,
        workers,
        handover,
        _watch: watch,
    })
}

impl Running {
    /// Serves until `until` completes, then drains.
    pub async fn run(self, until: impl Future<Output = ()>) {
        until.await;
        self.drain().await;
    }

    /// Whether checks are answered.
    #[must_use]
    pub fn ready(&self) -> bool {
        self.readiness.is_ready()
    }

    /// Completes when checks are answered.
    pub async fn wait_ready(&self) {
        let mut changes = self.readiness.subscribe();
        while !self.ready() {
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// Stops: takes nothing new, answers what is there for at most ten seconds, closes everything.
    pub async fn drain(self) {
        tracing::info!("draining");
        self.not_draining.miss();
        self.drain.cancel();
        let workers = self.workers;
        let mut ended = tokio::task::spawn_blocking(move || {
            for worker in workers {
                // A worker that panicked has told so itself.
                worker.join().unwrap_or_default();
            }
        });
        let in_time = tokio::time::timeout(DRAIN_BOUND, &mut ended).await.is_ok();
        self.stop.cancel();
        if !in_time {
            tracing::warn!("checks still in progress are broken off");
            ended.await.unwrap_or_default();
        }
        self.handover.leave(SystemTime::now().into());
        self.tasks.close();
        if tokio::time::timeout(DRAIN_BOUND, self.tasks.wait())
            .await
            .is_err()
        {
            tracing::warn!("connections still open are broken off");
        }
        tracing::info!("stopped");
    }
}

/// How discovery is subscribed to.
fn subscription(env: &EnforcerEnv) -> client::Settings {
    let instance = Value {
        kind: Some(Kind::StringValue(env.process.instance.clone())),
    };
    let node = Node {
        id: env.label.clone(),
        user_agent_name: "trireme-enforcer".to_owned(),
        metadata: Some(Struct {
            fields: [("instanceIdentifier".to_owned(), instance)]
                .into_iter()
                .collect(),
        }),
        ..Node::default()
    };
    let mut settings = client::Settings::new(node, TYPES.to_vec());
    settings.last_good = env
        .process
        .state_dir
        .as_ref()
        .map(|folder| folder.join(LAST_GOOD));
    let shortest = *settings.backoff.start();
    settings.backoff = shortest..=env.retry_period.clamp(shortest, MAX_BACKOFF);
    settings
}

/// Where checks are answered when only the settings tell.
async fn configured(current: &Current) -> Result<SocketAddr, StartError> {
    let mut snapshots = current.subscribe();
    loop {
        if let Some(security) = &current.load().security {
            let port = security.settings.service.port;
            return Ok(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port));
        }
        snapshots.changed().await.map_err(|_| StartError::Stopped)?;
    }
}

async fn listen(address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| StartError::Bind { address, source })
}

fn address(listener: &TcpListener) -> Result<SocketAddr, StartError> {
    listener.local_addr().map_err(StartError::Worker)
}
