//! Asks the enforcer, and does what it says with the headers of the request, and later of the response.

use std::mem::take;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response};
use http_body::Body as _;
use tokio::time::Instant;
use trireme_routing::snapshot::Check;

use super::call::Call;
use super::payload::Payload;
use crate::edge;
use crate::enforcer::{Admission, Changes, Denial, Facts, Steering, Verdict};
use crate::error::{CheckError, Flag, InternalError, ProxyError};
use crate::event::{Completed, metrics};

/// Proof that the enforcer said yes, or that the route asks for no check.
#[derive(Debug)]
pub(crate) struct Pass(());

/// A request that was let through.
#[derive(Debug)]
pub(super) struct Checked {
    /// The proof.
    pub(super) pass: Pass,
    /// Where and how it goes.
    pub(super) steering: Steering,
    /// What is to be changed in the answer.
    pub(super) response: Changes,
    /// Names that its trailers must not hold; absent where no trailers can come.
    pub(super) barred: Option<Vec<HeaderName>>,
}

/// Lets a request through, with the enforcer's changes, or gives the enforcer's denial.
///
/// # Errors
/// When there is no verdict.
pub(super) async fn on_request(
    call: &mut Call<'_>,
    payload: &Payload,
    event: &mut Completed,
) -> Result<Result<Checked, Denial>, ProxyError> {
    let admission = match &call.matched.route().filters.check {
        Check::Disabled => Admission::default(),
        Check::Required { .. } => match ask(call, payload, event).await? {
            Verdict::Admitted(admission) => admission,
            Verdict::Denied(denial) => {
                event.facts.live.raise(Flag::Unauthorized);
                event.facts.metadata = denial.metadata.clone();
                return Ok(Err(denial));
            }
        },
    };
    let barred = payload
        .may_trail(call.version)
        .then(|| barred(take(&mut call.named), &admission));
    let Admission {
        edits,
        remove,
        steering,
        response,
        metadata,
    } = admission;
    for edit in edits {
        edit.apply(&mut call.headers);
    }
    for name in remove {
        call.headers.remove(name);
    }
    event.facts.metadata = metadata;
    Ok(Ok(Checked {
        pass: Pass(()),
        steering,
        response,
        barred,
    }))
}

/// The enforcer's changes of the response. As in Envoy they are made whoever answers, once the request was let through.
pub(super) fn on_response<B>(changes: Changes, response: &mut Response<B>) {
    for edit in changes.edits {
        edit.apply(response.headers_mut());
    }
    if let Some(status) = changes.status {
        *response.status_mut() = status;
    }
}

async fn ask(call: &Call<'_>, payload: &Payload, event: &Completed) -> Result<Verdict, ProxyError> {
    let started = Instant::now();
    let (shown, size) = match payload {
        Payload::Buffered(buffered) => {
            // All of it is in one chunk.
            let shown = buffered.chunks.front().cloned().unwrap_or_default();
            let size = shown.len() as u64;
            (shown, Some(size))
        }
        Payload::Streamed(body) => (Bytes::new(), body.size_hint().exact()),
    };
    let moved;
    let source = if call.client == call.peer.address {
        &call.peer.source
    } else {
        moved = call.peer.source.moved(call.client);
        &moved
    };
    let facts = Facts {
        source,
        context: call.matched.context(),
        id: call
            .headers
            .get(edge::X_REQUEST_ID)
            .map_or(b"", HeaderValue::as_bytes),
        method: call.method.as_str(),
        path: call.path.as_str(),
        host: call.authority.to_str().unwrap_or_default(),
        scheme: call.peer.scheme(),
        protocol: edge::protocol(call.version),
        headers: &call.headers,
        size,
        body: &shown,
        time: call.time,
    };
    let answer = call.enforcer.check(&facts, call.listener.check.timeout).await;
    let verdict = answer.and_then(Verdict::read);
    let outcome = match &verdict {
        Ok(Verdict::Admitted(_)) => metrics::Check::Allowed,
        Ok(Verdict::Denied(_)) => metrics::Check::Denied,
        Err(_) => metrics::Check::Failed,
    };
    event.tally().check(outcome, started.elapsed());
    if matches!(verdict, Err(CheckError::Overloaded)) {
        event.tally().shed(metrics::Shed::Checks);
    }
    Ok(verdict.map_err(InternalError::Check)?)
}

/// What trailers must not hold by the verdict, besides the headers that `Connection` named: whatever it changes or removes,
/// be it there or not.
fn barred(named: Vec<HeaderName>, admission: &Admission) -> Vec<HeaderName> {
    let changed = admission.edits.iter().map(|edit| &edit.name);
    let mut barred = named;
    barred.extend(admission.remove.iter().chain(changed).cloned());
    barred
}
