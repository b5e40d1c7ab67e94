//! What the catalogue is told.

use std::collections::BTreeMap;

use trireme_config::Env;
use trireme_project::Limits;

/// What the catalogue takes from the configuration.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Organization of projects that name none.
    pub organization: String,
    /// Default virtual host of each environment that may be deployed to.
    pub vhosts: BTreeMap<String, String>,
    /// Bounds on projects.
    pub limits: Limits,
    /// Endpoints may be Consul services.
    pub consul: bool,
    /// The environment, for the overrides of single APIs.
    pub env: Env,
    /// Translation.
    pub translation: trireme_translate::Settings,
}
