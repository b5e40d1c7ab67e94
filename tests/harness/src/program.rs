//! Programs: ours, and those of others that a test may need.

use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::process::Command;

/// One of our programs, beside the test's own executable.
///
/// # Errors
/// It has not been built.
pub fn program(name: &str) -> anyhow::Result<PathBuf> {
    let path = folder()?.join(name);
    if !path.exists() {
        bail!("{} is not there: cargo build --workspace --bins", path.display());
    }
    Ok(path)
}

/// Whether the programs are built with the profile `dist`, which is what ships: bounds of memory and time are for it.
pub fn is_dist() -> bool {
    folder().is_ok_and(|folder| folder.ends_with("dist"))
}

/// Where cargo put the programs of the profile that built this test.
fn folder() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe()?;
    // target/<profile>/deps/<test>
    let folder = own.ancestors().nth(2);
    Ok(folder.context("the test's executable lies too high")?.to_owned())
}

/// A program of others on this machine; `None`, said loudly, when it is missing.
///
/// # Panics
/// It is missing and the environment says `CI=true`.
pub fn required(name: &str, source: &str) -> Option<PathBuf> {
    #[expect(
        clippy::disallowed_methods,
        reason = "where programs of others lie is no product setting"
    )]
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|path| is_program(path));
    if found.is_none() {
        missing(name, source);
    }
    found
}

/// Says loudly that something of others is not on this machine, and what is skipped for it.
///
/// # Panics
/// The environment says `CI=true`.
pub fn missing(name: &str, source: &str) {
    #[expect(
        clippy::disallowed_methods,
        reason = "whether a skip is allowed is no product setting"
    )]
    let ci = std::env::var("CI");
    assert!(
        ci.as_deref() != Ok("true"),
        "{name} is missing ({source}), and CI must not skip"
    );
    eprintln!("SKIPPED: {name} is missing; get it from {source}");
}

/// How often a test repeats what needs luck to fail: `few` times, or as often as `TRIREME_ROUNDS` says.
///
/// # Panics
/// It says no number.
pub fn rounds(few: usize) -> usize {
    #[expect(
        clippy::disallowed_methods,
        reason = "a switch of the tests, no product setting"
    )]
    let rounds = std::env::var("TRIREME_ROUNDS");
    rounds.map_or(few, |rounds| rounds.parse().expect("TRIREME_ROUNDS is a number"))
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    path.metadata()
        .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// Runs a command to its end, at most `bound`.
///
/// # Errors
/// It cannot be started or does not end in time; it is killed then.
pub async fn run(command: &mut Command, bound: Duration) -> anyhow::Result<Output> {
    let output = command.kill_on_drop(true).output();
    tokio::time::timeout(bound, output)
        .await
        .with_context(|| format!("not ended within {bound:?}"))?
        .context("start")
}
