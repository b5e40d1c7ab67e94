//! The adapter's table of contents: key material, store, publication, sources that are read, discovery server, admin, sources
//! that are asked, and the way down.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic_health::pb::health_server::HealthServer;
use trireme_config::{ALLOW_DEFAULT_CREDENTIALS, AccessLogs, AdapterEnv, Config, Env, ProcessEnv};
use trireme_project::Limits;
use trireme_shell::{Condition, Readiness, bound};
use trireme_telemetry::Metrics;
use trireme_tls::{ClientAuth, Material, TlsError, generated};
use trireme_translate::{names, system};
use trireme_xds::server::{self, Cache, UnknownType};

use crate::admin::{Facts, Told};
use crate::catalogue::{self, Catalogue};
use crate::health::Probe;
use crate::publish::data::{self, SetPublisher};
use crate::publish::{Base, Publisher};
use crate::rest::{Auth, Management, Tokens};
use crate::settings;
use crate::source::Sources;
use crate::source::folder::Folder;
use crate::status::Statuses;
use crate::store::{Store, StoreError};
use crate::{event, groups, resources};

/// What the process is called.
pub(crate) const NAME: &str = "trireme-adapter";
/// How long what is under way may take once the process is told to stop: a deploy waits for its peers for eight seconds.
const DRAIN_BOUND: Duration = Duration::from_secs(10);
/// Tenant of a user name that names none.
const DEFAULT_ORGANIZATION: &str = "carbon.super";
/// Folder for the store below the process's home when no state folder is named.
const STATE: &str = "state";

/// Everything the adapter is told at start.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The configuration.
    pub config: Config,
    /// The router's access log.
    pub access_logs: AccessLogs,
    /// Its own variables.
    pub env: AdapterEnv,
    /// All variables, for the overrides of single APIs.
    pub variables: Env,
}

/// Why the adapter doesn't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A port can't be had.
    #[error("can't listen on {address}")]
    Bind {
        /// Where.
        address: SocketAddr,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// The addresses can't be written down.
    #[error("the file of bound addresses can't be written")]
    BoundFile(#[source] io::Error),
    /// The store can't be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Own key material can't be used.
    #[error("key material")]
    Tls(#[source] TlsError),
}

/// A running adapter.
#[derive(Debug)]
pub struct Running {
    /// Where routers and enforcers connect.
    pub xds: SocketAddr,
    /// Where the management API is, when it's enabled.
    pub rest: Option<SocketAddr>,
    /// Where the admin port is.
    pub admin: SocketAddr,
    cache: Cache,
    store: Store,
    not_draining: Condition,
    /// Cancelled first: nothing new is taken.
    drain: CancellationToken,
    /// Cancelled last.
    stop: CancellationToken,
    /// What takes changes; ends before `tasks`, so that a change that was stored is published.
    front: TaskTracker,
    tasks: TaskTracker,
    _watch: trireme_tls::Watch,
}

/// Starts the adapter and returns once every port is bound and what the store holds is published. Peers that connect while it
/// is read wait for it.
///
/// # Errors
/// When key material or the store can't be used, or a port can't be had.
pub async fn build(setup: Setup) -> Result<Running, StartError> {
    let Setup {
        mut config,
        access_logs,
        env,
        variables,
    } = setup;
    let stop = CancellationToken::new();
    let drain = stop.child_token();
    let (front, tasks) = (TaskTracker::new(), TaskTracker::new());
    let abandoned = stop.clone().drop_guard();

    let folder = state_folder(&env.process);
    let (tls, stead) = own_keys(&mut config, &folder).map_err(StartError::Tls)?;
    let material = Material::load(tls).map_err(StartError::Tls)?;
    let watch = material.watch().map_err(StartError::Tls)?;

    let xds_listener = listen(env.xds_bind).await?;
    let admin_listener = listen(env.admin_bind).await?;
    let rest_bind = env
        .rest_bind
        .unwrap_or((config.adapter.server.host, config.adapter.server.port).into());
    let rest_listener = if config.adapter.server.enabled {
        Some(listen(rest_bind).await?)
    } else {
        None
    };
    let address = |listener: &TcpListener| listener.local_addr().map_err(StartError::BoundFile);
    let (xds, admin) = (address(&xds_listener)?, address(&admin_listener)?);
    let rest = rest_listener.as_ref().map(address).transpose()?;

    // Before the projects are read: who starts the others needs nothing but the addresses, and their last good snapshots serve
    // in the meantime.
    if let Some(path) = &env.process.bound_file {
        let addresses = [("xds", xds), ("admin", admin)];
        let addresses = addresses.into_iter().chain(rest.map(|address| ("rest", address)));
        bound::write(path, addresses).map_err(StartError::BoundFile)?;
    }

    let store = Store::open(&folder).await?;
    if let Some(reason) = store.volatile() {
        tracing::warn!(
            reason,
            "no durable store: what is deployed is forgotten at the next start"
        );
    }
    let translation = settings::translation(&config);
    let cache = Cache::default();
    let statuses = Statuses::new(cache.clone());
    let labels = labels(&config);
    let (mut publisher, submitter) = Publisher::new(
        cache.clone(),
        statuses.clone(),
        base(&config, &access_logs, &translation),
        labels,
    );
    let limits = Limits::default();
    let loaded = Catalogue::load(
        store.clone(),
        catalogue::Settings {
            organization: organization(&config).to_owned(),
            vhosts: environments(&config),
            limits: limits.clone(),
            consul: config.adapter.consul.enabled,
            env: variables,
            translation: translation.clone(),
        },
        statuses.clone(),
        submitter,
    )
    .await?;
    let catalogue = loaded.catalogue;
    publisher.seed(loaded.changes);
    let (mut told, enforcers) = SetPublisher::new(data::CONFIG, cache.clone(), statuses.clone());
    enforcers.put(resources::config(&settings::enforcer(&config)));
    told.open();
    tasks.spawn(told.run(stop.clone()));
    publisher.seal();
    tasks.spawn(publisher.run(stop.clone()));

    // Before anybody may ask: with an empty store, a peer would be told that there is nothing and drop what it serves.
    let sources = Sources::new(catalogue.clone(), front.clone(), drain.clone());
    if !config.control_plane.enabled {
        let folder = config.adapter.artifacts_directory.join("apis");
        sources.start(Folder::new(folder, limits.clone()));
    }
    sources.ready().await;

    let rest_served = rest_listener.is_some();
    let discovery = server::service(cache.clone(), |node, wanted| {
        groups::of(node, wanted).ok_or(UnknownType)
    });
    let acceptor = material.acceptor(ClientAuth::Required, trireme_tls::GRPC_ALPN);
    let incoming = trireme_tls::serve::incoming(xds_listener, acceptor);
    let discovery = tonic::transport::Server::builder()
        .http2_keepalive_interval(Some(Duration::from_secs(300)))
        .http2_keepalive_timeout(Some(Duration::from_secs(20)))
        .add_service(HealthServer::new(Probe { rest: rest_served }))
        .add_service(discovery)
        .serve_with_incoming_shutdown(incoming, stop.clone().cancelled_owned());
    tasks.spawn(async move {
        if let Err(error) = discovery.await {
            event::rest_failed("discovery server", &error);
        }
    });

    let metrics = Metrics::new();
    metrics.collect(Facts {
        catalogue: catalogue.clone(),
        cache: cache.clone(),
        material: material.clone(),
        durable: store.volatile().is_none(),
    });
    let readiness = Readiness::default();
    let told = Told {
        catalogue: catalogue.clone(),
        cache: cache.clone(),
        refused: sources.refused(),
        statuses,
        store: readiness.condition("store"),
    };
    // Nothing that they would bring is there, and nothing else may be deployed: traffic must not come for it.
    for (enabled, name) in [
        (config.control_plane.enabled, "control plane"),
        (config.adapter.source_control.enabled, "source control"),
    ] {
        if enabled {
            tracing::warn!(
                name,
                "enabled, but not supported yet: not ready until it is switched off"
            );
            let condition = readiness.condition(name);
            condition.miss_because("not supported yet".to_owned());
        }
    }
    if let Some(reason) = store.volatile() {
        readiness.note(format!("no durable store ({reason})"));
    }
    if let Some(stead) = stead {
        readiness.note(stead.complaint());
    }
    let shown = material.clone();
    readiness.note_while(move || shown.complaint());
    let not_draining = readiness.unless("draining");
    let pages = told.pages(readiness, metrics);
    tasks.spawn(pages.serve(admin_listener, stop.clone()));

    if let Some(listener) = rest_listener {
        let server = &config.adapter.server;
        let tokens = Tokens::load(&server.token_private_key_path, server.token_ttl)
            .inspect_err(|error| event::rest_failed("access tokens", error))
            .ok();
        let users = server
            .users
            .iter()
            .map(|user| (user.username.clone(), user.password.clone()))
            .collect();
        sources.start(Management {
            listener,
            acceptor: material.acceptor(ClientAuth::None, &[b"h2", b"http/1.1"]),
            auth: guarded(
                Auth::new(users, tokens),
                rest_bind,
                env.process.allow_default_credentials,
            ),
            control_plane: config.control_plane.enabled,
            max_archive_bytes: limits.archive_bytes,
        });
    }

    tracing::info!(%xds, rest = rest.map(tracing::field::display), %admin, "listening");
    drop(abandoned.disarm());
    Ok(Running {
        xds,
        rest,
        admin,
        cache,
        store,
        not_draining,
        drain,
        stop,
        front,
        tasks,
        _watch: watch,
    })
}

impl Running {
    /// Serves until `until` completes, then drains.
    pub async fn run(self, until: impl Future<Output = ()>) {
        until.await;
        self.drain().await;
    }

    /// Stops: takes nothing new, finishes what is under way for at most ten seconds, closes streams and store.
    pub async fn drain(self) {
        tracing::info!("draining");
        let ended = tokio::time::timeout(DRAIN_BOUND, async {
            self.not_draining.miss();
            self.drain.cancel();
            self.front.close();
            self.front.wait().await;
            self.cache.close();
            self.stop.cancel();
            self.tasks.close();
            self.tasks.wait().await;
        })
        .await;
        if ended.is_err() {
            tracing::warn!("what is still open is broken off");
            self.cache.close();
            self.stop.cancel();
        }
        self.store.close().await;
        tracing::info!("stopped");
    }
}

/// The folder for what outlives the process.
pub(crate) fn state_folder(env: &ProcessEnv) -> PathBuf {
    env.state_dir.clone().unwrap_or_else(|| env.home.join(STATE))
}

/// The own key pair and who is trusted. One that is made for want of a mounted one takes its place wherever it is named.
fn own_keys(
    config: &mut Config,
    folder: &Path,
) -> Result<(trireme_tls::Settings, Option<generated::Stead>), TlsError> {
    let mut tls = trireme_tls::Settings {
        key: config.adapter.keystore.key_path.clone(),
        certificate: config.adapter.keystore.cert_path.clone(),
        trust: vec![config.adapter.truststore.location.clone()],
        ..Default::default()
    };
    let stead = generated::instead_of(&tls.key, &tls.certificate, NAME, Some(folder))?;
    if let Some(stead) = &stead {
        stead.stand_in(&mut tls);
        for path in [
            &mut config.router.keystore.key_path,
            &mut config.router.keystore.cert_path,
            &mut config.adapter.server.token_private_key_path,
        ] {
            *path = stead.file(path).to_owned();
        }
    }
    Ok((tls, stead))
}

/// Who may call, less the login that everybody knows where others can reach the listener.
fn guarded(auth: Auth, address: SocketAddr, allowed: bool) -> Auth {
    if address.ip().is_loopback() || !auth.has_defaults() {
        return auth;
    }
    if allowed {
        tracing::warn!(
            %address,
            "the management API takes the default password of adapter.server.users, as {ALLOW_DEFAULT_CREDENTIALS} says: \
             for trials only"
        );
        return auth;
    }
    tracing::warn!(
        %address,
        "the management API refuses the default password of adapter.server.users: set another one, or \
         {ALLOW_DEFAULT_CREDENTIALS}=true for a trial"
    );
    auth.refusing_defaults()
}

/// Organization of projects that name none: what follows the last `@` in the control plane's user, even without one.
fn organization(config: &Config) -> &str {
    let user = &config.control_plane.username;
    user.rsplit_once('@')
        .map(|(_, tenant)| tenant)
        .filter(|tenant| !tenant.is_empty())
        .unwrap_or(DEFAULT_ORGANIZATION)
}

/// Labels that are complete from the start. A router of one that isn't waits until something is deployed to it.
fn labels(config: &Config) -> BTreeSet<String> {
    let mut labels: BTreeSet<String> = environments(config).into_keys().collect();
    labels.extend(config.control_plane.environment_labels.iter().cloned());
    labels.insert(names::DEFAULT_LABEL.to_owned());
    labels
}

/// Default virtual host of each environment that may be deployed to.
fn environments(config: &Config) -> std::collections::BTreeMap<String, String> {
    let mut vhosts: std::collections::BTreeMap<String, String> = config
        .adapter
        .vhost_mapping
        .iter()
        .map(|mapping| (mapping.environment.clone(), mapping.vhost.clone()))
        .collect();
    if vhosts.is_empty() {
        vhosts.insert(names::DEFAULT_LABEL.to_owned(), names::DEFAULT_VHOST.to_owned());
    }
    vhosts
}

/// What every label has.
fn base(config: &Config, log: &AccessLogs, translation: &trireme_translate::Settings) -> Base {
    Base {
        listeners: settings::listeners(config, log)
            .iter()
            .map(resources::listener)
            .collect(),
        system: resources::fragment(&system::fragment(translation)),
    }
}

async fn listen(address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| StartError::Bind { address, source })
}

#[cfg(test)]
mod tests;
