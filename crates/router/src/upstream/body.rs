//! Bodies between the two sides: streamed frame by frame, counted, bounded in time.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep_until};

use super::cluster::Permit;
use super::pool::Lease;
use super::retry;
use crate::edge;
use crate::error::{Flag, UpstreamError};
use crate::live::Live;

/// A request body on its way upstream.
#[derive(Debug)]
pub(crate) enum RequestBody {
    /// In memory, as far as it exists.
    Buffered(Buffered),
    /// As it comes from the caller.
    Streamed {
        /// The caller's body.
        incoming: Incoming,
        /// The exchange.
        live: Rc<Live>,
        /// A copy for a retry.
        tee: Option<Rc<Tee>>,
        /// Names that its trailers must not hold; see [`edge::clean_trailers`].
        barred: Option<Vec<HeaderName>>,
    },
}

/// A body in memory.
#[derive(Debug, Clone, Default)]
pub(crate) struct Buffered {
    /// Data, in order.
    pub(crate) chunks: std::collections::VecDeque<Bytes>,
    /// Trailers.
    pub(crate) trailers: Option<HeaderMap>,
}

/// Keeps what a streamed body has sent, up to a bound, so that it can be sent again.
#[derive(Debug, Default)]
pub(crate) struct Tee {
    kept: RefCell<Buffered>,
    bytes: Cell<usize>,
    state: Cell<Recording>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Recording {
    #[default]
    Open,
    Complete,
    TooLong,
}

impl Tee {
    /// Greatest body that is kept for a retry; the original's buffer limit of a connection.
    const LIMIT: usize = 1 << 20;

    /// The whole body, once all of it has passed.
    pub(crate) fn replay(&self) -> Option<Buffered> {
        (self.state.get() == Recording::Complete).then(|| self.kept.borrow().clone())
    }

    fn record(&self, frame: &Frame<Bytes>) {
        if self.state.get() != Recording::Open {
            return;
        }
        if let Some(data) = frame.data_ref() {
            self.bytes.set(self.bytes.get() + data.len());
            if self.bytes.get() > Self::LIMIT {
                self.state.set(Recording::TooLong);
                self.kept.take();
                return;
            }
            self.kept.borrow_mut().chunks.push_back(data.clone());
        } else if let Some(trailers) = frame.trailers_ref() {
            self.kept.borrow_mut().trailers = Some(trailers.clone());
        }
    }

    fn complete(&self) {
        if self.state.get() == Recording::Open {
            self.state.set(Recording::Complete);
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut *self {
            Self::Buffered(buffered) => {
                let data = buffered.chunks.pop_front().map(Frame::data);
                Poll::Ready(
                    data.or_else(|| buffered.trailers.take().map(Frame::trailers))
                        .map(Ok),
                )
            }
            Self::Streamed {
                incoming,
                live,
                tee,
                barred,
            } => {
                let mut item = ready!(Pin::new(&mut *incoming).poll_frame(cx));
                if let Some(trailers) = item.as_mut().and_then(|item| item.as_mut().ok()?.trailers_mut()) {
                    edge::clean_trailers(trailers, barred.as_deref());
                }
                match &item {
                    Some(Ok(frame)) => {
                        live.receive(frame.data_ref().map_or(0, Bytes::len));
                        if let Some(tee) = tee {
                            tee.record(frame);
                        }
                    }
                    Some(Err(_)) => live.break_request(),
                    None => {}
                }
                if item.is_none() || incoming.is_end_stream() {
                    live.finish_request();
                    if let Some(tee) = tee {
                        tee.complete();
                    }
                }
                Poll::Ready(item)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Buffered(buffered) => buffered.chunks.is_empty() && buffered.trailers.is_none(),
            Self::Streamed { incoming, .. } => incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Buffered(Buffered {
                trailers: Some(_), ..
            }) => SizeHint::default(),
            Self::Buffered(buffered) => {
                SizeHint::with_exact(buffered.chunks.iter().map(|chunk| chunk.len() as u64).sum())
            }
            Self::Streamed { incoming, .. } => incoming.size_hint(),
        }
    }
}

/// A response body on its way to the caller. It owns the connection it comes from, and gives it back at its end.
#[derive(Debug)]
pub(crate) struct ResponseBody {
    incoming: Incoming,
    live: Rc<Live>,
    lease: Option<Lease>,
    _permit: Permit,
    idle: Duration,
    deadline: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl ResponseBody {
    /// The body that follows a response head.
    pub(super) fn new(
        incoming: Incoming,
        live: Rc<Live>,
        lease: Lease,
        permit: Permit,
        idle: Duration,
        deadline: Option<Instant>,
    ) -> Self {
        let mut body = Self {
            incoming,
            live,
            lease: Some(lease),
            _permit: permit,
            idle,
            deadline,
            timer: None,
        };
        if body.incoming.is_end_stream() {
            body.finish();
        }
        body
    }

    /// The connection can be used again, unless the request is still being sent on it.
    fn finish(&mut self) {
        if let Some(lease) = self.lease.take()
            && self.live.request_done().is_some()
        {
            lease.give_back();
        }
    }

    /// Bounds the wait for the next frame. The timer exists only for bodies that ever make us wait.
    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<UpstreamError> {
        loop {
            let idle = (!self.idle.is_zero()).then(|| self.live.activity() + self.idle);
            let Some(due) = [idle, self.deadline].into_iter().flatten().min() else {
                return Poll::Pending;
            };
            let now = Instant::now();
            if due <= now {
                let over = self.deadline.is_some_and(|deadline| deadline <= now);
                return Poll::Ready(if over {
                    UpstreamError::MaxDuration
                } else {
                    UpstreamError::TimedOut
                });
            }
            let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(due)));
            if timer.deadline() != due {
                timer.as_mut().reset(due);
            }
            ready!(timer.as_mut().poll(cx));
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = UpstreamError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UpstreamError>>> {
        match Pin::new(&mut self.incoming).poll_frame(cx) {
            Poll::Ready(Some(Ok(mut frame))) => {
                self.live.touch(Instant::now());
                if let Some(trailers) = frame.trailers_mut() {
                    super::strip(trailers);
                }
                if self.incoming.is_end_stream() {
                    self.finish();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                let error = retry::classify(&error);
                self.live.raise(error.flag());
                Poll::Ready(Some(Err(error)))
            }
            Poll::Ready(None) => {
                self.finish();
                Poll::Ready(None)
            }
            Poll::Pending => {
                let error = ready!(self.poll_timer(cx));
                self.live.raise(match error {
                    UpstreamError::TimedOut => Flag::StreamIdle,
                    error => error.flag(),
                });
                Poll::Ready(Some(Err(error)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
