//! `/oauth2/token`: access tokens for users who give their password.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::routing::post;
use http::{Response, StatusCode};
use serde_json::{Value, json};

use super::auth::address;
use super::frame::{MAX_JSON_BYTES, STRANGER_TIMEOUT, media_type, only, takes_json, within};
use super::query;
use super::state::Rest;
use crate::respond::{self, RestError};

pub(super) fn routes() -> Router<Arc<Rest>> {
    Router::new().route("/oauth2/token", only("POST", post(token)))
}

/// `POST /oauth2/token`.
async fn token(State(rest): State<Arc<Rest>>, request: Request) -> Result<Response<Body>, RestError> {
    let (head, body) = request.into_parts();
    media_type(&head.headers, "application/json")?;
    takes_json(&head.headers)?;
    let bytes = within(STRANGER_TIMEOUT, async {
        let read = axum::body::to_bytes(body, MAX_JSON_BYTES).await;
        read.map_err(|_| RestError::TooLarge(MAX_JSON_BYTES))
    })
    .await?;
    if bytes.is_empty() {
        return Err(RestError::Validation {
            code: 602,
            message: "body in body is required".to_owned(),
        });
    }
    let body: Value = serde_json::from_slice(&bytes).map_err(|error| RestError::Json(error.to_string()))?;
    let mut texts = ["", ""];
    for (rule, text) in [&query::PASSWORD, &query::USERNAME].into_iter().zip(&mut texts) {
        *text = match body.get(rule.name) {
            None | Some(Value::Null) => return Err(rule.required()),
            Some(Value::String(text)) => text,
            Some(_) => {
                return Err(RestError::Json(format!("{} is not a string", rule.name)));
            }
        };
        rule.check(text)?;
    }
    let [password, username] = texts;
    let token = rest.auth.issue(address(&head.extensions), username, password)?;
    // apictl reads every member as a string; there must be no other kind.
    Ok(respond::json(StatusCode::OK, &json!({ "accessToken": token })))
}
