//! The body of a request on its way through the filters.

use std::collections::VecDeque;

use bytes::Bytes;
use http::{HeaderMap, Version};
use http_body::Body as _;
use hyper::body::Incoming;

/// The body of a request, as the filters leave it.
#[derive(Debug)]
pub(crate) enum Payload {
    /// In memory: the enforcer was shown it.
    Buffered(Buffered),
    /// Still with the caller.
    Streamed(Incoming),
}

impl Payload {
    /// Puts a body that nobody has read back to where it came from.
    pub(super) fn give_back(self, body: &mut Option<Incoming>) {
        if let Self::Streamed(incoming) = self {
            *body = Some(incoming);
        }
    }

    /// Whether trailers may come. HTTP/1 has them behind chunks only.
    pub(crate) fn may_trail(&self, version: Version) -> bool {
        match self {
            Self::Buffered(buffered) => buffered.trailers.is_some(),
            Self::Streamed(body) => {
                !body.is_end_stream() && (version == Version::HTTP_2 || body.size_hint().exact().is_none())
            }
        }
    }
}

/// A body in memory.
#[derive(Debug, Clone, Default)]
pub(crate) struct Buffered {
    /// Data, in order.
    pub(crate) chunks: VecDeque<Bytes>,
    /// Trailers.
    pub(crate) trailers: Option<HeaderMap>,
}
