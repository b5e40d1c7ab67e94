//! Calls of cargo.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, bail};

/// The workspace's folder.
pub(crate) fn root() -> &'static Path {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.ancestors().nth(2).unwrap_or(own)
}

/// Whether cargo has the subcommand; says so loudly when it has not.
pub(crate) fn installed(subcommand: &str) -> bool {
    let found = Command::new(env!("CARGO"))
        .args([subcommand, "--version"])
        .output()
        .is_ok_and(|output| output.status.success());
    if !found {
        eprintln!("xtask: cargo {subcommand} is not installed: SKIPPED");
    }
    found
}

/// Runs cargo with `args`, told on standard error first.
///
/// # Errors
/// It cannot be started, or fails.
pub(crate) fn cargo(args: &[&str]) -> anyhow::Result<()> {
    step(Command::new(env!("CARGO")).args(args))
}

/// Runs what was put together, told on standard error first.
///
/// # Errors
/// It cannot be started, or fails.
pub(crate) fn step(command: &mut Command) -> anyhow::Result<()> {
    let words = || {
        let args = command.get_args().map(|arg| arg.to_string_lossy());
        args.collect::<Vec<_>>().join(" ")
    };
    eprintln!("xtask: cargo {}", words());
    let name = words();
    let status = command.status().with_context(|| format!("cargo {name}"))?;
    if !status.success() {
        bail!("cargo {name}: {status}");
    }
    Ok(())
}
