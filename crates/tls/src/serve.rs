//! The serving side of mutual TLS: a listening socket becomes the connections that passed the handshake.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls_pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, Sleep, sleep, sleep_until, timeout};
use tokio_rustls::server;
use tokio_stream::Stream;
use tonic::transport::server::Connected;
use tracing::{debug, warn};

use crate::material::Acceptor;

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
