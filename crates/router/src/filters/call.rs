//! A request on its way through the filters.

use std::net::SocketAddr;
use std::time::SystemTime;

use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version};
use trireme_routing::{Matched, Target};

use super::limit::Buckets;
use crate::enforcer::Client;
use crate::peer::Peer;
use crate::snapshot::{Listener, Snapshot};

/// What filters see of a request, and change in it.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    /// Who is asked whether it may go on.
    pub(crate) enforcer: &'a Client,
    /// Token buckets of limited routes.
    pub(crate) buckets: &'a Buckets,
    /// Routes and clusters of the moment it came in.
    pub(crate) snapshot: &'a Snapshot,
    /// Settings of its listener.
    pub(crate) listener: &'a Listener,
    /// The other end of the connection.
    pub(crate) peer: &'a Peer,
    /// Where the caller is, which may be behind it.
    pub(crate) client: SocketAddr,
    /// The route that its own host, path, method and headers lead to.
    pub(crate) matched: Matched<'a>,
    /// Host and path, read once.
    pub(crate) target: &'a Target<'a>,
    /// Method as the caller sent it.
    pub(crate) method: Method,
    /// Of the caller's protocol.
    pub(crate) version: Version,
    /// Path in normal form, query as sent; the enforcer may replace both.
    pub(crate) path: PathAndQuery,
    /// Host and port as sent; the enforcer may replace them.
    pub(crate) authority: HeaderValue,
    /// The caller asks for another protocol.
    pub(crate) upgrade: bool,
    /// Headers that `Connection` named, and that are gone.
    pub(crate) named: Vec<HeaderName>,
    /// Without Host, hop-by-hop fields and whatever only the gateway may say.
    pub(crate) headers: HeaderMap,
    /// When it came.
    pub(crate) time: SystemTime,
}
