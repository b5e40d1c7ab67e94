//! Deploying, undeploying and listing: the one place where the store, what is in memory and what is published change.
//!
//! ```text
//! archive ─prepare─▶ Draft of each virtual host ─┐                              (any number at a time)
//!                                                ▼
//!             409? ─▶ Store::apply (one transaction) ─revision─▶ Api ─▶ Index ─▶ Submitter ─▶ Publication   (one at a time)
//! ```
//!
//! Every deployment belongs to whoever made it, the management API or an entry of a source such as the mounted folder, and only
//! its owner may replace or remove it: a folder that is under version control isn't overruled by a call that nobody remembers,
//! and a stray file doesn't overrule a call.

mod commit;
mod error;
mod index;
mod load;
mod prepare;
mod select;
mod settings;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use trireme_project::Diagnostic;
use trireme_routing::snapshot::Revision;
use trireme_translate::Prepared;

pub use self::error::{CommitError, DeployError, LoadError, UndeployError};
use self::index::Index;
pub use self::load::Loaded;
use self::select::sort_key;
pub use self::select::{Listed, Selection};
pub use self::settings::Settings;
use crate::event;
use crate::publish::{Publication, Submitter};
use crate::status::{Status, Statuses};
use crate::store::{self, Changes, Deployment, Identity, Origin, Record, Store};

/// Greatest time that a caller waits for peers: the bounds of a publication, and one that was under way before it.
const PUBLICATION_BOUND: Duration = Duration::from_secs(8);

/// Everything that is deployed. Cheap to clone, clones share it.
#[derive(Debug, Clone)]
pub struct Catalogue {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    settings: Settings,
    store: Store,
    statuses: Statuses,
    submitter: Submitter,
    index: Mutex<Index>,
    /// Held from the look at the index to the hand-over to the publisher, so that both see the same order.
    writing: tokio::sync::Mutex<()>,
}

/// What was asked for by a deploy.
#[derive(Debug, Clone)]
pub struct Deploy {
    /// The project archive.
    pub archive: Bytes,
    /// Replace what is there.
    pub replace: bool,
    /// Who asks.
    pub origin: Origin,
    /// Entries of the same source that are no longer there: what they deployed may be taken over.
    pub gone: BTreeSet<Origin>,
}

/// What came of a deploy.
#[derive(Debug)]
pub struct Deployed {
    /// Name and version of the API.
    pub api: (String, String),
    /// Where it is now.
    pub deployments: Vec<Listed>,
    /// Whether anything is different from before.
    pub changed: bool,
    /// Findings that didn't keep it back.
    pub warnings: Vec<Diagnostic>,
}

/// A deployment that is stored and on its way to routers and enforcers.
#[derive(Debug)]
pub struct Stored {
    deployed: Deployed,
    publication: Option<Publication>,
}

impl Stored {
    /// Whether there is anything to publish.
    pub(crate) fn is_under_way(&self) -> bool {
        self.publication.is_some()
    }
}

impl Catalogue {
    /// How many archives are read at a time is the caller's business; each is read on a thread of its own.
    ///
    /// Once the store has taken the deployment it is published, even if the future is dropped before it resolves.
    ///
    /// # Errors
    /// When the project is bad, its place is taken, or the store doesn't work. Nothing has changed then.
    pub async fn deploy(&self, wanted: Deploy) -> Result<Deployed, DeployError> {
        let stored = self.store(wanted).await?;
        Ok(self.finish(stored).await)
    }

    /// The first half of [`Catalogue::deploy`]: ends when the deployment is stored and the archive is no longer in memory.
    ///
    /// # Errors
    /// As [`Catalogue::deploy`].
    pub async fn store(&self, wanted: Deploy) -> Result<Stored, DeployError> {
        let (prepared, digest) = self.prepare(wanted.archive.clone(), &wanted.origin).await?;
        // Not ended by a caller who hangs up between the transaction and the hand-over.
        let this = self.clone();
        let (deployed, publication) = join(tokio::spawn(async move {
            this.commit(prepared, digest, wanted).await
        }))
        .await??;
        Ok(Stored {
            deployed,
            publication,
        })
    }

    /// The second half of [`Catalogue::deploy`]: waits for routers and enforcers, for a bounded time.
    pub async fn finish(&self, stored: Stored) -> Deployed {
        let Stored {
            mut deployed,
            publication,
        } = stored;
        if let Some(publication) = publication {
            publication.wait(PUBLICATION_BOUND).await;
        }
        for listed in &mut deployed.deployments {
            listed.status = self.shared.statuses.find(&listed.deployment.identity);
        }
        deployed
    }

    /// Removes what is selected, and waits for routers and enforcers as [`Catalogue::deploy`] does.
    ///
    /// # Errors
    /// When nothing is selected, it belongs to somebody else, or the store doesn't work.
    pub async fn undeploy(
        &self,
        selection: Selection,
        origin: Origin,
    ) -> Result<Vec<Deployment>, UndeployError> {
        let this = self.clone();
        let (removed, publication) = tokio::spawn(async move { this.remove(selection, origin).await })
            .await
            .map_err(UndeployError::Panicked)??;
        publication.wait(PUBLICATION_BOUND).await;
        Ok(removed)
    }

    /// Removes what entries that are gone have deployed.
    ///
    /// # Errors
    /// When the store doesn't work.
    pub async fn forget(&self, gone: &BTreeSet<Origin>) -> Result<(), UndeployError> {
        let _writing = self.shared.writing.lock().await;
        let mut changes = Changes::default();
        for record in self.index().all() {
            if gone.contains(&record.deployment.origin) {
                changes.remove.push(record.deployment.identity.clone());
            }
        }
        if changes.remove.is_empty() {
            return Ok(());
        }
        self.apply(changes, Vec::new()).await?;
        Ok(())
    }

    /// Whether deployments can be stored, as far as is known.
    ///
    /// # Errors
    /// Why they can't.
    pub async fn writable(&self) -> Result<(), String> {
        self.shared.store.writable().await
    }

    /// Entries of a source that have something deployed.
    #[must_use]
    pub fn entries(&self, source: &str) -> BTreeSet<String> {
        self.index()
            .all()
            .filter_map(|record| match &record.deployment.origin {
                Origin::Entry { source: other, entry } if other == source => Some(entry.clone()),
                Origin::Entry { .. } | Origin::Rest => None,
            })
            .collect()
    }

    /// Everything that is deployed, in order of name, version, virtual host and organization.
    #[must_use]
    pub fn list(&self) -> Vec<Listed> {
        let mut records: Vec<Record> = self.index().all().cloned().collect();
        records.sort_by(|one, two| sort_key(&one.deployment).cmp(&sort_key(&two.deployment)));
        self.listed(records)
    }

    /// Whether something deployed is selected, in each of the environments that `selection` names.
    #[must_use]
    pub fn has(&self, selection: &Selection) -> bool {
        let index = self.index();
        let mut taken = index
            .all()
            .map(|record| &record.deployment)
            .filter(|deployment| selection.takes(deployment))
            .peekable();
        let mut missing: BTreeSet<&String> = selection.environments.iter().collect();
        taken.peek().is_some() && {
            taken.for_each(|deployment| missing.retain(|wanted| !deployment.environments.contains(*wanted)));
            missing.is_empty()
        }
    }

    /// The project is read, and translated for every target, without anything being changed. What one that is bad is refused
    /// for is told.
    async fn prepare(
        &self,
        archive: Bytes,
        origin: &Origin,
    ) -> Result<(Prepared, store::Digest), DeployError> {
        let shared = Arc::clone(&self.shared);
        let (prepared, digest) = join(tokio::task::spawn_blocking(move || {
            let prepared = prepare::prepare(&archive, &shared.settings);
            (prepared, store::digest(&archive))
        }))
        .await?;
        let prepared = prepared.map_err(|rejected| {
            for finding in rejected.before.iter().chain(&rejected.findings) {
                event::finding(origin, &rejected.api, finding);
            }
            DeployError::Invalid(rejected.findings)
        })?;
        Ok((prepared, digest))
    }

    fn listed(&self, records: Vec<Record>) -> Vec<Listed> {
        let identities = records.iter().map(|record| record.deployment.identity.clone());
        let mut statuses: std::collections::HashMap<Identity, Status> =
            self.shared.statuses.all(identities).into_iter().collect();
        records
            .into_iter()
            .map(|record| Listed {
                revision: self.revision(record.counter),
                status: statuses.remove(&record.deployment.identity),
                deployment: record.deployment,
            })
            .collect()
    }

    fn revision(&self, counter: u64) -> Revision {
        Revision {
            epoch: self.shared.store.epoch(),
            counter,
        }
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        self.shared.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn join<T>(task: tokio::task::JoinHandle<T>) -> Result<T, DeployError> {
    task.await.map_err(DeployError::Panicked)
}
