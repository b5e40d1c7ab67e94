//! What happens to a request between its match and its upstream, in one fixed order: local limit, CORS, upgrade, body for
//! the enforcer, check, rewrite. Only what went through all of it becomes [`Admitted`], and only that can be sent.

pub(crate) mod check;
mod cors;
mod limit;
mod rewrite;

use std::mem::take;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, Version};
use http_body::Body as _;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use tokio::time::Instant;
use trireme_routing::snapshot::{Action, Check, Forward};
use trireme_routing::{Matched, Target};

use self::check::{Admission, Facts, Verdict};
pub(crate) use self::cors::{decorate, preflight};
pub(crate) use self::limit::Buckets;
use crate::body::Body;
use crate::connection::Peer;
use crate::edge;
use crate::error::{DownstreamError, Flag, InternalError, ProxyError};
use crate::event::{Completed, protocol};
use crate::metrics;
use crate::respond;
use crate::snapshot::{Listener, Snapshot};
use crate::upstream::body::Buffered;
use crate::upstream::cluster::Cluster;
use crate::upstream::{Bounds, Payload, Retries};
use crate::worker::Worker;

/// A request that may be sent upstream. It can only be made here, after the check.
#[derive(Debug)]
pub(crate) struct Admitted {
    /// Where to.
    pub(crate) cluster: Arc<Cluster>,
    /// Method.
    pub(crate) method: Method,
    /// Path and query for the upstream.
    pub(crate) path: PathAndQuery,
    /// Host as the caller sent it.
    pub(crate) authority: HeaderValue,
    /// Send the endpoint's host name instead.
    pub(crate) auto_host: bool,
    /// Headers for the upstream, without Host.
    pub(crate) headers: HeaderMap,
    /// Names that the trailers must not hold; absent where no trailers can come.
    pub(crate) barred: Option<Vec<HeaderName>>,
    /// Time.
    pub(crate) bounds: Bounds,
    /// Retries by status.
    pub(crate) retries: Retries,
    _pass: Pass,
}

/// Proof that the enforcer said yes, or that the route asks for no check.
#[derive(Debug)]
struct Pass(());

/// A request on its way through the filters.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    /// The worker.
    pub(crate) worker: &'a Worker,
    /// What is served.
    pub(crate) snapshot: &'a Snapshot,
    /// Settings of the listener.
    pub(crate) listener: &'a Listener,
    /// The caller.
    pub(crate) peer: &'a Peer,
    /// The route.
    pub(crate) matched: Matched<'a>,
    /// Host and path.
    pub(crate) target: &'a Target<'a>,
    /// Method.
    pub(crate) method: Method,
    /// Protocol version.
    pub(crate) version: Version,
    /// Path in normal form, and query as sent.
    pub(crate) path: PathAndQuery,
    /// Host as sent.
    pub(crate) authority: HeaderValue,
    /// The caller asks for another protocol.
    pub(crate) upgrade: bool,
    /// Headers that `Connection` named.
    pub(crate) named: Vec<HeaderName>,
    /// Headers.
    pub(crate) headers: HeaderMap,
    /// When it came.
    pub(crate) time: SystemTime,
}

/// Where the filters leave a request.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// Answered here.
    Answer(Box<Response<Body>>),
    /// To be sent, and what to change in the response.
    Send(Box<Admitted>, Payload, Vec<check::Edit>),
}

/// Runs the filters.
///
/// # Errors
/// What refuses the request.
pub(crate) async fn run(
    mut call: Call<'_>,
    body: Incoming,
    event: &mut Completed,
) -> Result<Outcome, ProxyError> {
    let route = call.matched.route();
    let header = |name: &str| call.headers.get(name).map(HeaderValue::as_bytes);
    call.snapshot
        .routes
        .admit(&call.matched, call.target, call.method.as_str(), header)
        .map_err(edge::ambiguous)?;
    if let Some(limit) = route.filters.limit {
        let key = (call.matched.fragment(), call.matched.place());
        call.worker
            .shared
            .buckets
            .take(key, limit, Instant::now())
            .map_err(|()| DownstreamError::Limited)?;
    }
    if let Some(answer) = preflight(&call.matched, &call.method, &call.headers) {
        return Ok(Outcome::Answer(Box::new(answer)));
    }
    if call.upgrade {
        return Err(DownstreamError::UpgradeRefused.into());
    }
    let with_body = matches!(route.filters.check, Check::Required { with_body: true, .. });
    let payload = if with_body {
        Payload::Buffered(buffer(body, call.listener.check.max_request_bytes, event).await?)
    } else {
        Payload::Streamed(body)
    };
    let (pass, admission) = match &route.filters.check {
        Check::Disabled => (Pass(()), Admission::default()),
        Check::Required { .. } => match ask(&call, &payload, event).await? {
            Ok(admitted) => admitted,
            Err(denied) => return Ok(Outcome::Answer(Box::new(denied))),
        },
    };
    event.metadata = admission.metadata.clone();
    let trailed = payload.may_trail(call.version);
    let barred = trailed.then(|| rewrite::barred(take(&mut call.named), &admission));
    let steering = rewrite::apply(&mut call, admission.edits, &admission.remove)?;
    let matched = rewrite::rematch(&mut call, &steering)?;
    match &matched.route().action {
        Action::Direct { status, body } => {
            Ok(Outcome::Answer(Box::new(direct(&call, &matched, *status, body))))
        }
        Action::Forward(forward) => {
            let admitted = admit(call, &matched, forward, &steering, barred, event, pass)?;
            Ok(Outcome::Send(
                Box::new(admitted),
                payload,
                admission.response_edits,
            ))
        }
    }
}

/// Answers a direct route. `/ready` alone is not as fixed as it looks: it says what the process is up to.
fn direct(call: &Call<'_>, matched: &Matched<'_>, status: u16, body: &str) -> Response<Body> {
    let system = matched.position() == trireme_routing::snapshot::Position::System;
    if system && matched.route().name == "/ready" && !call.worker.is_ready() {
        return respond::direct(503, r#"{"status": "not ready"}"#);
    }
    respond::direct(status, body)
}

/// Puts together what is sent.
fn admit(
    call: Call<'_>,
    matched: &Matched<'_>,
    forward: &Forward,
    steering: &rewrite::Steering,
    mut barred: Option<Vec<HeaderName>>,
    event: &mut Completed,
    pass: Pass,
) -> Result<Admitted, ProxyError> {
    let name = steering
        .cluster(&forward.cluster)
        .ok_or(InternalError::NoCluster)?;
    let cluster = call.snapshot.clusters.get(name).ok_or(InternalError::NoCluster)?;
    let path = edge::with_path(&call.path, matched.rewrite_path(call.path.path()))?;
    event.rewritten(&path);
    let Call {
        mut headers,
        method,
        authority,
        ..
    } = call;
    let named = edge::leave(&mut headers);
    if let Some(barred) = &mut barred {
        barred.extend(named);
        barred.extend(headers.keys().cloned());
    }
    let bounds = Bounds {
        response: steering.timeout.unwrap_or(forward.timeout),
        idle: forward.idle_timeout,
        request: call.listener.http.request_timeout,
        deadline: forward
            .max_stream_duration
            .map(|bound| event.live.started + bound),
    };
    event.allow(bounds.idle);
    Ok(Admitted {
        cluster: Arc::clone(cluster),
        method: steering.method.clone().unwrap_or(method),
        path,
        authority,
        auto_host: forward.auto_host,
        headers,
        barred,
        bounds,
        retries: steering.retries(forward.retry.as_ref()),
        _pass: pass,
    })
}

/// Asks the enforcer. The inner error is its denial, ready to be sent.
async fn ask(
    call: &Call<'_>,
    payload: &Payload,
    event: &mut Completed,
) -> Result<Result<(Pass, Admission), Response<Body>>, ProxyError> {
    let started = Instant::now();
    let (joined, size) = match payload {
        Payload::Buffered(buffered) => {
            let joined = join(buffered);
            let size = joined.len() as u64;
            (joined, Some(size))
        }
        Payload::Streamed(body) => (Bytes::new(), body.size_hint().exact()),
    };
    let facts = Facts {
        source: &call.peer.source,
        context: call.matched.context(),
        id: call
            .headers
            .get(edge::X_REQUEST_ID)
            .map_or(b"", HeaderValue::as_bytes),
        method: call.method.as_str(),
        path: call.path.as_str(),
        host: call.authority.to_str().unwrap_or_default(),
        scheme: call.peer.scheme(),
        protocol: protocol(call.version),
        headers: &call.headers,
        size,
        body: &joined,
        time: call.time,
    };
    let answer = call.worker.check.check(&facts, call.listener.check.timeout).await;
    let verdict = answer.and_then(Verdict::read);
    let outcome = match &verdict {
        Ok(Verdict::Admitted(_)) => metrics::Check::Allowed,
        Ok(Verdict::Denied(_)) => metrics::Check::Denied,
        Err(_) => metrics::Check::Failed,
    };
    event.tally().check(outcome, started.elapsed());
    match verdict.map_err(InternalError::Check)? {
        Verdict::Admitted(admission) => Ok(Ok((Pass(()), admission))),
        Verdict::Denied(denial) => {
            event.live.raise(Flag::Unauthorized);
            event.metadata = denial.metadata.clone();
            Ok(Err(respond::denied(denial, respond::is_grpc(&call.headers))))
        }
    }
}

/// Reads a whole body within the bound.
async fn buffer(body: Incoming, bound: u32, event: &Completed) -> Result<Buffered, ProxyError> {
    let bound = usize::try_from(bound).unwrap_or(usize::MAX);
    if body.size_hint().lower() > bound as u64 {
        return Err(DownstreamError::BodyTooLarge.into());
    }
    let limited = Limited::new(body, bound);
    let read = tokio::time::timeout(Duration::from_secs(60), limited.collect());
    let collected = read
        .await
        .map_err(|_| DownstreamError::RequestTimeout)?
        .map_err(|error| {
            let too_large = error.is::<http_body_util::LengthLimitError>();
            if too_large {
                DownstreamError::BodyTooLarge
            } else {
                DownstreamError::BodyBroken
            }
        })?;
    let trailers = collected.trailers().cloned();
    let bytes = collected.to_bytes();
    event.live.receive(bytes.len());
    let chunks = if bytes.is_empty() { Vec::new() } else { vec![bytes] };
    Ok(Buffered {
        chunks: chunks.into(),
        trailers,
    })
}

/// A body of one chunk as it is; [`buffer`] makes no others.
fn join(buffered: &Buffered) -> Bytes {
    buffered.chunks.front().cloned().unwrap_or_default()
}
