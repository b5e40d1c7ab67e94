//! What the store holds, translated at start.

use std::num::NonZeroUsize;
use std::sync::Arc;

use futures_util::{StreamExt as _, stream};
use tokio::task::JoinError;
use tokio::time::Instant;
use trireme_project::Diagnostic;
use trireme_routing::snapshot::Revision;
use trireme_translate::{Api, Deployed as Subject};

use super::index::Index;
use super::{Catalogue, DeployError, Settings, Shared, read};
use crate::event;
use crate::publish::{Change, Desired, Submitter};
use crate::resources::ApiResources;
use crate::status::Statuses;
use crate::store::{Deployment, Record, Store, StoreError};

/// Why a stored project can't be used.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Its rules have changed since it was stored, in this version or in the configuration.
    #[error("{}", findings(.0))]
    Invalid(Vec<Diagnostic>),
    /// It now says something else than when it was stored.
    #[error("it is no longer the API that was deployed")]
    Moved,
    /// A bug on our side.
    #[error("it couldn't be processed")]
    Panicked(#[source] JoinError),
}

/// What there is at start.
#[derive(Debug)]
pub struct Loaded {
    /// The catalogue.
    pub catalogue: Catalogue,
    /// What is to be published before anybody may connect.
    pub changes: Vec<Change>,
}

impl Catalogue {
    /// Everything the store holds. An API that can't be used any more is left out, named in the log and the status; it
    /// stays in the store.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn load(
        store: Store,
        settings: Settings,
        statuses: Statuses,
        submitter: Submitter,
    ) -> Result<Loaded, StoreError> {
        let started = Instant::now();
        let records = store.list().await?;
        let index = Index::new(records.clone());
        let holders = index.holders();
        let settings = Arc::new(settings);
        let threads = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let mut translations = stream::iter(records.into_iter().filter(|record| {
            let name = record.deployment.resource_name();
            let by = holders.get(&name).map(|holder| &holder.deployment.identity);
            let serves = by.is_none_or(|by| *by == record.deployment.identity);
            if let (false, Some(by)) = (serves, by) {
                statuses.shadowed(&record.deployment.identity, &by.organization);
            }
            serves
        }))
        .map(|record| translate_record(&store, record, Arc::clone(&settings)))
        .buffer_unordered(threads);
        let mut changes = Vec::new();
        let mut left_out = 0_usize;
        while let Some(translation) = translations.next().await {
            let (deployment, resources) = translation?;
            match resources {
                Ok(resources) => changes.push(Change {
                    desired: Some(Desired {
                        resources: Arc::new(resources),
                        labels: deployment.environments,
                    }),
                    identity: deployment.identity,
                }),
                Err(error) => {
                    left_out += 1;
                    event::unusable(&deployment, &event::chain(&error));
                    statuses.rejected(&deployment.identity, event::chain(&error));
                }
            }
        }
        drop(translations);
        event::loaded(changes.len(), left_out, started.elapsed());
        let settings = Arc::unwrap_or_clone(settings);
        let catalogue = Self {
            shared: Arc::new(Shared {
                settings,
                store,
                statuses,
                submitter,
                index: std::sync::Mutex::new(index),
                writing: tokio::sync::Mutex::new(()),
            }),
        };
        Ok(Loaded { catalogue, changes })
    }
}

async fn translate_record(
    store: &Store,
    record: Record,
    settings: Arc<Settings>,
) -> Result<(Deployment, Result<ApiResources, LoadError>), StoreError> {
    let revision = Revision {
        epoch: store.epoch(),
        counter: record.counter,
    };
    let deployment = record.deployment;
    let archive = store.project(&deployment.digest).await?.unwrap_or_default();
    let subject = deployment.clone();
    let resources = tokio::task::spawn_blocking(move || {
        translate(&archive, &subject, revision, &settings).map(|api| ApiResources::new(&api))
    })
    .await
    .unwrap_or_else(|error| Err(LoadError::Panicked(error)));
    Ok((deployment, resources))
}

/// Translates a stored archive for the deployment it was stored for.
pub(super) fn translate(
    archive: &[u8],
    deployment: &Deployment,
    revision: Revision,
    settings: &Settings,
) -> Result<Api, LoadError> {
    let reading = read(archive, settings).map_err(|error| match error {
        DeployError::Invalid(findings) => LoadError::Invalid(findings),
        _ => LoadError::Moved,
    })?;
    let identity = &reading.project.identity;
    // What is published under a name must be what the index has under it.
    if identity.name != deployment.name
        || identity.version != deployment.version
        || reading.project.base_path != deployment.base_path
    {
        return Err(LoadError::Moved);
    }
    let subject = Subject {
        project: &reading.project,
        organization: &deployment.identity.organization,
        vhost: &deployment.identity.vhost,
        revision,
    };
    trireme_translate::api(&subject, &settings.translation).map_err(LoadError::Invalid)
}

fn findings(findings: &[Diagnostic]) -> String {
    let errors: Vec<String> = findings
        .iter()
        .filter(|finding| finding.is_error())
        .map(ToString::to_string)
        .collect();
    errors.join("; ")
}
