//! What a group of endpoints sets for its upstream.

use std::time::Duration;

/// Limits and timeouts an [`EndpointCluster`](crate::EndpointCluster) sets for its upstream.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EndpointConfig {
    /// Time for one request; the configuration's maximum is applied by the adapter.
    pub timeout: Option<Duration>,
    /// Retries.
    pub retry: Option<Retry>,
    /// Thresholds; only positive ones are kept.
    pub circuit_breakers: Option<CircuitBreakers>,
}

/// Retries of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retry {
    /// Number of retries as asked for; what is out of the configured range (negative ones are [`u32::MAX`] here) means
    /// the configured maximum.
    pub count: u32,
    /// Codes to retry on, each in 401..=598; empty = the configured ones.
    pub status_codes: Vec<u16>,
}

/// Circuit breaker thresholds; absent ones have the router's defaults.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CircuitBreakers {
    /// `maxConnections`.
    pub max_connections: Option<u32>,
    /// `maxRequests`.
    pub max_requests: Option<u32>,
    /// `maxPendingRequests`.
    pub max_pending_requests: Option<u32>,
    /// `maxRetries`.
    pub max_retries: Option<u32>,
    /// `maxConnectionPools`.
    pub max_connection_pools: Option<u32>,
}
