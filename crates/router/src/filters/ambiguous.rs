//! Refuses a path that others would read as another operation's (D15).

use http::HeaderValue;

use super::call::Call;
use crate::edge;
use crate::error::DownstreamError;

/// Whether the path has one reading, as far as the matched route asks for one.
pub(super) fn on_request(call: &Call<'_>) -> Result<(), DownstreamError> {
    let header = |name: &str| call.headers.get(name).map(HeaderValue::as_bytes);
    call.snapshot
        .routes
        .admit(&call.matched, call.target, call.method.as_str(), header)
        .map_err(edge::ambiguous)
}
