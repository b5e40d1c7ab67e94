//! The control plane: API projects in, snapshots out.
//!
//! Projects come by the management API or lie in a mounted folder; they are stored, translated into routes, clusters and
//! policies, and published to routers and enforcers over one delta discovery stream each. It is not on the request path,
//! not even at start: its peers keep what they were sent.
//!
//! ```text
//! folder, read ──────────┐
//!                        ├─▶ catalogue ─▶ translate: files to drafts ─▶ store: revisions ─▶ publish ─▶ xds ─▶ routers, enforcers
//! management API, asked ─┘
//! ```
//!
//! Read `catalogue/mod.rs` first, then `publish/mod.rs`; a new source of projects begins in `source/mod.rs`.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use tokio_util::sync::CancellationToken;
use trireme_config::{AdapterEnv, Config, ConfigError, Env, Loaded, LogConfig, Warning};
use trireme_shell::{Process, Settings, Threads};
use trireme_telemetry::LogHandle;

mod admin;
pub mod app;
mod burst;
pub mod catalogue;
mod event;
pub mod groups;
mod health;
mod limits;
mod logging;
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

/// What is said of keys that are known and change nothing.
const WITHOUT_EFFECT: &str = "without effect in this version";

/// Runs the adapter with the arguments of the process until it's told to stop.
#[must_use]
pub fn main() -> ExitCode {
    main_from(std::env::args_os())
}

/// Runs the adapter until it's told to stop; see [`trireme_shell::run`].
#[must_use]
pub fn main_from(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    trireme_shell::run::<Adapter>(arguments)
}

/// The adapter, to the shell around it.
struct Adapter {
    config: Loaded<Config>,
    log: Loaded<LogConfig>,
    env: AdapterEnv,
    /// All variables.
    variables: Env,
}

impl Process for Adapter {
    const NAME: &'static str = app::NAME;
    const ABOUT: &'static str =
        "The control plane of the gateway. Set by config.toml and by environment variables";
    const CHECK: &'static str = "Check configuration and environment, print what is wrong, and exit";
    const STRICT: Option<&'static str> = Some("Take warnings of the configuration for errors");
    type Failure = app::StartError;

    fn read(strict: bool) -> Result<Self, Vec<String>> {
        let variables = Env::from_process();
        let config = trireme_config::check(None, &variables, strict);
        let (config, env) = match (config, AdapterEnv::read(&variables)) {
            (Ok(config), Ok(env)) => (config, env),
            (config, env) => {
                let errors = config.err().into_iter().chain(env.err()).flatten();
                return Err(errors.map(|error| ConfigError::report(&error)).collect());
            }
        };
        let adapter = Self {
            config,
            log: trireme_config::load_log(None, &variables),
            env,
            variables,
        };
        if strict && !adapter.log.warnings.is_empty() {
            return Err(adapter.warnings());
        }
        Ok(adapter)
    }

    fn warnings(&self) -> Vec<String> {
        let odd = self.odd().map(ToString::to_string);
        let idle = self
            .without_effect()
            .map(|keys| format!("accepted, {WITHOUT_EFFECT}: {keys}"));
        odd.chain(idle).collect()
    }

    fn admin(&self) -> SocketAddr {
        self.env.admin_bind
    }

    fn state(&self) -> Option<PathBuf> {
        Some(app::state_folder(&self.env.process))
    }

    fn settings(&self) -> Settings {
        Settings {
            log: logging::settings(&self.log.config, &self.env.process.home),
            exit_on_stdin_eof: self.env.process.exit_on_stdin_eof,
            // Each thread keeps memory of its own. What takes long, reading projects, is done by the blocking ones.
            threads: Threads {
                workers: 1,
                blocking: 4,
            },
        }
    }

    async fn serve(self, log: &LogHandle, stop: CancellationToken) -> Result<(), app::StartError> {
        self.tell();
        let setup = app::Setup {
            config: self.config.config,
            access_logs: self.log.config.access_logs,
            env: self.env,
            variables: self.variables.clone(),
        };
        let running = tokio::select! {
            built = Box::pin(app::build(setup)) => built?,
            () = stop.cancelled() => return Ok(()),
        };
        // Ends with `stop`.
        let followed = logging::follow(log, &self.log.file, &self.variables, &stop);
        running.run(followed).await;
        Ok(())
    }
}

impl Adapter {
    /// What is odd about the configuration, and does not keep it from being used.
    fn odd(&self) -> impl Iterator<Item = &Warning> {
        self.config.warnings.iter().chain(&self.log.warnings)
    }

    /// Tells what is odd, and what has no effect.
    fn tell(&self) {
        for warning in self.odd() {
            tracing::warn!(%warning, "configuration");
        }
        if let Some(keys) = self.without_effect() {
            tracing::warn!(keys, "accepted, {WITHOUT_EFFECT}");
        }
    }

    /// The keys that are set and change nothing.
    fn without_effect(&self) -> Option<String> {
        let keys = [&*self.config.without_effect, &*self.log.without_effect].concat();
        (!keys.is_empty()).then(|| keys.join(", "))
    }
}
