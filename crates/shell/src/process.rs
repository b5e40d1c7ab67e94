//! One process from its arguments to its exit status.

use std::error::Error;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;
use tracing::error;
use trireme_telemetry::{LogHandle, LogSettings, chain};

use crate::arguments::{Arguments, Texts, USAGE};
use crate::probe::{self, Owner, http};
use crate::{memory, signals, termination};

/// What one process is to the shell around it.
pub trait Process: Sized {
    /// Its name: `trireme-router`.
    const NAME: &'static str;
    /// What it is, for `--help`.
    const ABOUT: &'static str;
    /// What `--check` does, for `--help`.
    const CHECK: &'static str;
    /// What `--strict` does, for `--help`, where there is such a thing.
    const STRICT: Option<&'static str> = None;
    /// Why it does not start.
    type Failure: Error;

    /// Reads what it is told at start.
    ///
    /// # Errors
    /// A line for each thing that cannot be used; with `strict`, for what is a warning otherwise as well.
    fn read(strict: bool) -> Result<Self, Vec<String>>;

    /// What `--check` has to say of settings that can be used.
    fn warnings(&self) -> Vec<String> {
        Vec::new()
    }

    /// Where its admin port is, for `health`.
    fn admin(&self) -> SocketAddr;

    /// The folder for what outlives it, where there is one: a key pair that it made for itself lies there.
    fn state(&self) -> Option<PathBuf> {
        None
    }

    /// What the shell must know to run it.
    fn settings(&self) -> Settings;

    /// Builds the process on the current runtime, which is its control runtime, serves until `stop` is cancelled, and ends
    /// in good order.
    ///
    /// # Errors
    /// It does not start.
    fn serve(
        self,
        log: &LogHandle,
        stop: CancellationToken,
    ) -> impl Future<Output = Result<(), Self::Failure>>;
}

/// What the shell must know to run a process.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How it logs.
    pub log: LogSettings,
    /// Stop at the end of standard input as well.
    pub exit_on_stdin_eof: bool,
    /// The control runtime.
    pub threads: Threads,
}

/// The threads of a control runtime. Each keeps memory of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Threads {
    /// Those that run tasks.
    pub workers: usize,
    /// At most those that wait for files.
    pub blocking: usize,
}

impl Default for Threads {
    /// Two workers: what one of them is busy with must not hold up a probe.
    fn default() -> Self {
        Self {
            workers: 2,
            blocking: 512,
        }
    }
}

/// Runs a process from its arguments, whose first is the name it was called by, until SIGTERM, SIGINT or, where it asks for
/// that, the end of standard input. Gives 64 when arguments or settings cannot be used, 1 when it does not start or, asked
/// for its health, is not ready. Why it does not start is told on standard error and in the termination message. Called by
/// the name of a probe that the original's manifests have, it is that probe.
#[must_use]
pub fn run<P: Process>(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    if let Some(code) = probe::answer(&arguments, owner::<P>()) {
        return code;
    }
    let arguments = match Arguments::parse(texts::<P>(), arguments) {
        Ok(arguments) => arguments,
        Err(code) => return code,
    };
    let unsettled = !arguments.check && !arguments.health && memory::settle();
    let process = match P::read(arguments.strict) {
        Ok(process) => process,
        Err(wrong) => {
            tell(P::NAME, &wrong);
            if !arguments.check && !arguments.health {
                termination::write(&format!("cannot start: {}", wrong.join("; ")));
            }
            return ExitCode::from(USAGE);
        }
    };
    if arguments.check {
        tell(P::NAME, &process.warnings());
        return ExitCode::SUCCESS;
    }
    if arguments.health {
        return health::<P>(process.admin());
    }
    let settings = process.settings();
    let log = match trireme_telemetry::init(&settings.log) {
        Ok(log) => log,
        Err(error) => {
            tell(P::NAME, &[error.to_string()]);
            termination::write(&format!("cannot start: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let code = match runtime(settings.threads) {
        Ok(runtime) => runtime.block_on(async {
            if unsettled && let Err(error) = signals::outlive_pipes() {
                error!(%error, "signals are not to be had");
                return ExitCode::FAILURE;
            }
            serve(process, settings.exit_on_stdin_eof, &log).await
        }),
        Err(error) => {
            error!(%error, "cannot start a runtime");
            ExitCode::FAILURE
        }
    };
    log.flush();
    code
}

async fn serve<P: Process>(process: P, stdin: bool, log: &LogHandle) -> ExitCode {
    let stop = CancellationToken::new();
    if let Err(error) = signals::watch(&stop, stdin) {
        error!(%error, "signals are not to be had");
        return ExitCode::FAILURE;
    }
    match process.serve(log, stop).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let reason = chain(&failure);
            termination::write(&format!("cannot start: {reason}"));
            error!(error = reason, "cannot start");
            ExitCode::FAILURE
        }
    }
}

/// Whether the admin port says that the process is ready; what it says is told.
fn health<P: Process>(admin: SocketAddr) -> ExitCode {
    let reason = match http::ready(admin) {
        Ok(answer) if answer.ready => {
            crate::say(&answer.text);
            return ExitCode::SUCCESS;
        }
        Ok(answer) => answer.text,
        Err(error) => format!("no answer from the admin port {admin}: {error}"),
    };
    tell(P::NAME, &[reason]);
    ExitCode::FAILURE
}

/// What a probe by another name knows of the process.
fn owner<P: Process>() -> Owner {
    Owner {
        process: P::NAME,
        state: || P::read(false).ok()?.state(),
        reason: || {
            let answer = http::ready(P::read(false).ok()?.admin()).ok()?;
            let lines: Vec<&str> = answer.text.lines().filter(|line| *line != "ready").collect();
            (!lines.is_empty()).then(|| lines.join(", "))
        },
        own: |arguments| run::<P>(arguments),
    }
}

fn runtime(threads: Threads) -> std::io::Result<Runtime> {
    Builder::new_multi_thread()
        .worker_threads(threads.workers)
        .max_blocking_threads(threads.blocking)
        .thread_name("control")
        .enable_all()
        .build()
}

/// Before there is a log.
fn tell(name: &str, lines: &[String]) {
    for line in lines {
        eprintln!("{name}: {line}");
    }
}

fn texts<P: Process>() -> Texts {
    Texts {
        name: P::NAME,
        about: P::ABOUT,
        check: P::CHECK,
        strict: P::STRICT,
    }
}

#[cfg(test)]
mod tests;
