//! Response bodies on their way to the caller: streamed frame by frame, bounded in time.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep_until};

use super::pool::Lease;
use crate::cluster::limits::Permit;
use crate::edge;
use crate::error::{Flag, UpstreamError};
use crate::event::live::Live;

/// A response body. It owns the connection it comes from, and gives it back at its end.
#[derive(Debug)]
pub(crate) struct ResponseBody {
    incoming: Incoming,
    live: Rc<Live>,
    lease: Option<Lease>,
    _permit: Option<Permit>,
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
        permit: Option<Permit>,
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
                // Nothing comes after trailers, whatever hyper's body says.
                let last = frame.trailers_mut().map(edge::back).is_some();
                if last || self.incoming.is_end_stream() {
                    self.finish();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                let error = UpstreamError::from(&error);
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
