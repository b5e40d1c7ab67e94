//! Talks to an adapter's management API and to a gateway's test token service, as `apictl mg` would.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use reqwest::StatusCode;
use serde::Deserialize;

use crate::args::Target;
use crate::home::{Home, Role};

const BASE_PATH: &str = "/api/mgw/adapter/0.1";
/// Greatest answer that is read, bytes.
const MAX_ANSWER: usize = 16 << 20;

/// A management API with credentials.
#[derive(Debug, Clone)]
pub(crate) struct Adapter {
    http: reqwest::Client,
    url: String,
    username: String,
    password: String,
}

/// How a deployment ended.
#[derive(Debug)]
pub(crate) enum Deployed {
    Accepted,
    /// Status, and what the adapter says about it.
    Refused(StatusCode, Refusal),
}

/// The JSON body of a refusal.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Refusal {
    #[serde(default)]
    pub(crate) message: String,
    #[serde(default)]
    pub(crate) description: String,
    #[serde(default)]
    pub(crate) diagnostics: Vec<Finding>,
}

/// One diagnostic of a refusal.
#[derive(Debug, Deserialize)]
pub(crate) struct Finding {
    #[serde(default)]
    pub(crate) file: String,
    #[serde(default)]
    pub(crate) pointer: String,
    #[serde(default)]
    pub(crate) message: String,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)?;
        if !self.description.is_empty() && self.description != self.message {
            write!(f, ": {}", self.description)?;
        }
        for finding in &self.diagnostics {
            write!(f, "\n  {}#{}: {}", finding.file, finding.pointer, finding.message)?;
        }
        Ok(())
    }
}

impl Adapter {
    /// The adapter that the command line names: explicitly, or the one running from a data folder.
    pub(crate) fn of(target: &Target) -> anyhow::Result<Self> {
        let home = Home::locate(target.data.as_deref())?;
        let url = match &target.adapter {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None => {
                let bound = home
                    .bound(Role::Adapter)
                    .context("no running gateway in the data folder; name an adapter with --adapter")?;
                format!("https://localhost:{}", bound.address("rest")?.port())
            }
        };
        let (username, password) = match (&target.username, &target.password) {
            (Some(username), Some(password)) => (username.clone(), password.clone()),
            (username, password) => {
                let own = home.credentials().context("name --username and --password")?;
                (
                    username.clone().unwrap_or(own.username),
                    password.clone().unwrap_or(own.adapter_password),
                )
            }
        };
        let ca = target.ca.clone().unwrap_or_else(|| home.authority_certificate());
        let ca = ca.exists().then_some(ca);
        Ok(Self {
            http: http(ca.as_deref(), target.insecure)?,
            url,
            username,
            password,
        })
    }

    /// The adapter of a data folder at a known port.
    pub(crate) fn local(home: &Home, port: u16, username: &str, password: &str) -> anyhow::Result<Self> {
        Ok(Self {
            http: http(Some(&home.authority_certificate()), false)?,
            url: format!("https://localhost:{port}"),
            username: username.to_owned(),
            password: password.to_owned(),
        })
    }

    /// Uploads a project archive.
    pub(crate) async fn deploy(&self, archive: Vec<u8>, replace: bool) -> anyhow::Result<Deployed> {
        let part = reqwest::multipart::Part::bytes(archive)
            .file_name("project.zip")
            .mime_str("application/zip")?;
        let mut request = self
            .request(reqwest::Method::POST, "/apis")
            .multipart(reqwest::multipart::Form::new().part("file", part));
        if replace {
            request = request.query(&[("override", "true")]);
        }
        let response = request.send().await.context("adapter")?;
        let status = response.status();
        if status.is_success() {
            return Ok(Deployed::Accepted);
        }
        let body = bounded(response).await?;
        let refusal = serde_json::from_slice(&body).unwrap_or_else(|_| Refusal {
            message: String::from_utf8_lossy(&body).into_owned(),
            ..Refusal::default()
        });
        Ok(Deployed::Refused(status, refusal))
    }

    /// The list of deployed APIs, as the adapter answers it.
    pub(crate) async fn list(&self) -> anyhow::Result<Vec<u8>> {
        let request = self
            .request(reqwest::Method::GET, "/apis")
            .query(&[("limit", "100000000")]);
        expect_success(request.send().await.context("adapter")?).await
    }

    /// Removes an API.
    pub(crate) async fn undeploy(
        &self,
        name: &str,
        version: &str,
        vhost: &str,
        environments: &str,
    ) -> anyhow::Result<()> {
        let query = [
            ("apiName", name),
            ("environments", environments),
            ("version", version),
            ("vhost", vhost),
        ];
        let request = self.request(reqwest::Method::DELETE, "/apis").query(&query);
        let response = request.send().await.context("adapter")?;
        if response.status() == StatusCode::NOT_FOUND {
            bail!("{name} {version} is not deployed");
        }
        expect_success(response).await.map(drop)
    }

    fn request(&self, method: reqwest::Method, path: &str) -> reqwest::RequestBuilder {
        let url = format!("{}{BASE_PATH}{path}", self.url);
        self.http
            .request(method, url)
            .basic_auth(&self.username, Some(&self.password))
    }
}

/// A client that trusts `ca` alone when given, else the platform's CAs.
///
/// # Errors
/// The file cannot be read or holds no certificate.
pub(crate) fn http(ca: Option<&Path>, insecure: bool) -> anyhow::Result<reqwest::Client> {
    let mut builder = reqwest::Client::builder()
        .no_proxy()
        .connect_timeout(Duration::from_secs(5))
        .timeout(Duration::from_secs(60))
        .tls_danger_accept_invalid_certs(insecure);
    if let (Some(ca), false) = (ca, insecure) {
        let pem = std::fs::read(ca).with_context(|| ca.display().to_string())?;
        builder = builder.tls_certs_only([reqwest::Certificate::from_pem(&pem)?]);
    }
    Ok(builder.build()?)
}

/// Asks the test token service behind `gateway` for a token.
pub(crate) async fn token(
    http: &reqwest::Client,
    gateway: &str,
    username: &str,
    password: &str,
    scope: Option<&str>,
) -> anyhow::Result<String> {
    let request = http
        .post(format!("{gateway}/testkey"))
        .basic_auth(username, Some(password));
    let request = match scope {
        Some(scope) => request.form(&[("scope", scope)]),
        None => request,
    };
    let body = expect_success(request.send().await.context("test token service")?).await?;
    Ok(String::from_utf8(body)
        .context("the token is not text")?
        .trim()
        .to_owned())
}

async fn expect_success(response: reqwest::Response) -> anyhow::Result<Vec<u8>> {
    let status = response.status();
    let body = bounded(response).await?;
    if !status.is_success() {
        bail!("{status}: {}", String::from_utf8_lossy(&body));
    }
    Ok(body)
}

async fn bounded(mut response: reqwest::Response) -> anyhow::Result<Vec<u8>> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > MAX_ANSWER {
            bail!("the answer is longer than {MAX_ANSWER} bytes");
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}
