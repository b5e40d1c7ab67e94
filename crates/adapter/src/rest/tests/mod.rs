//! The tables of spec/adapter.md 2 and spec/apictl.md 5, in process: everything but the socket.

use std::sync::LazyLock;
use std::time::Duration;

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::{HeaderMap, Request};
use serde_json::{Value, json};
use tower::ServiceExt as _;
use trireme_config::Secret;
use trireme_project::Limits;

use super::{Auth, Rest, Tokens, router};
use crate::testing::{Bench, Logged, Project, archive, pem};

mod access;
mod calls;
mod paths;
mod projects;

const APIS: &str = "/api/mgw/adapter/0.1/apis";
const TOKEN: &str = "/api/mgw/adapter/0.1/oauth2/token";
const BOUNDARY: &str = "b0undary";

static KEY: LazyLock<String> = LazyLock::new(|| {
    let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let der: Pkcs8V1Der<'_> = pair.as_der().unwrap();
    pem(der.as_ref())
});

/// The management API over a store of its own.
struct Api {
    bench: Bench,
    router: axum::Router,
    folder: tempfile::TempDir,
}

struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Value,
}

impl Api {
    async fn start() -> Self {
        Self::start_with(false, Limits::default()).await
    }

    async fn start_with(control_plane: bool, limits: Limits) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let bench = Bench::start_with(&folder.path().join("state"), limits.clone()).await;
        let auth = Auth::new(users(), Some(tokens(&folder, Duration::from_secs(60))));
        let rest = Rest::new(auth, bench.catalogue.clone(), control_plane, limits.archive_bytes);
        Self {
            router: router(rest),
            bench,
            folder,
        }
    }

    async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (head, body) = response.into_parts();
        let body = axum::body::to_bytes(body, 1 << 24).await.unwrap();
        Answer {
            status: head.status.as_u16(),
            body: serde_json::from_slice(&body)
                .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&body).into_owned())),
            headers: head.headers,
        }
    }

    async fn call(&self, method: &str, target: &str) -> Answer {
        let request = Request::builder()
            .method(method)
            .uri(target)
            .header("authorization", basic("admin", "s3cret"));
        self.send(request.body(Body::empty()).unwrap()).await
    }

    /// A call by nobody in particular.
    async fn bare(&self, method: &str, target: &str) -> Answer {
        let request = Request::builder().method(method).uri(target);
        self.send(request.body(Body::empty()).unwrap()).await
    }

    async fn deploy(&self, project: Bytes, query: &str) -> Answer {
        let request = upload(query).header("authorization", basic("admin", "s3cret"));
        self.send(request.body(form(&[("file", &project)])).unwrap())
            .await
    }

    async fn token(&self, body: &str) -> Answer {
        let request = Request::post(TOKEN).header("content-type", "application/json");
        self.send(request.body(Body::from(body.to_owned())).unwrap())
            .await
    }

    async fn list(&self) -> Value {
        self.call("GET", APIS).await.body
    }
}

fn users() -> Vec<(String, Secret)> {
    vec![
        ("other".to_owned(), Secret::new("else")),
        ("admin".to_owned(), Secret::new("s3cret")),
    ]
}

fn tokens(folder: &tempfile::TempDir, ttl: Duration) -> Tokens {
    let path = folder.path().join("mg.key");
    std::fs::write(&path, KEY.as_str()).unwrap();
    Tokens::load(&path, ttl).unwrap()
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

fn upload(query: &str) -> http::request::Builder {
    Request::post(format!("{APIS}{query}")).header(
        "content-type",
        format!("multipart/form-data; boundary={BOUNDARY}"),
    )
}

/// As apictl writes it: one part, with a file name and a media type.
fn form(parts: &[(&str, &Bytes)]) -> Body {
    let mut body = Vec::new();
    for (name, content) in parts {
        let head = format!(
            "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"p.zip\"\r\n\
             Content-Type: application/zip\r\n\r\n"
        );
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
    Body::from(body)
}
