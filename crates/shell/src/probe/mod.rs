//! The process under the names that probes of the original's manifests call: `sh check_health.sh` and `grpc_health_probe`.
//! An image holds neither a shell nor such a program; both names are links to the process, which tells them by the first of
//! its arguments. `http` is its own probe.
//!
//! ```text
//! sh FILE, sh -c TEXT ─▶ script ─┐
//! grpc_health_probe ─────────────┴─▶ flags ─▶ grpc ─▶ exit status, and the cause
//! trireme health ───────────────────────────▶ http ─▶ exit status, and the cause
//! ```

mod flags;
mod grpc;
pub(crate) mod http;
mod script;

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use script::{Call, Shell};

/// The name of a program is the last part of the path that it was called by.
pub(crate) fn name(program: &OsStr) -> &str {
    Path::new(program)
        .file_name()
        .and_then(OsStr::to_str)
        .unwrap_or_default()
}

/// Whom a probe is for. Settings are read when they are needed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Owner {
    /// The process: `trireme-router`.
    pub(crate) process: &'static str,
    /// The folder for what outlives it.
    pub(crate) state: fn() -> Option<PathBuf>,
    /// Why it is not ready, where it says so.
    pub(crate) reason: fn() -> Option<String>,
    /// Runs the process itself with what was called in a script: `trireme health`.
    pub(crate) own: fn(Vec<OsString>) -> ExitCode,
}

/// Answers a call by one of the names; `None` by any other one. A failure tells its cause on standard error and where
/// Kubernetes looks for it when it ends the process.
pub(crate) fn answer(arguments: &[OsString], owner: Owner) -> Option<ExitCode> {
    let (program, rest) = arguments.split_first()?;
    let words = || {
        rest.iter()
            .map(|word| word.to_string_lossy().into_owned())
            .collect::<Vec<_>>()
    };
    let code = match name(program) {
        "grpc_health_probe" => grpc::run(&words(), owner),
        "sh" | "bash" | "ash" => shell(&words(), owner),
        // The kernel gives a script to its interpreter; a link to us has none.
        "check_health.sh" => shell(&[program.to_string_lossy().into_owned()], owner),
        _ => return None,
    };
    Some(ExitCode::from(code))
}

fn shell(words: &[String], owner: Owner) -> u8 {
    let mut shell = Shell::from_process(|call| match call {
        Call::Probe(flags) => grpc::run(flags, owner),
        // No status is told of it, but one of three is known.
        Call::Own(arguments) => u8::from((owner.own)(arguments) != ExitCode::SUCCESS),
    });
    shell.run(words)
}
