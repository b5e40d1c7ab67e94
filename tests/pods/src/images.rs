//! Images for this engine, which holds none and pulls none: the Dockerfile of `docker-compose/images` around static programs.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use tokio::process::Command;
use trireme_harness::run;

use crate::engine::Engine;

/// A first build of everything, on two cores.
const BUILD_BOUND: Duration = Duration::from_secs(1800);
/// The three processes.
const PROCESSES: [&str; 3] = ["adapter", "enforcer", "router"];
/// This machine's processor, as images name it.
const ARCH: &str = if cfg!(target_arch = "aarch64") {
    "ARCH=arm64"
} else {
    "ARCH=amd64"
};
/// Holds networks, and is the upstream.
const PEER: &str = "trireme-peer";

/// Which image stands for the image that a manifest names.
#[derive(Debug, Clone)]
pub struct Images {
    by_process: BTreeMap<&'static str, String>,
    /// The image that holds networks and is the upstream.
    pub peer: String,
}

impl Images {
    /// Builds them from this checkout with a profile of cargo. Builds of several tests wait for one another.
    ///
    /// # Errors
    /// Something does not build.
    pub async fn build(engine: &Engine, profile: &str) -> anyhow::Result<Self> {
        let root = root()?;
        let lock = File::create(root.join("target/pods.lock"))?;
        let lock = tokio::task::spawn_blocking(move || lock.lock().map(|()| lock)).await??;
        cargo(&root, &["xtask", "images", "--profile", profile]).await?;
        let mut by_process = BTreeMap::new();
        for process in PROCESSES {
            let tag = format!("trireme-pods-{process}:{profile}");
            let argument = format!("PROCESS={process}");
            let dockerfile = "docker-compose/images/Dockerfile";
            let words = [
                "build",
                "-q",
                "-f",
                dockerfile,
                "--target",
                "prebuilt",
                "--build-arg",
            ];
            let words = words
                .into_iter()
                .chain([argument.as_str(), "--build-arg", ARCH, "-t", &tag, "."]);
            build(engine, &root, words).await?;
            by_process.insert(process, tag);
        }
        let peer = peer(engine, &root).await?;
        drop(lock);
        Ok(Self { by_process, peer })
    }

    /// The image for one that a manifest names: its last part says whose it is.
    ///
    /// # Errors
    /// It is of none of the three processes.
    pub fn of(&self, named: &str) -> anyhow::Result<&str> {
        let path = named.split('@').next().unwrap_or(named);
        let last = path.rsplit('/').next().unwrap_or(path);
        let last = last.split(':').next().unwrap_or(last);
        let mut all = self.by_process.iter();
        let found = all.find(|(process, _)| last.rsplit('-').next() == Some(process));
        match found {
            Some((_, tag)) => Ok(tag),
            None if named == self.peer => Ok(&self.peer),
            None => bail!("nothing here stands for image {named}"),
        }
    }

    /// The image of a process.
    ///
    /// # Panics
    /// There is no such process.
    pub fn process(&self, name: &str) -> &str {
        self.by_process.get(name).expect("adapter, enforcer or router")
    }
}

/// The checkout that this was built from.
///
/// # Errors
/// It is gone.
pub fn root() -> anyhow::Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.canonicalize().context("the checkout")
}

async fn cargo(root: &Path, words: &[&str]) -> anyhow::Result<()> {
    let mut command = Command::new(env!("CARGO"));
    let output = run(command.current_dir(root).args(words), BUILD_BOUND).await?;
    ensure!(
        output.status.success(),
        "cargo {words:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

async fn build<'a>(
    engine: &Engine,
    folder: &Path,
    words: impl IntoIterator<Item = &'a str>,
) -> anyhow::Result<()> {
    let mut command = engine.command();
    let output = run(command.current_dir(folder).args(words), BUILD_BOUND).await?;
    ensure!(
        output.status.success(),
        "{:?}: {}",
        command.as_std(),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

/// The program is small and stays the same whatever the profile of the others.
async fn peer(engine: &Engine, root: &Path) -> anyhow::Result<String> {
    let mut command = Command::new(env!("CARGO"));
    let words = ["rustc", "--package", PEER, "--target-dir", "target/peer", "--"];
    let command = command
        .current_dir(root)
        .args(words)
        .args(["-C", "target-feature=+crt-static"]);
    let output = run(command, BUILD_BOUND).await?;
    ensure!(
        output.status.success(),
        "{PEER}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let context = tempfile::tempdir()?;
    std::fs::copy(
        root.join("target/peer/debug").join(PEER),
        context.path().join(PEER),
    )?;
    let dockerfile = format!("FROM scratch\nCOPY {PEER} /{PEER}\nENTRYPOINT [\"/{PEER}\"]\n");
    std::fs::write(context.path().join("Dockerfile"), dockerfile)?;
    let tag = format!("{PEER}:latest");
    build(engine, context.path(), ["build", "-q", "-t", &tag, "."]).await?;
    Ok(tag)
}
