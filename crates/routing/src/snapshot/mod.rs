//! What the router serves, as plain values: made by the adapter, encoded to Envoy's messages, decoded by the router.
//!
//! Every value here is valid by construction or by [`crate::decode`]; the router never meets a generated type.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// A socket the router accepts on. Wire: `envoy.config.listener.v3.Listener` with one filter chain that holds an HTTP
/// connection manager whose routes come from the route configuration `default`.
#[derive(Debug, Clone, PartialEq)]
pub struct Listener {
    /// Resource name: `HTTPListener` or `HTTPSListener`.
    pub name: String,
    /// Address to bind.
    pub address: IpAddr,
    /// Port to bind; never 0 on the wire.
    pub port: u16,
    /// TLS settings, absent on the plain listener.
    pub tls: Option<ListenerTls>,
    /// HTTP settings.
    pub http: HttpSettings,
    /// How the enforcer is asked.
    pub check: CheckSettings,
    /// The file access log; absent when disabled.
    pub access_log: Option<AccessLog>,
}

/// Downstream TLS of a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerTls {
    /// Certificate chain: `router.keystore`, by the path of a file of the router.
    pub certificate: Pem,
    /// Private key, named like the certificate; no key travels.
    pub key: Pem,
    /// CA bundle that client certificates are verified against; client certificates are asked for, never required.
    pub client_ca: Option<Pem>,
    /// Lowest protocol version.
    pub min_version: TlsVersion,
    /// Highest protocol version.
    pub max_version: TlsVersion,
    /// OpenSSL names of the TLS 1.2 cipher suites, empty for the default set.
    pub ciphers: Vec<String>,
}

/// Where PEM material is. Wire: `envoy.config.core.v3.DataSource`, `filename` or `inline_string`.
#[derive(Clone, PartialEq, Eq)]
pub enum Pem {
    /// A file on the router.
    File(String),
    /// The text itself.
    Inline(String),
}

impl std::fmt::Debug for Pem {
    /// Keys are never printed.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Inline(text) => write!(f, "Inline({} bytes)", text.len()),
        }
    }
}

/// TLS protocol versions that are offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// TLS 1.2.
    V1_2,
    /// TLS 1.3.
    V1_3,
}

/// Connection manager settings. Zero durations mean "no limit", as in Envoy.
#[derive(Debug, Clone, PartialEq)]
pub struct HttpSettings {
    /// Whole-request timeout.
    pub request_timeout: Duration,
    /// Time to receive the request head.
    pub request_headers_timeout: Duration,
    /// Idle timeout of a stream.
    pub stream_idle_timeout: Duration,
    /// Idle timeout of a connection.
    pub idle_timeout: Duration,
    /// Take the client address from the connection and append to `x-forwarded-for`; else trust the header.
    pub use_remote_address: bool,
    /// `server` response header.
    pub server_name: String,
    /// The gateway's own errors are SOAP faults for SOAP calls.
    pub soap_errors: bool,
}

/// ext_authz settings of a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckSettings {
    /// Name of the cluster the enforcer is reached by; the router's own settings define it.
    pub cluster: String,
    /// Bound on one check.
    pub timeout: Duration,
    /// Greatest body, in bytes, that is buffered for the enforcer on routes that pass it; above it 413.
    pub max_request_bytes: u32,
}

/// The file access log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessLog {
    /// File to append to; `/dev/stdout` is the standard output.
    pub path: String,
    /// Envoy format string (text), or JSON fields by name.
    pub format: AccessLogFormat,
}

/// How an access log line is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccessLogFormat {
    /// One format string per field of a JSON object.
    Json(BTreeMap<String, String>),
    /// One format string, line break included.
    Text(String),
}

/// The routes of one API on one virtual host (or the system routes). Wire: one `RouteConfiguration`.
#[derive(Debug, Clone, PartialEq)]
pub struct Fragment {
    /// Resource name: that of the API's policy (virtual host + base path + version), or `trireme.system`.
    pub name: String,
    /// Where its routes stand among those of other fragments on the same virtual host.
    pub position: Position,
    /// Revision of the API; zero for the system routes.
    pub revision: Revision,
    /// Routes by virtual host.
    pub virtual_hosts: Vec<VirtualHost>,
}

/// Where the routes of a fragment stand on a virtual host; one part of their [`crate::order`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Position {
    /// System routes: before all others.
    System,
    /// Ordinary APIs.
    Front,
    /// Default versions: after ordinary APIs with a base path as specific as theirs.
    Back,
}

/// Generation of an API (design D5): the store it comes from, and its count in that store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Revision {
    /// Identity of the store, newer stores have greater ones.
    pub epoch: u64,
    /// Count within the store.
    pub counter: u64,
}

/// A set of hosts and the ordered routes that serve them.
#[derive(Debug, Clone, PartialEq)]
pub struct VirtualHost {
    /// Host name without port, lower case, or `*`. Wire: domains `<name>` and `<name>:*`.
    pub name: String,
    /// First full match wins.
    pub routes: Vec<Route>,
}

/// One match and what is done with it.
#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    /// The base path under which it matches, or the system path; for logs, and for the [`crate::order`] of routes, unless the
    /// pattern begins with several base paths: then each of them counts.
    pub name: String,
    /// Path condition.
    pub path: PathMatch,
    /// Methods; empty matches any. Wire: header `:method`, full-match regex `^A|B|OPTIONS$`.
    pub methods: Vec<String>,
    /// Exact header conditions (name in lower case, value). Only `x-wso2-cluster-header` occurs today.
    pub headers: Vec<(String, String)>,
    /// What is done.
    pub action: Action,
    /// What its filters are told.
    pub filters: Filters,
    /// Take request targets with two readings (design D15).
    pub allow_ambiguous_path: bool,
    /// What its operations ask of callers, so far as it is told.
    pub guard: Guard,
}

impl Route {
    /// A route for every method, without a name, that is as strict as a route can be: it is checked, and its guard is
    /// untold.
    #[must_use]
    pub fn new(path: PathMatch, action: Action) -> Self {
        Self {
            name: String::new(),
            path,
            methods: Vec::new(),
            headers: Vec::new(),
            action,
            filters: Filters::default(),
            allow_ambiguous_path: false,
            guard: Guard::default(),
        }
    }
}

/// What the filters of a route are told. One that is told nothing does nothing, but for the check.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Filters {
    /// Whether and with which context the enforcer is asked.
    pub check: Check,
    /// CORS policy; absent disables the filter. Shared, since the routes of an API mostly have the same.
    pub cors: Option<Arc<Cors>>,
    /// Local rate limit: tokens per interval; 429 beyond.
    pub limit: Option<LocalLimit>,
}

/// What the operations of a route ask of callers, for routes of one API to be compared: a path that others take for another
/// route's is refused where that one asks for something else. Nothing is decided by it, that is the enforcer's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Guard {
    /// A number that routes share which ask for the same; neither 0 nor 1. Wire: itself.
    Demand(u64),
    /// Nothing. Wire: 1.
    Open,
    /// It is not told, so it may be anything. Wire: 0.
    #[default]
    Untold,
}

/// Path condition of a route, on the path without query.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum PathMatch {
    /// The whole path.
    Exact(String),
    /// A leading part of the path.
    Prefix(String),
    /// The whole path matches the expression (RE2 syntax).
    Regex(String),
}

/// What a matched route does.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Answer without any upstream.
    Direct {
        /// Status code.
        status: u16,
        /// Body, `text/plain`.
        body: String,
    },
    /// Send upstream.
    Forward(Forward),
}

/// Where and how a request is sent upstream.
#[derive(Debug, Clone, PartialEq)]
pub struct Forward {
    /// The cluster.
    pub cluster: ClusterRef,
    /// Path rewrite; the query is kept.
    pub rewrite: Option<Rewrite>,
    /// Replace Host by the endpoint's host name (Envoy `auto_host_rewrite`).
    pub auto_host: bool,
    /// Time from the end of the request to the end of the response head; zero means no limit.
    pub timeout: Duration,
    /// Stream idle timeout; zero means no limit.
    pub idle_timeout: Duration,
    /// Retry policy.
    pub retry: Option<Retry>,
    /// Upgrade to WebSocket allowed.
    pub websocket: bool,
    /// Greatest duration of the whole stream.
    pub max_stream_duration: Option<Duration>,
}

/// Names the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClusterRef {
    /// The request header that holds the cluster's name.
    Header(String),
    /// The name itself.
    Name(String),
}

/// Path rewrite.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rewrite {
    /// The whole path becomes this.
    Path(String),
    /// RE2 pattern and substitution (`\1` references), applied to the path.
    Regex {
        /// Pattern.
        pattern: String,
        /// Substitution.
        substitution: String,
    },
}

/// Retry policy of a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retry {
    /// Retries beyond the first try.
    pub count: u32,
    /// Status codes that are retried.
    pub statuses: Vec<u16>,
    /// Base of the exponential backoff.
    pub backoff_base: Duration,
}

/// Whether the enforcer is asked. The default in the router is to ask; nothing is exempt by omission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Check {
    /// Never (system routes only). Wire: `ExtAuthzPerRoute.disabled`.
    Disabled,
    /// Always.
    Required {
        /// Opaque to the router; keys in `trireme_proto::names::context`.
        context: BTreeMap<String, String>,
        /// Buffer the body and send it along.
        with_body: bool,
    },
}

impl Default for Check {
    /// As in Envoy: a route that says nothing is checked, body and all.
    fn default() -> Self {
        Self::Required {
            context: BTreeMap::new(),
            with_body: true,
        }
    }
}

/// CORS policy of a route.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Cors {
    /// Allowed origins; literal text in which `*` stands for anything.
    pub allow_origins: Vec<String>,
    /// `access-control-allow-methods`.
    pub allow_methods: Vec<String>,
    /// `access-control-allow-headers`.
    pub allow_headers: Vec<String>,
    /// `access-control-expose-headers`.
    pub expose_headers: Vec<String>,
    /// `access-control-allow-credentials`.
    pub allow_credentials: bool,
}

/// Token bucket in the router.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LocalLimit {
    /// Requests per interval.
    pub tokens: u32,
    /// Interval.
    pub interval: Duration,
}

/// A named group of upstream addresses. Wire: `envoy.config.cluster.v3.Cluster`, type STRICT_DNS, with its load
/// assignment inside.
#[derive(Debug, Clone, PartialEq)]
pub struct Cluster {
    /// Resource name.
    pub name: String,
    /// Addresses; at least one.
    pub endpoints: Vec<Endpoint>,
    /// Time to connect, TLS included.
    pub connect_timeout: Duration,
    /// Name resolution interval.
    pub dns_refresh: Duration,
    /// Prefer the record's TTL to the interval.
    pub respect_dns_ttl: bool,
    /// Upstream protocol.
    pub protocol: UpstreamProtocol,
    /// TCP health check; only with two or more endpoints.
    pub health: Option<HealthCheck>,
    /// Limits; absent ones are Envoy's defaults.
    pub limits: ClusterLimits,
}

/// One upstream address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// 0 is preferred; the next is used when all of the lower are unhealthy.
    pub priority: u32,
    /// TLS towards this endpoint.
    pub tls: Option<UpstreamTls>,
}

/// TLS towards an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamTls {
    /// Server name for SNI; absent for addresses.
    pub sni: Option<String>,
    /// CA bundle.
    pub trust: Trust,
    /// Name or address that the certificate must hold; absent skips the check.
    pub verify_host: Option<String>,
    /// Client certificate and key that are offered.
    pub client_certificate: Option<(Pem, Pem)>,
    /// Lowest protocol version.
    pub min_version: TlsVersion,
    /// Highest protocol version.
    pub max_version: TlsVersion,
    /// OpenSSL names of the TLS 1.2 cipher suites, empty for the default set.
    pub ciphers: Vec<String>,
}

/// What an upstream certificate is verified against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// These anchors.
    Anchors(Pem),
    /// No verification (`disableSslVerification`).
    None,
}

/// Protocol towards the endpoints of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UpstreamProtocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2, with prior knowledge on plain connections.
    Http2 {
        /// HPACK table size.
        header_table_size: Option<u32>,
        /// Concurrent streams.
        max_streams: Option<u32>,
    },
}

/// Active TCP health check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthCheck {
    /// Bound on one probe.
    pub timeout: Duration,
    /// Between probes.
    pub interval: Duration,
    /// Failures until ejected.
    pub unhealthy: u32,
    /// Successes until re-admitted.
    pub healthy: u32,
}

/// Circuit breaker thresholds; Envoy's defaults are 1024, 1024, 1024 and 3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ClusterLimits {
    /// Connections.
    pub max_connections: Option<u32>,
    /// Requests that wait for a connection.
    pub max_pending: Option<u32>,
    /// Requests under way.
    pub max_requests: Option<u32>,
    /// Retries under way.
    pub max_retries: Option<u32>,
}
