//! The hot path: one request from its head to the head of its response. Read this first.

use std::convert::Infallible;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, SERVER};
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body::Body as HttpBody;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::time::{Instant, timeout};
use trireme_routing::{Matched, Target};

use crate::downstream::body::Body;
use crate::downstream::connection::Conn;
use crate::edge;
use crate::error::{DownstreamError, ProxyError};
use crate::event::live::Live;
use crate::event::{Completed, Head};
use crate::filters::{self, Call, Outcome};
use crate::respond::{self, Speech};
use crate::snapshot::{Listener, Snapshot};
use crate::upstream;

/// What is read of a body that nobody needs, so that its connection can go on, and how long that may take.
const REST: u64 = 64 << 10;
const REST_TIME: Duration = Duration::from_millis(50);

/// Serves one request. Dropping the future, as hyper does when the caller goes away, gives up check and upstream call.
pub(crate) async fn serve(conn: Rc<Conn>, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let active = conn.begin();
    let live = Rc::new(Live::new(Instant::now()));
    conn.streams.begin(&live);
    let snapshot = conn.worker.snapshot();
    let Some(listener) = snapshot.listener(&conn.listener) else {
        // Removed while the request was on its way.
        return Ok(respond::local(&DownstreamError::NoRoute.into(), Speech::Json));
    };
    let uri = request.uri();
    let head = Head {
        method: request.method(),
        version: request.version(),
        path: uri.path_and_query(),
        time: SystemTime::now(),
    };
    let mut event = Completed::begin(
        &live,
        &conn.worker.tally,
        &conn.peer,
        &listener.sinks,
        &head,
        active,
    );
    let caller = Caller::of(&request, listener);
    let (time, speech) = (head.time, caller.speech);
    let (parts, body) = request.into_parts();
    let mut body = Some(body);
    let request = (parts, &mut body);
    let answered = answer(&conn, &snapshot, listener, request, time, speech, &mut event).await;
    let mut response = answered.unwrap_or_else(|error| refuse(&error, speech, &mut event));
    dress(&conn, listener, &caller, &mut response);
    if !conn.is_http2() && !is_read(body.as_ref(), &event) {
        let read = match body.take().filter(|_| !caller.waits) {
            // In a box: it is rare, and its room would be moved with every exchange.
            Some(body) => Box::pin(read_rest(body)).await,
            None => false,
        };
        if !read {
            close(&mut response);
        }
    }
    event.response(response.status().as_u16(), response.headers());
    response.body_mut().attach(event);
    Ok(response)
}

/// hyper closes a connection whose request it has not read: the caller must know before it sends another.
fn close(response: &mut Response<Body>) {
    response
        .headers_mut()
        .insert(CONNECTION, HeaderValue::from_static("close"));
}

/// The phases, in order.
async fn answer(
    conn: &Conn,
    snapshot: &Snapshot,
    listener: &Listener,
    (mut parts, body): (http::request::Parts, &mut Option<Incoming>),
    time: SystemTime,
    speech: Speech,
    event: &mut Completed,
) -> Result<Response<Body>, ProxyError> {
    conn.admit()?;
    let worker = &conn.worker;
    let remote = listener.http.use_remote_address;
    let entry = edge::enter(
        &parts.method,
        &parts.uri,
        parts.version,
        &mut parts.headers,
        &conn.peer,
        remote,
    )?;
    let sent = parts
        .uri
        .path_and_query()
        .cloned()
        .unwrap_or_else(|| PathAndQuery::from_static("/"));
    let authority = entry.authority.clone();
    let host = authority.to_str().map_err(|_| DownstreamError::NoHost)?;
    let bodiless = body.as_ref().is_none_or(HttpBody::is_end_stream);
    event.request(&authority, &parts.headers, bodiless);
    let target = Target::parse(sent.as_str(), host).map_err(edge::refused)?;
    let path = edge::with_path(&sent, target.path.clone())?;
    let matched = find(snapshot, &target, &parts)?;
    event.route(&matched.route().name);
    let mut trail = filters::trail(&matched, &parts.headers);
    let call = Call {
        enforcer: &worker.check,
        buckets: &worker.shared.buckets,
        snapshot,
        listener,
        peer: &conn.peer,
        matched,
        target: &target,
        method: parts.method,
        version: parts.version,
        path,
        authority: entry.authority,
        upgrade: entry.upgrade,
        named: entry.named,
        headers: parts.headers,
        time,
    };
    let mut response = match filters::request(call, body, &mut trail, event).await {
        Ok(Outcome::Answer(answer)) => {
            event.facts.local = answer.details();
            respond::answer(answer, speech, || worker.is_ready())
        }
        Ok(Outcome::Send(admitted, payload)) => {
            match upstream::send(&worker.pools, *admitted, payload, event).await {
                Ok(response) => response.map(Body::upstream),
                Err(error) => refuse(&error, speech, event),
            }
        }
        Err(error) => refuse(&error, speech, event),
    };
    filters::response(trail, &mut response);
    Ok(response)
}

/// An answer of our own.
fn refuse(error: &ProxyError, speech: Speech, event: &mut Completed) -> Response<Body> {
    event.facts.live.raise(error.flag());
    event.facts.local = error.details();
    respond::local(error, speech)
}

/// The route of a request. A path with two readings that nobody serves is refused for what it is.
fn find<'s>(
    snapshot: &'s Snapshot,
    target: &Target<'_>,
    parts: &http::request::Parts,
) -> Result<Matched<'s>, ProxyError> {
    let header = |name: &str| parts.headers.get(name).map(HeaderValue::as_bytes);
    let method = &parts.method;
    match (
        snapshot
            .routes
            .find(&target.host.name, &target.path, method.as_str(), header),
        target.ambiguity,
    ) {
        (Some(matched), _) => Ok(matched),
        (None, Some(reason)) => Err(edge::ambiguous(reason).into()),
        (None, None) => Err(DownstreamError::NoRoute.into()),
    }
}

/// Whether the request was read to its end.
fn is_read(body: Option<&Incoming>, event: &Completed) -> bool {
    match body {
        Some(body) => body.is_end_stream(),
        // It went upstream, or as far as that.
        None => {
            event.facts.attempts == 0
                || event.facts.local.is_empty()
                || event.facts.live.request_done().is_some()
        }
    }
}

/// Reads what little is left of a request that was answered without it, and is here already; whether that was all.
async fn read_rest(mut body: Incoming) -> bool {
    if body.size_hint().lower() > REST {
        return false;
    }
    let rest = async {
        let mut read = 0;
        while let Some(frame) = body.frame().await {
            read += frame.ok()?.data_ref().map_or(0, |data| data.len() as u64);
            if read > REST {
                return None;
            }
        }
        Some(())
    };
    timeout(REST_TIME, rest).await.is_ok_and(|rest| rest.is_some())
}

/// What of a request is needed after it was consumed.
struct Caller {
    /// It sends its body when it is told to.
    waits: bool,
    head: bool,
    speech: Speech,
}

impl Caller {
    fn of(request: &Request<Incoming>, listener: &Listener) -> Self {
        Self {
            waits: !request.body().is_end_stream() && request.headers().contains_key(EXPECT),
            head: request.method() == Method::HEAD,
            speech: Speech::of(request.headers(), listener.http.soap_errors),
        }
    }
}

/// What every response gets.
fn dress(conn: &Conn, listener: &Listener, caller: &Caller, response: &mut Response<Body>) {
    response.headers_mut().insert(SERVER, listener.server.clone());
    if let Some(length) = response.body().len() {
        let bodiless = matches!(
            response.status(),
            StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
        );
        // Like Envoy: HTTP/2 ends a stream, so an empty answer needs no length.
        if !bodiless && (length > 0 || !conn.is_http2()) {
            response
                .headers_mut()
                .insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        if bodiless || caller.head {
            response.body_mut().clear();
        }
    }
    if conn.is_http2() {
        response.headers_mut().remove(CONNECTION);
    } else if conn.worker.is_draining() {
        response
            .headers_mut()
            .insert(CONNECTION, HeaderValue::from_static("close"));
    }
}
