//! What happened to a request: one value, written to the access log and the counters by one `Drop`, so that they cannot
//! disagree and no path, cancellation included, goes unrecorded.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version};
use tokio::time::Instant;
use trireme_proto::names::EXT_AUTHZ_NAMESPACE;
use trireme_telemetry::access::{AccessLog, Field, Headers, Record, Value};

use crate::connection::{Active, Peer};
use crate::error::Flag;
use crate::filters::check::Metadata;
use crate::live::Live;
use crate::metrics::Tally;
use crate::upstream::cluster::Cluster;

/// A request from its head to its last byte. Emitted when dropped.
#[derive(Debug)]
pub(crate) struct Completed {
    /// Shared with the bodies.
    pub(crate) live: Rc<Live>,
    /// Status of the answer; 0 until there is one.
    pub(crate) status: u16,
    /// The answer is ours.
    pub(crate) local: bool,
    /// The cluster it went to.
    pub(crate) cluster: Option<Arc<Cluster>>,
    /// The address it went to.
    pub(crate) host: Option<SocketAddr>,
    /// How often it was sent.
    pub(crate) attempts: u32,
    /// From sending to the response head.
    pub(crate) upstream_time: Option<Duration>,
    /// What the enforcer left.
    pub(crate) metadata: Metadata,
    tally: Arc<Tally>,
    peer: Rc<Peer>,
    line: Option<Box<Line>>,
    ended: bool,
    active: Active,
}

/// What only the access log asks for.
#[derive(Debug)]
struct Line {
    log: Arc<Log>,
    time: SystemTime,
    method: Method,
    version: Version,
    authority: HeaderValue,
    original_path: PathAndQuery,
    path: Option<PathAndQuery>,
    route: String,
    request: Vec<Option<HeaderValue>>,
    response: Vec<Option<HeaderValue>>,
}

/// An access log, with the names of what its format asks for: only that is kept of a request.
#[derive(Debug)]
pub(crate) struct Log {
    log: AccessLog,
    request: Vec<HeaderName>,
    response: Vec<HeaderName>,
    metadata: Vec<String>,
}

const SERVICE_TIME: &str = "x-envoy-upstream-service-time";

// === impl Log ===

impl Log {
    /// Finds out what the format asks for by letting it write a line about nothing.
    pub(crate) fn new(log: AccessLog, format: &trireme_telemetry::access::Format) -> Self {
        let probe = Probe::default();
        format.write(&mut Vec::new(), &probe);
        let names = |headers: Vec<String>| {
            headers
                .iter()
                .filter_map(|name| HeaderName::from_bytes(name.as_bytes()).ok())
                .collect()
        };
        Self {
            log,
            request: names(probe.request.into_inner()),
            response: names(probe.response.into_inner()),
            metadata: probe.metadata.into_inner(),
        }
    }
}

#[derive(Default)]
struct Probe {
    request: RefCell<Vec<String>>,
    response: RefCell<Vec<String>>,
    metadata: RefCell<Vec<String>>,
}

impl Record for Probe {
    fn start_time(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH
    }

    fn header(&self, from: Headers, name: &str) -> Option<&[u8]> {
        match from {
            Headers::Request => self.request.borrow_mut().push(name.to_owned()),
            Headers::Response => self.response.borrow_mut().push(name.to_owned()),
            Headers::Trailers => {}
        }
        None
    }

    fn field(&self, _: Field) -> Value<'_> {
        Value::Absent
    }

    fn metadata(&self, namespace: &str, path: &[String]) -> Value<'_> {
        if let (EXT_AUTHZ_NAMESPACE, [key]) = (namespace, path) {
            self.metadata.borrow_mut().push(key.clone());
        }
        Value::Absent
    }
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

// === impl Completed ===

impl Completed {
    /// A request that has just arrived.
    pub(crate) fn begin(
        live: &Rc<Live>,
        tally: &Arc<Tally>,
        peer: &Rc<Peer>,
        log: Option<&Arc<Log>>,
        head: &Head<'_>,
        active: Active,
    ) -> Self {
        tally.start();
        let line = log.map(|log| {
            Box::new(Line {
                log: Arc::clone(log),
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
                request: Vec::new(),
                response: Vec::new(),
            })
        });
        Self {
            live: Rc::clone(live),
            status: 0,
            local: false,
            cluster: None,
            host: None,
            attempts: 0,
            upstream_time: None,
            metadata: Metadata::default(),
            tally: Arc::clone(tally),
            peer: Rc::clone(peer),
            line,
            ended: false,
            active,
        }
    }

    /// Keeps what the log wants of the request as it goes upstream.
    pub(crate) fn request(&mut self, authority: &HeaderValue, headers: &HeaderMap) {
        if let Some(line) = &mut self.line {
            line.authority = authority.clone();
            line.request = line
                .log
                .request
                .iter()
                .map(|name| headers.get(name).cloned())
                .collect();
        }
    }

    /// The route that serves it.
    pub(crate) fn route(&mut self, name: &str) {
        if let Some(line) = &mut self.line {
            name.clone_into(&mut line.route);
        }
    }

    /// The host it has upstream.
    pub(crate) fn renamed(&mut self, authority: &HeaderValue) {
        if let Some(line) = &mut self.line {
            line.authority = authority.clone();
        }
    }

    /// The path it has upstream.
    pub(crate) fn rewritten(&mut self, path: &PathAndQuery) {
        if let Some(line) = &mut self.line {
            line.path = Some(path.clone());
        }
    }

    /// Keeps what the log wants of the answer.
    pub(crate) fn response(&mut self, status: u16, headers: &HeaderMap) {
        self.status = status;
        if let Some(line) = &mut self.line {
            line.response = line
                .log
                .response
                .iter()
                .map(|name| headers.get(name).cloned())
                .collect();
            if let Some(took) = self.upstream_time
                && let Some(at) = line
                    .log
                    .response
                    .iter()
                    .position(|name| name.as_str() == SERVICE_TIME)
                && let Some(slot) = line.response.get_mut(at)
            {
                *slot = HeaderValue::try_from(took.as_millis().to_string()).ok();
            }
        }
    }

    /// The last byte is out.
    pub(crate) fn end(&mut self) {
        self.ended = true;
    }

    /// It may wait that long for something to move; zero is for ever.
    pub(crate) fn allow(&self, idle: Duration) {
        self.active.allow(idle);
    }

    /// For the counters of checks.
    pub(crate) fn tally(&self) -> &Arc<Tally> {
        &self.tally
    }
}

impl Drop for Completed {
    fn drop(&mut self) {
        if !self.ended {
            self.live.raise(Flag::DownstreamGone);
        }
        let took = self.live.started.elapsed();
        let bytes = (self.live.received(), self.live.sent());
        let flag = self.live.flag();
        let local = (self.local || flag == Flag::DownstreamGone).then_some(flag);
        self.tally.finish(self.peer.tls, self.status, local, bytes, took);
        if let Some(cluster) = self.cluster.as_ref().filter(|_| self.attempts > 0) {
            cluster.usage.request(if self.local { 0 } else { self.status });
        }
        if let Some(line) = self.line.take() {
            let metadata = line
                .log
                .metadata
                .iter()
                .map(|key| self.metadata.text(key))
                .collect();
            line.log.log.record(&Written {
                event: self,
                line: &line,
                metadata,
                took,
            });
        }
    }
}

/// The event as the access log reads it.
struct Written<'a> {
    event: &'a Completed,
    line: &'a Line,
    metadata: Vec<Option<String>>,
    took: Duration,
}

impl Record for Written<'_> {
    fn start_time(&self) -> SystemTime {
        self.line.time
    }

    fn header(&self, from: Headers, name: &str) -> Option<&[u8]> {
        let find = |names: &[HeaderName], values: &'_ [Option<HeaderValue>]| -> Option<usize> {
            names
                .iter()
                .position(|known| known.as_str() == name)
                .filter(|at| *at < values.len())
        };
        let line = self.line;
        match (from, name) {
            (Headers::Request, ":method") => Some(line.method.as_str().as_bytes()),
            (Headers::Request, ":path") => Some(
                line.path
                    .as_ref()
                    .unwrap_or(&line.original_path)
                    .as_str()
                    .as_bytes(),
            ),
            (Headers::Request, ":authority") => Some(line.authority.as_bytes()),
            (Headers::Request, ":scheme") => Some(self.event.peer.scheme().as_bytes()),
            (Headers::Request, "x-envoy-original-path") => {
                line.path.as_ref().map(|_| line.original_path.as_str().as_bytes())
            }
            (Headers::Request, _) => {
                let at = find(&line.log.request, &line.request)?;
                line.request.get(at)?.as_ref().map(HeaderValue::as_bytes)
            }
            (Headers::Response, _) => {
                let at = find(&line.log.response, &line.response)?;
                line.response.get(at)?.as_ref().map(HeaderValue::as_bytes)
            }
            (Headers::Trailers, _) => None,
        }
    }

    fn field(&self, field: Field) -> Value<'_> {
        let event = self.event;
        let cluster = event.cluster.as_ref().map(|cluster| cluster.config.name.as_str());
        let since = |instant: Instant| instant.saturating_duration_since(event.live.started);
        match field {
            Field::BytesReceived => event.live.received().into(),
            Field::BytesSent => event.live.sent().into(),
            Field::DownstreamDirectRemoteAddress | Field::DownstreamRemoteAddress => {
                Value::Address(event.peer.address)
            }
            Field::DownstreamLocalAddress => event.peer.local.into(),
            Field::Duration => Value::Duration(self.took),
            Field::Protocol => Value::text(protocol(self.line.version)),
            Field::RequestDuration => event.live.request_done().map(since).into(),
            Field::ResponseCode => u64::from(event.status).into(),
            Field::ResponseFlags => match event.live.flag() {
                Flag::None => Value::Absent,
                flag => Value::text(flag.name()),
            },
            Field::RouteName => Value::text(&self.line.route),
            Field::UpstreamCluster => cluster.into(),
            Field::UpstreamHost | Field::UpstreamRemoteAddress => event.host.into(),
            Field::UpstreamRequestAttemptCount => u64::from(event.attempts).into(),
            _ => Value::Absent,
        }
    }

    fn metadata(&self, namespace: &str, path: &[String]) -> Value<'_> {
        let (EXT_AUTHZ_NAMESPACE, [key]) = (namespace, path) else {
            return Value::Absent;
        };
        let at = self.line.log.metadata.iter().position(|known| known == key);
        at.and_then(|at| self.metadata.get(at)?.as_deref()).into()
    }
}

/// The protocol's name, as Envoy writes it.
pub(crate) fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 | Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2",
        Version::HTTP_3 => "HTTP/3",
        _ => "HTTP/1.1",
    }
}
