//! What both directions must agree on: names, keys and values that every resource has alike.

/// Name of the only network filter.
pub(crate) const CONNECTION_MANAGER: &str = "envoy.filters.network.http_connection_manager";
/// Name of the listener filter that reads PROXY headers.
pub(crate) const PROXY_PROTOCOL: &str = "envoy.filters.listener.proxy_protocol";
/// Name of the extension that finds the caller in `x-forwarded-for`.
pub(crate) const XFF_DETECTION: &str = "envoy.http.original_ip_detection.xff";
/// Name of the last HTTP filter.
pub(crate) const ROUTER: &str = "envoy.filters.http.router";
/// Name of the access logger.
pub(crate) const FILE_ACCESS_LOG: &str = "envoy.access_loggers.file";
/// Statistics prefix of the connection manager.
pub(crate) const STAT_PREFIX: &str = "ingress_http";
/// `router.perConnectionBufferLimitBytes` where nothing else is said.
pub(crate) const BUFFER_LIMIT: u32 = 1_048_576;
/// The only other protocol that callers may change to.
pub(crate) const WEBSOCKET: &str = "websocket";
/// The only reason to retry.
pub(crate) const RETRY_ON: &str = "retriable-status-codes";
/// Rewrites the whole path where Envoy's `prefix_rewrite` would rewrite a part of it.
pub(crate) const WHOLE_PATH: &str = "^.*$";
/// Name of the transport sockets of both sides.
pub(crate) const TLS_SOCKET: &str = "envoy.transport_sockets.tls";
/// Key under which an endpoint's metadata chooses its transport socket.
pub(crate) const SOCKET_MATCH: &str = "envoy.transport_socket_match";
/// What is compared there.
pub(crate) const SOCKET_ID: &str = "lb_id";
/// Key of the protocol options of a cluster.
pub(crate) const PROTOCOL_OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
