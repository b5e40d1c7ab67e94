//! Kubernetes manifests on this machine's Docker Engine: what `tests/pods` does, at the size that CI has no time for.

use std::path::{Path, PathBuf};
use std::process::Command;

use clap::{Args, Subcommand};

use crate::cargo::{cargo, step};

/// What `cargo xtask pods` is told.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Cargo profile of the images
    #[arg(long, global = true, default_value = "dist")]
    profile: String,
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// A table of image sizes, time from start to ready and idle memory
    Measure,
    /// Pods and certificates replaced under load, again and again: no request may fail
    Roll {
        /// Replacements
        #[arg(long, default_value_t = 20)]
        rounds: u32,
        /// Calls a second
        #[arg(long, default_value_t = 1000)]
        rate: u32,
    },
    /// One pod of each Deployment, until Ctrl-C
    Up {
        /// Folder of manifests [default: k8s-artifacts/choreo-connect]
        folder: Option<PathBuf>,
    },
}

pub(crate) fn run(root: &Path, options: &Options) -> anyhow::Result<()> {
    let mut command = match &options.task {
        Task::Roll { rounds, rate } => {
            let mut command = Command::new(env!("CARGO"));
            // Of the whole workspace, so that nothing is built a second time with other features.
            command.args([
                "test",
                "--workspace",
                "--test",
                "pods",
                "roll",
                "--",
                "--nocapture",
            ]);
            command.env("TRIREME_ROUNDS", rounds.to_string());
            command.env("TRIREME_RATE", rate.to_string());
            command
        }
        Task::Measure => program(root, &["measure"])?,
        Task::Up { folder } => {
            let mut command = program(root, &["up"])?;
            command.args(folder);
            command
        }
    };
    step(command.env("TRIREME_PODS_PROFILE", &options.profile))
}

fn program(root: &Path, words: &[&str]) -> anyhow::Result<Command> {
    cargo(&["build", "--workspace", "--bin", "trireme-pods"])?;
    let mut command = Command::new(root.join("target/debug/trireme-pods"));
    command.args(words);
    Ok(command)
}
