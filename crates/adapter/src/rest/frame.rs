//! What a call has around it: its path, its method, its media types, and how long it may take.

use std::sync::Arc;
use std::time::Duration;

use axum::routing::MethodRouter;
use http::header::ACCEPT;
use http::{HeaderMap, Method};

use super::state::Rest;
use crate::respond::RestError;

/// Path in front of every operation.
pub(super) const BASE_PATH: &str = "/api/mgw/adapter/0.1";
/// Time for the head of a request.
pub(super) const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Time for what somebody has to say before it is known who that is.
pub(super) const STRANGER_TIMEOUT: Duration = HEAD_TIMEOUT;
/// Time for a whole exchange, a slow upload included.
pub(super) const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(300);
/// Greatest body of a call that isn't an upload.
pub(super) const MAX_JSON_BYTES: usize = 64 << 10;

/// Refuses every method that `methods` doesn't have; `allowed` names those it has. HEAD is refused as well, where a router would
/// else take it for GET.
pub(super) fn only(allowed: &'static str, methods: MethodRouter<Arc<Rest>>) -> MethodRouter<Arc<Rest>> {
    let refuse = move |method: Method| async move {
        RestError::Method {
            method: method.to_string(),
            allowed,
        }
    };
    methods.head(refuse).fallback(refuse)
}

/// The outcome of `work` if it has one within `bound`.
pub(super) async fn within<T>(
    bound: Duration,
    work: impl Future<Output = Result<T, RestError>>,
) -> Result<T, RestError> {
    tokio::time::timeout(bound, work)
        .await
        .unwrap_or(Err(RestError::TooSlow))
}

/// The body is of type `allowed`.
pub(super) fn media_type(headers: &HeaderMap, allowed: &'static str) -> Result<(), RestError> {
    let found = headers
        .get(http::header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or("application/octet-stream");
    let essence = found.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case(allowed) {
        Ok(())
    } else {
        Err(RestError::UnsupportedMedia {
            found: essence.to_owned(),
            allowed,
        })
    }
}

/// The caller takes JSON, or hasn't said what it takes.
pub(super) fn takes_json(headers: &HeaderMap) -> Result<(), RestError> {
    let mut ranges = headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .peekable();
    let takes = |range: &str| {
        let mut parts = range.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let refused = parts.any(|part| {
            part.strip_prefix("q=")
                .and_then(|quality| quality.parse::<f32>().ok())
                .is_some_and(|quality| quality <= 0.0)
        });
        !refused && matches!(name, "*/*" | "application/*" | "application/json" | "")
    };
    if ranges.peek().is_none() || ranges.any(takes) {
        Ok(())
    } else {
        Err(RestError::NotAcceptable)
    }
}
