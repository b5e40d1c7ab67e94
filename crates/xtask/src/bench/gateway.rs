//! `trireme up` on free ports, with one API.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context as _;
use serde::Deserialize;

use super::process::Guard;

/// A gateway that serves; ends with the value.
#[derive(Debug)]
pub(super) struct Gateway {
    /// A token for the API.
    pub(super) token: String,
    /// A call of the API's first operation.
    pub(super) url: String,
    pub(super) router: u32,
    pub(super) enforcer: u32,
    _process: Guard,
}

/// The line of facts that `--json` prints.
#[derive(Debug, Deserialize)]
struct Ready {
    token: String,
    sample: Sample,
    pids: Pids,
}

#[derive(Debug, Deserialize)]
struct Sample {
    url: String,
}

#[derive(Debug, Deserialize)]
struct Pids {
    router: u32,
    enforcer: u32,
}

impl Gateway {
    /// Starts the program in the folder `data` and waits until it serves the definitions; the first is the one to call.
    pub(super) fn start(trireme: &Path, data: &Path, definitions: &[PathBuf]) -> anyhow::Result<Self> {
        let mut child = Command::new(trireme)
            .arg("up")
            .arg("--json")
            .arg("--data")
            .arg(data)
            .args(
                definitions
                    .iter()
                    .flat_map(|file| ["--api".as_ref(), file.as_os_str()]),
            )
            .args(["--http-port", "0", "--https-port", "0", "--adapter-port", "0"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("{} up", trireme.display()))?;
        let output = child.stdout.take().context("standard output")?;
        let process = Guard::new(child);
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        let ready: Ready = serde_json::from_str(&line)
            .with_context(|| format!("{} up did not become ready", trireme.display()))?;
        Ok(Self {
            token: ready.token,
            url: ready.sample.url,
            router: ready.pids.router,
            enforcer: ready.pids.enforcer,
            _process: process,
        })
    }
}

/// An API whose upstream listens on a loopback port; `paths` are the lines below that key.
pub(super) fn definition(upstream_port: u16, paths: &str) -> String {
    format!(
        "openapi: 3.0.3
info: {{ title: Bench, version: 1.0.0 }}
x-wso2-basePath: /bench/1.0.0
servers: [ {{ url: 'http://127.0.0.1:{upstream_port}/' }} ]
paths:
{paths}"
    )
}
