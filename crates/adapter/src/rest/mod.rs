//! The management API (spec/adapter.md 2, spec/apictl.md 5).
//!
//! ```text
//! TLS ─▶ hyper ─▶ dispatch: path, method ─▶ auth ─▶ media types ─▶ parameters ─▶ Catalogue ─▶ respond
//! ```

mod apis;
mod auth;
mod pages;
mod query;
#[cfg(test)]
mod tests;
mod token;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::middleware::{self, Next};
use futures_util::StreamExt as _;
use http::header::ACCEPT;
use http::{HeaderMap, Method, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;
use trireme_tls::Acceptor;

pub(crate) use self::auth::Auth;
use self::auth::Caller;
use self::query::Query;
pub(crate) use self::token::Tokens;
use crate::catalogue::Catalogue;
use crate::event;
use crate::respond::{self, RestError};
use crate::source::{Intake, Source};

/// Path in front of every operation.
const BASE_PATH: &str = "/api/mgw/adapter/0.1";
/// Greatest head of a request.
const MAX_HEAD_BYTES: usize = 1 << 20;
/// A connection on which nothing is asked for for this long is closed, at the latest after twice as long: those who say nothing
/// at all, which protocol they speak included, may not keep the others out.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// Time for the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Time for what somebody has to say before it is known who that is.
const STRANGER_TIMEOUT: Duration = HEAD_TIMEOUT;
/// Time for a whole exchange, a slow upload included.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(300);
/// Connections at a time.
const MAX_CONNECTIONS: usize = 256;
/// Uploads that are held in memory at a time; more wait.
const MAX_UPLOADS: usize = 4;
/// Greatest body of a call that isn't an upload.
const MAX_JSON_BYTES: usize = 64 << 10;
/// What multipart puts around a file.
const MULTIPART_EXTRA_BYTES: usize = 1 << 20;
/// Time that open exchanges have when the adapter stops.
const DRAIN: Duration = Duration::from_secs(10);

/// What the operations work with.
#[derive(Debug)]
struct Rest {
    auth: Auth,
    catalogue: Catalogue,
    /// API Manager is the control plane: nothing is deployed here.
    control_plane: bool,
    /// Greatest archive.
    max_archive_bytes: usize,
    uploads: Semaphore,
}

impl Rest {
    fn new(auth: Auth, catalogue: Catalogue, control_plane: bool, max_archive_bytes: u64) -> Self {
        Self {
            auth,
            catalogue,
            control_plane,
            max_archive_bytes: usize::try_from(max_archive_bytes).unwrap_or(usize::MAX / 2),
            uploads: Semaphore::new(MAX_UPLOADS),
        }
    }
}

/// The management API as a source of projects. It is asked: it brings nothing by itself, and each call is answered by what the
/// catalogue says to it.
#[derive(Debug)]
pub(crate) struct Management {
    pub(crate) listener: TcpListener,
    pub(crate) acceptor: Acceptor,
    pub(crate) auth: Auth,
    /// API Manager is the control plane: nothing is deployed here.
    pub(crate) control_plane: bool,
    /// Greatest archive.
    pub(crate) max_archive_bytes: u64,
}

impl Source for Management {
    async fn run(self, mut intake: Intake, shutdown: CancellationToken) {
        intake.ready();
        let catalogue = intake.catalogue().clone();
        let rest = Rest::new(self.auth, catalogue, self.control_plane, self.max_archive_bytes);
        serve(self.listener, self.acceptor, router(rest), shutdown).await;
    }
}

/// The operations as a service.
fn router(rest: Rest) -> Router {
    let limit = rest.max_archive_bytes.saturating_add(MULTIPART_EXTRA_BYTES);
    Router::new()
        .fallback(handle)
        .layer(DefaultBodyLimit::max(limit))
        .with_state(Arc::new(rest))
}

/// Serves until `shutdown`, then lets open exchanges finish for a bounded time.
async fn serve(listener: TcpListener, acceptor: Acceptor, router: Router, shutdown: CancellationToken) {
    let mut incoming = trireme_tls::serve::incoming(listener, acceptor);
    let connections = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let tasks = TaskTracker::new();
    let builder = builder();
    loop {
        let room = Arc::clone(&connections).acquire_owned();
        let (permit, conn) = tokio::select! {
            () = shutdown.cancelled() => break,
            both = async { (room.await, incoming.next().await) } => both,
        };
        let (Ok(permit), Some(conn)) = (permit, conn) else {
            break;
        };
        let conn = match conn {
            Ok(conn) => conn,
            Err(error) => {
                event::rest_failed("accept", &error);
                continue;
            }
        };
        let (router, builder, shutdown) = (router.clone(), builder.clone(), shutdown.clone());
        tasks.spawn(async move {
            serve_connection(conn, router, &builder, &shutdown).await;
            drop(permit);
        });
    }
    tasks.close();
    tasks.wait().await;
}

fn builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(MAX_HEAD_BYTES).unwrap_or(u32::MAX))
        .keep_alive_interval(Duration::from_secs(60));
    builder
}

/// Serves one connection until its peer ends it, nothing is asked for any more, or `shutdown`.
async fn serve_connection(
    io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    router: Router,
    builder: &auto::Builder<TokioExecutor>,
    shutdown: &CancellationToken,
) {
    let exchanges = Arc::new(Exchanges::default());
    let watched = Arc::clone(&exchanges);
    let router = router.layer(middleware::from_fn(move |request: Request, next: Next| {
        let open = watched.open();
        async move {
            let answer = next.run(request).await;
            drop(open);
            answer
        }
    }));
    let connection = builder.serve_connection(TokioIo::new(io), TowerToHyperService::new(router));
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => return drop(ended),
        () = exchanges.cease() => {}
        () = shutdown.cancelled() => {}
    }
    connection.as_mut().graceful_shutdown();
    drop(tokio::time::timeout(DRAIN, connection).await);
}

/// What goes on on one connection.
#[derive(Debug, Default)]
struct Exchanges {
    open: TaskTracker,
    begun: AtomicUsize,
}

impl Exchanges {
    /// One more, until the token is dropped.
    fn open(&self) -> TaskTrackerToken {
        self.begun.fetch_add(1, Ordering::Relaxed);
        self.open.token()
    }

    /// Waits until nothing has gone on for [`IDLE_TIMEOUT`].
    async fn cease(&self) {
        loop {
            let before = self.begun.load(Ordering::Relaxed);
            tokio::time::sleep(IDLE_TIMEOUT).await;
            if self.open.is_empty() && self.begun.load(Ordering::Relaxed) == before {
                return;
            }
        }
    }
}

async fn handle(State(rest): State<Arc<Rest>>, request: Request) -> Response<Body> {
    let answered = within(EXCHANGE_TIMEOUT, dispatch(&rest, request)).await;
    answered.unwrap_or_else(|error| respond::error(&error))
}

async fn within<T>(
    bound: Duration,
    work: impl Future<Output = Result<T, RestError>>,
) -> Result<T, RestError> {
    tokio::time::timeout(bound, work)
        .await
        .unwrap_or(Err(RestError::TooSlow))
}

async fn dispatch(rest: &Rest, request: Request) -> Result<Response<Body>, RestError> {
    let path = squeezed(request.uri().path());
    let method = request.method().clone();
    let not_allowed = |allowed| RestError::Method {
        method: method.to_string(),
        allowed,
    };
    if path == "/swagger.json" {
        return match method {
            Method::GET => Ok(pages::description()),
            _ => Err(not_allowed("GET")),
        };
    }
    let operation = path.strip_prefix(BASE_PATH);
    match operation {
        Some("/apis") => {}
        Some("/docs") => {
            return match method {
                Method::GET => Ok(pages::viewer()),
                _ => Err(not_allowed("GET")),
            };
        }
        Some("/oauth2/token") => {
            return match method {
                Method::POST => token(rest, request).await,
                _ => Err(not_allowed("POST")),
            };
        }
        _ => return Err(RestError::Path(path)),
    }
    if !matches!(method, Method::DELETE | Method::GET | Method::POST) {
        return Err(not_allowed("DELETE,GET,POST"));
    }
    let (head, body) = request.into_parts();
    let query = Query::parse(head.uri.query());
    let caller = rest.auth.judge(&head, &query)?;
    if method == Method::POST {
        return apis::deploy(rest, caller, Request::from_parts(head, body), &query).await;
    }
    if caller == Caller::Silent {
        return Err(RestError::NoCredentials);
    }
    takes_json(&head.headers)?;
    if method == Method::GET {
        apis::list(rest, &query)
    } else {
        apis::undeploy(rest, &query).await
    }
}

/// `POST /oauth2/token`.
async fn token(rest: &Rest, request: Request) -> Result<Response<Body>, RestError> {
    let (head, body) = request.into_parts();
    media_type(&head.headers, "application/json")?;
    takes_json(&head.headers)?;
    let bytes = within(STRANGER_TIMEOUT, async {
        let read = axum::body::to_bytes(body, MAX_JSON_BYTES).await;
        read.map_err(|_| RestError::TooLarge(MAX_JSON_BYTES))
    })
    .await?;
    if bytes.is_empty() {
        return Err(RestError::Validation {
            code: 602,
            message: "body in body is required".to_owned(),
        });
    }
    let body: Value = serde_json::from_slice(&bytes).map_err(|error| RestError::Json(error.to_string()))?;
    let mut texts = ["", ""];
    for (rule, text) in [&query::PASSWORD, &query::USERNAME].into_iter().zip(&mut texts) {
        *text = match body.get(rule.name) {
            None | Some(Value::Null) => return Err(rule.required()),
            Some(Value::String(text)) => text,
            Some(_) => {
                return Err(RestError::Json(format!("{} is not a string", rule.name)));
            }
        };
        rule.check(text)?;
    }
    let [password, username] = texts;
    let token = rest.auth.issue(username, password)?;
    // apictl reads every member as a string; there must be no other kind.
    Ok(respond::json(StatusCode::OK, &json!({ "accessToken": token })))
}

/// Slashes that a base URL with one at its end has doubled.
fn squeezed(path: &str) -> String {
    let mut squeezed = String::with_capacity(path.len());
    for c in path.chars() {
        if c != '/' || !squeezed.ends_with('/') {
            squeezed.push(c);
        }
    }
    squeezed
}

/// The body is of type `allowed`.
fn media_type(headers: &HeaderMap, allowed: &'static str) -> Result<(), RestError> {
    let found = headers
        .get(http::header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or("application/octet-stream");
    let essence = found.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case(allowed) {
        Ok(())
    } else {
        Err(RestError::UnsupportedMedia {
            found: essence.to_owned(),
            allowed,
        })
    }
}

/// The caller takes JSON, or hasn't said what it takes.
fn takes_json(headers: &HeaderMap) -> Result<(), RestError> {
    let mut ranges = headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .peekable();
    let takes = |range: &str| {
        let mut parts = range.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let refused = parts.any(|part| {
            part.strip_prefix("q=")
                .and_then(|quality| quality.parse::<f32>().ok())
                .is_some_and(|quality| quality <= 0.0)
        });
        !refused && matches!(name, "*/*" | "application/*" | "application/json" | "")
    };
    if ranges.peek().is_none() || ranges.any(takes) {
        Ok(())
    } else {
        Err(RestError::NotAcceptable)
    }
}
