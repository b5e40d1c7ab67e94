//! The process under the names that probes and hooks of manifests call: `sh check_health.sh`, `grpc_health_probe`, `sleep`.
//! An image holds neither a shell nor such programs; the names are links to the process, which tells them by the first of
//! its arguments. `http` is its own probe.
//!
//! ```text
//! sh FILE, sh -c TEXT ─▶ script ─┐
//! grpc_health_probe ─────────────┴─▶ flags ─▶ grpc ─▶ exit status, and the cause
//! sleep ────────────────────────────────────▶ pause
//! trireme health ───────────────────────────▶ http ─▶ exit status, and the cause
//! ```

mod flags;
mod grpc;
pub(crate) mod http;
mod owner;
mod pause;
mod script;

use std::ffi::OsString;
use std::process::ExitCode;

pub(crate) use owner::Owner;
use owner::name;
use script::{Call, Shell};

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
        "sleep" => pause::run(&words()),
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
        Call::Pause(lengths) => pause::run(lengths),
        // No status is told of it, but one of three is known.
        Call::Own(arguments) => u8::from((owner.own)(arguments) != ExitCode::SUCCESS),
    });
    shell.run(words)
}
