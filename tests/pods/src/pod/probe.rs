//! Probes as a node runs them.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail, ensure};
use tokio::net::TcpStream;

use super::shared::Shared;
use crate::manifest::{Action, HttpGet, Probe};

/// What a node keeps of the output of a command, bytes.
const OUTPUT: usize = 10 << 10;

/// What each probe of a container last gave.
#[derive(Debug, Clone, Default)]
pub struct Probes(BTreeMap<&'static str, Probed>);

/// What a probe gave.
#[derive(Debug, Clone)]
pub struct Probed {
    /// Whether it succeeded.
    pub success: bool,
    /// What a person reads in the pod's events.
    pub output: String,
}

impl Probes {
    /// The last result of `startup`, `liveness` or `readiness`.
    pub fn last(&self, name: &str) -> Option<&Probed> {
        self.0.get(name)
    }

    pub(super) fn set(&mut self, name: &'static str, probed: Probed) {
        self.0.insert(name, probed);
    }
}

/// Asks once; gives the output of a success.
///
/// # Errors
/// The probe fails, with its output.
pub(super) async fn ask(pod: &Shared, container: &str, probe: &Probe) -> anyhow::Result<String> {
    let once = async {
        match probe.action()? {
            Action::Exec(command) => exec(pod, container, command).await,
            Action::Http(get) => http(pod, get).await,
            Action::Tcp(port) => {
                let port = published(pod, pod.deployment.pod.port(port)?)?;
                TcpStream::connect(("127.0.0.1", port)).await?;
                Ok(String::new())
            }
        }
    };
    let done = tokio::time::timeout(probe.timeout(), once).await;
    done.with_context(|| format!("timed out after {:?}", probe.timeout()))?
}

async fn exec(pod: &Shared, container: &str, command: &[String]) -> anyhow::Result<String> {
    let words = ["exec", container]
        .into_iter()
        .chain(command.iter().map(String::as_str));
    let mut process = pod.cluster.engine.command();
    let output = process.args(words).kill_on_drop(true).output().await?;
    let texts = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned());
    let mut text = texts.concat();
    text.truncate(text.floor_char_boundary(OUTPUT));
    if !output.status.success() {
        bail!("{}: {}", output.status, text.trim());
    }
    Ok(text)
}

async fn http(pod: &Shared, get: &HttpGet) -> anyhow::Result<String> {
    let port = published(pod, pod.deployment.pod.port(&get.port)?)?;
    let scheme = get.scheme.as_deref().unwrap_or("HTTP").to_lowercase();
    let path = get.path.as_deref().unwrap_or("/");
    // As a node: certificates are not verified, connections not kept. A host that is set is that of the request in HTTP/1.1 alone
    // here; a node may speak HTTP/2, where it stands in place of the address.
    let client = reqwest::Client::builder()
        .no_proxy()
        .http1_only()
        .tls_danger_accept_invalid_certs(true)
        .redirect(reqwest::redirect::Policy::none())
        .build()?;
    let mut request = client.get(format!(
        "{scheme}://127.0.0.1:{port}/{}",
        path.trim_start_matches('/')
    ));
    for header in &get.http_headers {
        request = request.header(&header.name, &header.value);
    }
    let answer = request.send().await?;
    let status = answer.status();
    let body = answer.text().await.unwrap_or_default();
    ensure!(
        status.is_success() || status.is_redirection(),
        "HTTP probe failed with statuscode: {}",
        status.as_u16()
    );
    Ok(body)
}

fn published(pod: &Shared, port: u16) -> anyhow::Result<u16> {
    let found = pod.ports.get(&port);
    found
        .copied()
        .with_context(|| format!("port {port} is not published"))
}
