//! The hot path: one request from its head to the head of its response. Read this first.

use std::convert::Infallible;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use http::header::{CONNECTION, CONTENT_LENGTH, DATE, EXPECT, SERVER};
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body::Body as HttpBody;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use percent_encoding::{AsciiSet, CONTROLS, percent_encode};
use tokio::time::{Instant, timeout};
use trireme_routing::{Matched, Permitted, Target};

use crate::downstream::body::Body;
use crate::downstream::connection::{Conn, Serve, Unread};
use crate::edge::{self, Client};
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
/// What a target cannot hold, as the access log writes it.
const UNSAFE: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'<')
    .add(b'>')
    .add(b'`');

/// Answers the requests of connections.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Exchange;

impl Serve for Exchange {
    fn serve(
        self,
        conn: Rc<Conn>,
        request: Request<Incoming>,
    ) -> impl Future<Output = Result<Response<Body>, Infallible>> + 'static {
        serve(conn, request)
    }

    fn unread(conn: &Conn, head: &Unread<'_>) -> Vec<u8> {
        unread(conn, head)
    }
}

/// Serves one request. Dropping the future, as hyper does when the caller goes away, gives up check and upstream call.
async fn serve(conn: Rc<Conn>, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
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
    let client = Client::find(&conn.peer, request.headers(), &listener.http.proxies);
    let mut event = Completed::begin(
        &live,
        &conn.worker.tally,
        (&conn.peer, client.address),
        &listener.sinks,
        &head,
        active,
    );
    let caller = Caller::of(&request, listener);
    let (time, speech) = (head.time, caller.speech);
    let (parts, body) = request.into_parts();
    let mut body = Some(body);
    let request = (parts, &mut body, client);
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

/// Answers and records a head that could not be read. What is known of it is its first line at most.
fn unread(conn: &Conn, head: &Unread<'_>) -> Vec<u8> {
    let active = conn.begin();
    let snapshot = conn.worker.snapshot();
    let Some(listener) = snapshot.listener(&conn.listener) else {
        return b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_vec();
    };
    let mut words = head.line.split(|byte| *byte == b' ');
    let (method, target, version) = (words.next(), words.next(), words.next());
    let error = match (head.too_large, version) {
        (true, _) => DownstreamError::HeadersTooLarge,
        // Any but ours; what is no version at all is no HTTP either.
        (false, Some([b'H', b'T', b'T', b'P', b'/', major, b'.', minor]))
            if major.is_ascii_digit() && minor.is_ascii_digit() && (*major, *minor) != (b'1', b'1') =>
        {
            DownstreamError::Version
        }
        (false, _) => DownstreamError::Framing,
    };
    let method = method.and_then(|method| Method::from_bytes(method).ok());
    let method = method
        .or_else(|| Method::from_bytes(b"-").ok())
        .unwrap_or_default();
    let target = target.map(|target| percent_encode(target, UNSAFE).to_string());
    let path = target.and_then(|target| PathAndQuery::try_from(target).ok());
    let recorded = Head {
        method: &method,
        version: Version::HTTP_11,
        path: path.as_ref(),
        time: SystemTime::now(),
    };
    let live = Rc::new(Live::new(Instant::now()));
    let (tally, sinks) = (&conn.worker.tally, &listener.sinks);
    let peer = (&conn.peer, conn.peer.address);
    let mut event = Completed::begin(&live, tally, peer, sinks, &recorded, active);
    let caller = Caller {
        waits: false,
        head: method == Method::HEAD,
        speech: Speech::Json,
    };
    let mut response = refuse(&error.into(), caller.speech, &mut event);
    dress(conn, listener, &caller, &mut response);
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    if let Ok(date) = HeaderValue::from_str(&httpdate::fmt_http_date(recorded.time)) {
        headers.insert(DATE, date);
    }
    event.response(response.status().as_u16(), response.headers());
    live.send(response.body().bytes().len());
    event.end(true);
    wire(&response)
}

/// A response as it is sent over HTTP/1.1.
fn wire(response: &Response<Body>) -> Vec<u8> {
    let status = response.status();
    let reason = status.canonical_reason().unwrap_or_default();
    let mut wire = format!("HTTP/1.1 {} {reason}\r\n", status.as_str()).into_bytes();
    for (name, value) in response.headers() {
        wire.extend_from_slice(name.as_str().as_bytes());
        wire.extend_from_slice(b": ");
        wire.extend_from_slice(value.as_bytes());
        wire.extend_from_slice(b"\r\n");
    }
    wire.extend_from_slice(b"\r\n");
    wire.extend_from_slice(response.body().bytes());
    wire
}

/// The phases, in order.
async fn answer(
    conn: &Conn,
    snapshot: &Snapshot,
    listener: &Listener,
    (mut parts, body, client): (http::request::Parts, &mut Option<Incoming>, Client),
    time: SystemTime,
    speech: Speech,
    event: &mut Completed,
) -> Result<Response<Body>, ProxyError> {
    conn.admit()?;
    let worker = &conn.worker;
    if listener.caps.requests > 0 {
        event.count(&worker.shared.open, listener.caps.requests)?;
    }
    let remote = listener.http.use_remote_address;
    let entry = edge::enter(
        &parts.method,
        &parts.uri,
        parts.version,
        &mut parts.headers,
        (&conn.peer, &client),
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
        client: client.address,
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
    let (routes, method) = (&snapshot.routes, parts.method.as_str());
    if let Some(matched) = routes.find(&target.host.name, &target.path, method, header) {
        return Ok(matched);
    }
    target.admit(Permitted::NONE).map_err(edge::ambiguous)?;
    Err(DownstreamError::NoRoute.into())
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
    } else if response.status() == StatusCode::NOT_MODIFIED
        && !conn.is_http2()
        && response.headers().contains_key(CONTENT_LENGTH)
    {
        // The length of what was not sent (RFC 9110 section 8.6), which caches like to know.
        response.body_mut().leave();
    }
    if conn.is_http2() {
        response.headers_mut().remove(CONNECTION);
    } else if conn.worker.is_draining() {
        response
            .headers_mut()
            .insert(CONNECTION, HeaderValue::from_static("close"));
    }
}
