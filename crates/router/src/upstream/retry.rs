//! What may be sent again, and from where its body comes the second time.

use std::rc::Rc;
use std::time::Duration;

use http::{HeaderName, StatusCode, Version};
use http_body::Body as _;
use hyper::body::Incoming;

use super::body::{Buffered, RequestBody, Tee};
use crate::edge;
use crate::error::UpstreamError;
use crate::live::Live;

/// Retries by status code.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Retries {
    /// How often beyond the first time.
    pub(crate) count: u32,
    /// For which answers.
    pub(crate) statuses: Vec<u16>,
    /// Base of the exponential backoff.
    pub(crate) base: Duration,
}

impl Retries {
    /// Envoy's base where none is configured.
    pub(crate) const BASE: Duration = Duration::from_millis(25);

    /// Whether an answer of that status is asked for again.
    pub(crate) fn retries(&self, status: StatusCode) -> bool {
        self.statuses.contains(&status.as_u16())
    }

    /// Wait before the retry after `done` others: random below a bound that doubles, at most ten times the base.
    pub(crate) fn backoff(&self, done: u32) -> Duration {
        let bound = self
            .base
            .saturating_mul(1_u32.checked_shl(done + 1).unwrap_or(u32::MAX))
            .min(self.base * 10);
        bound.mul_f64(fastrand::f64())
    }
}

/// The body of a request, as the filters leave it.
#[derive(Debug)]
pub(crate) enum Payload {
    /// In memory: the enforcer was shown it.
    Buffered(Buffered),
    /// Still with the caller.
    Streamed(Incoming),
}

impl Payload {
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

/// Gives out the body, once or more often.
#[derive(Debug)]
pub(super) struct Source {
    next: Option<RequestBody>,
    replay: Replay,
}

#[derive(Debug)]
enum Replay {
    Buffered(Buffered),
    Never,
    Tee(Rc<Tee>),
}

impl Source {
    /// `barred`: see [`edge::clean_trailers`]; `keep`: a copy is worth its memory.
    pub(super) fn new(
        payload: Payload,
        barred: Option<Vec<HeaderName>>,
        live: &Rc<Live>,
        keep: bool,
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
        let tee = keep.then(Rc::<Tee>::default);
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

/// What a failed exchange was about.
pub(super) fn classify(error: &hyper::Error) -> UpstreamError {
    if error.is_parse() || error.is_parse_too_large() || error.is_parse_status() {
        return UpstreamError::Protocol;
    }
    // Streams of HTTP/2 are reset; everything on HTTP/1 ends with its connection.
    let cause = std::error::Error::source(error)
        .map(ToString::to_string)
        .unwrap_or_default();
    if cause.starts_with("stream error received") {
        UpstreamError::Reset
    } else if cause.starts_with("stream error") {
        UpstreamError::ResetLocal
    } else {
        UpstreamError::Terminated
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_backoff_doubles_up_to_ten_times_its_base() {
        let retries = Retries {
            count: 9,
            statuses: vec![504],
            base: Duration::from_millis(25),
        };
        for (done, bound) in [(0, 50), (1, 100), (2, 200), (3, 250), (40, 250)] {
            for _ in 0..50 {
                assert!(
                    retries.backoff(done) <= Duration::from_millis(bound),
                    "after {done}"
                );
            }
        }
    }

    #[test]
    fn only_listed_statuses_are_retried() {
        let retries = Retries {
            count: 1,
            statuses: vec![504],
            base: Retries::BASE,
        };
        assert!(retries.retries(StatusCode::GATEWAY_TIMEOUT));
        assert!(!retries.retries(StatusCode::BAD_GATEWAY));
    }
}
