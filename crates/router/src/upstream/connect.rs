//! New upstream connections: TCP, TLS, HTTP handshake. Every connection is driven by a task of its worker.

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
use super::cluster::{Cluster, Host, Permit, Transport};
use super::pool::Open;
use crate::error::UpstreamError;

/// The sending end of a connection.
#[derive(Debug)]
pub(crate) enum Sender {
    /// One request at a time.
    Http1(http1::SendRequest<RequestBody>),
    /// Many.
    Http2(http2::SendRequest<RequestBody>),
}

/// What is given back when a connection ends.
type Held = (Permit, Open);

/// Runs tasks on the worker's own thread.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LocalExec;

impl<F: Future + 'static> hyper::rt::Executor<F> for LocalExec {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}

/// Connects to `host` within the cluster's connect timeout. The permit is given back when the connection ends.
pub(crate) async fn connect(
    cluster: &Arc<Cluster>,
    host: &Host,
    permit: Held,
) -> Result<Sender, UpstreamError> {
    let bound = match cluster.config.connect_timeout {
        Duration::ZERO => Duration::from_secs(20),
        bound => bound,
    };
    match timeout(bound, open(cluster, host, permit)).await {
        Ok(result) => result,
        Err(_) => Err(UpstreamError::Connect),
    }
}

async fn open(cluster: &Arc<Cluster>, host: &Host, permit: Held) -> Result<Sender, UpstreamError> {
    let failed = |error: std::io::Error| {
        debug!(%error, cluster = cluster.config.name, address = %host.address, "upstream connection failed");
        UpstreamError::Connect
    };
    let tcp = TcpStream::connect(host.address).await.map_err(failed)?;
    tcp.set_nodelay(true).map_err(failed)?;
    match &host.transport {
        Transport::Plain => match cluster.config.protocol {
            UpstreamProtocol::Http1 => handshake1(tcp, permit).await,
            UpstreamProtocol::Http2 { .. } => handshake2(tcp, cluster, permit).await,
        },
        Transport::Tls { dial, name } => {
            let connector = dial.load_full();
            let tls = Box::pin(connector.connect(name, tcp)).await.map_err(failed)?;
            let http2 = tls.get_ref().1.alpn_protocol() == Some(b"h2");
            if http2 {
                handshake2(tls, cluster, permit).await
            } else {
                handshake1(tls, permit).await
            }
        }
    }
}

async fn handshake1<S>(io: S, permit: Held) -> Result<Sender, UpstreamError>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let (sender, connection) = http1::Builder::new()
        .max_buf_size(128 << 10)
        .handshake(TokioIo::new(io))
        .await
        .map_err(|_| UpstreamError::Connect)?;
    tokio::task::spawn_local(async move {
        if let Err(error) = connection.await {
            debug!(%error, "upstream connection ended");
        }
        drop(permit);
    });
    Ok(Sender::Http1(sender))
}

async fn handshake2<S>(io: S, cluster: &Cluster, permit: Held) -> Result<Sender, UpstreamError>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let mut builder = http2::Builder::new(LocalExec);
    builder
        .timer(TokioTimer::new())
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(4 << 20)
        .max_header_list_size(64 << 10);
    if let UpstreamProtocol::Http2 {
        header_table_size: Some(size),
        ..
    } = cluster.config.protocol
    {
        builder.header_table_size(size.min(1 << 16));
    }
    let (sender, connection) = builder
        .handshake(TokioIo::new(io))
        .await
        .map_err(|_| UpstreamError::Connect)?;
    tokio::task::spawn_local(async move {
        if let Err(error) = connection.await {
            debug!(%error, "upstream connection ended");
        }
        drop(permit);
    });
    Ok(Sender::Http2(sender))
}
