//! The admin port: `/live`, `/ready`, `/metrics`, and the process's own pages.
//!
//! It runs on the control runtime, so traffic cannot starve it, speaks HTTP/1.1 without TLS and is meant for loopback. On
//! hyper itself rather than a framework: it is a handful of fixed paths, and the router has no other use for one.

use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, ALLOW, CONTENT_TYPE};
use http::{HeaderValue, Method, Response, StatusCode};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};
use trireme_telemetry::{Format, Metrics};

use crate::ready::Readiness;

/// Connections at once; it is for operators and probes.
const CONNECTIONS: usize = 64;
/// For the head of a request.
const HEAD_BOUND: Duration = Duration::from_secs(10);
/// Before accepting is tried again when there are no file descriptors.
const PAUSE: Duration = Duration::from_millis(50);

/// The admin port of a process.
pub struct Admin {
    readiness: Readiness,
    metrics: Metrics,
    text: &'static str,
    look: Option<Look>,
    pages: Vec<(&'static str, Page)>,
}

type Page = Box<dyn Fn() -> serde_json::Value + Send + Sync>;
type Look = Box<dyn Fn() -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

impl Admin {
    /// The pages that every process has.
    #[must_use]
    pub fn new(readiness: Readiness, metrics: Metrics) -> Self {
        Self {
            readiness,
            metrics,
            text: "text/plain; charset=utf-8",
            look: None,
            pages: Vec::new(),
        }
    }

    /// The media type of pages that are plain text.
    #[must_use]
    pub fn text(mut self, media_type: &'static str) -> Self {
        self.text = media_type;
        self
    }

    /// Adds a page that shows a document, which is made anew each time.
    #[must_use]
    pub fn page(
        mut self,
        path: &'static str,
        page: impl Fn() -> serde_json::Value + Send + Sync + 'static,
    ) -> Self {
        self.pages.push((path, Box::new(page)));
        self
    }

    /// Has something looked at before `/ready` is answered: what is only known by trying.
    #[must_use]
    pub fn before_ready<F>(mut self, look: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.look = Some(Box::new(move || Box::pin(look())));
        self
    }

    /// Serves until `stop` is cancelled, and breaks off what is open then. So does dropping the future.
    pub async fn serve(self, listener: TcpListener, stop: CancellationToken) {
        let admin = Arc::new(self);
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = stop.cancelled() => return,
            };
            while let Some(ended) = connections.try_join_next() {
                if let Err(error) = ended {
                    warn!(%error, "an admin page ended abnormally");
                }
            }
            match accepted {
                Ok((stream, _)) if connections.len() < CONNECTIONS => {
                    connections.spawn(Arc::clone(&admin).connection(stream));
                }
                Ok(_) => {}
                Err(_) => sleep(PAUSE).await,
            }
        }
    }

    async fn connection(self: Arc<Self>, stream: TcpStream) {
        let service = service_fn(|request: http::Request<hyper::body::Incoming>| {
            let admin = Arc::clone(&self);
            async move {
                let accept = request
                    .headers()
                    .get(ACCEPT)
                    .and_then(|accept| accept.to_str().ok());
                let (method, path) = (request.method(), request.uri().path());
                Ok::<_, Infallible>(admin.answer(method, path, accept).await)
            }
        });
        let served = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_BOUND)
            .serve_connection(TokioIo::new(stream), service)
            .await;
        if let Err(error) = served {
            debug!(%error, "admin connection ended");
        }
    }

    async fn answer(&self, method: &Method, path: &str, accept: Option<&str>) -> Response<Full<Bytes>> {
        if !matches!(*method, Method::GET | Method::HEAD) {
            let mut answer = self.plain(StatusCode::METHOD_NOT_ALLOWED, "only GET\n".to_owned());
            let allowed = HeaderValue::from_static("GET,HEAD");
            answer.headers_mut().insert(ALLOW, allowed);
            return answer;
        }
        match path {
            "/live" => self.plain(StatusCode::OK, "live\n".to_owned()),
            "/ready" => {
                if let Some(look) = &self.look {
                    look().await;
                }
                self.ready()
            }
            "/metrics" => {
                let format = Format::accepted(accept);
                reply(StatusCode::OK, format.media_type(), self.metrics.encode(format))
            }
            path => match self.pages.iter().find(|(own, _)| *own == path) {
                Some((_, page)) => reply(StatusCode::OK, "application/json", page().to_string()),
                None => self.plain(StatusCode::NOT_FOUND, self.paths()),
            },
        }
    }

    fn ready(&self) -> Response<Full<Bytes>> {
        let missing = self.readiness.missing();
        let (status, mut text) = match missing.is_empty() {
            true => (StatusCode::OK, "ready\n".to_owned()),
            false => (
                StatusCode::SERVICE_UNAVAILABLE,
                format!("not ready: {}\n", missing.join(", ")),
            ),
        };
        for note in self.readiness.notes() {
            text.push_str(&note);
            text.push('\n');
        }
        self.plain(status, text)
    }

    /// What there is, for who asks for something else.
    fn paths(&self) -> String {
        let mut paths = "/live /ready /metrics".to_owned();
        for (path, _) in &self.pages {
            paths.push(' ');
            paths.push_str(path);
        }
        paths.push('\n');
        paths
    }

    fn plain(&self, status: StatusCode, text: String) -> Response<Full<Bytes>> {
        reply(status, self.text, text)
    }
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admin")
            .field("readiness", &self.readiness)
            .field("pages", &self.paths())
            .finish_non_exhaustive()
    }
}

fn reply(status: StatusCode, media_type: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

#[cfg(test)]
mod tests;
