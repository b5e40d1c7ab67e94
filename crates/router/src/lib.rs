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
use std::process::ExitCode;

use clap::Parser;
use trireme_config::{Env, RouterEnv};
use trireme_telemetry::LogSettings;

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

/// Bad configuration (`EX_USAGE`).
const BAD_CONFIGURATION: u8 = 64;

/// The data plane of the gateway. Everything is set by environment variables and by the adapter.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// Check the environment variables and exit.
    #[arg(long)]
    check: bool,
    /// Something else than to run.
    action: Option<Action>,
}

/// What is done instead of running.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Action {
    /// Ask the running router of this environment whether it is ready; the exit status tells.
    Health,
}

/// Runs the router with the arguments of the process; see [`main_from`].
#[must_use]
pub fn main() -> ExitCode {
    main_from(std::env::args_os())
}

/// Runs a router from the environment until SIGTERM or SIGINT; 64 when arguments or environment cannot be used, 1 when
/// the start fails. The first argument is the name it was called by.
#[must_use]
pub fn main_from(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args = match Args::try_parse_from(arguments) {
        Ok(args) => args,
        Err(error) => {
            let failed = error.use_stderr();
            error.print().unwrap_or_default();
            return if failed {
                ExitCode::from(BAD_CONFIGURATION)
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    let env = match RouterEnv::read(&Env::from_process()) {
        Ok(env) => env,
        Err(errors) => {
            for error in errors {
                eprintln!("trireme-router: {}", error.report());
            }
            return ExitCode::from(BAD_CONFIGURATION);
        }
    };
    if args.check {
        return ExitCode::SUCCESS;
    }
    if let Some(Action::Health) = args.action {
        return match trireme_shell::probe::ready(env.admin_bind) {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) | Err(_) => ExitCode::FAILURE,
        };
    }
    let log = match trireme_telemetry::init(&LogSettings::default()) {
        Ok(log) => log,
        Err(error) => {
            eprintln!("trireme-router: {error}");
            return ExitCode::FAILURE;
        }
    };
    let code = match run(env.into()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "the router does not start");
            ExitCode::FAILURE
        }
    };
    log.flush();
    code
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

fn run(settings: settings::Settings) -> anyhow::Result<()> {
    raise_file_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let stdin = settings.exit_on_stdin_eof;
        let router = app::build(settings).await?;
        trireme_shell::signals::watch(&router.drain_token(), stdin)?;
        router.run().await;
        Ok(())
    })
}
