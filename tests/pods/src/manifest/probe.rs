//! Probes and hooks of a container: what they do, and when.

use std::time::Duration;

use anyhow::{bail, ensure};
use serde::Deserialize;

/// A probe: one action, and when.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Probe {
    #[serde(default)]
    exec: Option<ExecAction>,
    #[serde(default)]
    http_get: Option<HttpGet>,
    #[serde(default)]
    tcp_socket: Option<TcpSocket>,
    #[serde(default)]
    grpc: Option<GrpcAction>,
    #[serde(default)]
    initial_delay_seconds: u64,
    #[serde(default)]
    period_seconds: Option<u64>,
    #[serde(default)]
    timeout_seconds: Option<u64>,
    #[serde(default)]
    success_threshold: Option<u32>,
    #[serde(default)]
    failure_threshold: Option<u32>,
}

/// What a probe does.
#[derive(Debug, Clone, Copy)]
pub enum Action<'a> {
    /// A command in the container.
    Exec(&'a [String]),
    /// A request.
    Http(&'a HttpGet),
    /// A connection.
    Tcp(&'a Port),
}

/// A command.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExecAction {
    /// Its words; no shell.
    pub command: Vec<String>,
}

/// A request.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HttpGet {
    /// Path and query.
    #[serde(default)]
    pub path: Option<String>,
    /// Port.
    pub port: Port,
    /// `HTTP` or `HTTPS`.
    #[serde(default)]
    pub scheme: Option<String>,
    /// Headers.
    #[serde(default)]
    pub http_headers: Vec<Header>,
}

/// A header.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Header {
    /// Name.
    pub name: String,
    /// Value.
    pub value: String,
}

/// A connection.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TcpSocket {
    /// Port.
    pub port: Port,
}

/// A health check over gRPC, which Kubernetes does in plain text alone.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GrpcAction {
    #[serde(rename = "port")]
    _port: u16,
    #[serde(default, rename = "service")]
    _service: Option<String>,
}

/// A port by number or by the name that a container gives it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Port {
    /// Number.
    Number(u16),
    /// Name.
    Name(String),
}

impl Probe {
    /// What it does.
    ///
    /// # Errors
    /// Nothing, more than one thing, or one that nothing here does.
    pub fn action(&self) -> anyhow::Result<Action<'_>> {
        ensure!(
            self.grpc.is_none(),
            "a probe by gRPC is in plain text, which no port here speaks"
        );
        match (&self.exec, &self.http_get, &self.tcp_socket) {
            (Some(exec), None, None) => {
                ensure!(!exec.command.is_empty(), "no command");
                Ok(Action::Exec(&exec.command))
            }
            (None, Some(get), None) => {
                let scheme = get.scheme.as_deref().unwrap_or("HTTP");
                ensure!(matches!(scheme, "HTTP" | "HTTPS"), "scheme {scheme}");
                Ok(Action::Http(get))
            }
            (None, None, Some(socket)) => Ok(Action::Tcp(&socket.port)),
            _ => bail!("one action, no more and no less"),
        }
    }

    /// From the start of the container to the first try.
    pub fn initial_delay(&self) -> Duration {
        Duration::from_secs(self.initial_delay_seconds)
    }

    /// Between two tries.
    pub fn period(&self) -> Duration {
        Duration::from_secs(self.period_seconds.unwrap_or(10).max(1))
    }

    /// Bound on one.
    pub fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout_seconds.unwrap_or(1).max(1))
    }

    /// Successes in a row that count as one.
    pub fn success_threshold(&self) -> u32 {
        self.success_threshold.unwrap_or(1).max(1)
    }

    /// Failures in a row that count as one.
    pub fn failure_threshold(&self) -> u32 {
        self.failure_threshold.unwrap_or(3).max(1)
    }
}
