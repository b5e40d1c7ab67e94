//! From where the body of a request comes when it is sent again.

use std::rc::Rc;

use http::HeaderName;
use http_body::Body as _;

use super::body::{RequestBody, Tee};
use crate::edge;
use crate::event::live::Live;
use crate::filters::{Buffered, Payload};

/// Gives out the body, once or more often.
#[derive(Debug)]
pub(super) struct Source {
    next: Option<RequestBody>,
    replay: Replay,
}

/// How much of a streamed body is kept to be sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    /// For retries by status: up to the original's buffer limit of a connection.
    ForRetries,
    /// For a connection that turns out to be dead.
    ForStale,
    /// None of it.
    Nothing,
}

#[derive(Debug)]
enum Replay {
    Buffered(Buffered),
    Never,
    Tee(Rc<Tee>),
}

impl Source {
    /// `barred`: see [`edge::clean_trailers`].
    pub(super) fn new(
        payload: Payload,
        barred: Option<Vec<HeaderName>>,
        live: &Rc<Live>,
        keep: Keep,
    ) -> Self {
        let incoming = match payload {
            Payload::Streamed(incoming) if !incoming.is_end_stream() => incoming,
            Payload::Streamed(_) => return Self::buffered(Buffered::default(), live),
            Payload::Buffered(mut buffered) => {
                if let Some(trailers) = &mut buffered.trailers {
                    edge::clean_trailers(trailers, barred.as_deref());
                }
                return Self::buffered(buffered, live);
            }
        };
        let tee = match keep {
            Keep::ForRetries => Some(Rc::new(Tee::new(1 << 20))),
            Keep::ForStale => Some(Rc::new(Tee::new(64 << 10))),
            Keep::Nothing => None,
        };
        let replay = tee.clone().map_or(Replay::Never, Replay::Tee);
        Self {
            next: Some(RequestBody::Streamed {
                incoming,
                live: Rc::clone(live),
                tee,
                barred,
            }),
            replay,
        }
    }

    fn buffered(buffered: Buffered, live: &Live) -> Self {
        live.finish_request();
        Self {
            next: None,
            replay: Replay::Buffered(buffered),
        }
    }

    /// The body for the next sending.
    pub(super) fn take(&mut self) -> Option<RequestBody> {
        if self.next.is_some() {
            return self.next.take();
        }
        match &self.replay {
            Replay::Buffered(buffered) => Some(RequestBody::Buffered(buffered.clone())),
            Replay::Never => None,
            Replay::Tee(tee) => tee.replay().map(RequestBody::Buffered),
        }
    }

    /// Takes a body back of which nothing was read.
    pub(super) fn put_back(&mut self, body: RequestBody) {
        self.next = Some(body);
    }

    /// Whether there is a body for another sending now.
    pub(super) fn can_replay(&self) -> bool {
        self.next.is_some()
            || match &self.replay {
                Replay::Buffered(_) => true,
                Replay::Never => false,
                Replay::Tee(tee) => tee.replay().is_some(),
            }
    }

    /// Whether there may be one later.
    pub(super) const fn may_replay(&self) -> bool {
        !matches!(self.replay, Replay::Never)
    }
}
