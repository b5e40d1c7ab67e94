//! The control plane: API projects in, snapshots out.
//!
//! Projects come by the management API or lie in a mounted folder; they are stored, translated into routes, clusters and
//! policies, and published to routers and enforcers over one delta discovery stream each. It is not on the request path,
//! not even at start: its peers keep what they were sent.
//!
//! ```text
//! rest ───┐
//!         ├─▶ catalogue ─▶ openapi::read ─▶ translate ─▶ store ─▶ publish ─▶ xds ─▶ routers, enforcers
//! source ─┘
//! ```
//!
//! Read `catalogue/mod.rs` first, then `publish/mod.rs`.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use tokio_util::sync::CancellationToken;
use trireme_config::{AccessLogs, AdapterEnv, Config, Env};
use trireme_openapi::{ApiProject, Diagnostic};
use trireme_routing::snapshot::Revision;
use trireme_shell::signals;
use trireme_telemetry::LogHandle;

use crate::catalogue::DeployError;

mod admin;
pub mod app;
pub mod catalogue;
mod event;
mod health;
mod logging;
pub mod names;
pub mod publish;
pub mod resources;
mod respond;
mod rest;
pub mod settings;
pub mod source;
pub mod status;
pub mod store;
#[cfg(test)]
mod testing;
pub mod translate;

/// Exit status of a wrong configuration (sysexits.h).
const USAGE: u8 = 64;

/// The control plane of the gateway. Set by config.toml and by environment variables.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// Check configuration and environment, print what is wrong, and exit.
    #[arg(long)]
    check: bool,
    /// Take warnings of the configuration for errors.
    #[arg(long)]
    strict: bool,
    /// Something else than to run.
    action: Option<Action>,
}

/// What is done instead of running.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Action {
    /// Ask the running adapter of this environment whether it is ready; the exit status tells.
    Health,
}

/// What the adapter would find in a project that was read, with the default configuration and with every environment that the
/// project names: for those who want to know without an adapter.
#[must_use]
pub fn findings(project: &ApiProject) -> Vec<Diagnostic> {
    let environments = project.deployments.iter().map(|deployment| {
        let vhost = names::DEFAULT_VHOST.to_owned();
        (deployment.environment.clone(), vhost)
    });
    let targets = match catalogue::targets::of(project, &environments.collect()) {
        Ok(targets) => targets.targets,
        Err(DeployError::Invalid(findings)) => return findings,
        Err(_) => return Vec::new(),
    };
    let settings = settings::translation(&Config::default(), &AccessLogs::default());
    let deployed = translate::Deployed {
        project,
        organization: "",
        vhost: targets
            .first()
            .map_or(names::DEFAULT_VHOST, |target| target.vhost.as_str()),
        revision: Revision::default(),
    };
    translate::api(&deployed, &settings).map_or_else(|errors| errors, |api| api.warnings)
}

/// Runs the adapter with the arguments of the process until it's told to stop.
#[must_use]
pub fn main() -> ExitCode {
    main_from(std::env::args_os())
}

/// Runs the adapter until it's told to stop: by SIGTERM or SIGINT, or by the end of standard input where that is asked
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
    let (loaded, env) = match (
        trireme_config::check(None, &variables, args.strict),
        AdapterEnv::read(&variables),
    ) {
        (Ok(loaded), Ok(env)) => (loaded, env),
        (loaded, env) => {
            for error in loaded.err().into_iter().chain(env.err()).flatten() {
                eprintln!("trireme-adapter: {}", error.report());
            }
            return ExitCode::from(USAGE);
        }
    };
    let log = trireme_config::load_log(None, &variables);
    let strict = args.strict && !log.warnings.is_empty();
    if args.check || strict {
        for warning in loaded.warnings.iter().chain(&log.warnings) {
            eprintln!("trireme-adapter: {warning}");
        }
        return if strict {
            ExitCode::from(USAGE)
        } else {
            ExitCode::SUCCESS
        };
    }
    if let Some(Action::Health) = args.action {
        return match trireme_shell::probe::ready(env.admin_bind) {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) | Err(_) => ExitCode::FAILURE,
        };
    }
    let logging = match trireme_telemetry::init(&logging::settings(&log.config, &env.process.home)) {
        Ok(logging) => logging,
        Err(error) => {
            eprintln!("trireme-adapter: {error}");
            return ExitCode::FAILURE;
        }
    };
    for warning in loaded.warnings.iter().chain(&log.warnings) {
        tracing::warn!(%warning, "configuration");
    }
    let without_effect = [loaded.without_effect, log.without_effect].concat();
    if !without_effect.is_empty() {
        tracing::warn!(
            keys = without_effect.join(", "),
            "accepted, without effect in this version"
        );
    }
    let setup = app::Setup {
        config: loaded.config,
        access_logs: log.config.access_logs,
        env,
        variables,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        // Few threads: each keeps memory of its own. What takes long, reading projects, is done by the blocking ones.
        .worker_threads(1)
        .max_blocking_threads(4)
        .thread_name("control")
        .enable_all()
        .build();
    let code = match runtime {
        Ok(runtime) => runtime.block_on(serve(setup, &logging, &log.file)),
        Err(error) => {
            tracing::error!(%error, "cannot start a runtime");
            ExitCode::FAILURE
        }
    };
    logging.flush();
    code
}

async fn serve(setup: app::Setup, logging: &LogHandle, log_file: &Path) -> ExitCode {
    let (stop, variables) = (CancellationToken::new(), setup.variables.clone());
    if let Err(error) = signals::watch(&stop, setup.env.process.exit_on_stdin_eof) {
        tracing::error!(%error, "signals are not to be had");
        return ExitCode::FAILURE;
    }
    let built = tokio::select! {
        built = Box::pin(app::build(setup)) => built,
        () = stop.cancelled() => return ExitCode::SUCCESS,
    };
    match built {
        Ok(running) => {
            // Ends with `stop`.
            let followed = logging::follow(logging, log_file, &variables, &stop);
            running.run(followed).await;
            ExitCode::SUCCESS
        }
        Err(error) => {
            tracing::error!(error = %event::chain(&error), "cannot start");
            ExitCode::FAILURE
        }
    }
}
