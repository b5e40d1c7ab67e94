//! The one place where the management API's errors meet the wire.

use std::time::Duration;

use axum::body::Body;
use axum::response::IntoResponse;
use http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Response, StatusCode};
use serde_json::{Map, Value, json};
use trireme_config::ALLOW_DEFAULT_CREDENTIALS;
use trireme_project::{Diagnostic, Severity};

use crate::catalogue::{CommitError, DeployError, UndeployError};
use crate::event;

/// Anything but success.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RestError {
    /// User and password don't match.
    #[error("Credentials are invalid")]
    Credentials,
    /// Deploying is the control plane's business.
    #[error("When control plane is enabled, APIs are deployed through the control plane")]
    ControlPlaneDeploy,
    /// Undeploying is the control plane's business.
    #[error("When control plane is enabled, APIs are undeployed through the control plane")]
    ControlPlaneUndeploy,
    /// The login that everybody knows, where others can reach the listener.
    #[error(
        "the default password of the user \"admin\" is refused on an address that is not loopback: set another one in \
         adapter.server.users, or {ALLOW_DEFAULT_CREDENTIALS}=true for a trial"
    )]
    DefaultCredentials,
    /// The project isn't deployed.
    #[error(transparent)]
    Deploy(#[from] DeployError),
    /// The file part can't be had.
    #[error("reading file \"file\" failed: {0}")]
    File(String),
    /// Too many wrong passwords came from where the caller is; the time until it may try again.
    #[error("too many wrong passwords, try again in {} s", seconds(.0))]
    Guesses(Duration),
    /// The body isn't JSON.
    #[error("parsing body body from \"\" failed, because {0}")]
    Json(String),
    /// Another method is wanted.
    #[error("method {method} is not allowed, but [{allowed}] are")]
    Method {
        /// The method that was used.
        method: String,
        /// Those that may be.
        allowed: &'static str,
    },
    /// The caller doesn't take JSON.
    #[error("unsupported media type requested, only [application/json] are available")]
    NotAcceptable,
    /// Nothing that proves who calls.
    #[error("unauthenticated for invalid credentials")]
    NoCredentials,
    /// There is nothing under that path.
    #[error("path {0} was not found")]
    Path(String),
    /// The bearer token doesn't hold.
    #[error("unauthenticated for The provided token is not valid")]
    Token,
    /// User and password don't get a token.
    #[error("the user name or the password is wrong")]
    TokenDenied,
    /// Tokens can't be signed or verified: the key isn't there.
    #[error("error occurred while reading the token")]
    TokenKey,
    /// The body, or the exchange as a whole, takes too long.
    #[error("the request took too long")]
    TooSlow,
    /// The upload is too big.
    #[error("the upload is greater than {0} bytes")]
    TooLarge(usize),
    /// Nothing is undeployed.
    #[error(transparent)]
    Undeploy(#[from] UndeployError),
    /// The body is of another type.
    #[error("unsupported media type \"{found}\", only [{allowed}] are allowed")]
    UnsupportedMedia {
        /// What it is.
        found: String,
        /// What it may be.
        allowed: &'static str,
    },
    /// A parameter breaks its rule.
    #[error("{message}")]
    Validation {
        /// Code of the rule.
        code: u16,
        /// What is wrong.
        message: String,
    },
}

impl IntoResponse for RestError {
    fn into_response(self) -> Response<Body> {
        error(&self)
    }
}

/// What an error becomes.
struct Face {
    status: StatusCode,
    code: u16,
    message: String,
    description: Option<String>,
    diagnostics: Vec<Diagnostic>,
}

impl Face {
    fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            code: status.as_u16(),
            message: message.into(),
            description: None,
            diagnostics: Vec::new(),
        }
    }

    fn because(self, description: impl Into<String>) -> Self {
        Self {
            description: Some(description.into()),
            ..self
        }
    }
}

/// The answer to a call that failed.
fn error(error: &RestError) -> Response<Body> {
    let face = face(error);
    let mut body = Map::new();
    body.insert("code".to_owned(), face.code.into());
    if let Some(description) = face.description {
        body.insert("description".to_owned(), description.into());
    }
    if matches!(
        error,
        RestError::ControlPlaneDeploy | RestError::ControlPlaneUndeploy
    ) {
        body.insert("error".to_owned(), Value::Null);
    }
    body.insert("message".to_owned(), face.message.into());
    if !face.diagnostics.is_empty() {
        body.insert("diagnostics".to_owned(), diagnostics(&face.diagnostics));
    }
    let mut response = json(face.status, &Value::Object(body));
    let headers = response.headers_mut();
    match error {
        RestError::Credentials | RestError::NoCredentials | RestError::Token => {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"API\""));
        }
        RestError::Method { allowed, .. } => {
            headers.insert(ALLOW, HeaderValue::from_static(allowed));
        }
        RestError::Guesses(wait) => {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds(wait)));
        }
        RestError::ControlPlaneDeploy
        | RestError::ControlPlaneUndeploy
        | RestError::DefaultCredentials
        | RestError::Deploy(_)
        | RestError::File(_)
        | RestError::Json(_)
        | RestError::NotAcceptable
        | RestError::Path(_)
        | RestError::TokenDenied
        | RestError::TokenKey
        | RestError::TooLarge(_)
        | RestError::TooSlow
        | RestError::Undeploy(_)
        | RestError::UnsupportedMedia { .. }
        | RestError::Validation { .. } => {}
    }
    response
}

fn face(error: &RestError) -> Face {
    let text = error.to_string();
    match error {
        RestError::ControlPlaneDeploy | RestError::File(_) | RestError::Json(_) => {
            Face::new(StatusCode::BAD_REQUEST, text)
        }
        RestError::ControlPlaneUndeploy => Face::new(StatusCode::BAD_REQUEST, text).because("Bad request"),
        RestError::Credentials | RestError::NoCredentials | RestError::Token | RestError::TokenDenied => {
            Face::new(StatusCode::UNAUTHORIZED, text)
        }
        RestError::DefaultCredentials => Face::new(StatusCode::FORBIDDEN, text),
        RestError::Deploy(error) => deploy(error),
        RestError::Guesses(_) => Face::new(StatusCode::TOO_MANY_REQUESTS, text),
        RestError::Method { .. } => Face::new(StatusCode::METHOD_NOT_ALLOWED, text),
        RestError::NotAcceptable => Face::new(StatusCode::NOT_ACCEPTABLE, text),
        RestError::Path(_) => Face::new(StatusCode::NOT_FOUND, text),
        RestError::TokenKey => Face::new(StatusCode::INTERNAL_SERVER_ERROR, text),
        RestError::TooLarge(_) => Face::new(StatusCode::PAYLOAD_TOO_LARGE, text),
        RestError::TooSlow => Face::new(StatusCode::REQUEST_TIMEOUT, text),
        RestError::Undeploy(error) => undeploy(error),
        RestError::UnsupportedMedia { .. } => Face::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, text),
        RestError::Validation { code, .. } => Face {
            code: *code,
            ..Face::new(StatusCode::UNPROCESSABLE_ENTITY, text)
        },
    }
}

/// Whole seconds, at least as long.
fn seconds(time: &Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

fn deploy(error: &DeployError) -> Face {
    let text = error.to_string();
    match error {
        DeployError::BasePathTaken { .. } => {
            Face::new(StatusCode::CONFLICT, "Base path already exists").because(text)
        }
        DeployError::Commit(error) => commit("Deploying the API failed", error),
        DeployError::Exists { .. } => Face::new(StatusCode::CONFLICT, "API already exists").because(text),
        DeployError::Invalid(found) => Face {
            diagnostics: found.clone(),
            ..Face::new(invalid(found), "The API project is not valid").because(
                found
                    .iter()
                    .find(|found| found.is_error())
                    .map_or(text, ToString::to_string),
            )
        },
        DeployError::NameTaken { .. } | DeployError::Owned { .. } => {
            Face::new(StatusCode::CONFLICT, "API already exists").because(text)
        }
        DeployError::Panicked(_) => {
            Face::new(StatusCode::INTERNAL_SERVER_ERROR, "Deploying the API failed").because(text)
        }
    }
}

/// A project that is broken, or whose guards are in doubt, is 500, as its clients know it (spec/adapter.md 2.4). One that the
/// original takes, and that breaks nothing but rules of this gateway, is the caller's to change (RFC 9110 15.5.21).
fn invalid(found: &[Diagnostic]) -> StatusCode {
    let broken = found.iter().any(|found| match found.severity {
        Severity::Error => true,
        Severity::Refusal | Severity::Warning => false,
    });
    if broken {
        StatusCode::INTERNAL_SERVER_ERROR
    } else {
        StatusCode::UNPROCESSABLE_ENTITY
    }
}

fn undeploy(error: &UndeployError) -> Face {
    let text = error.to_string();
    match error {
        UndeployError::Commit(error) => commit("Undeploying the API failed", error),
        UndeployError::Owned(_) => Face::new(StatusCode::CONFLICT, "API can't be undeployed").because(text),
        UndeployError::Panicked(_) => {
            Face::new(StatusCode::INTERNAL_SERVER_ERROR, "Undeploying the API failed").because(text)
        }
        UndeployError::Unknown => Face::new(StatusCode::NOT_FOUND, "API not found").because(text),
    }
}

fn commit(message: &str, error: &CommitError) -> Face {
    let status = match error {
        CommitError::Stopped(_) => StatusCode::SERVICE_UNAVAILABLE,
        CommitError::Panicked(_) | CommitError::Store(_) | CommitError::Stored(_) => {
            StatusCode::INTERNAL_SERVER_ERROR
        }
    };
    Face::new(status, message).because(event::chain(error))
}

/// Findings as the body shows them.
pub(crate) fn diagnostics(found: &[Diagnostic]) -> Value {
    found
        .iter()
        .map(|found| {
            json!({
                "file": found.file,
                "pointer": found.pointer,
                "message": found.message,
                "severity": found.severity.as_str(),
            })
        })
        .collect()
}

/// An answer with a JSON body.
pub(crate) fn json(status: StatusCode, body: &Value) -> Response<Body> {
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{FOLDER, Origin};

    #[test]
    fn every_error_has_its_status_and_body() {
        struct Case {
            error: RestError,
            status: u16,
            body: Value,
        }
        let by = || ("Other".to_owned(), "1".to_owned());
        let vhost = || "localhost".to_owned();
        let cases = [
            Case {
                error: RestError::Credentials,
                status: 401,
                body: json!({"code": 401, "message": "Credentials are invalid"}),
            },
            Case {
                error: RestError::NoCredentials,
                status: 401,
                body: json!({"code": 401, "message": "unauthenticated for invalid credentials"}),
            },
            Case {
                error: RestError::Token,
                status: 401,
                body: json!({"code": 401, "message": "unauthenticated for The provided token is not valid"}),
            },
            Case {
                error: RestError::TokenDenied,
                status: 401,
                body: json!({"code": 401, "message": "the user name or the password is wrong"}),
            },
            Case {
                error: RestError::DefaultCredentials,
                status: 403,
                body: json!({"code": 403, "message": "the default password of the user \"admin\" is refused on an address that \
                    is not loopback: set another one in adapter.server.users, or TRIREME_ALLOW_DEFAULT_CREDENTIALS=true for a \
                    trial"}),
            },
            Case {
                error: RestError::Guesses(Duration::from_millis(5_001)),
                status: 429,
                body: json!({"code": 429, "message": "too many wrong passwords, try again in 6 s"}),
            },
            Case {
                error: RestError::TooSlow,
                status: 408,
                body: json!({"code": 408, "message": "the request took too long"}),
            },
            Case {
                error: RestError::TokenKey,
                status: 500,
                body: json!({"code": 500, "message": "error occurred while reading the token"}),
            },
            Case {
                error: RestError::ControlPlaneDeploy,
                status: 400,
                body: json!({"code": 400, "error": null,
                    "message": "When control plane is enabled, APIs are deployed through the control plane"}),
            },
            Case {
                error: RestError::ControlPlaneUndeploy,
                status: 400,
                body: json!({"code": 400, "description": "Bad request", "error": null,
                    "message": "When control plane is enabled, APIs are undeployed through the control plane"}),
            },
            Case {
                error: RestError::File("http: no such file".to_owned()),
                status: 400,
                body: json!({"code": 400, "message": "reading file \"file\" failed: http: no such file"}),
            },
            Case {
                error: RestError::Json("x".to_owned()),
                status: 400,
                body: json!({"code": 400, "message": "parsing body body from \"\" failed, because x"}),
            },
            Case {
                error: RestError::Method {
                    method: "PUT".to_owned(),
                    allowed: "DELETE,GET,POST",
                },
                status: 405,
                body: json!({"code": 405, "message": "method PUT is not allowed, but [DELETE,GET,POST] are"}),
            },
            Case {
                error: RestError::NotAcceptable,
                status: 406,
                body: json!({"code": 406,
                    "message": "unsupported media type requested, only [application/json] are available"}),
            },
            Case {
                error: RestError::Path("/x".to_owned()),
                status: 404,
                body: json!({"code": 404, "message": "path /x was not found"}),
            },
            Case {
                error: RestError::TooLarge(5),
                status: 413,
                body: json!({"code": 413, "message": "the upload is greater than 5 bytes"}),
            },
            Case {
                error: RestError::UnsupportedMedia {
                    found: "text/plain".to_owned(),
                    allowed: "multipart/form-data",
                },
                status: 415,
                body: json!({"code": 415,
                    "message": "unsupported media type \"text/plain\", only [multipart/form-data] are allowed"}),
            },
            Case {
                error: RestError::Validation {
                    code: 602,
                    message: "apiName in query is required".to_owned(),
                },
                status: 422,
                body: json!({"code": 602, "message": "apiName in query is required"}),
            },
            Case {
                error: DeployError::Exists { vhost: vhost() }.into(),
                status: 409,
                body: json!({"code": 409, "message": "API already exists",
                    "description": "the API is already deployed on virtual host localhost"}),
            },
            Case {
                error: DeployError::BasePathTaken {
                    base_path: "/a".to_owned(),
                    vhost: vhost(),
                    by: by(),
                }
                .into(),
                status: 409,
                body: json!({"code": 409, "message": "Base path already exists",
                    "description": "base path /a on virtual host localhost is taken by Other 1"}),
            },
            Case {
                error: DeployError::NameTaken {
                    vhost: vhost(),
                    by: by(),
                }
                .into(),
                status: 409,
                body: json!({"code": 409, "message": "API already exists", "description":
                    "the API's name and version can't be told from those of Other 1 on virtual host localhost"}),
            },
            Case {
                error: DeployError::Owned {
                    vhost: vhost(),
                    origin: Origin::entry(FOLDER, "pets"),
                }
                .into(),
                status: 409,
                body: json!({"code": 409, "message": "API already exists", "description": "the API on virtual host \
                    localhost is deployed by the entry pets of the projects folder; change it there"}),
            },
            Case {
                error: DeployError::Invalid(vec![Diagnostic::error("api.yaml", "/data", "no data")]).into(),
                status: 500,
                body: json!({"code": 500, "message": "The API project is not valid",
                    "description": "error: api.yaml#/data: no data", "diagnostics": [{"file": "api.yaml",
                    "pointer": "/data", "message": "no data", "severity": "error"}]}),
            },
            Case {
                error: DeployError::Invalid(vec![
                    Diagnostic::refusal("a.yaml", "/paths/~1{a", "no template"),
                    Diagnostic::warning("a.yaml", "", "odd"),
                ])
                .into(),
                status: 422,
                body: json!({"code": 422, "message": "The API project is not valid",
                    "description": "error: a.yaml#/paths/~1{a: no template", "diagnostics": [
                    {"file": "a.yaml", "pointer": "/paths/~1{a", "message": "no template", "severity": "error"},
                    {"file": "a.yaml", "pointer": "", "message": "odd", "severity": "warning"}]}),
            },
            Case {
                error: DeployError::Invalid(vec![
                    Diagnostic::refusal("a.yaml", "", "ours"),
                    Diagnostic::error("a.yaml", "", "broken"),
                ])
                .into(),
                status: 500,
                body: json!({"code": 500, "message": "The API project is not valid",
                    "description": "error: a.yaml: ours", "diagnostics": [
                    {"file": "a.yaml", "pointer": "", "message": "ours", "severity": "error"},
                    {"file": "a.yaml", "pointer": "", "message": "broken", "severity": "error"}]}),
            },
            Case {
                error: DeployError::Commit(CommitError::Stopped(crate::publish::Stopped)).into(),
                status: 503,
                body: json!({"code": 503, "message": "Deploying the API failed",
                    "description": "the adapter is stopping"}),
            },
            Case {
                error: UndeployError::Unknown.into(),
                status: 404,
                body: json!({"code": 404, "message": "API not found", "description": "there is no such API"}),
            },
            Case {
                error: UndeployError::Owned(Origin::Rest).into(),
                status: 409,
                body: json!({"code": 409, "message": "API can't be undeployed", "description":
                    "the API is deployed by the management API; undeploy it there first"}),
            },
        ];
        for case in cases {
            let face = face(&case.error);
            assert_eq!(face.status.as_u16(), case.status, "{:?}", case.error);
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let body = runtime
                .block_on(axum::body::to_bytes(error(&case.error).into_body(), 1 << 16))
                .unwrap();
            let body: Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(body, case.body, "{:?}", case.error);
        }
    }
}
