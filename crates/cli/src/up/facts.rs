//! What is told once the gateway is ready.

use serde::Serialize;

/// The facts that `--json` prints, as one line.
#[derive(Debug, Serialize)]
pub(super) struct Ready<'a> {
    pub(super) ready: bool,
    pub(super) http: &'a str,
    pub(super) https: &'a str,
    pub(super) adapter: &'a str,
    pub(super) username: &'a str,
    pub(super) password: &'a str,
    pub(super) token: &'a str,
    /// The `Host` of the token service, where the address has another.
    #[serde(skip)]
    pub(super) system_host: Option<&'a str>,
    /// Scopes of the token, names separated by spaces.
    #[serde(skip)]
    pub(super) scope: &'a str,
    pub(super) sample: &'a Sample,
    pub(super) pids: Pids,
    pub(super) started_in_ms: u128,
}

/// A call that works.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Sample {
    pub(super) method: String,
    pub(super) url: String,
    /// The `Host` that it needs, where the address has another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) host: Option<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct Pids {
    pub(super) router: u32,
    pub(super) enforcer: u32,
    pub(super) adapter: u32,
}
