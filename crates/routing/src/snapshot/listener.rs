//! Listeners: where callers come in.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use super::tls::{Pem, TlsVersion};
use crate::caller::{Caps, Proxies};
use crate::filter::CheckSettings;

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
    /// Every connection begins with a PROXY header (version 1 or 2), which names the caller.
    pub proxy_protocol: bool,
    /// What one address may take.
    pub caps: Caps,
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
    /// Greatest size of a request head in KiB, 1 to [`HttpSettings::MAX_HEAD_KIB`].
    pub max_head_kib: u32,
    /// Add the address of the connection to `x-forwarded-for`, and make up `x-forwarded-proto` and `x-request-id` of callers
    /// from outside; else all three go upstream as they come.
    pub use_remote_address: bool,
    /// Who is believed in what `x-forwarded-for` says of the caller.
    pub proxies: Proxies,
    /// `server` response header.
    pub server_name: String,
    /// The gateway's own errors are SOAP faults for SOAP calls.
    pub soap_errors: bool,
}

impl HttpSettings {
    /// Greatest size of a request head where nothing else is said, in KiB; Envoy's own.
    pub const HEAD_KIB: u32 = 60;
    /// Greatest size of a request head that can be asked for, in KiB; Envoy's own.
    pub const MAX_HEAD_KIB: u32 = 8192;
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
