//! One child process: started, watched, its output handed on line by line, drained by SIGTERM.

use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::{Child as Process, ChildStdin, Command};
use tokio::sync::mpsc;

use crate::home::Role;

/// Longest line that is shown; the rest of it is dropped.
const MAX_LINE: usize = 4096;

/// What the children write, in order of arrival.
pub(super) type Lines = mpsc::Sender<(Role, String)>;

/// A running child.
#[derive(Debug)]
pub(super) struct Child {
    pub(super) role: Role,
    process: Process,
    /// Held open: the child drains when it closes, so it never outlives its parent.
    _stdin: Option<ChildStdin>,
}

/// How a child is started; the same again after a crash.
#[derive(Debug, Clone)]
pub(super) struct Spec {
    pub(super) role: Role,
    pub(super) executable: PathBuf,
    pub(super) environment: Vec<(String, String)>,
}

impl Child {
    /// Starts the process in a process group of its own, so that Ctrl-C reaches only the parent.
    pub(super) fn start(spec: &Spec, lines: &Lines) -> anyhow::Result<Self> {
        let mut process = Command::new(&spec.executable)
            .arg(spec.role.name())
            .envs(spec.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("starting the {}", spec.role.name()))?;
        let stdin = process.stdin.take();
        if let Some(output) = process.stdout.take() {
            tokio::spawn(forward(spec.role, output, lines.clone()));
        }
        if let Some(output) = process.stderr.take() {
            tokio::spawn(forward(spec.role, output, lines.clone()));
        }
        Ok(Self {
            role: spec.role,
            process,
            _stdin: stdin,
        })
    }

    /// The process id while it runs.
    pub(super) fn pid(&self) -> Option<u32> {
        self.process.id()
    }

    /// Waits for the end. Cancel safe.
    pub(super) async fn ended(&mut self) -> std::io::Result<ExitStatus> {
        self.process.wait().await
    }

    /// Whether it has ended.
    pub(super) fn has_ended(&mut self) -> bool {
        !matches!(self.process.try_wait(), Ok(None))
    }

    /// Sends SIGTERM.
    pub(super) fn terminate(&self) {
        if let Some(pid) = self
            .pid()
            .and_then(|pid| i32::try_from(pid).ok())
            .and_then(rustix::process::Pid::from_raw)
        {
            // It may have ended by itself in between; who waits for it finds out.
            rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap_or_default();
        }
    }

    /// Sends SIGTERM and waits; kills after `bound`.
    pub(super) async fn drain(&mut self, bound: Duration) -> std::io::Result<ExitStatus> {
        self.terminate();
        if let Ok(status) = tokio::time::timeout(bound, self.process.wait()).await {
            return status;
        }
        self.process.kill().await?;
        self.process.wait().await
    }
}

async fn forward(role: Role, output: impl AsyncRead + Unpin, lines: Lines) {
    let mut reader = BufReader::new(output);
    let mut line = Vec::new();
    loop {
        line.clear();
        match read_line(&mut reader, &mut line).await {
            Ok(true) => {
                let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                if !text.is_empty() && lines.send((role, text)).await.is_err() {
                    return;
                }
            }
            Ok(false) | Err(_) => return,
        }
    }
}

/// Reads up to a line break, keeping at most [`MAX_LINE`] bytes; false at the end.
async fn read_line(
    reader: &mut BufReader<impl AsyncRead + Unpin>,
    line: &mut Vec<u8>,
) -> std::io::Result<bool> {
    let mut any = false;
    loop {
        let chunk = reader.fill_buf().await?;
        if chunk.is_empty() {
            return Ok(any);
        }
        any = true;
        let (taken, done) = match chunk.iter().position(|byte| *byte == b'\n') {
            Some(at) => (at + 1, true),
            None => (chunk.len(), false),
        };
        let room = MAX_LINE.saturating_sub(line.len()).min(taken);
        line.extend_from_slice(chunk.get(..room).unwrap_or_default());
        reader.consume(taken);
        if done {
            return Ok(true);
        }
    }
}
