//! New connections: looked up, dialled, and over TLS with the client's own trust.

use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::{OnceCell, watch};
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;
use tower::Service;
use trireme_tls::channel::dial;
use trireme_tls::{Connector, Material, TlsError, Watch};

/// Protocols offered, the preferred one first.
const ALPN: &[&[u8]] = &[b"h2", b"http/1.1"];

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The host has no address, or none of them answers.
    #[error("cannot connect")]
    Dial(#[source] io::Error),
    /// The server is not who it should be, or speaks no TLS.
    #[error("cannot connect")]
    Handshake(#[source] io::Error),
    /// The process is about to stop.
    #[error("stopped")]
    Stopped,
    /// Not connected in time.
    #[error("no connection within {0:?}")]
    Timeout(Duration),
    /// The trusted certificates can't be read. The next connection tries again.
    #[error("trusted certificates cannot be read")]
    Trust(#[source] TlsError),
}

/// A [`ConnectError`] on its way through the pool, which gives errors back by reference only.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub(crate) struct Refused(pub(crate) Arc<ConnectError>);

/// Whom connections trust. Read when the first one goes over TLS: most installations make none, and the platform's public
/// roots and the threads that watch the files cost more than all policies.
#[derive(Debug)]
pub(crate) struct Trust {
    files: Vec<PathBuf>,
    system: bool,
    made: OnceCell<Made>,
}

#[derive(Debug)]
struct Made {
    connector: Connector,
    generation: watch::Receiver<u64>,
    _follows: Watch,
}

impl Trust {
    pub(crate) fn new(files: Vec<PathBuf>, system: bool) -> Self {
        Self {
            files,
            system,
            made: OnceCell::new(),
        }
    }

    /// A number that grows with every change of the certificates.
    pub(crate) fn generation(&self) -> u64 {
        self.made.get().map_or(0, |made| *made.generation.borrow())
    }

    /// Fails as reading the files does; the next call tries again.
    async fn connector(&self) -> Result<&Connector, ConnectError> {
        let make = || async {
            let (files, system) = (self.files.clone(), self.system);
            let made = tokio::task::spawn_blocking(move || {
                let material = Material::load_trust(files, system)?;
                Ok(Made {
                    connector: material.connector(ALPN),
                    generation: material.subscribe(),
                    _follows: material.watch()?,
                })
            });
            match made.await {
                Ok(made) => made.map_err(ConnectError::Trust),
                Err(_) => Err(ConnectError::Stopped),
            }
        };
        self.made.get_or_try_init(make).await.map(|made| &made.connector)
    }
}

/// Makes connections for the pool.
#[derive(Clone, Debug)]
pub(crate) struct Connect {
    trust: Arc<Trust>,
    bound: Duration,
}

impl Connect {
    pub(crate) fn new(trust: Arc<Trust>, bound: Duration) -> Self {
        Self { trust, bound }
    }

    async fn open(self, address: Uri) -> Result<Conn, Refused> {
        let bound = self.bound;
        match timeout(bound, Box::pin(open(&address, &self.trust, bound))).await {
            Ok(outcome) => outcome,
            Err(_) => Err(ConnectError::Timeout(bound)),
        }
        .map_err(|error| Refused(Arc::new(error)))
    }
}

impl Service<Uri> for Connect {
    type Response = Conn;
    type Error = Refused;
    type Future = Pin<Box<dyn Future<Output = Result<Conn, Refused>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Refused>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, address: Uri) -> Self::Future {
        Box::pin(self.clone().open(address))
    }
}

async fn open(address: &Uri, trust: &Trust, bound: Duration) -> Result<Conn, ConnectError> {
    let secure = is_secure(address);
    let host = address.host().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let port = address.port_u16().unwrap_or(if secure { 443 } else { 80 });
    let stream = dial(host, port, bound).await.map_err(ConnectError::Dial)?;
    if !secure {
        return Ok(Conn::new(Either::Left(stream), false));
    }
    let stream = trust
        .connector()
        .await?
        .connect(host, stream)
        .await
        .map_err(ConnectError::Handshake)?;
    let two = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    Ok(Conn::new(Either::Right(Box::new(stream)), two))
}

/// Whether the address is one of HTTPS.
fn is_secure(address: &Uri) -> bool {
    address.scheme() == Some(&http::uri::Scheme::HTTPS)
}

/// Whether a connection has given an answer before.
#[derive(Clone, Debug, Default)]
pub(crate) struct Served(Arc<AtomicBool>);

impl Served {
    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// An open connection.
#[derive(Debug)]
pub(crate) struct Conn {
    io: TokioIo<Either<TcpStream, Box<TlsStream<TcpStream>>>>,
    /// HTTP/2 was agreed on.
    two: bool,
    served: Served,
}

impl Conn {
    fn new(io: Either<TcpStream, Box<TlsStream<TcpStream>>>, two: bool) -> Self {
        Self {
            io: TokioIo::new(io),
            two,
            served: Served::default(),
        }
    }
}

impl Connection for Conn {
    fn connected(&self) -> Connected {
        let connected = Connected::new().extra(self.served.clone());
        if self.two {
            connected.negotiated_h2()
        } else {
            connected
        }
    }
}

impl Read for Conn {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl Write for Conn {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
