//! The calls of the quick start: those that `apictl mg` makes, byte for byte, and those of curl.
//!
//! The tool itself is not here. What it sends is written down in spec/apictl.md 2 and 3; curl sends the same heads and bodies.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use tokio::process::Command;
use trireme_harness::{required, run};
use zip::write::SimpleFileOptions;

const BOUND: Duration = Duration::from_secs(30);
/// What the tool's library says of itself.
const AGENT: &str = "go-resty/2.4.0 (https://github.com/go-resty/resty)";
/// Below the adapter's address.
const BASE: &str = "/api/mgw/adapter/0.1";

/// curl, for which some hosts are elsewhere: the ingress and the name service of a real cluster.
#[derive(Debug, Clone)]
pub struct Curl {
    program: PathBuf,
    hosts: Vec<String>,
}

/// `apictl mg` in one environment, `-k` always given.
#[derive(Debug, Clone)]
pub struct Apictl {
    curl: Curl,
    endpoint: String,
}

/// A status and a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Body.
    pub body: String,
}

impl Curl {
    /// The curl of this machine; `None`, said loudly, when there is none.
    ///
    /// # Panics
    /// There is none and the environment says `CI=true`.
    pub fn find() -> Option<Self> {
        required("curl", "Debian's curl").map(|program| Self {
            program,
            hosts: Vec::new(),
        })
    }

    /// Connects to `address` for `host`, port 443.
    #[must_use]
    pub fn host(mut self, host: &str, address: SocketAddr) -> Self {
        self.hosts
            .push(format!("{host}:443:{}:{}", address.ip(), address.port()));
        self
    }

    /// Runs `curl WORDS` as a person types it.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn run(&self, words: &[&str]) -> anyhow::Result<Answer> {
        let mut command = Command::new(&self.program);
        command.args([
            "--silent",
            "--show-error",
            "--noproxy",
            "*",
            "--write-out",
            "\n%{http_code}",
        ]);
        for host in &self.hosts {
            command.args(["--connect-to", host]);
        }
        let output = run(command.args(words), BOUND).await?;
        ensure!(
            output.status.success(),
            "curl {words:?}: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
        let text = String::from_utf8(output.stdout)?;
        let (body, status) = text.rsplit_once('\n').context("a status")?;
        Ok(Answer {
            status: status.parse()?,
            body: body.to_owned(),
        })
    }
}

impl Apictl {
    /// `apictl mg add env NAME --adapter URL`.
    pub fn add_env(curl: &Curl, adapter: &str) -> Self {
        Self {
            curl: curl.clone(),
            endpoint: format!("{adapter}{BASE}"),
        }
    }

    /// `apictl mg login NAME -u USER -p PASSWORD -k`; gives the token that the tool keeps.
    ///
    /// # Errors
    /// Not 200, or an answer that the tool does not take.
    pub async fn login(&self, user: &str, password: &str) -> anyhow::Result<String> {
        let body = serde_json::json!({ "password": password, "username": user }).to_string();
        let url = format!("{}/oauth2/token", self.endpoint);
        let agent = format!("User-Agent: {AGENT}");
        let words = [
            "-k",
            "-X",
            "POST",
            &url,
            "-H",
            &agent,
            "-H",
            "Accept: application/json",
        ];
        let words = [
            &words[..],
            &[
                "-H",
                "Content-Type: application/json",
                "--compressed",
                "-d",
                &body,
            ],
        ]
        .concat();
        let answer = self.curl.run(&words).await?;
        ensure!(answer.status == 200, "login: {answer:?}");
        // An object of texts alone, else the tool fails.
        let texts: std::collections::BTreeMap<String, String> = serde_json::from_str(&answer.body)?;
        let token = texts.get("accessToken").filter(|token| !token.is_empty());
        Ok(token.context("accessToken")?.clone())
    }

    /// `apictl mg deploy api -f ARCHIVE -e NAME -k`.
    ///
    /// # Errors
    /// No answer.
    pub async fn deploy(&self, token: &str, archive: &[u8], replace: bool) -> anyhow::Result<Answer> {
        let boundary: String = (0..60).map(|_| fastrand::digit(16)).collect();
        let mut body = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"project-artifact.zip\"\r\n\
             Content-Type: application/zip\r\n\r\n"
        )
        .into_bytes();
        body.extend_from_slice(archive);
        body.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
        let mut file = tempfile::NamedTempFile::new()?;
        file.write_all(&body)?;
        let query = if replace { "?override=true" } else { "" };
        let url = format!("{}/apis{query}", self.endpoint);
        let data = format!("@{}", file.path().display());
        let (agent, bearer) = (
            format!("User-Agent: {AGENT}"),
            format!("Authorization: Bearer {token}"),
        );
        let kind = format!("Content-Type: multipart/form-data; boundary={boundary}");
        let words = ["-k", "-X", "POST", &url, "-H", &agent, "-H", &bearer, "-H", &kind];
        let words = [
            &words[..],
            &["-H", "Accept: application/json", "-H", "Connection: keep-alive"],
        ]
        .concat();
        // The tool does not wait to be asked for the body.
        let words = [&words[..], &["-H", "Expect:", "--data-binary", &data]].concat();
        self.curl.run(&words).await
    }

    /// `apictl mg get apis -e NAME -k`.
    ///
    /// # Errors
    /// No answer.
    pub async fn apis(&self, token: &str) -> anyhow::Result<Answer> {
        let url = format!("{}/apis?limit=25&query=", self.endpoint);
        self.plain("GET", &url, token).await
    }

    /// `apictl mg undeploy api -n NAME -v VERSION -e NAME -k`.
    ///
    /// # Errors
    /// No answer.
    pub async fn undeploy(&self, token: &str, name: &str, version: &str) -> anyhow::Result<Answer> {
        let url = format!(
            "{}/apis?apiName={name}&environments=&version={version}&vhost=",
            self.endpoint
        );
        self.plain("DELETE", &url, token).await
    }

    async fn plain(&self, method: &str, url: &str, token: &str) -> anyhow::Result<Answer> {
        let (agent, bearer) = (
            format!("User-Agent: {AGENT}"),
            format!("Authorization: Bearer {token}"),
        );
        let words = [
            "-k",
            "-X",
            method,
            url,
            "-H",
            &agent,
            "-H",
            &bearer,
            "--compressed",
        ];
        self.curl.run(&words).await
    }
}

/// What `apictl init petstore --oas …` makes of the Petstore, and `mg deploy api` zips: a project whose root is one folder.
///
/// # Errors
/// It cannot be read or packed.
pub fn petstore(folder: &Path) -> anyhow::Result<Vec<u8>> {
    let mut archive = zip::ZipWriter::new_stream(Vec::new());
    let options = SimpleFileOptions::default();
    let mut folders = vec![(folder.to_owned(), "petstore".to_owned())];
    while let Some((folder, name)) = folders.pop() {
        archive.add_directory(format!("{name}/"), options)?;
        let entries = std::fs::read_dir(&folder).with_context(|| folder.display().to_string())?;
        let mut entries = entries.collect::<Result<Vec<_>, _>>()?;
        entries.sort_by_key(std::fs::DirEntry::file_name);
        for entry in entries {
            let name = format!("{name}/{}", entry.file_name().to_string_lossy());
            if entry.file_type()?.is_dir() {
                folders.push((entry.path(), name));
            } else {
                archive.start_file(name, options)?;
                archive.write_all(&std::fs::read(entry.path())?)?;
            }
        }
    }
    Ok(archive.finish()?.into_inner())
}
