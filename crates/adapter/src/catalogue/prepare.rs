//! A project on its way into the catalogue, and out of the store again: the two ways into the one pipeline.

use trireme_project::{Archive, Defaults, Diagnostic};
use trireme_translate::{Deployed as Subject, Draft, Prepared, Surroundings, draft};

use super::error::LoadError;
use super::settings::Settings;
use crate::store::Deployment;

/// A project that can't be deployed.
pub(super) struct Rejected {
    /// Name and version that it gives itself, as far as they can be read.
    pub(super) api: (String, String),
    /// What was found in the steps before the one that it fails in.
    pub(super) before: Vec<Diagnostic>,
    /// What it is refused for, with what else that step has found.
    pub(super) findings: Vec<Diagnostic>,
}

/// Reads an archive and translates it for every target, without anything being changed.
pub(super) fn prepare(archive: &[u8], settings: &Settings) -> Result<Prepared, Rejected> {
    with(settings, |surroundings| surroundings.prepare(&Archive(archive))).map_err(|refused| Rejected {
        api: trireme_project::named(&Archive(archive), &settings.limits).unwrap_or_default(),
        before: refused.before,
        findings: refused.findings,
    })
}

/// Reads a stored archive and translates it for the deployment it was stored for. Its targets were chosen when it was stored.
pub(super) fn restore(
    archive: &[u8],
    deployment: &Deployment,
    settings: &Settings,
) -> Result<Draft, LoadError> {
    with(settings, |surroundings| {
        let reading = trireme_project::read(&Archive(archive), &surroundings.reading);
        let project = reading.map_err(LoadError::Invalid)?.project;
        // What is published under a name must be what the index has under it.
        if project.identity.name != deployment.name
            || project.identity.version != deployment.version
            || project.base_path != deployment.base_path
        {
            return Err(LoadError::Moved);
        }
        let subject = Subject {
            project: &project,
            organization: &deployment.identity.organization,
            vhost: &deployment.identity.vhost,
        };
        draft(&subject, surroundings.settings).map_err(LoadError::Invalid)
    })
}

fn with<T>(settings: &Settings, work: impl FnOnce(&Surroundings<'_>) -> T) -> T {
    work(&Surroundings {
        reading: trireme_project::Settings {
            limits: settings.limits.clone(),
            defaults: Defaults::Require,
            variable: &|name| settings.env.get(name).map(str::to_owned),
            consul: settings.consul,
        },
        organization: &settings.organization,
        vhost: &|environment| settings.vhosts.get(environment).cloned(),
        settings: &settings.translation,
    })
}
