//! What the router must be told before it can start; everything else comes by discovery.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Where a process of ours listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Name that its certificate must hold.
    pub server_name: String,
}

/// Settings of one router process.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Node id, the gateway environment it belongs to.
    pub label: String,
    /// Node cluster.
    pub cluster: String,
    /// Name of this instance among those of one label.
    pub instance: String,
    /// The adapter's discovery port.
    pub adapter: Peer,
    /// The enforcer's authorization port.
    pub enforcer: Peer,
    /// The enforcer's utility REST port.
    pub enforcer_rest: Peer,
    /// Identity shown to the adapter, and the trust it is verified against.
    pub adapter_tls: trireme_tls::Settings,
    /// Identity shown to the enforcer, and the trust it is verified against.
    pub enforcer_tls: trireme_tls::Settings,
    /// Replaces address and port of the plain listener, which is then bound before the first snapshot.
    pub http_bind: Option<SocketAddr>,
    /// Replaces address and port of the TLS listener, which is then bound before the first snapshot.
    pub https_bind: Option<SocketAddr>,
    /// Admin port.
    pub admin_bind: SocketAddr,
    /// Threads of the data path.
    pub workers: usize,
    /// Folder for the last accepted configuration.
    pub state_dir: Option<PathBuf>,
    /// File that receives the bound addresses.
    pub bound_file: Option<PathBuf>,
    /// Where a successor finds this router, and this router the one that was here before, to hand over the listening sockets.
    pub handover: Option<PathBuf>,
    /// Drain and stop when standard input ends.
    pub exit_on_stdin_eof: bool,
    /// Bounds of the edge and of the shutdown.
    pub edge: Edge,
}

/// Bounds that no discovered resource sets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edge {
    /// Time from SIGTERM until connections that are still open are cut.
    pub drain_time: Duration,
    /// The same from the moment that a successor serves.
    pub succession_time: Duration,
    /// Connections of all listeners together; more are closed as they come.
    pub max_connections: usize,
    /// Checks of one worker that may be under way; requests that would need more are answered with 503.
    pub max_checks: usize,
    /// Time to receive a request head, and for what comes before it: a PROXY header, a TLS handshake.
    pub header_time: Duration,
    /// Time without the enforcer until `/ready` says so; at start, until connections are taken all the same.
    pub enforcer_grace: Duration,
}

impl Default for Edge {
    fn default() -> Self {
        Self {
            drain_time: Duration::from_secs(10),
            // Nobody waits for the end of the old one.
            succession_time: Duration::from_secs(600),
            max_connections: 50_000,
            // Who comes after as many would wait for seconds: it is better to hear so at once.
            max_checks: 8_192,
            header_time: Duration::from_secs(10),
            enforcer_grace: Duration::from_secs(5),
        }
    }
}

impl From<trireme_config::RouterEnv> for Settings {
    fn from(env: trireme_config::RouterEnv) -> Self {
        let peer = |peer: trireme_config::HostPort, server_name: &str| Peer {
            host: peer.host,
            port: peer.port,
            server_name: server_name.to_owned(),
        };
        let identity = |trust: PathBuf| trireme_tls::Settings {
            key: env.private_key.clone(),
            certificate: env.certificate.clone(),
            trust: vec![trust],
            ..Default::default()
        };
        let workers = env
            .process
            .workers
            .or_else(|| std::thread::available_parallelism().ok())
            .map_or(1, std::num::NonZeroUsize::get);
        Self {
            adapter_tls: identity(env.adapter_ca),
            enforcer_tls: identity(env.enforcer_ca),
            label: env.label,
            cluster: env.cluster,
            instance: env.process.instance,
            adapter: peer(env.adapter, &env.adapter_server_name),
            enforcer: peer(env.enforcer, &env.enforcer_server_name),
            enforcer_rest: peer(env.enforcer_rest, &env.enforcer_server_name),
            http_bind: env.http_bind,
            https_bind: env.https_bind,
            admin_bind: env.admin_bind,
            workers,
            handover: env.handover,
            state_dir: env.process.state_dir,
            bound_file: env.process.bound_file,
            exit_on_stdin_eof: env.process.exit_on_stdin_eof,
            edge: Edge::default(),
        }
    }
}
