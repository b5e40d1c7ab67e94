//! One downstream connection: TLS, protocol detection, hyper, and what is per connection: the caller's identity, idle
//! times, drain.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};
use tracing::debug;
use trireme_routing::snapshot::HttpSettings;
use trireme_tls::{Acceptor, Session};

use super::body::Body;
use super::io::Io;
use super::proxy;
use super::streams::{Exec, Looks, Streams, Untaken};
use super::worker::Worker;
use crate::error::DownstreamError;
use crate::event::active::{Active, Activity};
use crate::peer::{Ends, Peer};
use crate::places::{Counted, Place, Refusal};
use crate::snapshot::{Listener, Snapshot};

/// A connection, as its exchanges and its worker see it.
#[derive(Debug)]
pub(crate) struct Conn {
    /// The caller.
    pub(crate) peer: Rc<Peer>,
    /// Name of the listener resource.
    pub(crate) listener: Arc<str>,
    /// The worker that owns it.
    pub(crate) worker: Rc<Worker>,
    /// What is on it.
    pub(crate) streams: Rc<Streams>,
    /// Greatest head of a request, in bytes.
    pub(super) max_head: usize,
    activity: Rc<Activity>,
    /// The first exchange of HTTP/1 to be refused for what its bytes are.
    refused: Cell<Option<(u64, DownstreamError)>>,
    head_since: Cell<Option<Instant>>,
    http2: Cell<bool>,
    /// Since when its socket takes no more.
    blocked: Cell<Option<Instant>>,
    /// An HTTP/2 peer knows that the process shuts down.
    told: Cell<bool>,
    doom: Cell<Option<Doom>>,
    waker: RefCell<Option<Waker>>,
}

/// What answers the requests of connections. This side is told at its start, and knows nothing of what it serves.
pub(crate) trait Serve: Copy + Send + 'static {
    /// Answers one request.
    fn serve(
        self,
        conn: Rc<Conn>,
        request: Request<Incoming>,
    ) -> impl Future<Output = Result<Response<Body>, Infallible>> + 'static;

    /// Records a head that could not be read, as an exchange of its own. Gives the whole answer to it, as it is sent.
    fn unread(conn: &Conn, head: &Unread<'_>) -> Vec<u8>;
}

/// A head of HTTP/1 that hyper cannot read.
#[derive(Debug)]
pub(crate) struct Unread<'a> {
    /// It is larger than heads may be.
    pub(crate) too_large: bool,
    /// Begin of its first line, without the end; empty when that is not known.
    pub(crate) line: &'a [u8],
}

/// What ends a connection from our side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doom {
    /// At once, whatever is under way.
    Cut,
    /// When what is under way is finished.
    Finish,
}

/// Counts a connection as long as it is open, from its acceptance on.
#[derive(Debug)]
pub(crate) struct Open {
    worker: Rc<Worker>,
    _place: Place,
    ends: Ends,
    /// Its place among those of its address.
    counted: Option<Counted>,
    /// It begins with a PROXY header.
    proxied: bool,
}

/// Window of one stream, and of a connection; streams at once.
const STREAM_WINDOW: u32 = 64 << 10;
const CONNECTION_WINDOW: u32 = 1 << 20;
const STREAMS: u32 = 100;
/// What one stream may hold of an answer that its caller does not take.
const SEND_BUFFER: usize = 64 << 10;
/// Time without a request where the listener sets none.
const IDLE: Duration = Duration::from_secs(300);
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Serves a connection until it ends.
pub(crate) async fn serve<E: Serve>(
    worker: Rc<Worker>,
    mut stream: TcpStream,
    listener: Arc<str>,
    acceptor: Option<Acceptor>,
    exchange: E,
    mut open: Open,
) {
    let header_time = worker.shared.edge.header_time;
    if open.proxied {
        match open.read_proxy(&mut stream, &listener, header_time).await {
            Ok(true) => {}
            Ok(false) => return,
            Err(refusal) => return worker.tally.refuse(refusal),
        }
    }
    let ends = open.ends;
    let Some(acceptor) = acceptor else {
        let conn = Registered::new(&worker, Peer::new(ends, None), listener);
        if let Some(http2) = detect(&stream, &conn.conn, header_time).await {
            let io = Io::new(stream, Rc::clone(&conn.conn), http2, E::unread);
            run(io, &conn.conn, http2, exchange).await;
        }
        return;
    };
    let tls = match timeout(header_time, acceptor.accept(stream)).await {
        Ok(Ok(tls)) => tls,
        Ok(Err(error)) => return debug!(%error, peer = %ends.peer, "TLS handshake failed"),
        Err(_) => return debug!(peer = %ends.peer, "TLS handshake not finished in time"),
    };
    let session = tls.get_ref().1;
    let http2 = session.alpn_protocol() == Some(b"h2");
    let peer = Peer::new(ends, Some(Session::of(session)));
    let conn = Registered::new(&worker, peer, listener);
    let io = Io::new(tls, Rc::clone(&conn.conn), http2, E::unread);
    run(io, &conn.conn, http2, exchange).await;
}

async fn run<S, E>(io: Io<S>, conn: &Rc<Conn>, http2: bool, exchange: E)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
    E: Serve,
{
    conn.http2.set(http2);
    let service = {
        let conn = Rc::clone(conn);
        service_fn(move |request| exchange.serve(Rc::clone(&conn), request))
    };
    let io = TokioIo::new(io);
    let result = if http2 {
        let mut connection = pin!(
            http2::Builder::new(Exec(Rc::clone(&conn.streams)))
                .timer(TokioTimer::new())
                .initial_stream_window_size(STREAM_WINDOW)
                .initial_connection_window_size(CONNECTION_WINDOW)
                .max_concurrent_streams(STREAMS)
                .max_send_buf_size(SEND_BUFFER)
                .max_header_list_size(u32::try_from(conn.max_head).unwrap_or(u32::MAX))
                .serve_connection(io, service)
        );
        conn.drive(connection.as_mut(), |connection| connection.graceful_shutdown())
            .await
    } else {
        conn.streams.be_one();
        let mut connection = http1::Builder::new()
            .max_header_size(conn.max_head)
            .max_buf_size((64 << 10).max(conn.max_head))
            // The worker watches the time itself: hyper's timer would also end idle connections.
            .header_read_timeout(None)
            .serve_connection(io, service);
        let result = conn
            .drive(Pin::new(&mut connection), |connection| {
                connection.graceful_shutdown();
            })
            .await;
        if result.as_ref().is_err_and(hyper::Error::is_parse) {
            let mut io = connection.into_parts().io.into_inner();
            if !io.is_replaced() && !conn.activity.is_active() {
                // hyper's own answer stands; the head is recorded like all others.
                let too_large = result.as_ref().is_err_and(hyper::Error::is_parse_too_large);
                E::unread(conn, &Unread { too_large, line: b"" });
            }
            // The caller is to see the answer though it has sent more than was read.
            io.shutdown().await.unwrap_or_default();
        }
        result
    };
    if let Err(error) = result {
        debug!(%error, peer = %conn.peer.address, "connection ended");
    }
}

/// Whether a plain connection begins with HTTP/2's preface; none when it ends before that is known.
async fn detect(stream: &TcpStream, conn: &Rc<Conn>, bound: Duration) -> Option<bool> {
    let mut first = [0; PREFACE.len()];
    let mut since: Option<Instant> = None;
    loop {
        let doomed = std::future::poll_fn(|cx| conn.poll_doom(cx));
        let read = tokio::select! {
            read = stream.peek(&mut first) => read.ok()?,
            _ = doomed => return None,
        };
        if read == 0 {
            return None;
        }
        let (seen, preface) = (first.get(..read)?, PREFACE.get(..read)?);
        if seen != preface {
            return Some(false);
        }
        if read == PREFACE.len() {
            return Some(true);
        }
        // A preface in pieces: peeking does not wait for more, so look again a little later.
        if since.get_or_insert_with(Instant::now).elapsed() > bound {
            return None;
        }
        sleep(Duration::from_millis(2)).await;
    }
}

// === impl Conn ===

impl Conn {
    /// Whether the connection speaks HTTP/2.
    pub(crate) fn is_http2(&self) -> bool {
        self.http2.get()
    }

    /// An exchange begins.
    pub(crate) fn begin(&self) -> Active {
        self.head_since.set(None);
        let active = self.activity.begin();
        if self.worker.is_draining() {
            self.drain();
        }
        active
    }

    /// An exchange, counted from 1, and all after it are not to be served.
    pub(crate) fn refuse(&self, exchange: u64, error: DownstreamError) {
        self.refused.set(Some((exchange, error)));
    }

    /// Whether the exchange that began last may be served, as far as [`crate::downstream::heads`] can tell.
    pub(crate) fn admit(&self) -> Result<(), DownstreamError> {
        match self.refused.get() {
            Some((first, error)) if self.activity.begun() >= first => Err(error),
            _ => Ok(()),
        }
    }

    /// How many exchanges there were so far, when none is under way.
    pub(crate) fn settled(&self) -> Option<u64> {
        (!self.activity.is_active()).then(|| self.activity.begun())
    }

    /// Whether none is under way, and as many have begun.
    pub(crate) fn is_settled(&self, begun: u64) -> bool {
        self.settled() == Some(begun)
    }

    /// Its socket takes bytes, or does not at the moment.
    pub(crate) fn block(&self, blocked: bool) {
        let since = self.blocked.get().filter(|_| blocked);
        self.blocked
            .set(since.or_else(|| blocked.then(|| self.worker.clock.get())));
    }

    /// Bytes came in or went out.
    pub(crate) fn moved(&self, inward: bool) {
        let now = self.activity.moved();
        if inward && !self.activity.is_active() && !self.http2.get() && self.head_since.get().is_none() {
            self.head_since.set(Some(now));
        }
    }

    /// The process shuts down. An HTTP/2 peer is told so, after its first request: hyper drops a connection whose handshake
    /// is under way. On HTTP/1 the next answer says so, since a connection that is closed while its caller sends would lose a
    /// request.
    pub(crate) fn drain(&self) {
        if self.http2.get() && self.activity.begun() > 0 && !self.told.replace(true) {
            self.end(Doom::Finish);
        }
    }

    /// Looks whether the connection has been open for nothing.
    pub(crate) fn review(
        &self,
        now: Instant,
        snapshot: &Snapshot,
        header_time: Duration,
        drain: Option<(Duration, Duration)>,
        untaken: &mut Untaken,
    ) {
        let settings = snapshot.listener(&self.listener).map(|listener| &listener.http);
        let quiet = self.activity.quiet(now);
        let bound = |bound: Duration, otherwise: Duration| if bound.is_zero() { otherwise } else { bound };
        if let Some((since, limit)) = drain {
            if since >= limit {
                return self.end(Doom::Cut);
            }
            if !self.activity.is_active() && quiet >= limit / 2 {
                return self.end(Doom::Finish);
            }
        }
        if self.activity.is_active() {
            let idle = settings.map_or(Duration::ZERO, |http| http.stream_idle_timeout);
            let looks = Looks {
                now,
                idle,
                peer: self.peer.address.ip(),
                blocked: self.blocked.get().is_some(),
            };
            self.streams.review(looks, untaken);
            if self.streams.is_over() {
                return self.end(Doom::Cut);
            }
            let longest = idle
                .max(self.activity.patience())
                .saturating_add(Duration::from_secs(1));
            // The exchange watches its upstream side; this is a caller who stopped reading or sending. Where nothing at
            // all moves on the connection, every stream of it is idle.
            let blocked = self
                .blocked
                .get()
                .map_or(Duration::ZERO, |since| now.duration_since(since));
            // One who takes nothing is no better for what it sends meanwhile.
            let longest_blocked = bound(idle, IDLE).max(longest);
            if (!idle.is_zero() && quiet >= longest) || blocked >= longest_blocked {
                self.end(Doom::Cut);
            }
            return;
        }
        let head = settings.map_or(Duration::ZERO, |http| http.request_headers_timeout);
        if self
            .head_since
            .get()
            .is_some_and(|since| now.duration_since(since) >= bound(head, header_time))
        {
            return self.end(Doom::Cut);
        }
        let idle = settings.map_or(Duration::ZERO, |http| http.idle_timeout);
        if quiet >= bound(idle, IDLE) {
            self.end(Doom::Finish);
        }
    }

    fn end(&self, doom: Doom) {
        self.doom.set(Some(doom));
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }

    fn poll_doom(&self, cx: &mut Context<'_>) -> Poll<Doom> {
        if let Some(doom) = self.doom.take() {
            return Poll::Ready(doom);
        }
        let mut waker = self.waker.borrow_mut();
        if waker.as_ref().is_none_or(|waker| !waker.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Polls hyper's connection until it ends, by itself or by ours.
    async fn drive<C, E>(&self, mut connection: Pin<&mut C>, shutdown: fn(Pin<&mut C>)) -> Result<(), E>
    where
        C: Future<Output = Result<(), E>>,
    {
        std::future::poll_fn(|cx| {
            match self.poll_doom(cx) {
                Poll::Ready(Doom::Cut) => return Poll::Ready(Ok(())),
                Poll::Ready(Doom::Finish) => {
                    shutdown(connection.as_mut());
                    // Registers for what may come after.
                    if self.poll_doom(cx) == Poll::Ready(Doom::Cut) {
                        return Poll::Ready(Ok(()));
                    }
                }
                Poll::Pending => {}
            }
            connection.as_mut().poll(cx)
        })
        .await
    }
}

/// A connection in its worker's list.
struct Registered {
    key: usize,
    conn: Rc<Conn>,
}

impl Registered {
    fn new(worker: &Rc<Worker>, peer: Peer, listener: Arc<str>) -> Self {
        let snapshot = worker.snapshot();
        let head = snapshot
            .listener(&listener)
            .map(|listener| listener.http.max_head_kib);
        let conn = Rc::new(Conn {
            max_head: usize::try_from(head.unwrap_or(HttpSettings::HEAD_KIB)).unwrap_or(usize::MAX) << 10,
            peer: Rc::new(peer),
            listener,
            worker: Rc::clone(worker),
            streams: Rc::default(),
            activity: Rc::new(Activity::new(Rc::clone(&worker.clock))),
            refused: Cell::new(None),
            head_since: Cell::new(None),
            http2: Cell::new(false),
            blocked: Cell::new(None),
            told: Cell::new(false),
            doom: Cell::new(None),
            waker: RefCell::new(None),
        });
        let key = worker.connections.borrow_mut().insert(Rc::clone(&conn));
        Self { key, conn }
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.conn.worker.connections.borrow_mut().try_remove(self.key);
    }
}

impl Open {
    /// Counts one from `peer`; why not when there are as many as may be. Where a PROXY header is to name the caller, its address is
    /// counted when that has come.
    pub(crate) fn count(
        worker: &Rc<Worker>,
        stream: &TcpStream,
        peer: SocketAddr,
        listener: &str,
    ) -> Result<Self, Refusal> {
        let place = worker.shared.open.take(worker.shared.edge.max_connections)?;
        let snapshot = worker.snapshot();
        let listener = snapshot.listener(listener);
        worker.open.set(worker.open.get() + 1);
        let mut open = Self {
            worker: Rc::clone(worker),
            _place: place,
            ends: Ends::of(peer, stream.local_addr().ok()),
            counted: None,
            proxied: listener.is_some_and(|listener| listener.proxy_protocol),
        };
        if !open.proxied {
            open.count_address(listener)?;
        }
        Ok(open)
    }

    /// Counts it among those of its address. Proxies are not held to what one caller may have.
    fn count_address(&mut self, listener: Option<&Arc<Listener>>) -> Result<(), Refusal> {
        let Some(listener) = listener.filter(|listener| listener.caps.connections > 0) else {
            return Ok(());
        };
        let address = self.ends.peer.ip();
        if !listener.http.proxies.hold(address) {
            let most = listener.caps.connections;
            self.counted = Some(self.worker.shared.open.connection(address, most)?);
        }
        Ok(())
    }

    /// Reads the PROXY header, within `bound`, and counts the connection as one of the caller's. False when nothing came at all.
    async fn read_proxy(
        &mut self,
        stream: &mut TcpStream,
        listener: &str,
        bound: Duration,
    ) -> Result<bool, Refusal> {
        let socket = self.ends;
        let reason = match timeout(bound, proxy::read(stream, socket)).await {
            Ok(Ok(None)) => return Ok(false),
            Ok(Ok(Some(ends))) => {
                self.ends = ends;
                let snapshot = self.worker.snapshot();
                self.count_address(snapshot.listener(listener))?;
                return Ok(true);
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "not there in time".to_owned(),
        };
        self.worker.unproxied(socket.direct, &reason);
        Err(Refusal::Header)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.worker.open.set(self.worker.open.get() - 1);
    }
}
