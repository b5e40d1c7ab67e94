//! Deploying, undeploying and listing: the one place where the store, what is in memory and what is published change.
//!
//! ```text
//! archive ─prepare─▶ Draft of each virtual host ─┐                              (any number at a time)
//!                                                ▼
//!             409? ─▶ Store::apply (one transaction) ─revision─▶ Api ─▶ Index ─▶ Submitter ─▶ Publication   (one at a time)
//! ```
//!
//! Every deployment belongs to whoever made it, the management API or an entry of the mounted folder, and only its owner
//! may replace or remove it: a folder that is under version control isn't overruled by a call that nobody remembers, and
//! a stray file doesn't overrule a call.

mod error;
mod index;
mod load;
mod prepare;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use trireme_config::Env;
use trireme_project::{Diagnostic, Limits};
use trireme_routing::snapshot::Revision;
use trireme_translate::{Draft, Prepared};

pub use self::error::{CommitError, DeployError, LoadError, UndeployError};
use self::index::{Conflict, Index};
pub use self::load::Loaded;
use crate::event;
use crate::publish::{Change, Desired, Publication, Submitter};
use crate::resources::ApiResources;
use crate::status::{Status, Statuses};
use crate::store::{self, Changes, Deployment, Identity, Origin, Record, Store};

/// Greatest time that a caller waits for peers: the bounds of a publication, and one that was under way before it.
const PUBLICATION_BOUND: Duration = Duration::from_secs(8);

/// What the catalogue takes from the configuration.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Organization of projects that name none.
    pub organization: String,
    /// Default virtual host of each environment that may be deployed to.
    pub vhosts: std::collections::BTreeMap<String, String>,
    /// Bounds on projects.
    pub limits: Limits,
    /// Endpoints may be Consul services.
    pub consul: bool,
    /// The environment, for the overrides of single APIs.
    pub env: Env,
    /// Translation.
    pub translation: trireme_translate::Settings,
}

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
    /// Entries of the folder that are no longer there: what they deployed may be taken over.
    pub gone: BTreeSet<String>,
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
        let (prepared, digest) = self.prepare(wanted.archive.clone()).await?;
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
    /// When nothing is selected, it belongs to the folder, or the store doesn't work.
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

    /// Removes what folder entries that are gone have deployed.
    ///
    /// # Errors
    /// When the store doesn't work.
    pub async fn forget_entries(&self, gone: &BTreeSet<String>) -> Result<(), UndeployError> {
        let _writing = self.shared.writing.lock().await;
        let mut changes = Changes::default();
        for record in self.index().all() {
            if let Origin::Folder(entry) = &record.deployment.origin
                && gone.contains(entry)
            {
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

    /// Entries of the folder that have something deployed.
    #[must_use]
    pub fn entries(&self) -> BTreeSet<String> {
        self.index()
            .all()
            .filter_map(|record| match &record.deployment.origin {
                Origin::Folder(entry) => Some(entry.clone()),
                Origin::Rest => None,
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

    /// The project is read, and translated for every target, without anything being changed.
    async fn prepare(&self, archive: Bytes) -> Result<(Prepared, store::Digest), DeployError> {
        let shared = Arc::clone(&self.shared);
        join(tokio::task::spawn_blocking(move || {
            let prepared = prepare::prepare(&archive, &shared.settings)?;
            Ok((prepared, store::digest(&archive)))
        }))
        .await?
    }

    async fn commit(
        &self,
        prepared: Prepared,
        digest: store::Digest,
        wanted: Deploy,
    ) -> Result<(Deployed, Option<Publication>), DeployError> {
        let project = &prepared.project;
        let _writing = self.shared.writing.lock().await;
        let mut changes = Changes::default();
        let mut drafts = Vec::with_capacity(prepared.drafts.len());
        for (target, draft) in prepared.drafts {
            let deployment = Deployment {
                identity: Identity {
                    organization: prepared.organization.clone(),
                    vhost: target.vhost,
                    api_id: project.identity.uuid.clone(),
                },
                name: project.identity.name.clone(),
                version: project.identity.version.clone(),
                base_path: project.base_path.clone(),
                kind: draft.kind().to_owned(),
                environments: target.environments,
                origin: wanted.origin.clone(),
                digest,
            };
            self.admit(&deployment, &wanted, &mut changes)?;
            drafts.push(draft);
            changes.put.push(deployment);
        }
        if let Origin::Folder(entry) = &wanted.origin {
            self.drop_unlisted(entry, &mut changes);
        }
        let mut deployed = Deployed {
            api: (project.identity.name.clone(), project.identity.version.clone()),
            deployments: Vec::new(),
            changed: false,
            warnings: prepared.warnings,
        };
        for warning in &deployed.warnings {
            event::finding(&project.identity.name, warning);
        }
        if changes.put.is_empty() && changes.remove.is_empty() {
            return Ok((deployed, None));
        }
        if !changes.put.is_empty() {
            changes.projects.push((digest, wanted.archive));
        }
        let before: Vec<Option<u64>> = {
            let index = self.index();
            let counter = |one: &Deployment| index.find(&one.identity).map(|record| record.counter);
            changes.put.iter().map(counter).collect()
        };
        let removes = !changes.remove.is_empty();
        let (records, publication) = self.apply(changes, drafts).await?;
        deployed.changed = removes
            || records
                .iter()
                .zip(before)
                .any(|(record, before)| before != Some(record.counter));
        deployed.deployments = self.listed(records);
        Ok((deployed, Some(publication)))
    }

    /// Whether `deployment` may be made; what it replaces under another identity, and what leaves its place to it, is marked
    /// for removal. An entry of the folder is one API: whatever else it has deployed leaves, as does what entries that are
    /// gone have deployed.
    fn admit(
        &self,
        deployment: &Deployment,
        wanted: &Deploy,
        changes: &mut Changes,
    ) -> Result<(), DeployError> {
        let index = self.index();
        for record in index.replaced_by(deployment) {
            let existing = &record.deployment;
            let inherited = matches!(&existing.origin, Origin::Folder(entry) if wanted.gone.contains(entry));
            if existing.origin != wanted.origin && !inherited {
                return Err(DeployError::Owned {
                    vhost: existing.identity.vhost.clone(),
                    origin: existing.origin.clone(),
                });
            }
            if !wanted.replace {
                return Err(DeployError::Exists {
                    vhost: existing.identity.vhost.clone(),
                });
            }
            if existing.identity != deployment.identity {
                changes.remove.push(existing.identity.clone());
            }
        }
        let leaves = |other: &Deployment| {
            matches!(&other.origin, Origin::Folder(entry)
                if other.origin == wanted.origin || wanted.gone.contains(entry))
        };
        for conflict in index.conflicts(deployment) {
            let other = conflict.other();
            let by = (other.name.clone(), other.version.clone());
            let vhost = other.identity.vhost.clone();
            match conflict {
                _ if leaves(other) => changes.remove.push(other.identity.clone()),
                Conflict::BasePath(_) => {
                    return Err(DeployError::BasePathTaken {
                        base_path: deployment.base_path.clone(),
                        vhost,
                        by,
                    });
                }
                Conflict::Name(_) => return Err(DeployError::NameTaken { vhost, by }),
            }
        }
        Ok(())
    }

    /// A folder entry says all there is to say: what it deployed before and doesn't name any more goes.
    fn drop_unlisted(&self, entry: &str, changes: &mut Changes) {
        for record in self.index().all() {
            let deployment = &record.deployment;
            let its_own = matches!(&deployment.origin, Origin::Folder(other) if other == entry);
            let listed = changes.put.iter().any(|put| put.identity == deployment.identity);
            if its_own && !listed && !changes.remove.contains(&deployment.identity) {
                changes.remove.push(deployment.identity.clone());
            }
        }
    }

    async fn remove(
        &self,
        selection: Selection,
        origin: Origin,
    ) -> Result<(Vec<Deployment>, Publication), UndeployError> {
        let _writing = self.shared.writing.lock().await;
        let mut removed = Vec::new();
        let mut changes = Changes::default();
        {
            let index = self.index();
            let organization = self.organization_of(&index, &selection);
            for record in index.all() {
                let deployment = &record.deployment;
                if !selection.takes(deployment)
                    || Some(&deployment.identity.organization) != organization.as_ref()
                {
                    continue;
                }
                let (gone, left): (BTreeSet<String>, BTreeSet<String>) = deployment
                    .environments
                    .iter()
                    .cloned()
                    .partition(|environment| selection.takes_environment(environment));
                if gone.is_empty() {
                    continue;
                }
                if deployment.origin != origin {
                    return Err(UndeployError::Owned(deployment.origin.clone()));
                }
                removed.push(Deployment {
                    environments: gone,
                    ..deployment.clone()
                });
                if left.is_empty() {
                    changes.remove.push(deployment.identity.clone());
                } else {
                    changes.put.push(Deployment {
                        environments: left,
                        ..deployment.clone()
                    });
                }
            }
        }
        if removed.is_empty() {
            return Err(UndeployError::Unknown);
        }
        let mut drafts = Vec::with_capacity(changes.put.len());
        for deployment in &changes.put {
            drafts.push(self.restore(deployment).await?);
        }
        let (_, publication) = self.apply(changes, drafts).await?;
        Ok((removed, publication))
    }

    /// The configured organization when it has the API, else the first that does.
    fn organization_of(&self, index: &Index, selection: &Selection) -> Option<String> {
        let own = &self.shared.settings.organization;
        index
            .all()
            .map(|record| &record.deployment)
            .filter(|deployment| selection.takes(deployment))
            .map(|deployment| &deployment.identity.organization)
            .min_by_key(|organization| (*organization != own, *organization))
            .cloned()
    }

    /// Stores `changes`, makes the index follow and hands them to the publisher. `drafts` belong to `changes.put`: the store gives
    /// them their revisions.
    async fn apply(
        &self,
        changes: Changes,
        drafts: Vec<Draft>,
    ) -> Result<(Vec<Record>, Publication), error::CommitError> {
        let records = self.shared.store.apply(&changes).await?;
        let mut touched = BTreeSet::new();
        let mut publish = Vec::new();
        {
            let mut index = self.index();
            for identity in &changes.remove {
                if let Some(record) = index.remove(identity) {
                    event::undeployed(&record.deployment);
                    touched.insert(record.deployment.resource_name());
                }
                self.shared.statuses.forget(identity);
                publish.push(Change {
                    identity: identity.clone(),
                    desired: None,
                });
            }
            for (record, draft) in records.iter().zip(drafts) {
                let identity = &record.deployment.identity;
                let before = index.find(identity);
                if before.is_none_or(|before| before.counter != record.counter) {
                    event::deployed(&record.deployment, record.counter);
                }
                if let Some(before) = before {
                    touched.insert(before.deployment.resource_name());
                }
                touched.insert(record.deployment.resource_name());
                index.put(record.clone());
                let api = draft.at(self.revision(record.counter));
                publish.push(Change {
                    identity: identity.clone(),
                    desired: Some(Desired {
                        resources: Arc::new(ApiResources::new(&api)),
                        labels: record.deployment.environments.clone(),
                    }),
                });
            }
            self.shadow(&index, &mut publish);
        }
        self.promote(touched, &mut publish).await;
        let publication = self.shared.submitter.submit(publish).await?;
        Ok((records, publication))
    }

    /// Of several organizations that claim one address only the first is served; the others wait.
    fn shadow(&self, index: &Index, publish: &mut [Change]) {
        for change in publish {
            let Some(desired) = &change.desired else {
                continue;
            };
            if let Some(holder) = index.holder(&desired.resources.name)
                && holder.deployment.identity != change.identity
            {
                let by = &holder.deployment.identity.organization;
                self.shared.statuses.shadowed(&change.identity, by);
                change.desired = None;
            }
        }
    }

    /// Where an address has become free, whoever waited for it gets it. What was stored before is to be published whatever
    /// becomes of that: one that can't be used any more is named and left out, as at start.
    async fn promote(&self, touched: BTreeSet<String>, publish: &mut Vec<Change>) {
        let waiting: Vec<Deployment> = {
            let index = self.index();
            touched
                .iter()
                .filter_map(|name| index.holder(name))
                .map(|record| record.deployment.clone())
                .filter(|deployment| {
                    publish
                        .iter()
                        .all(|change| change.identity != deployment.identity)
                })
                .filter(|deployment| {
                    let status = self.shared.statuses.find(&deployment.identity);
                    matches!(status, Some(Status::Shadowed { .. }))
                })
                .collect()
        };
        for deployment in waiting {
            let draft = match self.restore(&deployment).await {
                Ok(draft) => draft,
                Err(error) => {
                    let reason = event::chain(&error);
                    event::unusable(&deployment, &reason);
                    self.shared.statuses.rejected(&deployment.identity, reason);
                    continue;
                }
            };
            let counter = self
                .index()
                .find(&deployment.identity)
                .map(|record| record.counter);
            let Some(counter) = counter else { continue };
            let api = draft.at(self.revision(counter));
            publish.push(Change {
                identity: deployment.identity,
                desired: Some(Desired {
                    resources: Arc::new(ApiResources::new(&api)),
                    labels: deployment.environments,
                }),
            });
        }
    }

    /// Translates a deployment anew from its archive in the store.
    async fn restore(&self, deployment: &Deployment) -> Result<Draft, error::CommitError> {
        let archive = self.shared.store.project(&deployment.digest).await?;
        let (shared, deployment) = (Arc::clone(&self.shared), deployment.clone());
        tokio::task::spawn_blocking(move || {
            let archive = archive.unwrap_or_default();
            prepare::restore(&archive, &deployment, &shared.settings)
        })
        .await
        .map_err(error::CommitError::Panicked)?
        .map_err(error::CommitError::Stored)
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

impl Selection {
    fn takes(&self, deployment: &Deployment) -> bool {
        deployment.name == self.name
            && deployment.version == self.version
            && self
                .vhost
                .as_ref()
                .is_none_or(|vhost| deployment.identity.vhost.eq_ignore_ascii_case(vhost))
    }

    fn takes_environment(&self, environment: &str) -> bool {
        self.environments.is_empty() || self.environments.contains(environment)
    }
}

async fn join<T>(task: tokio::task::JoinHandle<T>) -> Result<T, DeployError> {
    task.await.map_err(DeployError::Panicked)
}

fn sort_key(deployment: &Deployment) -> (&str, &str, &str, &str) {
    (
        &deployment.name,
        &deployment.version,
        &deployment.identity.vhost,
        &deployment.identity.organization,
    )
}
