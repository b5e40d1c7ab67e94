//! CORS, as Envoy's filter: preflights of allowed origins are answered here, other responses to them are marked.

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, ORIGIN,
};
use http::{HeaderMap, HeaderValue, Method};
use trireme_routing::Matched;
use trireme_routing::snapshot::Cors;

use super::call::Call;
use crate::edge;

/// An origin that the route allows, with the route's policy.
#[derive(Debug)]
pub(super) struct Allowed<'a> {
    cors: &'a Cors,
    origin: HeaderValue,
}

/// Notes an allowed origin; its answer is marked whatever becomes of the request.
pub(super) fn note<'a>(matched: &Matched<'a>, headers: &HeaderMap) -> Option<Allowed<'a>> {
    let cors = matched.route().filters.cors.as_deref()?;
    let origin = headers.get(ORIGIN).filter(|origin| !origin.is_empty())?;
    matched.allows_origin(origin.to_str().ok()?).then(|| Allowed {
        cors,
        origin: origin.clone(),
    })
}

/// The policy, when the request is a preflight of an allowed origin. Everything else goes on, to the enforcer if need be.
pub(super) fn on_request<'a>(call: &Call<'a>, allowed: Option<&Allowed<'a>>) -> Option<&'a Cors> {
    if call.method != Method::OPTIONS || !call.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD) {
        return None;
    }
    allowed.map(|allowed| allowed.cors)
}

/// Marks a response to an allowed origin. Refusals are marked like any other answer, else a page could not read why.
pub(super) fn on_response(allowed: Option<Allowed<'_>>, headers: &mut HeaderMap) {
    let Some(Allowed { cors, origin }) = allowed else {
        return;
    };
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    if cors.allow_credentials {
        headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    }
    edge::list(headers, ACCESS_CONTROL_EXPOSE_HEADERS, &cors.expose_headers);
}
