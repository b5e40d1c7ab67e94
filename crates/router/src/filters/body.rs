//! Reads the whole body where the enforcer is shown it.

use std::time::Duration;

use http_body::Body as _;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use trireme_routing::snapshot::Check;

use super::call::Call;
use super::payload::{Buffered, Payload};
use crate::error::{DownstreamError, ProxyError};
use crate::event::Completed;

/// For the whole body to arrive.
const TIME: Duration = Duration::from_secs(60);

/// The body, in memory where the route passes it to the enforcer.
pub(super) async fn on_request(
    call: &Call<'_>,
    body: &mut Option<Incoming>,
    event: &Completed,
) -> Result<Payload, ProxyError> {
    let Some(body) = body.take() else {
        return Ok(Payload::Buffered(Buffered::default()));
    };
    match call.matched.route().filters.check {
        Check::Required { with_body: true, .. } => {
            let bound = call.listener.check.max_request_bytes;
            Ok(Payload::Buffered(buffer(body, bound, event).await?))
        }
        Check::Disabled | Check::Required { .. } => Ok(Payload::Streamed(body)),
    }
}

/// Reads a whole body within the bound.
async fn buffer(body: Incoming, bound: u32, event: &Completed) -> Result<Buffered, ProxyError> {
    let bound = usize::try_from(bound).unwrap_or(usize::MAX);
    if body.size_hint().lower() > bound as u64 {
        return Err(DownstreamError::BodyTooLarge.into());
    }
    let limited = Limited::new(body, bound);
    let collected = tokio::time::timeout(TIME, limited.collect())
        .await
        .map_err(|_| DownstreamError::RequestTimeout)?
        .map_err(|error| match error.is::<LengthLimitError>() {
            true => DownstreamError::BodyTooLarge,
            false => DownstreamError::BodyBroken,
        })?;
    let trailers = collected.trailers().cloned();
    let bytes = collected.to_bytes();
    event.facts.live.receive(bytes.len());
    let chunks = if bytes.is_empty() { Vec::new() } else { vec![bytes] };
    Ok(Buffered {
        chunks: chunks.into(),
        trailers,
    })
}
