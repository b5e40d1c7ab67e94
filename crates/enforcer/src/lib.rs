//! The authorization service: every request is decided here.
//!
//! The router asks with each request; the answer is what goes upstream, or the refusal. Nothing is admitted for want of
//! data: an API that isn't held is 404, a policy that is behind its route is waited for and then 503, a key server that
//! can't be asked is 503, and whatever else is missing refuses as well. It doesn't route, and it doesn't keep state that
//! must survive beyond the last-good snapshot.
//!
//! ```text
//! router ── Check / CheckStream ──▶ service ─▶ attributes ─▶ check ─▶ verdict ─▶ respond ──▶ router
//!                                    worker                    │ ├─ authn: who is calling
//! adapter ── discovery ──▶ discovery ─▶ snapshot ◀─────────────┘ └─ api, security: ready-made policies and settings
//! router ── /testkey, /jwks ──▶ rest ─▶ test_token
//! ```
//!
//! Each worker thread has its own runtime (design D7); discovery, REST and admin share another. Read `check.rs` first.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;
use tokio_util::sync::CancellationToken;
use trireme_config::{Env, LogConfig, load_log};
use trireme_shell::signals;
use trireme_telemetry::LogSettings;

mod admin;
mod api;
pub mod app;
mod attributes;
mod authn;
mod check;
mod discovery;
mod error;
mod event;
mod health;
mod respond;
mod rest;
mod security;
mod service;
mod snapshot;
mod test_token;
mod verdict;
mod wire;
mod worker;

#[cfg(test)]
mod tests;

pub use error::StartError;

/// Exit status of wrong arguments or variables (sysexits.h).
const USAGE: u8 = 64;

/// The authorization service of the gateway. Everything is set by environment variables and by the adapter.
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
    /// Ask the running enforcer of this environment whether it is ready; the exit status tells.
    Health,
}

/// Runs the enforcer with the arguments of the process until it's told to stop.
#[must_use]
pub fn main() -> ExitCode {
    main_from(std::env::args_os())
}

/// Runs the enforcer until it's told to stop: by SIGTERM or SIGINT, or by the end of standard input where that is asked
/// for. The first argument is the name it was called by.
#[must_use]
pub fn main_from(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args = match Args::try_parse_from(arguments) {
        Ok(args) => args,
        Err(error) => {
            let failed = error.use_stderr();
            error.print().unwrap_or_default();
            return if failed {
                ExitCode::from(USAGE)
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    let variables = Env::from_process();
    let config = match app::Config::read(variables.clone()) {
        Ok(config) => config,
        Err(errors) => {
            for error in errors {
                eprintln!("trireme-enforcer: {error}");
            }
            return ExitCode::from(USAGE);
        }
    };
    if args.check {
        return ExitCode::SUCCESS;
    }
    if let Some(Action::Health) = args.action {
        return match trireme_shell::probe::ready(config.env.admin_bind) {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) | Err(_) => ExitCode::FAILURE,
        };
    }
    let log = load_log(None, &variables);
    if let Err(error) = trireme_telemetry::init(&log_settings(&log.config)) {
        eprintln!("trireme-enforcer: {error}");
        return ExitCode::FAILURE;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("control")
        .enable_all()
        .build();
    match runtime {
        Ok(runtime) => runtime.block_on(serve(config)),
        Err(error) => {
            tracing::error!(%error, "cannot start a runtime");
            ExitCode::FAILURE
        }
    }
}

async fn serve(config: app::Config) -> ExitCode {
    let stop = CancellationToken::new();
    if let Err(error) = signals::watch(&stop, config.env.process.exit_on_stdin_eof) {
        tracing::error!(%error, "signals are not to be had");
        return ExitCode::FAILURE;
    }
    let built = tokio::select! {
        built = Box::pin(app::build(config)) => built,
        () = stop.cancelled() => Err(StartError::Stopped),
    };
    match built {
        Ok(running) => {
            running.run(stop.cancelled()).await;
            ExitCode::SUCCESS
        }
        Err(StartError::Stopped) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = %error::chain(&error), "cannot start");
            ExitCode::FAILURE
        }
    }
}

/// The level and form of the log. Its file and rotation are the adapter's.
fn log_settings(config: &LogConfig) -> LogSettings {
    let level = match config.log_level {
        trireme_config::LogLevel::Debug => trireme_telemetry::Level::Debug,
        trireme_config::LogLevel::Info => trireme_telemetry::Level::Info,
        trireme_config::LogLevel::Warn => trireme_telemetry::Level::Warn,
        trireme_config::LogLevel::Error
        | trireme_config::LogLevel::Fatal
        | trireme_config::LogLevel::Panic => trireme_telemetry::Level::Error,
    };
    let format = match config.log_format {
        trireme_config::LogFormat::Json => trireme_telemetry::LogFormat::Json,
        trireme_config::LogFormat::Text => trireme_telemetry::LogFormat::Text,
    };
    LogSettings {
        level,
        format,
        ..LogSettings::default()
    }
}
