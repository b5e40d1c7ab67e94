//! Whom a probe is for.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

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
