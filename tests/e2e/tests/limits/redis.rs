//! A Redis server of a test's own.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use trireme_harness::required;

/// A Redis server that wants a password; killed with the value.
pub(crate) struct Redis {
    program: PathBuf,
    password: String,
    port: u16,
    child: Child,
    _folder: TempDir,
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Redis {
    /// `None`, said loudly, where the program is missing.
    pub(crate) fn start(password: &str) -> anyhow::Result<Option<Self>> {
        let Some(program) = required("redis-server", "Debian's package redis-server") else {
            return Ok(None);
        };
        // It takes no port 0: one that was free a moment ago may be taken by now, and then it is another.
        for _ in 0..5 {
            let port = std::net::TcpListener::bind(("127.0.0.1", 0))?
                .local_addr()?
                .port();
            let (child, folder, ready) = launch(&program, password, port)?;
            let redis = Self {
                program: program.clone(),
                password: password.to_owned(),
                port,
                child,
                _folder: folder,
            };
            if ready {
                return Ok(Some(redis));
            }
        }
        anyhow::bail!("redis-server does not start")
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Ends it at once.
    pub(crate) fn kill(&mut self) {
        // It may have ended.
        drop(self.child.kill());
        drop(self.child.wait());
    }

    /// Starts it again on its port, with nothing in it.
    pub(crate) fn restart(&mut self) -> anyhow::Result<()> {
        self.kill();
        let (child, folder, ready) = launch(&self.program, &self.password, self.port)?;
        (self.child, self._folder) = (child, folder);
        anyhow::ensure!(ready, "redis-server does not start again");
        Ok(())
    }

    pub(crate) fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let pid = Pid::from_raw(self.child.id().cast_signed()).context("no process")?;
        Ok(kill_process(pid, signal)?)
    }
}

/// The process, its folder, and whether it takes connections.
fn launch(program: &PathBuf, password: &str, port: u16) -> anyhow::Result<(Child, TempDir, bool)> {
    let folder = tempfile::tempdir()?;
    let mut child = Command::new(program)
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""])
        .args(["--requirepass", password])
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let lines = child.stdout.take().map(BufReader::new);
    let mut lines = lines.into_iter().flat_map(BufReader::lines).map_while(Result::ok);
    let ready = lines.any(|line| line.contains("eady to accept connections"));
    Ok((child, folder, ready))
}
