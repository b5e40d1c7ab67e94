//! The description of the management API, and a page to read it on.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response, StatusCode};
use serde_json::{Value, json};

use super::frame::{BASE_PATH, only};
use super::state::Rest;
use crate::respond;

/// Beside all operations.
pub(super) fn description_routes() -> Router<Arc<Rest>> {
    Router::new().route("/swagger.json", only("GET", get(description)))
}

/// Among the operations.
pub(super) fn viewer_routes() -> Router<Arc<Rest>> {
    Router::new().route("/docs", only("GET", get(viewer)))
}

/// `GET /swagger.json`.
async fn description() -> Response<Body> {
    respond::json(StatusCode::OK, &document())
}

/// `GET …/docs`: the description as a page without scripts.
async fn viewer() -> Response<Body> {
    let mut rows = String::new();
    let document = document();
    let paths = document
        .get("paths")
        .and_then(Value::as_object)
        .into_iter()
        .flatten();
    for (path, item) in paths {
        for (method, operation) in item.as_object().into_iter().flatten() {
            let summary = operation
                .get("summary")
                .and_then(Value::as_str)
                .unwrap_or_default();
            rows.push_str(&format!(
                "<tr><td>{}</td><td>{BASE_PATH}{path}</td><td>{summary}</td></tr>\n",
                method.to_uppercase()
            ));
        }
    }
    let page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Management API</title>\n\
         <h1>Management API</h1>\n<table>\n<tr><th>Method</th><th>Path</th><th></th></tr>\n{rows}</table>\n\
         <p><a href=\"/swagger.json\">swagger.json</a></p></html>\n"
    );
    let mut response = Response::new(Body::from(page));
    let html = HeaderValue::from_static("text/html; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, html);
    response
}

fn document() -> Value {
    json!({
        "swagger": "2.0",
        "info": { "title": "Adapter management API", "version": "0.1" },
        "basePath": BASE_PATH,
        "schemes": ["https"],
        "produces": ["application/json"],
        "securityDefinitions": {
            "BasicAuth": { "type": "basic" },
            "BearerToken": {
                "type": "oauth2",
                "flow": "accessCode",
                "authorizationUrl": "/oauth2/token",
                "tokenUrl": "/oauth2/token",
                "scopes": { "admin": "deploy, remove and list APIs" },
            },
        },
        "paths": {
            "/oauth2/token": { "post": issue_token() },
            "/apis": { "get": list_apis(), "post": deploy_api(), "delete": remove_api() },
        },
    })
}

fn issue_token() -> Value {
    json!({
        "summary": "Access token for a user of the management API",
        "consumes": ["application/json"],
        "parameters": [{
            "name": "body",
            "in": "body",
            "required": true,
            "schema": {
                "type": "object",
                "required": ["username", "password"],
                "properties": {
                    "username": { "type": "string", "maxLength": 100 },
                    "password": { "type": "string", "maxLength": 100 },
                },
            },
        }],
        "responses": answers(&[
            ("200", "the token"), ("401", "unknown user or wrong password"), ("422", "a field is not valid"),
        ]),
    })
}

fn list_apis() -> Value {
    json!({
        "summary": "Deployed APIs",
        "security": security(),
        "parameters": [query("query", false, "string"), query("limit", false, "integer")],
        "responses": answers(&[("200", "the list"), ("401", "not authenticated"), ("422", "a parameter is not valid")]),
    })
}

fn deploy_api() -> Value {
    json!({
        "summary": "Deploy or update an API project",
        "security": security(),
        "consumes": ["multipart/form-data"],
        "parameters": [
            { "name": "file", "in": "formData", "required": true, "type": "file" },
            query("override", false, "boolean"),
        ],
        "responses": answers(&[
            ("200", "deployed"), ("400", "no file"), ("401", "not authenticated"),
            ("409", "exists, or its base path is taken"), ("413", "too large"),
            ("500", "refused; the body names every finding"),
        ]),
    })
}

fn remove_api() -> Value {
    json!({
        "summary": "Remove an API",
        "security": security(),
        "parameters": [
            query("apiName", true, "string"), query("version", true, "string"),
            query("vhost", false, "string"), query("environments", false, "string"),
        ],
        "responses": answers(&[
            ("200", "removed"), ("401", "not authenticated"), ("404", "not deployed"),
            ("422", "a parameter is not valid"),
        ]),
    })
}

fn security() -> Value {
    json!([{ "BasicAuth": [] }, { "BearerToken": ["admin"] }])
}

fn query(name: &str, required: bool, kind: &str) -> Value {
    json!({ "name": name, "in": "query", "required": required, "type": kind })
}

fn answers(codes: &[(&str, &str)]) -> Value {
    codes
        .iter()
        .map(|(code, text)| ((*code).to_owned(), json!({ "description": text })))
        .collect::<serde_json::Map<_, _>>()
        .into()
}
