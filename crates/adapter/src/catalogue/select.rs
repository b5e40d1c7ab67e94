//! What is listed, and which of it is meant.

use std::collections::BTreeSet;

use trireme_proto::Revision;

use crate::status::Status;
use crate::store::Deployment;

/// One deployment, as it is listed.
#[derive(Debug, Clone)]
pub struct Listed {
    /// What is deployed.
    pub deployment: Deployment,
    /// As which generation.
    pub revision: Revision,
    /// How far it has come.
    pub status: Option<Status>,
}

/// Which deployments are meant.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Name of the API.
    pub name: String,
    /// Version of the API.
    pub version: String,
    /// Virtual host; absent = all.
    pub vhost: Option<String>,
    /// Environments; empty = all.
    pub environments: BTreeSet<String>,
}

impl Selection {
    pub(super) fn takes(&self, deployment: &Deployment) -> bool {
        deployment.name == self.name
            && deployment.version == self.version
            && self
                .vhost
                .as_ref()
                .is_none_or(|vhost| deployment.identity.vhost.eq_ignore_ascii_case(vhost))
    }

    pub(super) fn takes_environment(&self, environment: &str) -> bool {
        self.environments.is_empty() || self.environments.contains(environment)
    }
}

/// Lists are in this order.
pub(super) fn sort_key(deployment: &Deployment) -> (&str, &str, &str, &str) {
    (
        &deployment.name,
        &deployment.version,
        &deployment.identity.vhost,
        &deployment.identity.organization,
    )
}
