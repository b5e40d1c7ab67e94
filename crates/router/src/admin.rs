//! The admin port: `/live`, `/ready`, `/metrics`, `/snapshot`. It runs on the control runtime, so traffic cannot starve it,
//! and is meant for loopback.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::debug;
use trireme_telemetry::Metrics;
use trireme_xds::client::Status;

use crate::downstream::worker::Shared;

/// What the admin port shows.
#[derive(Debug)]
pub(crate) struct Admin {
    /// The data path.
    pub(crate) shared: Arc<Shared>,
    /// Metrics.
    pub(crate) metrics: Metrics,
    /// Discovery.
    pub(crate) discovery: watch::Receiver<Status>,
}

/// Connections at once; it is for operators and probes.
const CONNECTIONS: usize = 64;

impl Admin {
    /// Serves until the token is cancelled.
    pub(crate) async fn serve(self, listener: TcpListener, shutdown: CancellationToken) {
        let admin = Arc::new(self);
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = shutdown.cancelled() => return,
            };
            while connections.try_join_next().is_some() {}
            let Ok((stream, _)) = accepted else {
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            if connections.len() >= CONNECTIONS {
                continue;
            }
            let admin = Arc::clone(&admin);
            connections.spawn(async move {
                let service = service_fn(move |request| {
                    let response = admin.answer(&request);
                    async move { Ok::<_, Infallible>(response) }
                });
                let served = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(Duration::from_secs(10))
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
                if let Err(error) = served {
                    debug!(%error, "admin connection ended");
                }
            });
        }
    }

    fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return reply(
                StatusCode::METHOD_NOT_ALLOWED,
                "text/plain",
                "only GET\n".to_owned(),
            );
        }
        match request.uri().path() {
            "/live" => reply(StatusCode::OK, "text/plain", "live\n".to_owned()),
            "/ready" if self.shared.is_ready() => reply(StatusCode::OK, "text/plain", "ready\n".to_owned()),
            "/ready" => reply(
                StatusCode::SERVICE_UNAVAILABLE,
                "text/plain",
                "not ready\n".to_owned(),
            ),
            "/metrics" => reply(
                StatusCode::OK,
                trireme_telemetry::CONTENT_TYPE,
                self.metrics.encode(),
            ),
            "/snapshot" => reply(StatusCode::OK, "application/json", self.snapshot().to_string()),
            _ => reply(
                StatusCode::NOT_FOUND,
                "text/plain",
                "/live /ready /metrics /snapshot\n".to_owned(),
            ),
        }
    }

    fn snapshot(&self) -> serde_json::Value {
        let snapshot = self.shared.store.load();
        let status = self.discovery.borrow();
        let types: serde_json::Map<String, serde_json::Value> = status
            .types
            .iter()
            .map(|(url, of)| {
                let rejected: Vec<_> = of
                    .rejected
                    .iter()
                    .map(|rejection| json!({"resource": rejection.resource, "reason": rejection.reason}))
                    .collect();
                let name = url.rsplit('/').next().unwrap_or(url).to_owned();
                let facts =
                    json!({"version": of.version, "held": of.held, "live": of.live, "rejected": rejected});
                (name, facts)
            })
            .collect();
        json!({
            "version": snapshot.version,
            "listeners": snapshot.listeners.iter().map(|listener| listener.name.as_str()).collect::<Vec<_>>(),
            "fragments": snapshot.routes.fragments(),
            "routes": snapshot.routes.routes(),
            "clusters": snapshot.clusters.len(),
            "discovery": {
                "connected": status.connected,
                "age_secs": status.age(SystemTime::now()).map(|age| age.as_secs()),
                "last_error": status.last_error,
                "file_refused": status.file_refused,
                "file_unwritten": status.file_unwritten,
                "types": types,
            },
        })
    }
}

fn reply(status: StatusCode, content_type: &'static str, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
