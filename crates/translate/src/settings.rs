//! What the translation takes from the configuration.

use std::sync::Arc;
use std::time::Duration;

use trireme_policy::throttle;
use trireme_routing::Permitted;
use trireme_routing::snapshot::{Cors, HealthCheck, LocalLimit, Pem, TlsVersion, UpstreamProtocol};

/// All of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Global CORS policy, which an API may replace; absent when disabled.
    pub cors: Option<Arc<Cors>>,
    /// Kinds of paths with two readings that every API takes which says nothing of them itself.
    pub ambiguous_paths: Permitted,
    /// Send request bodies to the enforcer, unless the API objects.
    pub pass_payload: bool,
    /// System routes.
    pub system: System,
    /// Tiers that a project can name.
    pub tiers: Tiers,
    /// Towards the endpoints.
    pub upstream: Upstream,
}

/// Tiers that a project can name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tiers {
    /// Names of those that are defined.
    pub defined: Vec<String>,
    /// What becomes of a project that names another one.
    pub undefined: Undefined,
}

/// What becomes of a project that names a tier which isn't defined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Undefined {
    /// Nothing, as nothing is limited at all.
    Off,
    /// It is refused.
    Refused,
    /// It is told: the gateway that it is meant for may have the tier.
    Told,
    /// The tier has no limit, as in API Manager, whose tiers these are.
    Unlimited,
}

/// System routes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct System {
    /// Virtual host that carries them.
    pub host: String,
    /// `/testkey` is there.
    pub testkey: bool,
    /// `/.wellknown/jwks` is there, with that limit.
    pub jwks: Option<LocalLimit>,
}

/// Towards the endpoints.
#[derive(Debug, Clone, PartialEq)]
pub struct Upstream {
    /// Time to connect.
    pub connect_timeout: Duration,
    /// Name resolution interval.
    pub dns_refresh: Duration,
    /// Prefer the record's TTL to the interval.
    pub respect_dns_ttl: bool,
    /// Health check of clusters with more than one endpoint.
    pub health: HealthCheck,
    /// Settings of upstreams that speak HTTP/2.
    pub http2: UpstreamProtocol,
    /// Timeout of every route.
    pub route_timeout: Duration,
    /// Greatest timeout that a project may ask for.
    pub max_route_timeout: Duration,
    /// Idle timeout of every route.
    pub route_idle_timeout: Duration,
    /// Retries.
    pub retry: RetrySettings,
    /// TLS.
    pub tls: TlsSettings,
}

/// Bounds and defaults of retries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetrySettings {
    /// Greatest number of retries that a project may ask for.
    pub max_count: u32,
    /// Status codes when a project names none.
    pub statuses: Vec<u16>,
    /// Base of the backoff.
    pub backoff_base: Duration,
}

/// TLS towards the endpoints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsSettings {
    /// Lowest version.
    pub min_version: TlsVersion,
    /// Highest version.
    pub max_version: TlsVersion,
    /// TLS 1.2 cipher suites, empty for the default set.
    pub ciphers: Vec<String>,
    /// CA bundle on the router, for endpoints without a certificate in their project.
    pub trusted: String,
    /// The certificate must hold the endpoint's host.
    pub verify_host: bool,
    /// Certificates aren't verified at all.
    pub disable_verification: bool,
    /// Certificate and key that the router offers, files on the router.
    pub client_certificate: Option<(Pem, Pem)>,
}

/// A gateway as it comes: what the configuration says when nothing is written in it, but for CORS and TLS, of which nothing is
/// found in a project. For those who want to know what becomes of a project and have no gateway.
impl Default for Settings {
    fn default() -> Self {
        Self {
            cors: None,
            ambiguous_paths: Permitted::NONE,
            pass_payload: false,
            system: System::default(),
            tiers: Tiers::default(),
            upstream: Upstream::default(),
        }
    }
}

impl Default for Tiers {
    fn default() -> Self {
        Self {
            defined: throttle::built_in().into_iter().map(|tier| tier.name).collect(),
            undefined: Undefined::Refused,
        }
    }
}

impl Default for System {
    fn default() -> Self {
        Self {
            host: "localhost".to_owned(),
            testkey: true,
            jwks: None,
        }
    }
}

impl Default for Upstream {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(20),
            dns_refresh: Duration::from_secs(5),
            respect_dns_ttl: false,
            health: HealthCheck {
                timeout: Duration::from_secs(1),
                interval: Duration::from_secs(10),
                unhealthy: 2,
                healthy: 2,
            },
            http2: UpstreamProtocol::Http2 {
                header_table_size: Some(4096),
                max_streams: Some(2_147_483_647),
            },
            route_timeout: Duration::from_secs(60),
            max_route_timeout: Duration::from_secs(60),
            route_idle_timeout: Duration::from_secs(300),
            retry: RetrySettings {
                max_count: 5,
                statuses: vec![504],
                backoff_base: Duration::from_millis(25),
            },
            tls: TlsSettings {
                min_version: TlsVersion::V1_2,
                max_version: TlsVersion::V1_2,
                ciphers: Vec::new(),
                trusted: String::new(),
                verify_host: true,
                disable_verification: false,
                client_certificate: None,
            },
        }
    }
}
