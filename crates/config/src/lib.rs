//! Configuration files, environment and defaults.
//!
//! ```text
//! config.toml ──parse──▶ overlay on defaults ──▶ CC_* overrides ──▶ secrets ──▶ rules ──▶ Loaded
//!                          (`$env{NAME}`)                          (`$env{}`, `$file{}`)
//! ```
//!
//! [`load`] gives the typed [`Config`] of `config.toml` together with everything odd about it; [`load_log`] does so for
//! `log_config.toml`. [`RouterEnv`], [`EnforcerEnv`] and [`AdapterEnv`] hold what each process takes from its
//! environment, which only [`Env::from_process`] reads.
//!
//! The router and the enforcer read no file: the adapter reads `config.toml` and sends them their parts. For that reason
//! `[enforcer]` and `[analytics]` are kept as written and `$env{NAME}` in them is replaced by the enforcer
//! ([`Secret::resolve`], [`Env::expand`]).
//!
//! Start reading at `sections.rs`, where every key stands with its type, default and comment.

mod effect;
mod env;
mod error;
mod limits;
mod load;
mod overlay;
mod overrides;
mod properties;
mod rules;
mod schema;
mod secret;
mod sections;
mod template;
#[cfg(test)]
mod testing;
mod variables;

pub use self::env::{Env, Expanded};
pub use self::error::{ConfigError, Origin, Warning};
pub use self::load::{LOG_FILE, Loaded, check, load, load_log, load_text};
pub use self::properties::Properties;
pub use self::secret::{Secret, SecretError};
pub use self::sections::*;
pub use self::template::{keys, redacted, template};
pub use self::variables::{
    ALLOW_DEFAULT_CREDENTIALS, AdapterEnv, EnforcerEnv, HostPort, ProcessEnv, RouterEnv, is_default_login,
};
