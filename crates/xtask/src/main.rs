//! Developer tasks: `cargo xtask check` is what CI runs, the others are its parts and the benchmark.

#![expect(clippy::print_stdout, reason = "the benchmark's result is what it is run for")]

mod bench;
mod cargo;
mod images;
mod layers;
mod pods;
mod secrets;

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::bail;
use clap::{Parser, Subcommand};

use cargo::{cargo, installed, root, step};

#[derive(Debug, Parser)]
#[command(name = "cargo xtask")]
struct Args {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Everything that CI checks: format, layers, lints, documentation, tests
    Check,
    /// Build the binaries, then run every test (with nextest when it is installed)
    Test {
        /// Handed to the test runner
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        rest: Vec<String>,
    },
    /// Who needs whom, crates, folders and files, compared with the allowed directions
    Layers {
        /// Another checkout of the workspace
        #[arg(long, value_name = "FOLDER")]
        of: Option<PathBuf>,
    },
    /// CPU per request against Envoy with the same enforcer behind it, or against another build; `count`: instructions
    Bench(bench::Options),
    /// The images of the three processes as archives for `docker load`, and what docker-compose builds and mounts
    Images(images::Options),
    /// Certificates for the Kubernetes manifests, as Secrets beside them
    Secrets(secrets::Options),
    /// Kubernetes manifests on this machine's Docker Engine: measured, replaced under load, or left running
    Pods(pods::Options),
    /// Limits under load, through whole gateways and a real Redis: minutes
    Limits,
    /// Write the golden files and the configuration template anew
    Golden,
}

fn main() -> ExitCode {
    match run(Args::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> anyhow::Result<()> {
    match task {
        Task::Check => check(),
        Task::Test { rest } => test(&rest),
        Task::Layers { of } => layers::check(of.as_deref().unwrap_or_else(|| root())),
        Task::Bench(options) => bench::run(root(), &options),
        Task::Images(options) => images::build(root(), &options),
        Task::Secrets(options) => secrets::write(root(), &options),
        Task::Pods(options) => pods::run(root(), &options),
        Task::Limits => limits(),
        Task::Golden => golden(),
    }
}

/// The cheap and telling ones first, the tests last, so that their summary ends the output.
fn check() -> anyhow::Result<()> {
    if installed("fmt") {
        cargo(&["fmt", "--all", "--check"])?;
    }
    layers::check(root())?;
    if installed("clippy") {
        cargo(&[
            "clippy",
            "--quiet",
            "--workspace",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ])?;
    }
    step(
        Command::new(env!("CARGO"))
            .args(["doc", "--quiet", "--workspace", "--no-deps"])
            .env("RUSTDOCFLAGS", "-D warnings"),
    )?;
    cargo(&["test", "--quiet", "--workspace", "--doc"])?;
    test(&[])
}

/// The rows of `tests/e2e/tests/limits` that CI has no time for, one after the other.
fn limits() -> anyhow::Result<()> {
    cargo(&["build", "--workspace", "--bins"])?;
    let words = [
        "test",
        "--workspace",
        "--test",
        "limits",
        "--",
        "--ignored",
        "--nocapture",
    ];
    cargo(&[&words[..], &["--test-threads", "1"]].concat())
}

fn test(rest: &[String]) -> anyhow::Result<()> {
    // The end-to-end tests start the real programs, which they find beside their own executable.
    cargo(&["build", "--workspace", "--bins"])?;
    let mut command = Command::new(env!("CARGO"));
    if installed("nextest") {
        command.args(["nextest", "run", "--workspace"]);
    } else {
        command.args(["test", "--workspace", "--lib", "--bins", "--tests"]);
    }
    step(command.args(rest))
}

fn golden() -> anyhow::Result<()> {
    let mut command = Command::new(env!("CARGO"));
    command.args(["test", "--package", "trireme-translate", "--test", "golden"]);
    step(command.env("UPDATE_GOLDEN", "1"))?;
    let output = Command::new(env!("CARGO"))
        .args([
            "run",
            "--quiet",
            "--package",
            "trireme-config",
            "--example",
            "template",
        ])
        .stderr(std::process::Stdio::inherit())
        .output()?;
    if !output.status.success() {
        bail!("the configuration template: {}", output.status);
    }
    Ok(std::fs::write(
        root().join("conf/config.toml.template"),
        output.stdout,
    )?)
}
