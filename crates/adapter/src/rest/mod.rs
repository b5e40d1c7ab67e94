//! The management API (spec/adapter.md 2, spec/apictl.md 5).
//!
//! ```text
//! TLS ─▶ hyper ─▶ slashes, time ─▶ routers: path, method ─▶ extract: who, parameters ─▶ handler: media types, Catalogue ─▶ respond
//! ```
//!
//! Each file of operations brings a router; [`router`] nests them. Start there.

mod apis;
mod auth;
mod extract;
mod frame;
mod oauth2;
mod pages;
mod query;
mod remainder;
mod serve;
mod state;
#[cfg(test)]
mod tests;
mod token;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Request};
use axum::middleware::{self, Next};
use axum::response::IntoResponse as _;
use http::{Response, Uri, uri};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use trireme_tls::Acceptor;

pub(crate) use self::auth::Auth;
use self::frame::{BASE_PATH, EXCHANGE_TIMEOUT};
use self::state::Rest;
pub(crate) use self::token::Tokens;
use crate::respond::RestError;
use crate::source::{Intake, Source};

/// What multipart puts around a file.
const MULTIPART_EXTRA_BYTES: usize = 1 << 20;

/// The management API as a source of projects. It is asked: it brings nothing by itself, and each call is answered by what the
/// catalogue says to it.
#[derive(Debug)]
pub(crate) struct Management {
    pub(crate) listener: TcpListener,
    pub(crate) acceptor: Acceptor,
    pub(crate) auth: Auth,
    /// API Manager is the control plane: nothing is deployed here.
    pub(crate) control_plane: bool,
    /// Greatest archive.
    pub(crate) max_archive_bytes: u64,
}

impl Source for Management {
    async fn run(self, mut intake: Intake, shutdown: CancellationToken) {
        intake.ready();
        let catalogue = intake.catalogue().clone();
        let rest = Rest::new(self.auth, catalogue, self.control_plane, self.max_archive_bytes);
        serve::serve(self.listener, self.acceptor, router(rest), shutdown).await;
    }
}

/// The operations as a service.
fn router(rest: Rest) -> Router {
    let limit = rest.max_archive_bytes.saturating_add(MULTIPART_EXTRA_BYTES);
    let operations = Router::new()
        .merge(apis::routes())
        .merge(oauth2::routes())
        .merge(pages::viewer_routes());
    let routes = Router::new()
        .nest(BASE_PATH, operations)
        .merge(pages::description_routes())
        .fallback(not_found)
        .layer(DefaultBodyLimit::max(limit))
        .with_state(Arc::new(rest));
    // What is done before a route is chosen goes around the router.
    Router::new()
        .fallback_service(routes)
        .layer(middleware::map_request(squeeze))
        .layer(middleware::from_fn(remainder::read))
        .layer(middleware::from_fn(bound))
}

async fn not_found(uri: Uri) -> RestError {
    RestError::Path(uri.path().to_owned())
}

/// Ends an exchange that takes too long.
async fn bound(request: Request, next: Next) -> Response<Body> {
    let answered = tokio::time::timeout(EXCHANGE_TIMEOUT, next.run(request)).await;
    answered.unwrap_or_else(|_| RestError::TooSlow.into_response())
}

/// Takes out the slashes that a base URL with one at its end has doubled.
async fn squeeze(mut request: Request) -> Request {
    if let Some(squeezed) = squeezed(request.uri()) {
        *request.uri_mut() = squeezed;
    }
    request
}

/// `None` when there is nothing to take out.
fn squeezed(uri: &Uri) -> Option<Uri> {
    if !uri.path().contains("//") {
        return None;
    }
    let mut text = String::with_capacity(uri.path().len());
    for c in uri.path().chars() {
        if c != '/' || !text.ends_with('/') {
            text.push(c);
        }
    }
    if let Some(query) = uri.query() {
        text.push('?');
        text.push_str(query);
    }
    let mut parts = uri::Parts::from(uri.clone());
    parts.path_and_query = Some(text.parse().ok()?);
    Uri::from_parts(parts).ok()
}
