//! `/apis`.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::multipart::{Field, Multipart, MultipartError};
use axum::extract::{FromRequest as _, Request, State};
use axum::routing::delete;
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt as _, stream};
use http::{HeaderMap, Response, StatusCode};
use serde_json::{Map, Value, json};
use tokio::sync::SemaphorePermit;

use super::auth::{Caller, TOKEN_FIELD};
use super::extract::Known;
use super::frame::{MAX_JSON_BYTES, STRANGER_TIMEOUT, media_type, only, takes_json, within};
use super::query::{self, Query};
use super::state::Rest;
use crate::catalogue::{Deploy, Listed, Selection};
use crate::event;
use crate::respond::{self, RestError};
use crate::store::Origin;

pub(super) fn routes() -> Router<Arc<Rest>> {
    let methods = delete(undeploy).get(list).post(deploy);
    Router::new().route("/apis", only("DELETE,GET,POST", methods))
}

/// `POST /apis`.
async fn deploy(
    State(rest): State<Arc<Rest>>,
    caller: Caller,
    query: Query,
    request: Request,
) -> Result<Response<Body>, RestError> {
    let media = media_type(request.headers(), "multipart/form-data");
    if caller == Caller::Silent && media.is_err() {
        return Err(RestError::NoCredentials);
    }
    media?;
    takes_json(request.headers())?;
    let request = match caller {
        Caller::Known => request,
        Caller::Silent => within(STRANGER_TIMEOUT, introduced(&rest, request)).await?,
    };
    if rest.control_plane {
        return Err(RestError::ControlPlaneDeploy);
    }
    let (archive, room) = upload(&rest, request).await?;
    let stored = rest
        .catalogue
        .store(Deploy {
            archive,
            replace: query.first("override").is_some_and(query::truthy),
            origin: Origin::Rest,
            gone: std::collections::BTreeSet::new(),
        })
        .await
        .inspect_err(|error| event::refused(&Origin::Rest, error))?;
    // The archive is gone: who waits for slow peers keeps no other upload waiting, and all of them share their next round.
    drop(room);
    let deployed = rest.catalogue.finish(stored).await;
    let (name, version) = deployed.api;
    let mut body = Map::new();
    body.insert(
        "action".to_owned(),
        if deployed.deployments.is_empty() {
            "none"
        } else if deployed.changed {
            "deployed"
        } else {
            "unchanged"
        }
        .into(),
    );
    body.insert("info".to_owned(), format!("{name} {version}").into());
    body.insert(
        "deployments".to_owned(),
        deployed.deployments.iter().map(item).collect(),
    );
    if !deployed.warnings.is_empty() {
        body.insert("diagnostics".to_owned(), respond::diagnostics(&deployed.warnings));
    }
    Ok(respond::json(StatusCode::OK, &Value::Object(body)))
}

/// A caller that has not shown credentials in the head may give a token in the first field. No more than that is read until
/// it has: the reader of forms keeps whatever it is sent until it finds the end of a head.
async fn introduced(rest: &Rest, request: Request) -> Result<Request, RestError> {
    let (head, body) = request.into_parts();
    let mut body = body.into_data_stream();
    let mut start = BytesMut::new();
    while start.len() < MAX_JSON_BYTES {
        match body.next().await {
            Some(Ok(chunk)) => start.extend_from_slice(&chunk),
            Some(Err(error)) => return Err(RestError::File(error.to_string())),
            None => break,
        }
    }
    let start = start.freeze();
    let form = Request::from_parts(head.clone(), Body::from(start.clone()));
    let token = first_token(form).await.ok_or(RestError::NoCredentials)?;
    rest.auth.judge_token(&token)?;
    let body = stream::once(async { Ok(start) }).chain(body);
    Ok(Request::from_parts(head, Body::from_stream(body)))
}

/// The token that a form begins with.
async fn first_token(form: Request) -> Option<String> {
    let mut parts = Multipart::from_request(form, &()).await.ok()?;
    let part = parts.next_field().await.ok()??;
    if part.name() != Some(TOKEN_FIELD) {
        return None;
    }
    part.text().await.ok()
}

/// Reads the part `file`. As many archives as there is room for are in memory at a time, each until its permit is dropped.
async fn upload(rest: &Rest, request: Request) -> Result<(Bytes, SemaphorePermit<'_>), RestError> {
    let failed = |error: &MultipartError| match error.status() {
        StatusCode::PAYLOAD_TOO_LARGE => RestError::TooLarge(rest.max_archive_bytes),
        _ => RestError::File(error.body_text()),
    };
    let mut parts = Multipart::from_request(request, &())
        .await
        .map_err(|rejection| RestError::File(rejection.body_text()))?;
    while let Some(part) = parts.next_field().await.map_err(|error| failed(&error))? {
        if part.name() == Some("file") {
            let stopping = |_| RestError::File("the adapter is stopping".to_owned());
            let room = rest.uploads.acquire().await.map_err(stopping)?;
            return Ok((bounded(part, rest.max_archive_bytes).await?, room));
        }
    }
    Err(RestError::File("http: no such file".to_owned()))
}

/// The content of a part, at most `bound` bytes.
async fn bounded(mut part: Field<'_>, bound: usize) -> Result<Bytes, RestError> {
    let mut content = BytesMut::new();
    loop {
        let chunk = part.chunk().await.map_err(|error| match error.status() {
            StatusCode::PAYLOAD_TOO_LARGE => RestError::TooLarge(bound),
            _ => RestError::File(error.body_text()),
        })?;
        let Some(chunk) = chunk else {
            return Ok(content.freeze());
        };
        if content.len().saturating_add(chunk.len()) > bound {
            return Err(RestError::TooLarge(bound));
        }
        content.extend_from_slice(&chunk);
    }
}

/// `GET /apis`.
async fn list(
    State(rest): State<Arc<Rest>>,
    _: Known,
    query: Query,
    headers: HeaderMap,
) -> Result<Response<Body>, RestError> {
    takes_json(&headers)?;
    let limit = query.first("limit").map(query::limit).transpose()?;
    let wanted = query.first("query");
    if let Some(wanted) = wanted {
        query::QUERY.check(wanted)?;
    }
    let kind = wanted
        .and_then(|wanted| wanted.strip_prefix("type:"))
        .map(str::to_ascii_uppercase);
    let all = rest.catalogue.list();
    let total = all.len();
    let items: Vec<Value> = all
        .iter()
        .filter(|listed| {
            kind.as_ref()
                .is_none_or(|kind| listed.deployment.kind.eq_ignore_ascii_case(kind))
        })
        .take(limit.unwrap_or(usize::MAX))
        .map(item)
        .collect();
    let mut body = Map::new();
    // Zeros are left out and an empty list is null, as clients of the original know it.
    if !items.is_empty() {
        body.insert("count".to_owned(), items.len().into());
    }
    body.insert(
        "list".to_owned(),
        if items.is_empty() {
            Value::Null
        } else {
            items.into()
        },
    );
    if total > 0 {
        body.insert("total".to_owned(), total.into());
    }
    Ok(respond::json(StatusCode::OK, &Value::Object(body)))
}

/// `DELETE /apis`. What the list shows can be removed, whatever it is called: the original's rules, narrower than what can
/// be deployed, only tell how a call that selects nothing is answered.
async fn undeploy(
    State(rest): State<Arc<Rest>>,
    _: Known,
    query: Query,
    headers: HeaderMap,
) -> Result<Response<Body>, RestError> {
    takes_json(&headers)?;
    let text = |rule: &query::Rule| query.first(rule.name).map(str::to_owned);
    let required = |rule: &query::Rule| text(rule).ok_or_else(|| rule.required());
    let selection = Selection {
        name: required(&query::API_NAME)?,
        version: required(&query::VERSION)?,
        vhost: text(&query::VHOST),
        environments: query::names(query.first(query::ENVIRONMENTS.name)),
    };
    if !rest.catalogue.has(&selection) {
        for rule in [
            &query::API_NAME,
            &query::VERSION,
            &query::VHOST,
            &query::ENVIRONMENTS,
        ] {
            query.first(rule.name).map_or(Ok(()), |text| rule.check(text))?;
        }
    }
    if rest.control_plane {
        return Err(RestError::ControlPlaneUndeploy);
    }
    let removed = rest.catalogue.undeploy(selection, Origin::Rest).await?;
    let removed: Vec<Value> = removed
        .iter()
        .map(|deployment| {
            json!({
                "apiName": deployment.name,
                "version": deployment.version,
                "vhost": deployment.identity.vhost,
            })
        })
        .collect();
    Ok(respond::json(
        StatusCode::OK,
        &json!({ "action": "undeployed", "removed": removed }),
    ))
}

/// One deployment. The first six members are the original's.
fn item(listed: &Listed) -> Value {
    let deployment = &listed.deployment;
    let mut item = Map::new();
    let mut text = |name: &str, value: &str| {
        if !value.is_empty() {
            item.insert(name.to_owned(), value.into());
        }
    };
    text("apiName", &deployment.name);
    text("apiType", &deployment.kind);
    text("context", &deployment.base_path);
    text("version", &deployment.version);
    text("vhost", &deployment.identity.vhost);
    let environments: Vec<&String> = deployment.environments.iter().collect();
    item.insert("gateway-envs".to_owned(), json!(environments));
    item.insert("revision".to_owned(), listed.revision.counter.into());
    if let Some(status) = &listed.status {
        item.insert("status".to_owned(), json!(status));
    }
    Value::Object(item)
}
