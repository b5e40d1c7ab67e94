//! Changes that the route makes in the headers, as Envoy does it: of every request that goes upstream, and of every response,
//! refusals and errors of our own included.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue};
use trireme_routing::snapshot::{Changes, Headers, Text};

use crate::edit::Edit;

/// Changes the request. Trailers must not bring back what is taken out or replaced: those names join the barred ones.
pub(super) fn on_request(
    headers: &Headers,
    client: IpAddr,
    request: &mut HeaderMap,
    barred: Option<&mut Vec<HeaderName>>,
) {
    let Headers { request: changes, .. } = headers;
    if let Some(barred) = barred {
        let set = changes.set.iter().map(|change| &change.name);
        barred.extend(changes.remove.iter().chain(set).cloned());
    }
    apply(changes, Some(client), request);
}

/// Changes the response.
pub(super) fn on_response(headers: &Headers, response: &mut HeaderMap) {
    apply(&headers.response, None, response);
}

fn apply(changes: &Changes, client: Option<IpAddr>, headers: &mut HeaderMap) {
    for name in &changes.remove {
        headers.remove(name);
    }
    for change in &changes.set {
        let value = match &change.value {
            Text::Fixed(value) => Some(value.clone()),
            Text::ClientAddress => {
                client.and_then(|client| HeaderValue::from_maybe_shared(client.to_string()).ok())
            }
        };
        let Some(value) = value else { continue };
        let edit = Edit {
            name: change.name.clone(),
            value,
            mode: change.mode.into(),
        };
        edit.apply(headers);
    }
}
