//! What happened to a request: one value, written to the counters and to every sink of its listener by one `Drop`, so that
//! they cannot disagree and no path, cancellation included, goes unrecorded.
//!
//! A sink says what it wants of the messages ([`Wants`], asked once when it is made) and is then handed the [`Facts`]; a new
//! one is its own file and a line in [`Sinks`].

pub(crate) mod access;
pub(crate) mod active;
mod facts;
pub(crate) mod live;
pub(crate) mod metrics;

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Version};
use tokio::time::Instant;

use self::active::Active;
pub(crate) use self::facts::{Facts, Wants};
use self::facts::{Fields, Kept};
use self::live::Live;
use self::metrics::{Shed, Tally};
use crate::enforcer::Metadata;
use crate::error::{DownstreamError, Flag};
use crate::peer::Peer;
use crate::places::{Counted, Places};

/// Where the requests of a listener are recorded, beside the counters.
#[derive(Debug, Default)]
pub(crate) struct Sinks {
    wants: Arc<Wants>,
    access: Option<access::Log>,
}

/// A request from its head to its last byte. Emitted when dropped.
#[derive(Debug)]
pub(crate) struct Completed {
    /// What is known so far.
    pub(crate) facts: Facts,
    tally: Arc<Tally>,
    sinks: Arc<Sinks>,
    /// Its body came to an end, be it by a fault.
    ended: bool,
    active: Active,
    /// Its place among those of its address, where these are counted.
    counted: Option<Counted>,
}

/// The head of a request, as far as it is recorded.
#[derive(Debug)]
pub(crate) struct Head<'a> {
    /// Method.
    pub(crate) method: &'a Method,
    /// Protocol version.
    pub(crate) version: Version,
    /// Path and query.
    pub(crate) path: Option<&'a PathAndQuery>,
    /// When it came.
    pub(crate) time: SystemTime,
}

const SERVICE_TIME: &str = "x-envoy-upstream-service-time";

// === impl Sinks ===

impl Sinks {
    /// The sinks of a listener.
    pub(crate) fn new(access: Option<access::Log>) -> Self {
        let mut wants = Wants::default();
        if let Some(log) = &access {
            wants.join(log.wants());
        }
        Self {
            wants: Arc::new(wants),
            access,
        }
    }

    /// Whether nothing is recorded but counters.
    fn is_empty(&self) -> bool {
        self.access.is_none()
    }

    fn record(&self, facts: &Facts, took: Duration) {
        if let Some(log) = &self.access {
            log.record(facts, took);
        }
    }
}

// === impl Completed ===

impl Completed {
    /// A request that has just arrived.
    pub(crate) fn begin(
        live: &Rc<Live>,
        tally: &Arc<Tally>,
        (peer, client): (&Rc<Peer>, SocketAddr),
        sinks: &Arc<Sinks>,
        head: &Head<'_>,
        active: Active,
    ) -> Self {
        tally.start();
        let kept = (!sinks.is_empty()).then(|| {
            Box::new(Kept {
                wants: Arc::clone(&sinks.wants),
                time: head.time,
                method: head.method.clone(),
                version: head.version,
                authority: HeaderValue::from_static(""),
                original_path: head
                    .path
                    .cloned()
                    .unwrap_or_else(|| PathAndQuery::from_static("/")),
                path: None,
                route: String::new(),
                request: Fields::default(),
                response: Fields::default(),
                trailers: Fields::default(),
            })
        });
        Self {
            facts: Facts {
                live: Rc::clone(live),
                peer: Rc::clone(peer),
                client,
                bodiless: false,
                status: 0,
                local: "",
                cluster: None,
                host: None,
                upstream_local: None,
                failure: None,
                attempts: 0,
                unreached: 0,
                complete: false,
                sent: None,
                upstream_time: None,
                metadata: Metadata::default(),
                kept,
            },
            tally: Arc::clone(tally),
            sinks: Arc::clone(sinks),
            ended: false,
            active,
            counted: None,
        }
    }

    /// Keeps what sinks want of the request as the gateway took it in; `bodiless` when there is nothing but its head.
    pub(crate) fn request(&mut self, authority: &HeaderValue, headers: &HeaderMap, bodiless: bool) {
        self.facts.bodiless = bodiless;
        if let Some(kept) = &mut self.facts.kept {
            kept.authority = authority.clone();
            kept.request.keep(&kept.wants.request, kept.wants.sizes, headers);
        }
    }

    /// The route that serves it.
    pub(crate) fn route(&mut self, name: &str) {
        if let Some(kept) = &mut self.facts.kept {
            name.clone_into(&mut kept.route);
        }
    }

    /// An address could not be connected to.
    pub(crate) fn unreached(&mut self, why: Box<str>) {
        let facts = &mut self.facts;
        facts.unreached += 1;
        facts.failure = Some(why);
        facts.upstream_local = None;
    }

    /// There is a connection, from our end `local`.
    pub(crate) fn reached(&mut self, local: Option<SocketAddr>) {
        self.facts.failure = None;
        self.facts.upstream_local = local;
    }

    /// It goes out, for the first time or again.
    pub(crate) fn sending(&mut self) {
        self.facts.attempts += 1;
        if self.facts.kept.is_some() {
            self.facts.sent = Some(Instant::now());
        }
    }

    /// The host it has upstream.
    pub(crate) fn renamed(&mut self, authority: &HeaderValue) {
        if let Some(kept) = &mut self.facts.kept {
            kept.authority = authority.clone();
        }
    }

    /// The path it has upstream.
    pub(crate) fn rewritten(&mut self, path: &PathAndQuery) {
        if let Some(kept) = &mut self.facts.kept {
            kept.path = Some(path.clone());
        }
    }

    /// Keeps what sinks want of the answer.
    pub(crate) fn response(&mut self, status: u16, headers: &HeaderMap) {
        let facts = &mut self.facts;
        facts.status = status;
        if let Some(kept) = &mut facts.kept {
            kept.response
                .keep(&kept.wants.response, kept.wants.sizes, headers);
            if let Some(took) = facts.upstream_time {
                kept.response.set(&kept.wants.response, SERVICE_TIME, || {
                    HeaderValue::try_from(took.as_millis().to_string()).ok()
                });
            }
        }
    }

    /// Keeps what sinks want of the trailers of the answer.
    pub(crate) fn trailers(&mut self, trailers: &HeaderMap) {
        if let Some(kept) = &mut self.facts.kept {
            kept.trailers.keep(&kept.wants.trailers, false, trailers);
        }
    }

    /// There is something for the caller to take.
    pub(crate) fn offer(&self) {
        self.facts.live.offer(|| self.active.now());
    }

    /// The body is over: `complete` when all of it went out.
    pub(crate) fn end(&mut self, complete: bool) {
        self.ended = true;
        self.facts.complete = complete;
    }

    /// It may wait that long for something to move; zero is for ever.
    pub(crate) fn allow(&self, idle: Duration) {
        self.active.allow(idle);
    }

    /// It takes a place among the requests of its address until it is over.
    ///
    /// # Errors
    /// There are `most` under way.
    pub(crate) fn count(&mut self, places: &Places, most: u32) -> Result<(), DownstreamError> {
        match places.request(self.facts.client.ip(), most) {
            Some(counted) => self.counted = Some(counted),
            None => {
                self.tally.shed(Shed::Address);
                return Err(DownstreamError::Crowded);
            }
        }
        Ok(())
    }

    /// For the counters of checks.
    pub(crate) fn tally(&self) -> &Arc<Tally> {
        &self.tally
    }
}

impl Drop for Completed {
    fn drop(&mut self) {
        let facts = &self.facts;
        if !self.ended {
            facts.live.raise(Flag::DownstreamGone);
        }
        let took = facts.live.started.elapsed();
        let bytes = (facts.live.received(), facts.live.sent());
        let flag = facts.live.flag();
        let local = (!facts.local.is_empty() || flag == Flag::DownstreamGone).then_some(flag);
        self.tally
            .finish(facts.peer.is_tls(), facts.status, local, bytes, took);
        if let Some(cluster) = facts.cluster.as_ref().filter(|_| facts.attempts > 0) {
            let status = if facts.local.is_empty() { facts.status } else { 0 };
            cluster.usage.request(status);
        }
        self.sinks.record(facts, took);
    }
}
