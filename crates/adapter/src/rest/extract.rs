//! Parts of a call as handlers take them.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use http::request::Parts;

use super::auth::Caller;
use super::query::Query;
use super::state::Rest;
use crate::respond::RestError;

impl<S: Sync> FromRequestParts<S> for Query {
    type Rejection = Infallible;

    async fn from_request_parts(head: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        Ok(Self::parse(head.uri.query()))
    }
}

impl FromRequestParts<Arc<Rest>> for Caller {
    type Rejection = RestError;

    async fn from_request_parts(head: &mut Parts, rest: &Arc<Rest>) -> Result<Self, RestError> {
        rest.auth.judge(head, &Query::parse(head.uri.query()))
    }
}

/// Somebody who may call has shown that in the head.
#[derive(Debug)]
pub(super) struct Known;

impl FromRequestParts<Arc<Rest>> for Known {
    type Rejection = RestError;

    async fn from_request_parts(head: &mut Parts, rest: &Arc<Rest>) -> Result<Self, RestError> {
        match Caller::from_request_parts(head, rest).await? {
            Caller::Known => Ok(Self),
            Caller::Silent => Err(RestError::NoCredentials),
        }
    }
}
