//! Clusters: where requests go.

use std::time::Duration;

use super::tls::{Pem, TlsVersion};

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
