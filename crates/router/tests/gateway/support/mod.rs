//! A router in this process, with everything around it.

mod enforcer;
mod http;
mod pki;
mod upstream;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use trireme_proto::names::{CLUSTER_HEADER, context, type_url};
use trireme_router::app::{self, Bound, Running};
use trireme_router::settings::{Edge, Peer, Settings};
use trireme_routing::encode;
use trireme_routing::snapshot::{
    AccessLog, AccessLogFormat, Action, Caps, Check, CheckSettings, Cluster, ClusterLimits, ClusterRef,
    Endpoint, Forward, Fragment, HttpSettings, Listener, ListenerTls, PathMatch, Pem, Position, Proxies,
    Revision, Rewrite, Route, TlsVersion, UpstreamProtocol, VirtualHost,
};
use trireme_tls::{ClientAuth, Material};
use trireme_xds::Resource;
use trireme_xds::server::{Cache, Settled};

pub(crate) use enforcer::{Answer, Enforcer, Mode, allow, allow_with, deny};
pub(crate) use http::{Reply, get, http2, http2_tls, one, raw, request, send2};
pub(crate) use pki::Pki;
pub(crate) use upstream::{Arrived, Upstream, full, refused};

/// Long enough for any machine, short enough to notice.
pub(crate) const BOUND: Duration = Duration::from_secs(20);
const LABEL: &str = "test";

/// What a gateway is made of.
pub(crate) struct Setup {
    pub(crate) fragments: Vec<Fragment>,
    pub(crate) clusters: Vec<Cluster>,
    pub(crate) mode: Mode,
    pub(crate) check_timeout: Duration,
    pub(crate) max_request_bytes: u32,
    pub(crate) http: HttpSettings,
    pub(crate) proxy_protocol: bool,
    pub(crate) caps: Caps,
    pub(crate) edge: Edge,
    pub(crate) workers: usize,
    pub(crate) access_log: Option<String>,
    pub(crate) answer: Arc<Answer>,
}

/// A running router.
pub(crate) struct Gateway {
    pub(crate) bound: Bound,
    pub(crate) cache: Cache,
    pub(crate) enforcer: Enforcer,
    pub(crate) dir: TempDir,
    pub(crate) drain: CancellationToken,
    pub(crate) settings: Settings,
    run: Option<JoinHandle<()>>,
    discovery: JoinHandle<()>,
}

impl Setup {
    /// An API at `/api` with the given upstream, every request allowed.
    pub(crate) fn to(upstream: SocketAddr) -> Self {
        Self {
            fragments: vec![fragment("api", vec![api("/api", "^/api(/.*)*", r"\1")])],
            clusters: vec![cluster("up", &upstream.ip().to_string(), upstream.port())],
            mode: Mode::Stream,
            check_timeout: Duration::from_secs(10),
            max_request_bytes: 1024,
            http: HttpSettings {
                request_timeout: Duration::ZERO,
                request_headers_timeout: Duration::ZERO,
                stream_idle_timeout: Duration::from_secs(300),
                idle_timeout: Duration::from_secs(3600),
                max_head_kib: 60,
                use_remote_address: false,
                proxies: Proxies::None,
                server_name: "envoy".to_owned(),
                soap_errors: false,
            },
            proxy_protocol: false,
            caps: Caps::default(),
            edge: Edge {
                drain_time: Duration::from_secs(5),
                ..Edge::default()
            },
            workers: 2,
            access_log: None,
            answer: Arc::new(|_| Some(Ok(allow("up")))),
        }
    }

    pub(crate) fn answering(
        mut self,
        answer: impl Fn(&enforcer::Seen) -> enforcer::Outcome + Send + Sync + 'static,
    ) -> Self {
        self.answer = Arc::new(answer);
        self
    }

    pub(crate) fn routes(mut self, routes: Vec<Route>) -> Self {
        self.fragments = vec![fragment("api", routes)];
        self
    }

    fn listeners(&self, dir: &Path) -> Vec<Listener> {
        let listener = |name: &str, port, tls| Listener {
            name: name.to_owned(),
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port,
            tls,
            proxy_protocol: self.proxy_protocol,
            caps: self.caps,
            http: self.http.clone(),
            check: CheckSettings {
                cluster: "ext-authz".to_owned(),
                timeout: self.check_timeout,
                max_request_bytes: self.max_request_bytes,
            },
            access_log: self.access_log.as_ref().map(|format| AccessLog {
                path: dir.join("access.log").display().to_string(),
                format: AccessLogFormat::Text(format.clone()),
            }),
        };
        let pki = Pki::get();
        let tls = ListenerTls {
            certificate: Pem::File(pki.certificate("router").display().to_string()),
            key: Pem::File(pki.key("router").display().to_string()),
            client_ca: Some(Pem::File(pki.ca().display().to_string())),
            min_version: TlsVersion::V1_2,
            max_version: TlsVersion::V1_3,
            ciphers: Vec::new(),
        };
        vec![
            listener("HTTPListener", 9090, None),
            listener("HTTPSListener", 9095, Some(tls)),
        ]
    }

    /// Starts everything and waits until the router is ready.
    pub(crate) async fn start(self) -> Gateway {
        let gateway = self.launch().await;
        gateway.ready().await;
        gateway
    }

    /// Starts everything and waits until the router serves.
    pub(crate) async fn launch(self) -> Gateway {
        let pki = Pki::get();
        let dir = tempfile::tempdir().unwrap();
        let enforcer = Enforcer::start(self.mode, Arc::clone(&self.answer)).await;
        let cache = Cache::new();
        publish(
            &cache,
            type_url::CLUSTER,
            self.clusters
                .iter()
                .map(|c| (c.name.clone(), encode::cluster(c).value)),
        );
        publish(
            &cache,
            type_url::ROUTE,
            self.fragments
                .iter()
                .map(|f| (f.name.clone(), encode::fragment(f).value)),
        );
        let listeners = self.listeners(dir.path());
        publish(
            &cache,
            type_url::LISTENER,
            listeners
                .iter()
                .map(|l| (l.name.clone(), encode::listener(l).value)),
        );
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let adapter = listener.local_addr().unwrap();
        let incoming = trireme_tls::serve::incoming(
            listener,
            pki.material("adapter")
                .acceptor(ClientAuth::Required, trireme_tls::GRPC_ALPN),
        );
        let service = trireme_xds::server::service(cache.clone(), |_, _| Ok(LABEL.to_owned()));
        let discovery = tokio::spawn(async move {
            tonic::transport::Server::builder()
                .add_service(service)
                .serve_with_incoming(incoming)
                .await
                .unwrap();
        });
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let settings = Settings {
            label: LABEL.to_owned(),
            cluster: "default_cluster".to_owned(),
            instance: "one".to_owned(),
            adapter: peer(adapter, "adapter"),
            enforcer: peer(enforcer.address, "enforcer"),
            enforcer_rest: peer(enforcer.rest, "enforcer"),
            adapter_tls: pki.settings("router"),
            enforcer_tls: pki.settings("router"),
            http_bind: Some(any),
            https_bind: Some(any),
            admin_bind: any,
            workers: self.workers,
            state_dir: Some(dir.path().to_owned()),
            bound_file: Some(dir.path().join("bound.json")),
            handover: None,
            exit_on_stdin_eof: false,
            edge: self.edge,
        };
        let mut gateway = Gateway {
            bound: Bound::default(),
            cache,
            enforcer,
            dir,
            drain: CancellationToken::new(),
            settings,
            run: None,
            discovery,
        };
        gateway.boot().await;
        gateway
    }
}

impl Gateway {
    /// Starts the router, again if need be, and waits until it serves.
    pub(crate) async fn boot(&mut self) {
        let running = app::build(self.settings.clone()).await.unwrap();
        self.bound = tokio::time::timeout(BOUND, running.serving())
            .await
            .expect("a snapshot is served");
        self.drain = running.drain_token();
        self.run = Some(tokio::spawn(Running::run(running)));
    }

    /// Ends discovery, as if the adapter were gone.
    pub(crate) fn lose_adapter(&self) {
        self.discovery.abort();
    }

    /// Waits until the router says it is ready.
    pub(crate) async fn ready(&self) {
        eventually("the router is ready", async || {
            self.admin("/ready").await.status == 200
        })
        .await;
    }

    /// The plain port.
    pub(crate) fn http(&self) -> SocketAddr {
        self.bound.http.expect("bound")
    }

    /// The TLS port.
    pub(crate) fn https(&self) -> SocketAddr {
        self.bound.https.expect("bound")
    }

    /// Asks the admin port.
    pub(crate) async fn admin(&self, path: &str) -> Reply {
        get(self.bound.admin.expect("bound"), path).await
    }

    /// Publishes a changed fragment and waits until the router has taken it.
    pub(crate) async fn publish(&self, fragment: &Fragment, version: &str) {
        let resource = Resource::new(&fragment.name, version, encode::fragment(fragment).value);
        let version = self
            .cache
            .apply(LABEL, type_url::ROUTE, vec![resource], Vec::new());
        let settled = self.cache.settled(LABEL, type_url::ROUTE, version, BOUND).await;
        assert!(
            matches!(settled, Settled::Acked { subscribers: 1 }),
            "{settled:?}"
        );
    }

    /// Publishes a raw resource; what the router says to it.
    pub(crate) async fn publish_raw(&self, type_url: &str, name: &str, body: Vec<u8>) -> Settled {
        let version = self.cache.apply(
            LABEL,
            type_url,
            vec![Resource::new(name, "raw", body)],
            Vec::new(),
        );
        self.cache.settled(LABEL, type_url, version, BOUND).await
    }

    /// Starts the shutdown.
    pub(crate) fn begin_drain(&self) {
        self.drain.cancel();
    }

    /// Waits until the router has ended.
    pub(crate) async fn ended(&mut self) {
        let run = self.run.take().expect("started");
        tokio::time::timeout(BOUND, run)
            .await
            .expect("the router ends")
            .unwrap();
    }

    /// Lines of the access log, once there are that many.
    pub(crate) async fn log(&self, lines: usize) -> Vec<String> {
        let path = self.dir.path().join("access.log");
        eventually("the access log has its lines", async || {
            std::fs::read_to_string(&path).unwrap_or_default().lines().count() >= lines
        })
        .await;
        std::fs::read_to_string(&path)
            .unwrap()
            .lines()
            .map(str::to_owned)
            .collect()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.drain.cancel();
        self.discovery.abort();
    }
}

/// Waits for something to become true.
pub(crate) async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + BOUND;
    while !holds().await {
        assert!(
            tokio::time::Instant::now() < deadline,
            "{what}: not within {BOUND:?}"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn publish(cache: &Cache, type_url: &str, resources: impl Iterator<Item = (String, Vec<u8>)>) {
    let resources = resources
        .map(|(name, body)| Resource::new(name, "1", body))
        .collect();
    cache.apply(LABEL, type_url, resources, Vec::new());
    cache.seal(LABEL, type_url);
}

fn peer(address: SocketAddr, server_name: &str) -> Peer {
    Peer {
        host: address.ip().to_string(),
        port: address.port(),
        server_name: server_name.to_owned(),
    }
}

/// A fragment on every host.
pub(crate) fn fragment(name: &str, routes: Vec<Route>) -> Fragment {
    Fragment {
        name: name.to_owned(),
        position: Position::Front,
        revision: Revision { epoch: 1, counter: 1 },
        virtual_hosts: vec![VirtualHost {
            name: "gw.test".to_owned(),
            routes,
        }],
    }
}

/// The fragment of the system routes.
pub(crate) fn system(routes: Vec<Route>) -> Fragment {
    Fragment {
        position: Position::System,
        revision: Revision::default(),
        ..fragment(trireme_proto::names::SYSTEM_FRAGMENT, routes)
    }
}

/// A route of an API, as the adapter makes them.
pub(crate) fn api(name: &str, pattern: &str, substitution: &str) -> Route {
    let action = Action::Forward(Forward {
        cluster: ClusterRef::Header(CLUSTER_HEADER.to_owned()),
        rewrite: Some(Rewrite::Regex {
            pattern: pattern.to_owned(),
            substitution: substitution.to_owned(),
        }),
        auto_host: true,
        timeout: Duration::from_secs(60),
        idle_timeout: Duration::from_secs(300),
        retry: None,
        websocket: false,
        max_stream_duration: None,
    });
    let mut route = Route {
        name: name.to_owned(),
        methods: ["GET", "POST", "PUT", "HEAD", "DELETE", "OPTIONS"]
            .map(str::to_owned)
            .to_vec(),
        ..Route::new(PathMatch::Regex(pattern.to_owned()), action)
    };
    route.filters.check = Check::Required {
        context: BTreeMap::from(
            [
                (context::PATH, "/*"),
                (context::VHOST, "gw.test"),
                (context::BASE_PATH, "/api"),
                (context::METHOD, "GET POST"),
                (context::VERSION, "1.0.0"),
                (context::NAME, "API"),
                (context::PROD_CLUSTER, "up"),
                (context::SAND_CLUSTER, "sand"),
                (context::REVISION, "1.1"),
            ]
            .map(|(key, value)| (key.to_owned(), value.to_owned())),
        ),
        with_body: false,
    };
    route
}

/// A system route that answers by itself.
pub(crate) fn direct(path: &str, body: &str) -> Route {
    let action = Action::Direct {
        status: 200,
        body: body.to_owned(),
    };
    let mut route = Route {
        name: path.to_owned(),
        ..Route::new(PathMatch::Exact(path.to_owned()), action)
    };
    route.filters.check = Check::Disabled;
    route
}

/// Changes how a route forwards.
pub(crate) fn forwarding(mut route: Route, change: impl FnOnce(&mut Forward)) -> Route {
    if let Action::Forward(forward) = &mut route.action {
        change(forward);
    }
    route
}

/// A cluster of one plain endpoint.
pub(crate) fn cluster(name: &str, host: &str, port: u16) -> Cluster {
    Cluster {
        name: name.to_owned(),
        endpoints: vec![Endpoint {
            host: host.to_owned(),
            port,
            priority: 0,
            tls: None,
        }],
        connect_timeout: Duration::from_secs(5),
        dns_refresh: Duration::from_secs(5),
        respect_dns_ttl: false,
        protocol: UpstreamProtocol::Http1,
        health: None,
        limits: ClusterLimits::default(),
    }
}

/// Key material of a party.
pub(crate) fn material(name: &str) -> Material {
    Pki::get().material(name)
}
