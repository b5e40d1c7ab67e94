//! The upstream side: choose an endpoint, take a connection, send, wait within bounds, try again where that is safe.

pub(crate) mod body;
pub(crate) mod connect;
mod pieces;
pub(crate) mod pool;
mod queue;
pub(crate) mod response;
mod retry;
mod timeout;

use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::uri::{Authority, Parts, Scheme};
use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri, Version};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use tokio::time::{Instant, sleep};
use tracing::debug;
use trireme_routing::snapshot::UpstreamProtocol;

use self::body::RequestBody;
use self::pool::{Lease, Pools, Unleased};
use self::response::ResponseBody;
use self::retry::{Keep, Source};
use crate::cluster::limits::{Permit, Resource};
use crate::cluster::transport::Transport;
use crate::cluster::{Cluster, Host, balance};
use crate::edge;
use crate::error::{DownstreamError, Flag, InternalError, ProxyError, UpstreamError};
use crate::event::Completed;
use crate::event::live::Live;
use crate::filters::{Admitted, Payload};
use crate::places::{Origin, network};

/// Greatest number of times a request is sent because connections turned out to be dead.
const STALE_TRIES: u32 = 3;

/// Sends an admitted request and gives the response, whose body holds on to the connection. Dropping the future gives the
/// request up: its stream is reset or its connection closed.
///
/// # Errors
/// The caller's fault when its body broke off, else the upstream's.
pub(crate) async fn send(
    pools: &Pools,
    mut admitted: Admitted,
    payload: Payload,
    event: &mut Completed,
) -> Result<Response<ResponseBody>, ProxyError> {
    let live = Rc::clone(&event.facts.live);
    let cluster = Arc::clone(&admitted.cluster);
    event.facts.cluster = Some(Arc::clone(&cluster));
    live.hold(&cluster);
    // What an upstream of HTTP/2 has not looked at may be sent again whatever the method.
    let may_go_stale =
        admitted.method.is_idempotent() || matches!(cluster.config.protocol, UpstreamProtocol::Http2 { .. });
    let keep = match (admitted.retries.count > 0, may_go_stale) {
        (true, _) => Keep::ForRetries,
        (false, true) => Keep::ForStale,
        (false, false) => Keep::Nothing,
    };
    let source = Source::new(payload, admitted.barred.take(), &live, keep);
    let expiry = pin!(timeout::expiry(&live, admitted.bounds));
    let started = Instant::now();
    let call = Call {
        pools,
        cluster: &cluster,
        live: &live,
        source,
        event,
        tried: Vec::new(),
        stale: 0,
        refused: false,
        permit: None,
    };
    let outcome = tokio::select! {
        biased;
        outcome = call.run(&mut admitted) => outcome,
        error = expiry => Err(error),
    };
    match outcome {
        Ok((response, lease, permit)) => {
            event.facts.upstream_time = Some(started.elapsed());
            Ok(finish(response, lease, permit, &live, &admitted))
        }
        Err(ProxyError::Upstream(_)) if live.request_broken() => Err(DownstreamError::BodyBroken.into()),
        Err(error) => Err(error),
    }
}

/// One request, as often as it is sent.
struct Call<'a> {
    pools: &'a Pools,
    cluster: &'a Arc<Cluster>,
    live: &'a Rc<Live>,
    source: Source,
    event: &'a mut Completed,
    tried: Vec<SocketAddr>,
    stale: u32,
    /// An upstream has said once that it did not look at the request.
    refused: bool,
    /// Held from the first connection on: who waits for one counts as pending only.
    permit: Option<Permit>,
}

/// How one sending ended.
#[allow(
    clippy::large_enum_variant,
    reason = "lives for a moment, and nearly always is the large one"
)]
enum Try {
    Answer(Response<Incoming>, Lease),
    /// Nothing reached the upstream, or nothing that matters: again at once.
    Again,
}

impl Call<'_> {
    async fn run(
        mut self,
        admitted: &mut Admitted,
    ) -> Result<(Response<Incoming>, Lease, Option<Permit>), ProxyError> {
        self.cluster.touch();
        self.cluster.resolved().await;
        let mut left = admitted.retries.count;
        let mut retry_permit: Option<Permit> = None;
        loop {
            let (response, lease) = match self.attempt(admitted, left).await? {
                Try::Answer(response, lease) => (response, lease),
                Try::Again => continue,
            };
            let wanted = admitted.retries.count > 0 && admitted.retries.retries(response.status());
            if wanted && left == 0 {
                self.live.raise(Flag::UpstreamRetries);
            }
            let again = wanted && left > 0 && self.source.can_replay();
            if again && retry_permit.is_none() {
                retry_permit = self.cluster.limits.permit(Resource::Retry);
            }
            if !again || retry_permit.is_none() {
                return Ok((response, lease, self.permit));
            }
            drop((response, lease));
            let done = admitted.retries.count - left;
            left -= 1;
            self.event.tally().retry();
            sleep(admitted.retries.backoff(done)).await;
        }
    }

    async fn attempt(&mut self, admitted: &mut Admitted, left: u32) -> Result<Try, ProxyError> {
        let pool = self.pools.of(self.cluster);
        let host = balance::pick(&self.cluster.hosts(), &pool.cursor, &self.tried);
        let host = host.ok_or(UpstreamError::NoEndpoint)?;
        self.event.facts.host = Some(host.address);
        let facts = &self.event.facts;
        let origin = Origin {
            network: network(facts.client.ip()),
            connection: facts.peer.connection,
        };
        let mut lease = match pool
            .host(&host)
            .acquire(self.cluster, &host, origin, self.event.tally())
            .await
        {
            Ok(lease) => lease,
            Err(Unleased::Connect(error)) => {
                self.cluster.tell(&host, &error);
                self.event.unreached(error.0);
                return self.elsewhere(&host);
            }
            Err(Unleased::Overflow) => return Err(UpstreamError::Overflow.into()),
        };
        self.event.reached(lease.local);
        if self.permit.is_none() {
            self.permit = match lease.is_only() {
                true => Some(self.cluster.limits.force(Resource::Request)),
                false => self.cluster.limits.permit(Resource::Request),
            };
        }
        if self.permit.is_none() {
            lease.give_back();
            return Err(UpstreamError::Overflow.into());
        }
        let Some(body) = self.source.take() else {
            return Err(UpstreamError::Terminated.into());
        };
        let idempotent = admitted.method.is_idempotent();
        let repeatable = self.source.can_replay() || self.source.may_replay();
        // On HTTP/2 the upstream may say that it did not look at the request.
        let keep = repeatable && (left > 0 || lease.is_http2() || (lease.reused && idempotent));
        let request = request(admitted, &host, lease.is_http2(), body, keep)?;
        let reused = lease.reused;
        self.event.sending();
        if admitted.auto_host {
            self.event.renamed(&host.host_header);
        }
        match lease.send(request).await {
            // We never ask for another protocol, and hyper keeps every other interim answer to itself.
            Ok(response) if response.status().is_informational() || !has_one_length(response.headers()) => {
                Err(UpstreamError::Protocol.into())
            }
            Ok(response) => {
                if response.version() < Version::HTTP_11 {
                    // hyper would speak HTTP/1.0 on it from now on, which has no way to send a body of unknown length.
                    lease.last();
                }
                Ok(Try::Answer(response, lease))
            }
            Err(error) => self.failed(error, admitted, reused && idempotent),
        }
    }

    /// The address cannot be reached. Nothing was sent, so another one may serve the request.
    fn elsewhere(&mut self, host: &Host) -> Result<Try, ProxyError> {
        self.tried.push(host.address);
        let hosts = self.cluster.hosts();
        if self.cluster.config.health.is_some() {
            // The probe re-admits it.
            host.healthy.store(false, Ordering::Relaxed);
        }
        if hosts.iter().all(|host| self.tried.contains(&host.address)) {
            return Err(UpstreamError::Connect.into());
        }
        Ok(Try::Again)
    }

    fn failed(
        &mut self,
        mut error: TrySendError<Request<RequestBody>>,
        admitted: &mut Admitted,
        repeat: bool,
    ) -> Result<Try, ProxyError> {
        self.stale += 1;
        if let Some(unsent) = error.take_message() {
            let (parts, body) = unsent.into_parts();
            admitted.headers = parts.headers;
            self.source.put_back(body);
            if self.stale <= STALE_TRIES {
                return Ok(Try::Again);
            }
        }
        let error = error.into_error();
        debug!(%error, cluster = self.cluster.config.name, "upstream request failed");
        let fault = UpstreamError::from(&error);
        if fault == UpstreamError::Refused {
            // Whatever the method (RFC 9113 section 8.7); once, since it may say so again.
            if std::mem::replace(&mut self.refused, true)
                || self.live.request_broken()
                || !self.source.can_replay()
            {
                return Err(fault.into());
            }
            self.event.tally().retry();
            return Ok(Try::Again);
        }
        // A connection that was open before can have been closed by the peer in the moment the request was sent; a new
        // one that ends without an answer is the upstream's doing and is not repeated.
        if repeat && self.stale <= STALE_TRIES && !self.live.request_broken() && self.source.can_replay() {
            self.event.tally().retry();
            return Ok(Try::Again);
        }
        Err(fault.into())
    }
}

/// The request as it goes out on one connection.
fn request(
    admitted: &mut Admitted,
    host: &Host,
    http2: bool,
    body: RequestBody,
    keep: bool,
) -> Result<Request<RequestBody>, InternalError> {
    let mut headers = if keep {
        admitted.headers.clone()
    } else {
        std::mem::take(&mut admitted.headers)
    };
    let authority = if admitted.auto_host {
        &host.host_header
    } else {
        &admitted.authority
    };
    let path = admitted.path.clone();
    if !http2 {
        frame(&admitted.method, &body, &mut headers);
    }
    let mut request = Request::new(body);
    *request.method_mut() = admitted.method.clone();
    if http2 {
        headers.remove(HOST);
        let mut parts = Parts::default();
        parts.scheme = Some(match host.transport {
            Transport::Plain => Scheme::HTTP,
            Transport::Tls { .. } => Scheme::HTTPS,
        });
        parts.authority = Authority::try_from(authority.as_bytes()).ok();
        parts.path_and_query = Some(path);
        *request.version_mut() = Version::HTTP_2;
        // An authority that is none would otherwise send the request to another path.
        *request.uri_mut() = Uri::from_parts(parts).map_err(|_| InternalError::Rewrite)?;
    } else {
        headers.insert(HOST, authority.clone());
        *request.version_mut() = Version::HTTP_11;
        *request.uri_mut() = Uri::from(path);
    }
    *request.headers_mut() = headers;
    Ok(request)
}

/// Says how a body is framed where hyper's client does not: it takes a GET, HEAD or CONNECT without a length to have no body,
/// and says nothing of a body that is not there. As Envoy: the body is chunked, and only these three go without a length
/// when there is none (RFC 9110 section 8.6).
fn frame(method: &Method, body: &RequestBody, headers: &mut HeaderMap) {
    let silent = matches!(*method, Method::GET | Method::HEAD | Method::CONNECT);
    match (silent, body.is_end_stream()) {
        (true, false) if !headers.contains_key(CONTENT_LENGTH) => {
            headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
        (false, true) if !headers.contains_key(CONTENT_LENGTH) => {
            headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        _ => {}
    }
}

fn finish(
    response: Response<Incoming>,
    lease: Lease,
    permit: Option<Permit>,
    live: &Rc<Live>,
    admitted: &Admitted,
) -> Response<ResponseBody> {
    live.begin_response(Instant::now());
    let (mut parts, incoming) = response.into_parts();
    parts.extensions.clear();
    // Every hop speaks its own version (RFC 9112 section 2.3).
    parts.version = Version::HTTP_11;
    edge::back(&mut parts.headers);
    let body = ResponseBody::new(
        incoming,
        Rc::clone(live),
        lease,
        permit,
        admitted.bounds.idle,
        admitted.bounds.deadline,
    );
    Response::from_parts(parts, body)
}

/// Whether the headers of an answer frame its body in one way. hyper undoes `chunked` and leaves a length beside it, which
/// would go on to the caller with a body that it is not the length of; other codings it does not undo.
fn has_one_length(headers: &HeaderMap) -> bool {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let length = lengths.next();
    // A list of equal lengths is one to hyper, and would go on as a list.
    if lengths.next().is_some()
        || length.is_some_and(|length| !length.as_bytes().iter().all(u8::is_ascii_digit))
    {
        return false;
    }
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => true,
        (Some(coding), None) => length.is_none() && coding.as_bytes().eq_ignore_ascii_case(b"chunked"),
        (Some(_), Some(_)) => false,
    }
}
