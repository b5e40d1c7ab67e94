//! The CORS filter, as Envoy's: preflights of allowed origins are answered here, other responses to them are marked.

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response};
use trireme_routing::Matched;
use trireme_routing::snapshot::Cors;

use crate::body::Body;

/// Answers a preflight whose origin the route allows. Everything else goes on, to the enforcer if need be.
pub(crate) fn preflight(
    matched: &Matched<'_>,
    method: &Method,
    headers: &HeaderMap,
) -> Option<Response<Body>> {
    if *method != Method::OPTIONS || !headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD) {
        return None;
    }
    let (cors, _) = allowed(matched, headers.get(ORIGIN))?;
    let mut response = Response::new(Body::empty());
    let answer = response.headers_mut();
    list(answer, ACCESS_CONTROL_ALLOW_METHODS, &cors.allow_methods);
    list(answer, ACCESS_CONTROL_ALLOW_HEADERS, &cors.allow_headers);
    Some(response)
}

/// Marks a response to an allowed origin.
pub(crate) fn decorate(matched: &Matched<'_>, origin: Option<&HeaderValue>, headers: &mut HeaderMap) {
    let Some((cors, origin)) = allowed(matched, origin) else {
        return;
    };
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    if cors.allow_credentials {
        headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    }
    list(headers, ACCESS_CONTROL_EXPOSE_HEADERS, &cors.expose_headers);
}

fn allowed<'a>(
    matched: &Matched<'a>,
    origin: Option<&'a HeaderValue>,
) -> Option<(&'a Cors, &'a HeaderValue)> {
    let cors = matched.route().filters.cors.as_deref()?;
    let origin = origin.filter(|origin| !origin.is_empty())?;
    matched
        .allows_origin(origin.to_str().ok()?)
        .then_some((cors, origin))
}

fn list(headers: &mut HeaderMap, name: HeaderName, values: &[String]) {
    if !values.is_empty()
        && let Ok(value) = HeaderValue::from_str(&values.join(", "))
    {
        headers.insert(name, value);
    }
}
