//! An upstream that tells what it got.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::channel::Channel;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// Greatest request body that is taken, bytes.
const MAX_BODY: usize = 16 << 20;

/// Events of one stream.
const EVENTS: usize = 20;
/// Between two of them.
const EVENT_PAUSE: Duration = Duration::from_millis(50);

type Body = BoxBody<Bytes, Infallible>;

/// A running upstream on a free loopback port; HTTP/1.1 and HTTP/2 with prior knowledge. Ends when dropped.
///
/// The request header `x-want-status` chooses the status of the answer, each `x-want-header: name=value` adds a header to
/// it, and `x-want-close` breaks the connection in place of an answer. A path that ends in `/sent-events` is answered by a stream of
/// 20 server-sent events, one every 50 ms.
#[derive(Debug)]
pub struct Upstream {
    address: SocketAddr,
    requests: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

/// What an [`Upstream`] answers with, as JSON: the request as it arrived.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Seen {
    /// Method.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Headers, names in lower case; several values joined by `, `.
    pub headers: BTreeMap<String, String>,
    /// Body length, bytes.
    pub body_bytes: usize,
    /// Trailers, as headers are; left out of the JSON when there are none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub trailers: BTreeMap<String, String>,
}

impl Upstream {
    /// Starts it; each answer takes `delay`.
    ///
    /// # Panics
    /// No loopback port can be bound.
    pub async fn start(delay: Duration) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0))
            .await
            .expect("a free loopback port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let requests = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&requests);
        let task = tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else {
                    continue;
                };
                let counter = Arc::clone(&counter);
                tokio::spawn(async move {
                    let service = service_fn(move |request| {
                        counter.fetch_add(1, Ordering::Relaxed);
                        answer(request, delay)
                    });
                    let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                    // A connection that breaks is the peer's affair.
                    drop(builder.serve_connection(TokioIo::new(stream), service).await);
                });
            }
        });
        Self {
            address,
            requests,
            task,
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:<port>`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Requests so far.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn headers(map: &hyper::HeaderMap) -> BTreeMap<String, String> {
    let joined = |name: &hyper::header::HeaderName| {
        let values = map.get_all(name).iter();
        let values: Vec<_> = values
            .map(|value| String::from_utf8_lossy(value.as_bytes()))
            .collect();
        (name.to_string(), values.join(", "))
    };
    map.keys().map(joined).collect()
}

async fn answer(request: Request<Incoming>, delay: Duration) -> io::Result<Response<Body>> {
    let (head, body) = request.into_parts();
    if head.headers.contains_key("x-want-close") {
        return Err(io::ErrorKind::ConnectionAborted.into());
    }
    if head.uri.path().ends_with("/sent-events") {
        return Ok(events());
    }
    let body = Limited::new(body, MAX_BODY).collect().await;
    let (body, trailers) = body
        .map(|body| {
            let trailers = body.trailers().map(headers).unwrap_or_default();
            (body.to_bytes(), trailers)
        })
        .unwrap_or_default();
    let seen = Seen {
        method: head.method.to_string(),
        target: head
            .uri
            .path_and_query()
            .map(ToString::to_string)
            .unwrap_or_default(),
        headers: headers(&head.headers),
        body_bytes: body.len(),
        trailers,
    };
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    let text = serde_json::to_vec(&seen).unwrap_or_default();
    let mut response = Response::new(Full::from(text).boxed());
    if let Some(status) = seen.headers.get("x-want-status") {
        *response.status_mut() = status.parse().unwrap_or_default();
    }
    let hop = hyper::header::HeaderValue::from_static("timeout=7");
    response.headers_mut().insert("keep-alive", hop);
    let json = hyper::header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(hyper::header::CONTENT_TYPE, json);
    for wanted in head.headers.get_all("x-want-header") {
        let pair = wanted.to_str().ok().and_then(|text| text.split_once('='));
        let parsed = pair.and_then(|(name, value)| {
            let name = hyper::header::HeaderName::from_bytes(name.as_bytes()).ok()?;
            Some((name, hyper::header::HeaderValue::from_str(value).ok()?))
        });
        if let Some((name, value)) = parsed {
            response.headers_mut().append(name, value);
        }
    }
    Ok(response)
}

fn events() -> Response<Body> {
    let (mut sender, body) = Channel::new(1);
    tokio::spawn(async move {
        for number in 0..EVENTS {
            tokio::time::sleep(EVENT_PAUSE).await;
            let event = Bytes::from(format!("data: {number}\n\n"));
            if sender.send_data(event).await.is_err() {
                return;
            }
        }
    });
    let mut response = Response::new(body.boxed());
    let kind = hyper::header::HeaderValue::from_static("text/event-stream");
    response.headers_mut().insert(hyper::header::CONTENT_TYPE, kind);
    response
}
