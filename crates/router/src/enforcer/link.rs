//! The worker's connection to the enforcer: one HTTP/2 connection over mutual TLS, on it one `CheckStream` that carries the
//! checks of all requests, or unary calls when the peer does not offer the stream.
//!
//! ```text
//! exchange ──begin──▶ pending (one buffer) ──Outbox, when the connection is next polled──▶ CheckBatch ──▶ enforcer
//!     ▲                                                                                                   │
//!     └── slot woken ◀── Slots::answer ◀── Deframer ◀──────────── VerdictBatch ◀──────────────────────────┘
//! ```
//!
//! Whatever waits when the connection gets to write goes out as one message, so the cost of a call is shared by all
//! requests of the same tick.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http::header::{CONTENT_TYPE, TE};
use http::{HeaderMap, HeaderValue, Method, Request, Uri, Version};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, info, warn};
use trireme_shell::Condition;

use super::pending::Pending;
use super::request::{Facts, Prepared};
use super::slots::{Id, Slots};
use super::verdict::Answer;
use super::wire::{self, Deframer, Fields, PREFIX, Value};
use crate::error::CheckError;
use crate::exec::LocalExec;
use crate::settings::Peer;

/// How the enforcer is reached.
#[derive(Debug, Clone)]
pub(crate) struct Enforcer {
    /// Address.
    pub(crate) peer: Peer,
    /// Our identity, and the trust it is verified against.
    pub(crate) connector: trireme_tls::Connector,
    /// Checks that may be under way.
    pub(crate) most: usize,
    /// Bound on making a connection.
    pub(crate) connect_timeout: Duration,
    /// Told by every worker that has made a connection, to all.
    pub(crate) made: Arc<watch::Sender<()>>,
}

/// The worker's end.
#[derive(Debug, Clone)]
pub(crate) struct Client(Rc<Inner>);

#[derive(Debug)]
struct Inner {
    enforcer: Enforcer,
    slots: RefCell<Slots>,
    scratch: RefCell<BytesMut>,
    pending: RefCell<Pending>,
    outbox: RefCell<Option<Waker>>,
    link: RefCell<Link>,
    /// The stream has brought a verdict: nothing needs to be kept for a unary call any more.
    confirmed: Cell<bool>,
    changed: Notify,
    unreachable_since: Cell<Option<Instant>>,
    /// Whether the enforcer can be reached, for who asks from outside.
    reachable: Condition,
}

#[derive(Debug)]
enum Link {
    /// None yet, or it was lost; another is being made.
    Connecting,
    /// Checks go into the stream.
    Stream,
    /// Every check is a call.
    Unary(SendRequest<Outgoing>),
}

/// Longest wait of a check for a connection that is being made.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often a check is asked again because its connection broke: a connection that was just made may break as well.
const AGAIN: u32 = 3;
/// Between attempts to connect: the first as long as a check may be waiting, then more with every attempt.
const BACKOFF: std::ops::RangeInclusive<Duration> = Duration::from_millis(20)..=Duration::from_millis(500);
/// A peer that lives answers a ping within `TIMEOUT`; it is sent when nothing came for `INTERVAL`.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(3);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(5);
const UNIMPLEMENTED: u32 = 12;
const STREAM: &str = "/trireme.auth.v1.CheckStream/Check";
const UNARY: &str = "/envoy.service.auth.v3.Authorization/Check";

impl Client {
    /// A client that is not connected yet; [`Client::run`] connects it.
    pub(crate) fn new(enforcer: Enforcer, reachable: Condition) -> Self {
        Self(Rc::new(Inner {
            enforcer,
            slots: RefCell::default(),
            scratch: RefCell::default(),
            pending: RefCell::default(),
            outbox: RefCell::default(),
            link: RefCell::new(Link::Connecting),
            confirmed: Cell::new(false),
            changed: Notify::new(),
            unreachable_since: Cell::new(None),
            reachable,
        }))
    }

    /// Says that the enforcer cannot be reached, once that has been so for the grace.
    pub(crate) fn review(&self, grace: Duration) {
        let since = self.0.unreachable_since.get();
        if since.is_some_and(|since| since.elapsed() >= grace) {
            self.0.reachable.miss();
        }
    }

    /// Asks the enforcer. Dropping the future gives the check up and frees its slot.
    ///
    /// # Errors
    /// [`CheckError`]; the request must then not go anywhere.
    pub(crate) async fn check(&self, facts: &Facts<'_>, bound: Duration) -> Result<Answer, CheckError> {
        let bound = if bound.is_zero() {
            Duration::from_secs(60)
        } else {
            bound
        };
        timeout(bound, self.answer(facts))
            .await
            .unwrap_or(Err(CheckError::TimedOut))
    }

    async fn answer(&self, facts: &Facts<'_>) -> Result<Answer, CheckError> {
        let mut answer = self.ask(facts).await;
        for _ in 0..AGAIN {
            // Lost with its connection, undecided: the next one is asked, if there is one in time.
            if answer != Err(CheckError::Unreachable) || !self.0.is_linked(PATIENCE).await {
                break;
            }
            answer = self.ask(facts).await;
        }
        answer
    }

    async fn ask(&self, facts: &Facts<'_>) -> Result<Answer, CheckError> {
        let inner = &self.0;
        let id = inner.slots.borrow_mut().open(inner.enforcer.most);
        let id = id.ok_or(CheckError::Overloaded)?;
        let waiting = Waiting { inner, id };
        let unary = match &*inner.link.borrow() {
            Link::Stream => None,
            Link::Unary(sender) => Some(sender.clone()),
            Link::Connecting => return Err(CheckError::Unreachable),
        };
        match unary {
            None => inner.send(id, facts)?,
            Some(sender) => {
                let request = inner.standalone(facts);
                tokio::task::spawn_local(Rc::clone(inner).call(sender, id, request));
            }
        }
        waiting.await
    }

    /// Keeps the connection; ends never.
    pub(crate) async fn run(self) {
        let mut others = self.0.enforcer.made.subscribe();
        let (mut backoff, mut since) = (*BACKOFF.start(), Instant::now());
        loop {
            let started = Instant::now();
            others.mark_unchanged();
            let (error, silence) = match self.0.connect().await {
                Ok((sender, connection)) => {
                    let serving = Rc::clone(&self.0).serve(sender);
                    tokio::select! {
                        result = connection => match result {
                            Ok(()) => ("closed by the enforcer".to_owned(), Duration::ZERO),
                            Err(error) if error.is_timeout() => (error.to_string(), KEEP_ALIVE_TIMEOUT),
                            Err(error) => (error.to_string(), Duration::ZERO),
                        },
                        reason = serving => (reason, Duration::ZERO),
                    }
                }
                Err(error) => (error.to_string(), Duration::ZERO),
            };
            self.0.lost(&error, silence);
            // A connection that lasted is remade at once. Checks may wait for the first attempts; the later ones come less often.
            if started.elapsed() > PATIENCE {
                (backoff, since) = (*BACKOFF.start(), Instant::now());
            } else if since.elapsed() > PATIENCE {
                backoff = (backoff * 2).min(*BACKOFF.end());
            }
            tokio::select! {
                () = sleep(backoff.mul_f64(0.5 + fastrand::f64() / 2.0)) => {}
                // Another worker has reached it.
                _ = others.changed() => {}
            }
        }
    }
}

impl Inner {
    /// Whether there is a connection, within `bound` at the latest.
    async fn is_linked(&self, bound: Duration) -> bool {
        let deadline = Instant::now() + bound;
        while matches!(*self.link.borrow(), Link::Connecting) {
            let changed = self.changed.notified();
            if tokio::time::timeout_at(deadline, changed).await.is_err() {
                return false;
            }
        }
        true
    }

    /// Puts the check into the batch that goes out next.
    fn send(&self, id: Id, facts: &Facts<'_>) -> Result<(), CheckError> {
        let mut scratch = self.scratch.borrow_mut();
        let prepared = Prepared::new(facts, &mut scratch);
        let length = prepared.len();
        let entry = wire::number_len(1, id.wire()) + wire::field_len(2, length);
        let mut pending = self.pending.borrow_mut();
        let out = pending.begin(wire::field_len(1, entry))?;
        wire::open(1, entry, out);
        wire::number(1, id.wire(), out);
        wire::open(2, length, out);
        let start = out.len();
        prepared.write(out);
        if !self.confirmed.get()
            && let Some(request) = out.get(start..)
        {
            self.slots.borrow_mut().keep(id, Bytes::copy_from_slice(request));
        }
        drop(pending);
        if let Some(waker) = self.outbox.borrow_mut().take() {
            waker.wake();
        }
        Ok(())
    }

    /// The check as a message of its own.
    fn standalone(&self, facts: &Facts<'_>) -> Bytes {
        let mut scratch = self.scratch.borrow_mut();
        let prepared = Prepared::new(facts, &mut scratch);
        let mut out = BytesMut::with_capacity(prepared.len());
        prepared.write(&mut out);
        out.freeze()
    }

    async fn connect(
        &self,
    ) -> Result<
        (
            SendRequest<Outgoing>,
            impl Future<Output = hyper::Result<()>> + use<>,
        ),
        ConnectError,
    > {
        let peer = &self.enforcer.peer;
        let io = timeout(self.enforcer.connect_timeout, async {
            let tcp = TcpStream::connect((peer.host.as_str(), peer.port)).await?;
            tcp.set_nodelay(true)?;
            self.enforcer.connector.connect(&peer.server_name, tcp).await
        })
        .await
        .map_err(|_| ConnectError::TimedOut)?
        .map_err(ConnectError::Io)?;
        let (sender, connection) = hyper::client::conn::http2::Builder::new(LocalExec)
            .timer(TokioTimer::new())
            .initial_stream_window_size(1 << 20)
            .initial_connection_window_size(4 << 20)
            .keep_alive_interval(KEEP_ALIVE_INTERVAL)
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
            .keep_alive_while_idle(true)
            .handshake(TokioIo::new(io))
            .await
            .map_err(ConnectError::Http)?;
        Ok((sender, connection))
    }

    /// Runs the stream until it ends; then, when the peer does not know it, unary calls until the connection ends.
    async fn serve(self: Rc<Self>, mut sender: SendRequest<Outgoing>) -> String {
        self.confirmed.set(false);
        self.pending.borrow_mut().clear();
        let request = grpc(STREAM, &self.enforcer.peer, Outgoing::Batches(Rc::clone(&self)));
        self.up(Link::Stream);
        let status = match sender.send_request(request).await {
            Ok(response) => self.receive(response).await,
            Err(error) => Err(error.to_string()),
        };
        match status {
            Ok(UNIMPLEMENTED) if !self.confirmed.get() => {
                debug!("the enforcer does not offer the check stream: unary calls");
                self.up(Link::Unary(sender.clone()));
                let kept = self.slots.borrow_mut().take_kept();
                for (id, request) in kept {
                    tokio::task::spawn_local(Rc::clone(&self).call(sender.clone(), id, request));
                }
                // The connection's own future ends the wait.
                std::future::pending().await
            }
            Ok(status) => format!("check stream ended with gRPC status {status}"),
            Err(error) => error,
        }
    }

    /// Hands out verdicts until the stream ends; its gRPC status.
    async fn receive(&self, response: http::Response<Incoming>) -> Result<u32, String> {
        if let Some(status) = grpc_status(response.headers()) {
            return Ok(status);
        }
        let mut body = response.into_body();
        let mut deframer = Deframer::default();
        let mut status = 2;
        while let Some(frame) = body.frame().await {
            match frame.map_err(|error| error.to_string())?.into_data() {
                Ok(chunk) => deframer
                    .push(chunk, |batch| self.verdicts(batch))
                    .map_err(|_| "malformed message on the check stream".to_owned())?,
                Err(frame) => {
                    if let Some(found) = frame.trailers_ref().and_then(grpc_status) {
                        status = found;
                    }
                }
            }
        }
        Ok(status)
    }

    fn verdicts(&self, batch: Bytes) {
        let mut slots = self.slots.borrow_mut();
        if !self.confirmed.replace(true) {
            slots.drop_kept();
        }
        for field in Fields(batch).flatten() {
            let (1, Value::Body(verdict)) = field else {
                continue;
            };
            let (mut id, mut answer, mut status) = (0, Answer::default(), 0);
            for field in Fields(verdict).flatten() {
                match field {
                    (1, Value::Number(value)) => id = value,
                    (2, Value::Body(body)) => answer.response = body,
                    (3, Value::Number(value)) => status = u32::try_from(value).unwrap_or(2),
                    (5, Value::Body(body)) => answer.steering = body,
                    _ => {}
                }
            }
            let answer = if status == 0 {
                Ok(answer)
            } else {
                Err(CheckError::Status(status))
            };
            if let Some(id) = Id::from_wire(id) {
                slots.answer(id, answer);
            }
        }
    }

    /// One unary call. It ends with its connection at the latest, and the connection is watched.
    async fn call(self: Rc<Self>, mut sender: SendRequest<Outgoing>, id: Id, request: Bytes) {
        let mut framed = BytesMut::with_capacity(PREFIX + request.len());
        framed.put_u8(0);
        framed.put_u32(u32::try_from(request.len()).unwrap_or(u32::MAX));
        framed.put_slice(&request);
        let request = grpc(UNARY, &self.enforcer.peer, Outgoing::One(Some(framed.freeze())));
        let answer = match sender.send_request(request).await {
            Ok(response) => unary(response).await,
            Err(_) => Err(CheckError::Unreachable),
        };
        self.slots.borrow_mut().answer(id, answer);
    }

    fn up(&self, link: Link) {
        if self.unreachable_since.take().is_some() {
            info!(
                host = self.enforcer.peer.host,
                port = self.enforcer.peer.port,
                "enforcer connected"
            );
        }
        *self.link.borrow_mut() = link;
        self.changed.notify_waiters();
        self.reachable.meet();
        self.enforcer.made.send_replace(());
    }

    /// There is no connection, and nothing has come from it for `silence`.
    fn lost(&self, error: &str, silence: Duration) {
        let first = self.unreachable_since.get().is_none();
        if first {
            warn!(
                error,
                host = self.enforcer.peer.host,
                port = self.enforcer.peer.port,
                "enforcer unreachable"
            );
            let now = Instant::now();
            self.unreachable_since
                .set(Some(now.checked_sub(silence).unwrap_or(now)));
        }
        *self.link.borrow_mut() = Link::Connecting;
        self.outbox.borrow_mut().take();
        self.pending.borrow_mut().clear();
        self.slots.borrow_mut().fail_all(&CheckError::Unreachable);
        self.changed.notify_waiters();
    }
}

/// Why there is no connection to the enforcer.
#[derive(Debug, thiserror::Error)]
enum ConnectError {
    #[error("HTTP/2 handshake failed: {0}")]
    Http(hyper::Error),
    #[error("{0}")]
    Io(std::io::Error),
    #[error("no connection in time")]
    TimedOut,
}

/// A check that waits.
struct Waiting<'a> {
    inner: &'a Inner,
    id: Id,
}

impl Future for Waiting<'_> {
    type Output = Result<Answer, CheckError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.inner.slots.borrow_mut().poll(self.id, cx.waker()) {
            Some(answer) => Poll::Ready(answer),
            None => Poll::Pending,
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.inner.slots.borrow_mut().close(self.id);
    }
}

/// What we send: the batches of the stream, or one message.
#[derive(Debug)]
enum Outgoing {
    Batches(Rc<Inner>),
    One(Option<Bytes>),
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &mut *self {
            Self::One(message) => Poll::Ready(message.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Batches(inner) => {
                let Some(messages) = inner.pending.borrow_mut().take() else {
                    *inner.outbox.borrow_mut() = Some(cx.waker().clone());
                    return Poll::Pending;
                };
                Poll::Ready(Some(Ok(Frame::data(messages))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::One(None))
    }
}

fn grpc(path: &'static str, peer: &Peer, body: Outgoing) -> Request<Outgoing> {
    let mut request = Request::new(body);
    *request.method_mut() = Method::POST;
    *request.version_mut() = Version::HTTP_2;
    let authority = format!("{}:{}", peer.host, peer.port);
    *request.uri_mut() = Uri::builder()
        .scheme("https")
        .authority(authority)
        .path_and_query(path)
        .build()
        .unwrap_or_else(|_| Uri::from_static(path));
    let headers = request.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(TE, HeaderValue::from_static("trailers"));
    request
}

async fn unary(response: http::Response<Incoming>) -> Result<Answer, CheckError> {
    if let Some(status) = grpc_status(response.headers()).filter(|status| *status != 0) {
        return Err(CheckError::Status(status));
    }
    let mut body = response.into_body();
    let mut deframer = Deframer::default();
    let (mut message, mut status) = (None, None);
    while let Some(frame) = body.frame().await {
        match frame.map_err(|_| CheckError::Unreachable)?.into_data() {
            Ok(chunk) => deframer
                .push(chunk, |bytes| message = Some(bytes))
                .map_err(|_| CheckError::Malformed("malformed gRPC message"))?,
            Err(frame) => status = frame.trailers_ref().and_then(grpc_status),
        }
    }
    match (status, message) {
        (Some(0), Some(response)) => Ok(Answer {
            response,
            ..Answer::default()
        }),
        (Some(0), None) => Err(CheckError::Malformed("no message")),
        (Some(status), _) => Err(CheckError::Status(status)),
        (None, _) => Err(CheckError::Malformed("no gRPC status")),
    }
}

fn grpc_status(headers: &HeaderMap) -> Option<u32> {
    headers.get("grpc-status")?.to_str().ok()?.parse().ok()
}
