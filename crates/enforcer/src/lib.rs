//! The authorization service: every request is decided here.
//!
//! The router asks with each request; the answer is what goes upstream, or the refusal. Nothing is admitted for want of
//! data: an API that isn't held is 404, a policy that is behind its route is waited for and then 503, a key server that
//! can't be asked is 503, and whatever else is missing refuses as well. It doesn't route, and it doesn't keep state that
//! must survive beyond the last-good snapshot.
//!
//! ```text
//! router ── Check / CheckStream ──▶ service ─▶ attributes ─▶ check ─▶ verdict ─▶ respond ──▶ router
//!                                    worker                    │ ├─ authn: who is calling; authz: what a caller may
//! adapter ── discovery ──▶ discovery ─▶ snapshot ◀─────────────┘ ├─ credential: tokens, keys, issuers
//!                              │                                 └─ api, security: ready-made policies and settings
//! router ── /testkey, /jwks ──▶ utility
//! ```
//!
//! Each worker thread has its own runtime (design D7); discovery, REST and admin share another. Read `check/mod.rs` first.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use tokio_util::sync::CancellationToken;
use trireme_config::{Env, load_log};
use trireme_shell::{Process, Settings, Threads};
use trireme_telemetry::{LogHandle, LogSettings};

mod admin;
mod api;
pub mod app;
mod attributes;
mod authn;
mod authz;
mod check;
mod credential;
mod discovery;
mod error;
mod event;
mod health;
mod java;
mod limits;
mod need;
mod respond;
mod security;
mod service;
mod snapshot;
mod tally;
mod throttle;
mod utility;
mod verdict;
mod wire;
mod worker;

#[cfg(test)]
mod tests;

pub use error::StartError;

/// Runs the enforcer with the arguments of the process until it's told to stop.
#[must_use]
pub fn main() -> ExitCode {
    main_from(std::env::args_os())
}

/// Runs the enforcer until it's told to stop; see [`trireme_shell::run`].
#[must_use]
pub fn main_from(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    trireme_shell::run::<Enforcer>(arguments)
}

/// The enforcer, to the shell around it.
struct Enforcer(app::Config);

impl Process for Enforcer {
    const NAME: &'static str = app::NAME;
    const ABOUT: &'static str = "The authorization service of the gateway. Everything is set by environment variables and by the adapter";
    const CHECK: &'static str = "Check the environment variables and exit";
    type Failure = StartError;

    fn read(_: bool) -> Result<Self, Vec<String>> {
        match app::Config::read(Env::from_process()) {
            Ok(config) => Ok(Self(config)),
            Err(errors) => Err(errors.iter().map(ToString::to_string).collect()),
        }
    }

    fn admin(&self) -> SocketAddr {
        self.0.env.admin_bind
    }

    fn state(&self) -> Option<PathBuf> {
        self.0.env.process.state_dir.clone()
    }

    /// The level and form of the log are those of the adapter; its file and rotation are the adapter's alone.
    fn settings(&self) -> Settings {
        let log = load_log(None, &self.0.variables).config;
        Settings {
            log: LogSettings::of_words(log.log_level.as_str(), log.log_format.as_str()),
            exit_on_stdin_eof: self.0.env.process.exit_on_stdin_eof,
            threads: Threads::default(),
        }
    }

    async fn serve(self, _: &LogHandle, stop: CancellationToken) -> Result<(), StartError> {
        let built = tokio::select! {
            built = Box::pin(app::build(self.0)) => built,
            () = stop.cancelled() => Err(StartError::Stopped),
        };
        match built {
            Ok(running) => running.run(stop.cancelled()).await,
            Err(StartError::Stopped) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}
