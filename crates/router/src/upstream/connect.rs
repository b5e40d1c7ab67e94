//! New upstream connections: TCP, TLS, HTTP handshake. Every connection is driven by a task of its worker.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tracing::debug;
use trireme_routing::snapshot::UpstreamProtocol;

use super::body::RequestBody;
use super::pieces::Pieces;
use crate::cluster::transport::Transport;
use crate::cluster::{Cluster, Host};
use crate::exec::LocalExec;

/// A new connection.
#[derive(Debug)]
pub(crate) struct Connection {
    /// Its sending end.
    pub(crate) sender: Sender,
    /// Our address.
    pub(crate) local: Option<SocketAddr>,
}

/// Why there is no connection, for the logs.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Unreachable(pub(crate) Box<str>);

impl Unreachable {
    /// In Envoy's form: what failed, and why.
    fn of(what: &str, why: impl std::fmt::Display) -> Self {
        let why = why.to_string();
        // The system's words are the same everywhere, its numbers are not.
        let why = why.split(" (os error").next().unwrap_or_default();
        Self(format!("{what}: {why}").into())
    }
}

/// The sending end of a connection.
#[derive(Debug)]
pub(crate) enum Sender {
    /// One request at a time.
    Http1(http1::SendRequest<RequestBody>),
    /// Many.
    Http2(http2::SendRequest<RequestBody>),
}

/// Greatest head of an answer over HTTP/1, in bytes.
const HEAD: usize = 128 << 10;
/// What is read ahead of a caller on one stream of HTTP/2, in bytes. A connection takes that much of all its streams: those
/// that nobody reads leave the others theirs.
const STREAM_WINDOW: u32 = 128 << 10;

/// Connects to `host` within the cluster's connect timeout. What is `held` is dropped when the connection ends.
pub(crate) async fn connect<H: 'static>(
    cluster: &Arc<Cluster>,
    host: &Host,
    held: H,
) -> Result<Connection, Unreachable> {
    let bound = match cluster.config.connect_timeout {
        Duration::ZERO => Duration::from_secs(20),
        bound => bound,
    };
    let outcome = timeout(bound, open(cluster, host, held)).await;
    outcome
        .unwrap_or_else(|_| Err(Unreachable("connection timeout".into())))
        .inspect_err(|error| {
            debug!(%error, cluster = cluster.config.name, address = %host.address, "upstream connection failed");
        })
}

async fn open<H: 'static>(cluster: &Arc<Cluster>, host: &Host, held: H) -> Result<Connection, Unreachable> {
    let unconnected = |error| Unreachable::of("delayed_connect_error", error);
    let tcp = TcpStream::connect(host.address).await.map_err(unconnected)?;
    tcp.set_nodelay(true).map_err(unconnected)?;
    let local = tcp.local_addr().ok();
    let sender = match &host.transport {
        Transport::Plain => match cluster.config.protocol {
            UpstreamProtocol::Http1 => handshake1(tcp, held).await,
            UpstreamProtocol::Http2 { .. } => handshake2(tcp, cluster, held).await,
        },
        Transport::Tls { dial, name } => {
            let connector = dial.load_full();
            let tls = Box::pin(connector.connect(name, tcp)).await;
            let tls = tls.map_err(|error| Unreachable::of("TLS_error", error))?;
            let http2 = tls.get_ref().1.alpn_protocol() == Some(b"h2");
            if http2 {
                handshake2(tls, cluster, held).await
            } else {
                handshake1(tls, held).await
            }
        }
    };
    match sender {
        Ok(sender) => Ok(Connection { sender, local }),
        Err(error) => Err(Unreachable::of("HTTP_error", error)),
    }
}

async fn handshake1<S, H>(io: S, held: H) -> hyper::Result<Sender>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
    H: 'static,
{
    let (sender, connection) = http1::Builder::new()
        .max_buf_size(HEAD)
        .handshake(TokioIo::new(Pieces::of(io)))
        .await?;
    tokio::task::spawn_local(async move {
        if let Err(error) = connection.await {
            debug!(%error, "upstream connection ended");
        }
        drop(held);
    });
    Ok(Sender::Http1(sender))
}

async fn handshake2<S, H>(io: S, cluster: &Cluster, held: H) -> hyper::Result<Sender>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
    H: 'static,
{
    let mut builder = http2::Builder::new(LocalExec);
    builder
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(STREAM_WINDOW * Cluster::STREAMS)
        .max_header_list_size(64 << 10);
    if let UpstreamProtocol::Http2 {
        header_table_size: Some(size),
        ..
    } = cluster.config.protocol
    {
        builder.header_table_size(size.min(1 << 16));
    }
    let (sender, connection) = builder.handshake(TokioIo::new(io)).await?;
    tokio::task::spawn_local(async move {
        if let Err(error) = connection.await {
            debug!(%error, "upstream connection ended");
        }
        drop(held);
    });
    Ok(Sender::Http2(sender))
}
