//! Talks to an adapter's management API and to a gateway's test token service, as `apictl mg` would.

use std::path::{Path, PathBuf};
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
    Accepted(Receipt),
    /// Status, and what the adapter says about it.
    Refused(StatusCode, Refusal),
}

/// The JSON body of a success; an adapter of the original sends none.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Receipt {
    action: String,
    info: String,
    deployments: Vec<Placed>,
    diagnostics: Vec<Finding>,
}

/// Where an API is now, and how far it has come.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Placed {
    context: String,
    vhost: String,
    status: Progress,
}

/// How far a deployment has come.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Progress {
    state: String,
    missing: Vec<String>,
    reason: String,
    by: String,
}

impl std::fmt::Display for Progress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.state)?;
        match self.state.as_str() {
            "pending" if !self.missing.is_empty() => write!(f, ", waiting for {}", self.missing.join(", ")),
            "rejected" => write!(f, ", {}", self.reason),
            "shadowed" => write!(f, ", organization {} has the address", self.by),
            _ => Ok(()),
        }
    }
}

impl Receipt {
    /// Whether the API is served, or will be as soon as somebody comes back, everywhere it was to be.
    pub(crate) fn is_served(&self) -> bool {
        self.action != "none" && self.deployments.iter().all(|one| one.status.state != "rejected")
    }

    /// A host that the API is called by.
    pub(crate) fn host(&self) -> Option<String> {
        let vhost = &self.deployments.first()?.vhost;
        // Of a pattern, any that fits.
        Some(vhost.replacen('*', "any", 1)).filter(|host| !host.is_empty())
    }
}

impl std::fmt::Display for Receipt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.action.as_str() {
            "none" => write!(f, "nothing deployed of {}", self.info)?,
            "" => f.write_str("deployed")?,
            action => write!(f, "{action} {}", self.info)?,
        }
        for Placed {
            context,
            vhost,
            status,
        } in &self.deployments
        {
            if !matches!(status.state.as_str(), "active" | "") {
                write!(f, "\n  {context} on {vhost}: {status}")?;
            }
        }
        self.diagnostics
            .iter()
            .try_for_each(|finding| write!(f, "\n  {finding}"))
    }
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
    #[serde(default)]
    pub(crate) severity: String,
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            file,
            pointer,
            message,
            severity,
        } = self;
        for (part, end) in [(severity.as_str(), ": "), (file.as_str(), "")] {
            if !part.is_empty() {
                write!(f, "{part}{end}")?;
            }
        }
        match (file.as_str(), pointer.as_str()) {
            ("", _) => f.write_str(message),
            (_, "") => write!(f, ": {message}"),
            _ => write!(f, "#{pointer}: {message}"),
        }
    }
}

impl Refusal {
    /// What a body says; as it is when it isn't the adapter's.
    fn read(body: &[u8]) -> Self {
        serde_json::from_slice(body).unwrap_or_else(|_| Self {
            message: String::from_utf8_lossy(body).into_owned(),
            ..Self::default()
        })
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)?;
        if !self.description.is_empty() && self.description != self.message {
            write!(f, ": {}", self.description)?;
        }
        self.diagnostics
            .iter()
            .try_for_each(|finding| write!(f, "\n  {finding}"))
    }
}

impl Adapter {
    /// The adapter that the command line names: explicitly, or the one running from a data folder. Passwords of a data
    /// folder are for its own adapter, unless the command line names both.
    pub(crate) fn of(target: &Target) -> anyhow::Result<Self> {
        let home = Home::locate(target.data.as_deref())?;
        let foreign = target.adapter.is_some() && target.data.is_none();
        let url = match &target.adapter {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None => {
                let bound = home
                    .running(Role::Adapter)
                    .context("name an adapter with --adapter, or a folder with --data")?;
                format!("https://localhost:{}", bound.address("rest")?.port())
            }
        };
        let (username, password) = match (&target.username, &target.password) {
            (Some(username), Some(password)) => (username.clone(), password.clone()),
            _ if foreign => bail!("name --username and --password for the adapter, or its --data"),
            (username, password) => {
                let own = home.credentials().context("name --username and --password")?;
                (
                    username.clone().unwrap_or(own.username),
                    password.clone().unwrap_or(own.adapter_password),
                )
            }
        };
        let ca = target.ca.clone().or_else(|| trusted(&home, foreign));
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
        let body = bounded(response).await?;
        Ok(if status.is_success() {
            Deployed::Accepted(serde_json::from_slice(&body).unwrap_or_default())
        } else {
            Deployed::Refused(status, Refusal::read(&body))
        })
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
            let place = match (vhost, environments) {
                ("", "") => String::new(),
                (vhost, "") => format!(" on {vhost}"),
                ("", environments) => format!(" in {environments}"),
                (vhost, environments) => format!(" on {vhost} in {environments}"),
            };
            bail!("{name} {version} is not deployed{place}");
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

/// The CA of a data folder, for its own gateway.
pub(crate) fn trusted(home: &Home, foreign: bool) -> Option<PathBuf> {
    Some(home.authority_certificate()).filter(|path| !foreign && path.exists())
}

/// A client that trusts `ca` alone when given, else the platform's CAs.
///
/// # Errors
/// The file cannot be read or holds no certificate.
pub(crate) fn http(ca: Option<&Path>, insecure: bool) -> anyhow::Result<reqwest::Client> {
    let mut builder = reqwest::Client::builder()
        .no_proxy()
        // HTTP/2 has no way to name another host than the address.
        .http1_only()
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
    host: Option<&str>,
    username: &str,
    password: &str,
    scope: Option<&str>,
) -> anyhow::Result<String> {
    let mut request = http
        .post(format!("{gateway}/testkey"))
        .basic_auth(username, Some(password));
    if let Some(host) = host {
        request = request.header(reqwest::header::HOST, host);
    }
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
        bail!("{status}: {}", Refusal::read(&body));
    }
    Ok(body)
}

pub(crate) async fn bounded(mut response: reqwest::Response) -> anyhow::Result<Vec<u8>> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > MAX_ANSWER {
            bail!("the answer is longer than {MAX_ANSWER} bytes");
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[test]
    fn a_receipt_tells_what_came_of_a_deploy() {
        let cases = [
            ("", true, "deployed"),
            (
                r#"{"action":"unchanged","info":"Pets 1","deployments":[{"status":{"state":"active"}}]}"#,
                true,
                "unchanged Pets 1",
            ),
            (
                r#"{"action":"none","info":"Pets 1","diagnostics":[{"file":"a.yaml","pointer":"/b","message":"c",
                    "severity":"warning"}]}"#,
                false,
                "nothing deployed of Pets 1\n  warning: a.yaml#/b: c",
            ),
            (
                r#"{"action":"deployed","info":"Pets 1","deployments":[{"context":"/pets","vhost":"h","revision":3,
                    "status":{"state":"pending","missing":["Default/one","Default/two"]}}]}"#,
                true,
                "deployed Pets 1\n  /pets on h: pending, waiting for Default/one, Default/two",
            ),
            (
                r#"{"action":"deployed","info":"Pets 1","deployments":[{"context":"/pets","vhost":"h",
                    "status":{"state":"rejected","reason":"router refused it"}}]}"#,
                false,
                "deployed Pets 1\n  /pets on h: rejected, router refused it",
            ),
        ];
        for (body, served, text) in cases {
            let receipt: Receipt = serde_json::from_str(body).unwrap_or_default();
            assert_eq!(receipt.to_string(), text, "{body}");
            assert_eq!(receipt.is_served(), served, "{body}");
        }
    }

    #[test]
    fn own_passwords_are_not_for_other_adapters() {
        let target = Target::parse_from(["t", "--adapter", "https://elsewhere.example:9843"]);
        let error = Adapter::of(&target).unwrap_err().to_string();
        assert!(error.contains("name --username and --password"), "{error}");
    }

    #[test]
    fn a_ca_that_is_not_there_is_not_ignored() {
        let target = Target::parse_from([
            "t",
            "--adapter",
            "https://a",
            "-u",
            "a",
            "-p",
            "b",
            "--ca",
            "/nowhere.pem",
        ]);
        let error = format!("{:#}", Adapter::of(&target).unwrap_err());
        assert!(error.contains("/nowhere.pem"), "{error}");
    }
}
