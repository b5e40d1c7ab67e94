//! What the store holds, translated at start.

use std::num::NonZeroUsize;
use std::sync::Arc;

use futures_util::{StreamExt as _, stream};
use tokio::time::Instant;
use trireme_routing::snapshot::Revision;

use super::error::LoadError;
use super::index::Index;
use super::prepare::restore;
use super::{Catalogue, Settings, Shared};
use crate::event;
use crate::publish::{Change, Desired, Submitter};
use crate::resources::ApiResources;
use crate::status::Statuses;
use crate::store::{Deployment, Record, Store, StoreError};

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
        restore(&archive, &subject, &settings).map(|draft| ApiResources::new(&draft.at(revision)))
    })
    .await
    .unwrap_or_else(|error| Err(LoadError::Panicked(error)));
    Ok((deployment, resources))
}
