//! The sample API of a gateway that is given none: its definition, and the small upstream behind it.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::CONTENT_TYPE;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

const DEFINITION: &str = include_str!("sample.yaml");
const SHIPS: [(&str, u32); 3] = [("argo", 50), ("olympias", 170), ("salaminia", 200)];
/// Connections served at once.
const MAX_CONNECTIONS: usize = 256;

/// The definition, with its server at `upstream`.
pub(super) fn definition(upstream: SocketAddr) -> String {
    DEFINITION.replace("127.0.0.1:0", &upstream.to_string())
}

/// The upstream, bound to a free loopback port. It serves as long as the future of [`Upstream::serve`] is polled.
#[derive(Debug)]
pub(super) struct Upstream {
    listener: TcpListener,
}

impl Upstream {
    pub(super) async fn bind() -> std::io::Result<Self> {
        Ok(Self {
            listener: TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?,
        })
    }

    pub(super) fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until dropped.
    pub(super) async fn serve(self) -> std::io::Result<Infallible> {
        let mut connections = JoinSet::new();
        loop {
            while connections.len() >= MAX_CONNECTIONS {
                connections.join_next().await;
            }
            let (stream, _) = self.listener.accept().await?;
            connections.spawn(async move {
                // A connection that breaks concerns its peer alone.
                drop(
                    hyper::server::conn::http1::Builder::new()
                        .timer(TokioTimer::new())
                        .serve_connection(TokioIo::new(stream), service_fn(answer))
                        .await,
                );
            });
            while connections.try_join_next().is_some() {}
        }
    }
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().trim_end_matches('/');
    let ship = path
        .strip_prefix("/ships/")
        .and_then(|name| SHIPS.iter().find(|ship| ship.0 == name));
    let (status, body) = match (request.method(), path, ship) {
        (&Method::GET, "/ships", _) => (
            StatusCode::OK,
            serde_json::json!({ "ships": SHIPS.map(|(name, rowers)| describe(name, rowers)) }),
        ),
        (&Method::POST, "/ships", _) => (StatusCode::CREATED, describe("trireme", 170)),
        (&Method::GET, _, Some((name, rowers))) => (StatusCode::OK, describe(name, *rowers)),
        _ => (
            StatusCode::NOT_FOUND,
            serde_json::json!({ "message": "no such ship" }),
        ),
    };
    let mut response = Response::new(Full::from(body.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(
        CONTENT_TYPE,
        hyper::header::HeaderValue::from_static("application/json"),
    );
    Ok(response)
}

fn describe(name: &str, rowers: u32) -> serde_json::Value {
    serde_json::json!({ "name": name, "rowers": rowers })
}
