//! The program that is measured, and the folder that it runs in.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use crate::cargo::step;

/// The profile that is shipped, and its folder.
const PROFILE: &str = "dist";

/// A folder for one run, removed with the value.
#[derive(Debug)]
pub(super) struct Scratch(PathBuf);

impl Scratch {
    pub(super) fn create() -> anyhow::Result<Self> {
        let path = std::env::temp_dir().join(format!("trireme-bench-{}", std::process::id()));
        std::fs::create_dir_all(&path)?;
        Ok(Self(path))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

/// The program that was given, or one that is built now.
pub(super) fn program(root: &Path, given: Option<&Path>) -> anyhow::Result<PathBuf> {
    if let Some(given) = given {
        return Ok(given.to_owned());
    }
    let mut build = Command::new(env!("CARGO"));
    step(
        build
            .current_dir(root)
            .args(["build", "--profile", PROFILE, "--package", "trireme"]),
    )?;
    // The folder may be set to another one by cargo's configuration or environment.
    let output = Command::new(env!("CARGO"))
        .current_dir(root)
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .output()
        .context("cargo metadata")?;
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).context("cargo metadata")?;
    let target = metadata
        .get("target_directory")
        .and_then(serde_json::Value::as_str);
    Ok(Path::new(target.context("target_directory of cargo metadata")?)
        .join(PROFILE)
        .join("trireme"))
}
