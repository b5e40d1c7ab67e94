//! The Docker Engine, by its command: what a person would type, and nothing that a library must keep up with.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Output;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use tokio::process::Command;
use trireme_harness::{required, run};

/// Bound on a command of which nobody knows that it takes longer.
const BOUND: Duration = Duration::from_secs(120);

/// A Docker Engine.
#[derive(Debug, Clone)]
pub struct Engine {
    program: PathBuf,
}

impl Engine {
    /// The engine of this machine; `None`, said loudly, when there is none.
    ///
    /// # Panics
    /// There is none and the environment says `CI=true`.
    pub fn find() -> Option<Self> {
        required("docker", "Debian's docker.io").map(|program| Self { program })
    }

    /// A command to be given words.
    pub fn command(&self) -> Command {
        Command::new(&self.program)
    }

    /// Runs `docker WORDS` and gives its standard output without white space around it.
    ///
    /// # Errors
    /// It fails, with its standard error, or does not end within two minutes.
    pub async fn run<W: AsRef<OsStr>>(&self, words: impl IntoIterator<Item = W>) -> anyhow::Result<String> {
        let mut command = self.command();
        command.args(words);
        let output = run(&mut command, BOUND).await?;
        ensure!(
            output.status.success(),
            "{:?}: {}",
            command.as_std(),
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// Runs `docker WORDS`, at most `bound`, and gives status and output as they are.
    ///
    /// # Errors
    /// It cannot be started or does not end in time.
    pub async fn output<W: AsRef<OsStr>>(
        &self,
        words: impl IntoIterator<Item = W>,
        bound: Duration,
    ) -> anyhow::Result<Output> {
        run(self.command().args(words), bound).await
    }

    /// Runs `docker WORDS` and waits for it without a runtime, for what is dropped. A failure is told on standard error.
    pub(crate) fn run_now<W: AsRef<OsStr>>(&self, words: impl IntoIterator<Item = W>) {
        let output = std::process::Command::new(&self.program).args(words).output();
        match output {
            Ok(output) if output.status.success() => {}
            Ok(output) => eprintln!("{}", String::from_utf8_lossy(&output.stderr).trim()),
            Err(error) => eprintln!("{}: {error}", self.program.display()),
        }
    }

    /// The last lines that a container wrote.
    pub(crate) async fn logs(&self, container: &str, lines: u32) -> String {
        let lines = lines.to_string();
        let output = self.output(["logs", "--tail", &lines, container], BOUND).await;
        output.map_or_else(
            |error| format!("{error:#}"),
            |output| {
                let texts = [output.stdout, output.stderr];
                texts
                    .map(|text| String::from_utf8_lossy(&text).into_owned())
                    .concat()
            },
        )
    }

    /// One field of `docker inspect`.
    ///
    /// # Errors
    /// There is no such container.
    pub async fn inspect(&self, container: &str, format: &str) -> anyhow::Result<String> {
        self.run(["inspect", "--format", format, container])
            .await
            .with_context(|| format!("inspect {container}"))
    }
}
