//! The data plane: client traffic in, checked by the enforcer, forwarded upstream.
//!
//! It does not decide who may call what (the enforcer does) and invents no routes (the adapter does): it serves what it
//! discovered, and forwards nothing without the enforcer's yes.
//!
//! ```text
//! listener ─▶ connection ─▶ exchange ─┬─▶ edge      one host, one path, no forged header
//!                                     ├─▶ filters   local limit, CORS, check, rewrite ─▶ Admitted
//!                                     ├─▶ upstream  balance, pool, connect, retry, time
//!                                     └─▶ respond   every answer of our own
//! discovery ─▶ snapshot (one ArcSwap) ─▶ every worker
//! ```
//!
//! Every worker is one thread with a runtime, sockets, upstream connections and an enforcer connection of its own
//! (`worker`); discovery, name resolution and the admin port run beside them. Read `exchange` first: it is the hot path.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use tokio_util::sync::CancellationToken;
use trireme_config::{ConfigError, Env, RouterEnv};
use trireme_shell::{Process, Threads};
use trireme_telemetry::{LogHandle, LogSettings};

mod admin;
pub mod app;
mod cluster;
mod discovery;
mod downstream;
mod edge;
mod edit;
mod enforcer;
mod error;
mod event;
mod exchange;
mod exec;
mod exporter;
mod filters;
mod peer;
mod places;
mod respond;
pub mod settings;
mod snapshot;
mod upstream;

pub use downstream::handover::{News, follow};

/// Runs the router with the arguments of the process; see [`main_from`].
#[must_use]
pub fn main() -> ExitCode {
    main_from(std::env::args_os())
}

/// Runs a router from the environment until it is told to stop; see [`trireme_shell::run`].
#[must_use]
pub fn main_from(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    trireme_shell::run::<Router>(arguments)
}

/// The router, to the shell around it.
struct Router(settings::Settings);

impl Process for Router {
    const NAME: &'static str = app::NAME;
    const ABOUT: &'static str =
        "The data plane of the gateway. Everything is set by environment variables and by the adapter";
    const CHECK: &'static str = "Check the environment variables and exit";
    type Failure = app::StartError;

    fn read(_: bool) -> Result<Self, Vec<String>> {
        match RouterEnv::read(&Env::from_process()) {
            Ok(env) => Ok(Self(env.into())),
            Err(errors) => Err(errors.iter().map(ConfigError::report).collect()),
        }
    }

    fn admin(&self) -> SocketAddr {
        self.0.admin_bind
    }

    fn state(&self) -> Option<PathBuf> {
        self.0.state_dir.clone()
    }

    fn settings(&self) -> trireme_shell::Settings {
        trireme_shell::Settings {
            log: LogSettings::default(),
            exit_on_stdin_eof: self.0.exit_on_stdin_eof,
            threads: Threads::default(),
        }
    }

    async fn serve(self, _: &LogHandle, stop: CancellationToken) -> Result<(), app::StartError> {
        raise_file_limit();
        let router = Box::pin(app::build(self.0)).await?;
        let drain = router.drain_token();
        let told = async {
            stop.cancelled().await;
            drain.cancel();
        };
        tokio::join!(told, router.run());
        Ok(())
    }
}

/// Every connection is a file descriptor or two; the soft limit is commonly far below what the system allows.
fn raise_file_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::debug!(%error, "limit of open files not raised");
    }
}
