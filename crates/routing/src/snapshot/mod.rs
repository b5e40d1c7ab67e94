//! What the router serves, as plain values: made by the adapter, encoded to Envoy's messages, decoded by the router.
//!
//! Every value here is valid by construction or by [`crate::decode`]; the router never meets a generated type.

use std::time::Duration;

pub use trireme_proto::Revision;

mod cluster;
mod listener;
mod tls;

pub use self::cluster::{
    Cluster, ClusterLimits, Endpoint, HealthCheck, Trust, UpstreamProtocol, UpstreamTls,
};
pub use self::listener::{AccessLog, AccessLogFormat, HttpSettings, Listener, ListenerTls};
pub use self::tls::{Pem, TlsVersion};
// Whatever a filter is told is part of a route or of a listener.
use crate::Permitted;
pub use crate::caller::{Caps, Proxies};
pub use crate::filter::*;

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
    /// Kinds of paths with two readings that it takes (design D15).
    pub ambiguous_paths: Permitted,
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
            ambiguous_paths: Permitted::NONE,
            guard: Guard::default(),
        }
    }
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
