//! Response bodies towards the caller. The event of the exchange lives in the body, so it is emitted when the last byte is
//! handed over, or when the caller goes away before.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

use crate::error::UpstreamError;
use crate::event::Completed;
use crate::upstream::response::ResponseBody;

/// A response body.
#[derive(Debug)]
pub(crate) struct Body {
    kind: Kind,
    event: Option<Completed>,
}

#[derive(Debug)]
enum Kind {
    Full(Bytes),
    Upstream(ResponseBody),
    /// None, though the head gives its length.
    Left,
}

impl Body {
    /// No body.
    pub(crate) const fn empty() -> Self {
        Self::full(Bytes::new())
    }

    /// A body in memory.
    pub(crate) const fn full(bytes: Bytes) -> Self {
        Self {
            kind: Kind::Full(bytes),
            event: None,
        }
    }

    /// The body of an upstream response.
    pub(crate) const fn upstream(body: ResponseBody) -> Self {
        Self {
            kind: Kind::Upstream(body),
            event: None,
        }
    }

    /// Drops what would be sent: the answer to a HEAD request.
    pub(crate) fn clear(&mut self) {
        self.kind = Kind::Full(Bytes::new());
    }

    /// Leaves the body out that the head gives the length of. hyper takes that length away where it knows that there is none.
    pub(crate) fn leave(&mut self) {
        self.kind = Kind::Left;
    }

    /// Length, when the whole body is in memory.
    pub(crate) const fn len(&self) -> Option<usize> {
        match &self.kind {
            Kind::Full(bytes) => Some(bytes.len()),
            Kind::Upstream(_) | Kind::Left => None,
        }
    }

    /// The whole body, when it is in memory.
    pub(crate) fn bytes(&self) -> &[u8] {
        match &self.kind {
            Kind::Full(bytes) => bytes,
            Kind::Upstream(_) | Kind::Left => &[],
        }
    }

    /// Hands the event over. It ends with this body.
    pub(crate) fn attach(&mut self, event: Completed) {
        event.offer();
        self.event = Some(event);
        if self.is_end_stream() || matches!(self.kind, Kind::Left) {
            self.end(true);
        }
    }

    fn end(&mut self, complete: bool) {
        if let Some(mut event) = self.event.take() {
            event.end(complete);
        }
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = UpstreamError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UpstreamError>>> {
        if let Some(event) = &self.event {
            event.facts.live.take();
        }
        let item = match &mut self.kind {
            Kind::Full(bytes) if bytes.is_empty() => Poll::Ready(None),
            Kind::Full(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Kind::Left => Poll::Ready(None),
            Kind::Upstream(body) => Pin::new(body).poll_frame(cx),
        };
        match &item {
            Poll::Ready(Some(Ok(frame))) => {
                // Nobody asks for more after trailers.
                let last = frame.is_trailers();
                if let Some(event) = &mut self.event {
                    event.offer();
                    match (frame.data_ref(), frame.trailers_ref()) {
                        (Some(data), _) => event.facts.live.send(data.len()),
                        (None, Some(trailers)) => event.trailers(trailers),
                        (None, None) => {}
                    }
                }
                if last || self.is_end_stream() {
                    self.end(true);
                }
            }
            Poll::Ready(None) => self.end(true),
            // A failure after the head has its own flag; the exchange is over all the same.
            Poll::Ready(Some(Err(_))) => self.end(false),
            Poll::Pending => {}
        }
        item
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Full(bytes) => bytes.is_empty(),
            Kind::Upstream(body) => body.is_end_stream(),
            Kind::Left => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Kind::Upstream(body) => body.size_hint(),
            Kind::Left => SizeHint::default(),
        }
    }
}
