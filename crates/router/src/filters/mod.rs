//! What happens to a request between its match and its upstream, and to the response on its way back: two lists, [`request`]
//! and [`response`], in one fixed order each. Only what went through all of the first becomes [`Admitted`], and only that
//! can be sent.
//!
//! A filter is a module with `on_request` and, if it has one, `on_response`; what it must remember from one to the other is
//! its own field of the [`Trail`]. Filters answer with values: bodies are made by [`crate::respond`].

mod admitted;
mod ambiguous;
mod body;
mod call;
mod check;
mod cors;
mod headers;
mod limit;
mod payload;
mod route;

use std::mem::take;

use http::{HeaderMap, Response};
use hyper::body::Incoming;
use trireme_routing::Matched;
use trireme_routing::snapshot::{Action, Cors, Headers, Position};

pub(crate) use self::admitted::{Admitted, Bounds};
pub(crate) use self::call::Call;
pub(crate) use self::limit::Buckets;
pub(crate) use self::payload::{Buffered, Payload};
use crate::enforcer::{Changes, Denial};
use crate::error::{DownstreamError, ProxyError};
use crate::event::Completed;

/// What filters remember of a request for its response.
#[derive(Debug, Default)]
pub(crate) struct Trail<'a> {
    /// The route's changes of the answer.
    headers: Option<&'a Headers>,
    /// The enforcer's changes of the answer.
    check: Changes,
    /// An origin to be told that it may read the answer.
    cors: Option<cors::Allowed<'a>>,
}

/// Where the filters leave a request.
#[derive(Debug)]
pub(crate) enum Outcome<'a> {
    /// Answered here.
    Answer(Answer<'a>),
    /// To be sent.
    Send(Box<Admitted>, Payload),
}

/// An answer that needs no upstream.
#[derive(Debug)]
pub(crate) enum Answer<'a> {
    /// The enforcer's no.
    Denied(Denial),
    /// What the route says.
    Direct {
        /// Status.
        status: u16,
        /// Body.
        body: &'a str,
    },
    /// A preflight of an allowed origin.
    Preflight(&'a Cors),
    /// What the route says, if the process is ready.
    Ready {
        /// Status.
        status: u16,
        /// Body.
        body: &'a str,
    },
}

impl Answer<'_> {
    /// Why it is the gateway's own, in Envoy's words (`%RESPONSE_CODE_DETAILS%`).
    pub(crate) const fn details(&self) -> &'static str {
        match self {
            Self::Denied(_) => "ext_authz_denied",
            Self::Direct { .. } | Self::Ready { .. } => "direct_response",
            Self::Preflight(_) => "cors_response",
        }
    }
}

/// What is remembered of every request that has a route, whatever refuses it.
pub(crate) fn trail<'a>(matched: &Matched<'a>, headers: &HeaderMap) -> Trail<'a> {
    Trail {
        headers: match matched.route().action {
            Action::Forward(_) => matched.route().filters.headers.as_deref(),
            // As in Envoy, a route that answers itself has no say in refusals.
            Action::Direct { .. } => None,
        },
        cors: cors::note(matched, headers),
        ..Trail::default()
    }
}

/// The filters of a request, in the order that listeners are configured with (`trireme_routing`'s chain of filters).
///
/// The body stays where it is when nobody needs it.
///
/// # Errors
/// What refuses it.
pub(crate) async fn request<'a>(
    mut call: Call<'a>,
    body: &mut Option<Incoming>,
    trail: &mut Trail<'a>,
    event: &mut Completed,
) -> Result<Outcome<'a>, ProxyError> {
    ambiguous::on_request(&call)?;
    if let Some(cors) = cors::on_request(&call, trail.cors.as_ref()) {
        // As in Envoy, the one answer that the route has no say in.
        trail.headers = None;
        return Ok(Outcome::Answer(Answer::Preflight(cors)));
    }
    limit::on_request(call.buckets, &call.matched)?;
    if call.upgrade {
        return Err(DownstreamError::UpgradeRefused.into());
    }
    let payload = body::on_request(&call, body, event).await?;
    let mut checked = match check::on_request(&mut call, &payload, event).await {
        Ok(Ok(checked)) => checked,
        Ok(Err(denial)) => {
            payload.give_back(body);
            return Ok(Outcome::Answer(Answer::Denied(denial)));
        }
        Err(error) => {
            payload.give_back(body);
            return Err(error);
        }
    };
    trail.check = take(&mut checked.response);
    let matched = route::on_request(&mut call, &mut checked.steering)?;
    trail.headers = matched.route().filters.headers.as_deref();
    if let Some(headers) = trail.headers {
        headers::on_request(
            headers,
            call.client.ip(),
            &mut call.headers,
            checked.barred.as_mut(),
        );
    }
    match &matched.route().action {
        Action::Direct { status, body: text } => {
            payload.give_back(body);
            Ok(Outcome::Answer(direct(&matched, *status, text)))
        }
        Action::Forward(forward) => {
            let admitted = route::admit(call, &matched, forward, checked, event)?;
            Ok(Outcome::Send(Box::new(admitted), payload))
        }
    }
}

/// The filters of a response, the one nearest to the upstream first.
pub(crate) fn response<B>(trail: Trail<'_>, response: &mut Response<B>) {
    let Trail { headers, check, cors } = trail;
    if let Some(headers) = headers {
        headers::on_response(headers, response.headers_mut());
    }
    check::on_response(check, response);
    cors::on_response(cors, response.headers_mut());
}

/// `/ready` alone is not as fixed as it looks: it says what the process is up to.
fn direct<'a>(matched: &Matched<'a>, status: u16, body: &'a str) -> Answer<'a> {
    if matched.position() == Position::System && matched.route().name == "/ready" {
        Answer::Ready { status, body }
    } else {
        Answer::Direct { status, body }
    }
}
