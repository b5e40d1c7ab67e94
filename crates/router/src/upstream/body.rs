//! Request bodies on their way upstream: streamed frame by frame, counted, kept for a retry where that is wanted.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderName;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use crate::edge;
use crate::event::live::Live;
use crate::filters::Buffered;

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

/// Keeps what a streamed body has sent, up to a bound, so that it can be sent again.
#[derive(Debug)]
pub(crate) struct Tee {
    /// Greatest body that is kept.
    limit: usize,
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
    /// Keeps bodies of up to `limit` bytes.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            kept: RefCell::default(),
            bytes: Cell::new(0),
            state: Cell::default(),
        }
    }

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
            if self.bytes.get() > self.limit {
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
