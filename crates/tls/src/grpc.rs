//! Glue between mutual TLS and tonic, which is built without a TLS stack of its own.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use rustls_pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream, lookup_host};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, Sleep, sleep, sleep_until, timeout};
use tokio_rustls::{client, server};
use tokio_stream::Stream;
use tonic::transport::server::Connected;
use tonic::transport::{Channel, Endpoint, Uri};
use tower::service_fn;
use tracing::{debug, warn};

use crate::acceptor::Acceptor;
use crate::connector::Connector;

/// The protocol that gRPC peers agree on.
pub const ALPN: &[&[u8]] = &[b"h2"];

/// A peer that is slower than this is not going to make it.
const HANDSHAKE_BOUND: Duration = Duration::from_secs(10);
/// Handshakes beside each other; further peers wait in the listen queue.
const MAX_PENDING: usize = 256;
/// When there is no place left, the oldest handshake gives way once it has had this long: peers that connect and say
/// nothing may not keep out those who have something to say.
const PATIENCE: Duration = Duration::from_secs(1);
const FIRST_BACKOFF: Duration = Duration::from_millis(10);
const LONGEST_BACKOFF: Duration = Duration::from_secs(1);

/// Turns a listening socket into the connections that passed the handshake. Handshakes run beside each other, none
/// longer than ten seconds, nor longer than one second once there is no place left; a failed one is logged and dropped.
/// Running out of file descriptors pauses accepting and never ends the stream. Dropping it closes the socket and breaks
/// off what is in the middle of a handshake.
pub fn incoming(listener: TcpListener, acceptor: Acceptor) -> Incoming {
    Incoming {
        listener,
        acceptor,
        handshakes: JoinSet::new(),
        pending: VecDeque::new(),
        patience: None,
        pause: None,
        backoff: FIRST_BACKOFF,
    }
}

/// Connections that passed the handshake; see [`incoming`].
#[derive(Debug)]
pub struct Incoming {
    listener: TcpListener,
    acceptor: Acceptor,
    handshakes: JoinSet<Option<Conn>>,
    /// When each began, oldest first.
    pending: VecDeque<(Instant, AbortHandle)>,
    patience: Option<Pin<Box<Sleep>>>,
    pause: Option<Pin<Box<Sleep>>>,
    backoff: Duration,
}

impl Incoming {
    /// The address that is listened on.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Takes what waits in the listen queue, as far as there is room.
    fn poll_accept(&mut self, cx: &mut Context<'_>) {
        loop {
            if let Some(pause) = &mut self.pause {
                if pause.as_mut().poll(cx).is_pending() {
                    return;
                }
                self.pause = None;
            }
            if self.pending.len() >= MAX_PENDING && !self.make_room(cx) {
                return;
            }
            match self.listener.poll_accept(cx) {
                Poll::Pending => return,
                Poll::Ready(Ok((stream, remote))) => {
                    self.backoff = FIRST_BACKOFF;
                    let task = handshake(self.acceptor.clone(), stream, remote);
                    self.pending
                        .push_back((Instant::now(), self.handshakes.spawn(task)));
                }
                Poll::Ready(Err(error)) if concerns_one_connection(&error) => {
                    debug!(%error, "connection gone before it was accepted");
                }
                Poll::Ready(Err(error)) => {
                    warn!(%error, pause = ?self.backoff, "cannot accept connections");
                    self.pause = Some(Box::pin(sleep(self.backoff)));
                    self.backoff = (self.backoff * 2).min(LONGEST_BACKOFF);
                }
            }
        }
    }

    /// Breaks off the oldest handshake if it had its time. When it hasn't, the task is woken once it has.
    fn make_room(&mut self, cx: &mut Context<'_>) -> bool {
        let Some((begun, oldest)) = self.pending.front() else {
            return true;
        };
        let mut patience = Box::pin(sleep_until(*begun + PATIENCE));
        if patience.as_mut().poll(cx).is_pending() {
            self.patience = Some(patience);
            return false;
        }
        oldest.abort();
        self.pending.pop_front();
        self.patience = None;
        true
    }
}

impl Stream for Incoming {
    type Item = io::Result<Conn>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            self.poll_accept(cx);
            let ended = self.handshakes.poll_join_next(cx);
            if let Poll::Ready(Some(_)) = ended {
                // Whoever holds the handle of a task holds its memory as well.
                self.pending.retain(|(_, task)| !task.is_finished());
            }
            match ended {
                Poll::Ready(Some(Ok(Some(conn)))) => return Poll::Ready(Some(Ok(conn))),
                // The place that became free may be what a waiting connection needs.
                Poll::Ready(Some(Ok(None))) => {}
                Poll::Ready(Some(Err(error))) if error.is_cancelled() => {
                    debug!("handshake gave way to another");
                }
                Poll::Ready(Some(Err(error))) => warn!(%error, "a handshake ended abnormally"),
                Poll::Ready(None) | Poll::Pending => return Poll::Pending,
            }
        }
    }
}

async fn handshake(acceptor: Acceptor, stream: TcpStream, remote: SocketAddr) -> Option<Conn> {
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%error, %remote, "connection gone before its handshake");
        return None;
    }
    let local = stream.local_addr().ok();
    match timeout(HANDSHAKE_BOUND, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => {
            let certificate = stream
                .get_ref()
                .1
                .peer_certificates()
                .and_then(|chain| chain.first())
                .map(|certificate| certificate.clone().into_owned());
            Some(Conn {
                stream,
                peer: Peer {
                    remote,
                    local,
                    certificate,
                },
            })
        }
        // What a port probe looks like.
        Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
            debug!(%error, %remote, "connection closed during its handshake");
            None
        }
        Ok(Err(error)) => {
            warn!(%error, %remote, "handshake refused");
            None
        }
        Err(_) => {
            debug!(%remote, "handshake not completed in time");
            None
        }
    }
}

fn concerns_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}

/// Who is at the other end; in the extensions of every request that came over a [`Conn`].
#[derive(Clone, Debug)]
pub struct Peer {
    /// Address of the peer.
    pub remote: SocketAddr,
    /// Own address of the connection.
    pub local: Option<SocketAddr>,
    /// The verified certificate of the peer, if it showed one.
    pub certificate: Option<CertificateDer<'static>>,
}

/// An accepted connection whose handshake is complete.
#[derive(Debug)]
pub struct Conn {
    stream: server::TlsStream<TcpStream>,
    peer: Peer,
}

impl Conn {
    /// Who is at the other end.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }
}

impl Connected for Conn {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for Conn {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Conn {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Where a gRPC peer is and what its certificate must say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// DNS name or address to connect to.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Name (or address) that the certificate must carry.
    pub server_name: String,
}

/// The settings that connections between our processes use: keep-alive pings that notice a dead peer within half a
/// minute, and windows that let a megabyte of configuration pass in one round trip. Adjust them and go on with
/// [`channel_with`].
pub fn endpoint(target: &Target) -> Endpoint {
    // The name the peer is known by makes the better `:authority`; where it lives is the connector's business, and so
    // is a name that is none: it fails there, with the reason.
    let name = if target.server_name.contains(':') {
        format!("[{}]", target.server_name)
    } else {
        target.server_name.clone()
    };
    let uri = Uri::builder()
        .scheme("https")
        .authority(format!("{name}:{}", target.port))
        .path_and_query("/")
        .build()
        .unwrap_or_else(|_| Uri::from_static("https://invalid/"));
    Endpoint::from(uri)
        .http2_keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(10))
        .keep_alive_while_idle(true)
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(4 << 20)
}

/// A channel that connects at the first call and again whenever the connection is lost. A call made while the peer is
/// away fails at once with UNAVAILABLE and the reason; so does every call when the target is no usable address.
pub fn channel(target: Target, connector: Connector) -> Channel {
    channel_with(&endpoint(&target), target, connector)
}

/// As [`channel`], with an [`endpoint`] whose settings were adjusted.
pub fn channel_with(endpoint: &Endpoint, target: Target, connector: Connector) -> Channel {
    endpoint.connect_with_connector_lazy(service_fn(move |_: Uri| {
        let (target, connector) = (target.clone(), connector.clone());
        async move { connect(&target, &connector).await.map(TokioIo::new) }
    }))
}

/// Opens one connection with TCP_NODELAY, trying every address of the host, each for its share of the ten seconds that
/// bound the whole. The error names host and port.
pub async fn connect(target: &Target, connector: &Connector) -> io::Result<client::TlsStream<TcpStream>> {
    let attempt = async {
        let addresses = lookup_host((target.host.as_str(), target.port)).await?;
        let stream = dial(&addresses.collect::<Vec<_>>(), HANDSHAKE_BOUND).await?;
        stream.set_nodelay(true)?;
        connector.connect(&target.server_name, stream).await
    };
    let outcome = timeout(HANDSHAKE_BOUND, Box::pin(attempt))
        .await
        .unwrap_or_else(|_| {
            Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "no connection within ten seconds",
            ))
        });
    outcome.map_err(|error| io::Error::new(error.kind(), format!("{}:{}: {error}", target.host, target.port)))
}

/// Connects to the first address that answers. One that swallows packets, such as that of a network without a route,
/// must not use up the time of those that follow: `bound` is shared out among them.
async fn dial(addresses: &[SocketAddr], bound: Duration) -> io::Result<TcpStream> {
    let deadline = Instant::now() + bound;
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for (index, address) in addresses.iter().enumerate() {
        let left = u32::try_from(addresses.len() - index).unwrap_or(u32::MAX);
        let share = deadline.saturating_duration_since(Instant::now()) / left;
        match timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => failure = error,
            Err(_) => failure = io::Error::new(io::ErrorKind::TimedOut, format!("{address} does not answer")),
        }
    }
    Err(failure)
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpSocket;

    use super::*;

    /// The queue of a listener that nobody serves fills up, whereupon the system drops what else comes, as a network
    /// without a route would.
    #[tokio::test]
    async fn an_address_that_does_not_answer_leaves_time_for_the_next() {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let deaf = socket.listen(1).unwrap();
        let deaf = (deaf.local_addr().unwrap(), deaf);
        let mut waiting = Vec::new();
        while let Ok(stream) = timeout(Duration::from_millis(200), TcpStream::connect(deaf.0)).await {
            waiting.push(stream.unwrap());
            assert!(waiting.len() < 64, "the queue has no end");
        }
        let good = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = good.local_addr().unwrap();
        let bound = Duration::from_secs(1);
        let stream = dial(&[deaf.0, address], bound).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), address);
        let error = dial(&[deaf.0], Duration::from_millis(100)).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        let error = dial(&[], bound).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
