//! The hot path: one request from its head to the head of its response. Read this first.

use std::convert::Infallible;
use std::rc::Rc;
use std::time::SystemTime;

use http::header::{CONNECTION, CONTENT_LENGTH, ORIGIN, SERVER};
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use tokio::time::Instant;
use trireme_routing::{Matched, Target};

use crate::body::Body;
use crate::connection::Conn;
use crate::edge;
use crate::error::{DownstreamError, ProxyError};
use crate::event::{Completed, Head};
use crate::filters::{self, Call, Outcome, check};
use crate::live::Live;
use crate::respond::{self, Speech};
use crate::snapshot::{Listener, Snapshot};
use crate::upstream;

/// Serves one request. Dropping the future, as hyper does when the caller goes away, gives up check and upstream call.
pub(crate) async fn serve(conn: Rc<Conn>, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let active = conn.begin();
    let live = Rc::new(Live::new(Instant::now()));
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
        listener.log.as_ref(),
        &head,
        active,
    );
    let caller = Caller::of(&request, listener);
    let (time, speech) = (head.time, caller.speech);
    let answered = answer(&conn, &snapshot, listener, request, time, speech, &mut event).await;
    let mut response = answered.unwrap_or_else(|error| refuse(&error, speech, &mut event));
    dress(&conn, listener, &caller, &mut response);
    event.response(response.status().as_u16(), response.headers());
    response.body_mut().attach(event);
    Ok(response)
}

/// The phases, in order.
async fn answer(
    conn: &Conn,
    snapshot: &Snapshot,
    listener: &Listener,
    request: Request<Incoming>,
    time: SystemTime,
    speech: Speech,
    event: &mut Completed,
) -> Result<Response<Body>, ProxyError> {
    conn.admit()?;
    let (mut parts, body) = request.into_parts();
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
    event.request(&authority, &parts.headers);
    let target = Target::parse(sent.as_str(), host).map_err(edge::refused)?;
    let path = edge::with_path(&sent, target.path.clone())?;
    let matched = find(snapshot, &target, &parts.method, &parts)?;
    event.route(&matched.route().name);
    let origin = parts.headers.get(ORIGIN).cloned();
    let call = Call {
        worker: &conn.worker,
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
    let outcome = filters::run(call, body, event).await;
    let mut response = match outcome {
        Ok(Outcome::Answer(response)) => {
            event.local = true;
            *response
        }
        Ok(Outcome::Send(admitted, payload, edits)) => {
            match upstream::send(&conn.worker.pools, *admitted, payload, event).await {
                Ok(response) => finish(response, edits),
                Err(error) => refuse(&error, speech, event),
            }
        }
        Err(error) => refuse(&error, speech, event),
    };
    // Refusals are marked for their origin like any other answer, else a page could not read why.
    filters::decorate(&matched, origin.as_ref(), response.headers_mut());
    Ok(response)
}

/// An answer of our own.
fn refuse(error: &ProxyError, speech: Speech, event: &mut Completed) -> Response<Body> {
    event.live.raise(error.flag());
    event.local = true;
    respond::local(error, speech)
}

/// The route of a request. A path with two readings that nobody serves is refused for what it is.
fn find<'s>(
    snapshot: &'s Snapshot,
    target: &Target<'_>,
    method: &Method,
    parts: &http::request::Parts,
) -> Result<Matched<'s>, ProxyError> {
    let header = |name: &str| parts.headers.get(name).map(HeaderValue::as_bytes);
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

/// The response of an upstream, cleaned, with the enforcer's changes.
fn finish(mut response: Response<Body>, edits: Vec<check::Edit>) -> Response<Body> {
    upstream::strip(response.headers_mut());
    for check::Edit { field, value, mode } in edits {
        let check::Field::Header(name) = field else {
            continue;
        };
        if mode == check::Mode::Append {
            response.headers_mut().append(name, value);
        } else {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

/// What of a request is needed after it was consumed.
struct Caller {
    head: bool,
    speech: Speech,
}

impl Caller {
    fn of(request: &Request<Incoming>, listener: &Listener) -> Self {
        Self {
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
