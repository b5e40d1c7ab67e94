//! Upstream services.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use trireme_tls::Acceptor;

/// A body of an upstream response.
pub(crate) type Answer = UnsyncBoxBody<Bytes, std::io::Error>;

type Handler = dyn Fn(&Arrived) -> Response<Answer> + Send + Sync;

/// A request as the upstream saw it.
#[derive(Debug, Clone)]
pub(crate) struct Arrived {
    pub(crate) method: String,
    pub(crate) uri: String,
    pub(crate) version: http::Version,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) trailers: Option<HeaderMap>,
}

/// A running upstream.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    arrived: Arc<Mutex<Vec<Arrived>>>,
    connections: Arc<Mutex<usize>>,
    server: JoinHandle<()>,
}

impl Upstream {
    /// Answers every request with 200 and what it saw in the body: method, target.
    pub(crate) async fn echo() -> Self {
        Self::answering(|arrived| Response::new(full(format!("{} {}", arrived.method, arrived.uri)))).await
    }

    /// Answers with a function of the request, whose body is read first.
    pub(crate) async fn answering(
        answer: impl Fn(&Arrived) -> Response<Answer> + Send + Sync + 'static,
    ) -> Self {
        Self::start(bind().await, None, Arc::new(answer))
    }

    /// The same over TLS.
    pub(crate) async fn secure(
        acceptor: Acceptor,
        answer: impl Fn(&Arrived) -> Response<Answer> + Send + Sync + 'static,
    ) -> Self {
        Self::start(bind().await, Some(acceptor), Arc::new(answer))
    }

    /// The same on a socket that is bound already.
    pub(crate) fn on(
        listener: TcpListener,
        acceptor: Acceptor,
        answer: impl Fn(&Arrived) -> Response<Answer> + Send + Sync + 'static,
    ) -> Self {
        Self::start(listener, Some(acceptor), Arc::new(answer))
    }

    fn start(listener: TcpListener, acceptor: Option<Acceptor>, answer: Arc<Handler>) -> Self {
        let address = listener.local_addr().unwrap();
        let arrived = Arc::new(Mutex::new(Vec::new()));
        let connections = Arc::new(Mutex::new(0));
        let (seen, count) = (Arc::clone(&arrived), Arc::clone(&connections));
        let server = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                *count.lock().unwrap() += 1;
                let (seen, answer, acceptor) = (Arc::clone(&seen), Arc::clone(&answer), acceptor.clone());
                tokio::spawn(async move {
                    let service =
                        service_fn(move |request| handle(request, Arc::clone(&seen), Arc::clone(&answer)));
                    let builder = auto::Builder::new(TokioExecutor::new());
                    match acceptor {
                        // Callers that break off are part of the tests.
                        Some(acceptor) => {
                            if let Ok(stream) = acceptor.accept(stream).await {
                                drop(builder.serve_connection(TokioIo::new(stream), service).await);
                            }
                        }
                        None => drop(builder.serve_connection(TokioIo::new(stream), service).await),
                    }
                });
            }
        });
        Self {
            address,
            arrived,
            connections,
            server,
        }
    }

    /// Plays a connection by hand: called for every one.
    pub(crate) async fn scripted<F>(script: impl Fn(usize, TcpStream) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(Mutex::new(0));
        let count = Arc::clone(&connections);
        let server = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let number = {
                    let mut count = count.lock().unwrap();
                    *count += 1;
                    *count
                };
                tokio::spawn(script(number, stream));
            }
        });
        Self {
            address,
            arrived: Arc::default(),
            connections,
            server,
        }
    }

    /// Requests so far.
    pub(crate) fn arrived(&self) -> Vec<Arrived> {
        self.arrived.lock().unwrap().clone()
    }

    /// Connections so far.
    pub(crate) fn connections(&self) -> usize {
        *self.connections.lock().unwrap()
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn handle(
    request: Request<Incoming>,
    seen: Arc<Mutex<Vec<Arrived>>>,
    answer: Arc<Handler>,
) -> Result<Response<Answer>, Infallible> {
    let (parts, body) = request.into_parts();
    let Ok(collected) = body.collect().await else {
        return Ok(Response::new(full("broken off".to_owned())));
    };
    let trailers = collected.trailers().cloned();
    let arrived = Arrived {
        method: parts.method.to_string(),
        uri: parts
            .uri
            .path_and_query()
            .map(ToString::to_string)
            .unwrap_or_default(),
        version: parts.version,
        headers: parts.headers,
        body: collected.to_bytes(),
        trailers,
    };
    let response = answer(&arrived);
    seen.lock().unwrap().push(arrived);
    Ok(response)
}

/// A body in memory.
pub(crate) fn full(text: impl Into<Bytes>) -> Answer {
    Full::new(text.into())
        .map_err(|never| match never {})
        .boxed_unsync()
}

/// An address that refuses connections.
pub(crate) async fn refused() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}

async fn bind() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}
