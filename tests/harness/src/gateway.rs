//! A whole gateway, started by `trireme up`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::program::{program, run};

const START_BOUND: Duration = Duration::from_secs(60);
const STOP_BOUND: Duration = Duration::from_secs(60);

/// One of the three processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Control plane.
    Adapter,
    /// Authorization.
    Enforcer,
    /// Data plane.
    Router,
}

impl Role {
    /// All.
    pub const ALL: [Self; 3] = [Self::Adapter, Self::Enforcer, Self::Router];

    /// As in file names and facts.
    pub fn name(self) -> &'static str {
        match self {
            Self::Adapter => "adapter",
            Self::Enforcer => "enforcer",
            Self::Router => "router",
        }
    }
}

/// The facts that `trireme up --json` prints.
#[derive(Debug, Clone, Deserialize)]
pub struct Ready {
    /// `http://localhost:<port>`.
    pub http: String,
    /// `https://localhost:<port>`.
    pub https: String,
    /// `https://localhost:<port>`.
    pub adapter: String,
    /// User of the management API.
    pub username: String,
    /// Their password.
    pub password: String,
    /// A test token.
    pub token: String,
    /// A call that works.
    pub sample: Sample,
    /// From the start of the command to the first answer of the API, milliseconds.
    pub started_in_ms: u64,
}

/// A call that works.
#[derive(Debug, Clone, Deserialize)]
pub struct Sample {
    /// Method.
    pub method: String,
    /// Address.
    pub url: String,
    /// The `Host` that it needs, where the address has another.
    pub host: Option<String>,
}

/// A status, the headers and the body.
#[derive(Debug)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Headers.
    pub headers: reqwest::header::HeaderMap,
    /// Body.
    pub body: String,
}

impl Answer {
    pub(crate) async fn of(response: reqwest::Response) -> anyhow::Result<Self> {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Ok(Self {
            status,
            headers,
            body: response.text().await?,
        })
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// It is not.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {}", self.body))
    }

    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// What a gateway starts with.
#[derive(Debug, Default)]
pub struct GatewayBuilder {
    apis: Vec<PathBuf>,
    data: Option<TempDir>,
    environment: Vec<(&'static str, String)>,
    through: Vec<OsString>,
}

impl GatewayBuilder {
    /// Deploys this at start; the sample API when there is none.
    #[must_use]
    pub fn api(mut self, path: impl Into<PathBuf>) -> Self {
        self.apis.push(path.into());
        self
    }

    /// Uses the folder of a gateway that was stopped.
    #[must_use]
    pub fn data(mut self, data: TempDir) -> Self {
        self.data = Some(data);
        self
    }

    /// Sets a variable of its environment.
    #[must_use]
    pub fn env(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.environment.push((name, value.into()));
        self
    }

    /// Starts it through another command, which becomes what follows its own words.
    #[must_use]
    pub fn through<T: Into<OsString>>(mut self, words: impl IntoIterator<Item = T>) -> Self {
        self.through = words.into_iter().map(Into::into).collect();
        self
    }

    /// Starts it and waits until it is ready.
    ///
    /// # Errors
    /// It ends or is not ready in time.
    pub async fn start(self) -> anyhow::Result<Gateway> {
        let data = match self.data {
            Some(data) => data,
            None => tempfile::tempdir()?,
        };
        let mut words = self.through;
        words.push(program("trireme")?.into());
        let (first, others) = words.split_first().context("a command")?;
        let mut command = Command::new(first);
        command.args(others);
        command.args([
            "up",
            "--json",
            "--http-port",
            "0",
            "--https-port",
            "0",
            "--adapter-port",
            "0",
            "--data",
        ]);
        command.arg(data.path());
        for api in &self.apis {
            command.arg("--api").arg(api);
        }
        command.envs(self.environment);
        // A gateway that is not stopped must not outlive its test: its children notice that their parent is gone.
        let mut process = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let output = process.stdout.take().context("standard output")?;
        let mut line = String::new();
        let mut output = BufReader::new(output);
        tokio::time::timeout(START_BOUND, output.read_line(&mut line))
            .await
            .context("not ready in time")??;
        if line.is_empty() {
            bail!("trireme up ended: {}", process.wait().await?);
        }
        let ready: Ready = serde_json::from_str(&line).context("the line of facts")?;
        let ca = std::fs::read(data.path().join("security/truststore/ca.pem"))?;
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(Duration::from_secs(60))
            .redirect(reqwest::redirect::Policy::none())
            .tls_certs_only([reqwest::Certificate::from_pem(&ca)?])
            .build()?;
        Ok(Gateway {
            process,
            data,
            ready,
            http,
        })
    }
}

/// A running gateway. Dropping it kills it; [`Gateway::stop`] drains it.
#[derive(Debug)]
pub struct Gateway {
    process: Child,
    data: TempDir,
    /// What it printed.
    pub ready: Ready,
    /// A client that trusts its CA.
    pub http: reqwest::Client,
}

impl Gateway {
    /// A gateway to be started.
    pub fn builder() -> GatewayBuilder {
        GatewayBuilder::default()
    }

    /// Its data folder.
    pub fn data(&self) -> &Path {
        self.data.path()
    }

    /// Calls a path on the plain listener, with the test token when `token`.
    ///
    /// # Errors
    /// No answer.
    pub async fn get(&self, path: &str, token: bool) -> anyhow::Result<Answer> {
        let mut request = self.http.get(format!("{}{path}", self.ready.http));
        if token {
            request = request.bearer_auth(&self.ready.token);
        }
        Answer::of(request.send().await?).await
    }

    /// A new test token with these scopes, names separated by spaces.
    ///
    /// # Errors
    /// None is given.
    pub async fn token(&self, scopes: &str) -> anyhow::Result<String> {
        let credentials = std::fs::read(self.data().join("security/credentials.json"))?;
        let credentials: serde_json::Value = serde_json::from_slice(&credentials)?;
        let password = credentials
            .get("token_password")
            .and_then(serde_json::Value::as_str);
        let request = self.http.post(format!("{}/testkey", self.ready.https));
        let request = request.basic_auth(&self.ready.username, password);
        Ok(request
            .form(&[("scope", scopes)])
            .send()
            .await?
            .error_for_status()?
            .text()
            .await?)
    }

    /// Uploads bytes to the management API as `apictl mg deploy api` does.
    ///
    /// # Errors
    /// No answer.
    pub async fn upload(&self, archive: Vec<u8>, replace: bool) -> anyhow::Result<Answer> {
        let part = reqwest::multipart::Part::bytes(archive)
            .file_name("project.zip")
            .mime_str("application/zip")?;
        let form = reqwest::multipart::Form::new().part("file", part);
        let query: &[(&str, &str)] = if replace { &[("override", "true")] } else { &[] };
        let url = format!("{}/api/mgw/adapter/0.1/apis", self.ready.adapter);
        let request = self.http.post(url).query(query).multipart(form);
        let request = request.basic_auth(&self.ready.username, Some(&self.ready.password));
        Answer::of(request.send().await?).await
    }

    /// Runs `trireme <words> --data <own folder>`.
    ///
    /// # Errors
    /// It does not end within `bound`.
    pub async fn trireme(&self, words: &[&str], bound: Duration) -> anyhow::Result<std::process::Output> {
        let mut command = Command::new(program("trireme")?);
        run(command.args(words).arg("--data").arg(self.data()), bound).await
    }

    /// What a process wrote down about itself: `pid`, and its addresses by name.
    pub fn facts(&self, role: Role) -> Option<serde_json::Value> {
        let text = std::fs::read(self.data().join("run").join(format!("{}.json", role.name()))).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// Address of a socket of a process.
    ///
    /// # Panics
    /// The process has no such socket.
    pub fn address(&self, role: Role, name: &str) -> std::net::SocketAddr {
        let facts = self.facts(role).unwrap_or_default();
        let address = facts
            .get(name)
            .and_then(|value| value.as_str())
            .and_then(|text| text.parse().ok());
        address.unwrap_or_else(|| panic!("{} has no address {name}: {facts}", role.name()))
    }

    /// Process id of a process as it wrote it down.
    ///
    /// # Panics
    /// It has written nothing.
    pub fn pid(&self, role: Role) -> i32 {
        let facts = self.facts(role).unwrap_or_default();
        let pid = facts
            .get("pid")
            .and_then(serde_json::Value::as_i64)
            .and_then(|pid| i32::try_from(pid).ok());
        pid.unwrap_or_else(|| panic!("{} has written no pid: {facts}", role.name()))
    }

    /// Sends a signal to a process.
    ///
    /// # Errors
    /// It is gone.
    pub fn signal(&self, role: Role, signal: Signal) -> anyhow::Result<()> {
        let pid = Pid::from_raw(self.pid(role)).context("pid")?;
        Ok(kill_process(pid, signal)?)
    }

    /// Asks for another router beside the one that runs (SIGUSR2).
    ///
    /// # Errors
    /// It is gone.
    pub fn renew_router(&self) -> anyhow::Result<()> {
        let pid = self.process.id().and_then(|pid| i32::try_from(pid).ok());
        let pid = pid.and_then(Pid::from_raw).context("it has ended by itself")?;
        Ok(kill_process(pid, Signal::USR2)?)
    }

    /// Kills a process and waits until its successor has bound its sockets.
    ///
    /// # Errors
    /// It is gone already.
    pub async fn kill(&self, role: Role) -> anyhow::Result<()> {
        let before = self.pid(role);
        self.signal(role, Signal::KILL)?;
        crate::eventually("a successor", async || {
            let pid = self.facts(role)?.get("pid")?.as_i64()?;
            (pid != i64::from(before)).then_some(())
        })
        .await;
        Ok(())
    }

    /// Resident memory of a process, bytes (`VmRSS` of `/proc/<pid>/status`).
    ///
    /// # Errors
    /// It is gone.
    pub fn resident(&self, role: Role) -> anyhow::Result<u64> {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.pid(role)))?;
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .context("VmRSS")?;
        let kilobytes: u64 = line.trim().trim_end_matches(" kB").trim().parse()?;
        Ok(kilobytes * 1024)
    }

    /// SIGTERM, and wait until all has drained; the folder can be used again.
    ///
    /// # Errors
    /// It does not end in time.
    pub async fn stop(mut self) -> anyhow::Result<(ExitStatus, TempDir)> {
        let pid = self
            .process
            .id()
            .and_then(|pid| i32::try_from(pid).ok())
            .and_then(Pid::from_raw);
        kill_process(pid.context("it has ended by itself")?, Signal::TERM)?;
        let status = tokio::time::timeout(STOP_BOUND, self.process.wait())
            .await
            .context("not drained in time")??;
        Ok((status, self.data))
    }
}
