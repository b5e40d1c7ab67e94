//! Connections of the management API, and how long they may take.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{self, Next};
use futures_util::StreamExt as _;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;
use trireme_tls::Acceptor;
use trireme_tls::serve::Peer;

use super::frame::HEAD_TIMEOUT;
use crate::event;

/// Greatest head of a request.
const MAX_HEAD_BYTES: usize = 1 << 20;
/// A connection on which nothing is asked for for this long is closed, at the latest after twice as long: those who say nothing
/// at all, which protocol they speak included, may not keep the others out.
pub(super) const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// Connections at a time.
const MAX_CONNECTIONS: usize = 256;
/// Time that open exchanges have when the adapter stops.
pub(super) const DRAIN: Duration = Duration::from_secs(10);

/// Serves until `shutdown`, then lets open exchanges finish for a bounded time.
pub(super) async fn serve(
    listener: TcpListener,
    acceptor: Acceptor,
    router: Router,
    shutdown: CancellationToken,
) {
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
            let peer = conn.peer().clone();
            serve_connection(conn, peer, router, &builder, &shutdown).await;
            drop(permit);
        });
    }
    tasks.close();
    tasks.wait().await;
}

pub(super) fn builder() -> auto::Builder<TokioExecutor> {
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

/// Serves one connection until its peer ends it, nothing is asked for any more, or `shutdown`. Each request has the [`Peer`] in
/// its extensions.
pub(super) async fn serve_connection(
    io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: Peer,
    router: Router,
    builder: &auto::Builder<TokioExecutor>,
    shutdown: &CancellationToken,
) {
    let exchanges = Arc::new(Exchanges::default());
    let watched = Arc::clone(&exchanges);
    let router = router.layer(middleware::from_fn(move |mut request: Request, next: Next| {
        let open = watched.open();
        request.extensions_mut().insert(peer.clone());
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
