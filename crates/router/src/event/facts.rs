//! What is known of a request when it is over: plain facts, which every sink reads.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version};
use tokio::time::Instant;

use super::live::Live;
use crate::cluster::Cluster;
use crate::enforcer::Metadata;
use crate::peer::Peer;

/// One request.
#[derive(Debug)]
pub(crate) struct Facts {
    /// Shared with the bodies.
    pub(crate) live: Rc<Live>,
    /// The other end of the connection.
    pub(crate) peer: Rc<Peer>,
    /// Where the caller is, which may be behind it.
    pub(crate) client: SocketAddr,
    /// The request is its head alone.
    pub(crate) bodiless: bool,
    /// Status of the answer; 0 until there is one.
    pub(crate) status: u16,
    /// Why the answer is ours, in Envoy's words; empty while it is, or would be, the upstream's.
    pub(crate) local: &'static str,
    /// The cluster it went to.
    pub(crate) cluster: Option<Arc<Cluster>>,
    /// The address it went to.
    pub(crate) host: Option<SocketAddr>,
    /// Our end of that connection.
    pub(crate) upstream_local: Option<SocketAddr>,
    /// Why no connection could be made, the last time; absent once there is one.
    pub(crate) failure: Option<Box<str>>,
    /// How often it was sent.
    pub(crate) attempts: u32,
    /// How many addresses could not be connected to.
    pub(crate) unreached: u32,
    /// All of the answer went out.
    pub(crate) complete: bool,
    /// When it began to go upstream, the last time; known where a sink asks for anything.
    pub(crate) sent: Option<Instant>,
    /// From sending to the response head.
    pub(crate) upstream_time: Option<Duration>,
    /// What the enforcer left.
    pub(crate) metadata: Metadata,
    /// What only sinks ask for; absent where there are none.
    pub(crate) kept: Option<Box<Kept>>,
}

/// Parts of the messages that a sink asked for.
#[derive(Debug)]
pub(crate) struct Kept {
    /// What was asked for.
    pub(crate) wants: Arc<Wants>,
    /// When the request came.
    pub(crate) time: SystemTime,
    /// Method.
    pub(crate) method: Method,
    /// Protocol version.
    pub(crate) version: Version,
    /// Host, in the end that of the upstream.
    pub(crate) authority: HeaderValue,
    /// Path and query as sent.
    pub(crate) original_path: PathAndQuery,
    /// Path and query towards the upstream.
    pub(crate) path: Option<PathAndQuery>,
    /// Name of the route.
    pub(crate) route: String,
    /// Fields of the request as the gateway took it in.
    pub(crate) request: Fields,
    /// Fields of the answer.
    pub(crate) response: Fields,
    /// Fields of its trailers.
    pub(crate) trailers: Fields,
}

/// What sinks want of the messages; the union of all of a listener.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Wants {
    /// Headers of requests.
    pub(crate) request: Vec<HeaderName>,
    /// Headers of responses.
    pub(crate) response: Vec<HeaderName>,
    /// Fields of their trailers.
    pub(crate) trailers: Vec<HeaderName>,
    /// Sizes of the heads.
    pub(crate) sizes: bool,
}

/// Fields of one head or trailer section: the first value of each that was asked for, in that order.
#[derive(Debug, Default)]
pub(crate) struct Fields {
    values: Vec<Option<HeaderValue>>,
    /// Names and values of all fields, in bytes.
    pub(crate) size: Option<u64>,
}

// === impl Fields ===

impl Fields {
    /// Keeps what is wanted.
    pub(crate) fn keep(&mut self, wanted: &[HeaderName], sizes: bool, headers: &HeaderMap) {
        self.values.clear();
        self.values
            .extend(wanted.iter().map(|name| headers.get(name).cloned()));
        self.size = sizes.then(|| {
            let field = |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len();
            headers.iter().map(field).sum::<usize>() as u64
        });
    }

    /// The value of a field that was asked for.
    pub(crate) fn value(&self, wanted: &[HeaderName], name: &str) -> Option<&[u8]> {
        let at = wanted.iter().position(|known| known.as_str() == name)?;
        self.values.get(at)?.as_ref().map(HeaderValue::as_bytes)
    }

    /// Puts a value in the place of a field, where it was asked for.
    pub(crate) fn set(
        &mut self,
        wanted: &[HeaderName],
        name: &str,
        value: impl FnOnce() -> Option<HeaderValue>,
    ) {
        if let Some(at) = wanted.iter().position(|known| known.as_str() == name)
            && let Some(place) = self.values.get_mut(at)
        {
            *place = value();
        }
    }
}

// === impl Wants ===

impl Wants {
    /// Adds what another sink wants.
    pub(crate) fn join(&mut self, other: Self) {
        let Self {
            request,
            response,
            trailers,
            sizes,
        } = other;
        for (mine, theirs) in [
            (&mut self.request, request),
            (&mut self.response, response),
            (&mut self.trailers, trailers),
        ] {
            for name in theirs {
                if !mine.contains(&name) {
                    mine.push(name);
                }
            }
        }
        self.sizes |= sizes;
    }
}
