//! What changes the store, the index and what is published: one change at a time, in this order.

use std::collections::BTreeSet;
use std::sync::Arc;

use trireme_project::Diagnostic;
use trireme_translate::{Draft, Prepared};

use super::index::{Conflict, Index};
use super::{Catalogue, CommitError, Deploy, DeployError, Deployed, Selection, UndeployError, prepare};
use crate::event;
use crate::publish::{Change, Desired, Publication};
use crate::resources::ApiResources;
use crate::status::Status;
use crate::store::{Changes, Deployment, Digest, Identity, Origin, Record};

impl Catalogue {
    pub(super) async fn commit(
        &self,
        prepared: Prepared,
        digest: Digest,
        wanted: Deploy,
    ) -> Result<(Deployed, Option<Publication>), DeployError> {
        let project = &prepared.project;
        let _writing = self.shared.writing.lock().await;
        let tell = |warnings: &[Diagnostic]| {
            let api = (project.identity.name.clone(), project.identity.version.clone());
            for warning in warnings {
                event::finding(&wanted.origin, &api, warning);
            }
        };
        // A call is made once; an entry that has no place is tried again and again, and is told of once it has.
        let again = is_entry(&wanted.origin);
        if !again {
            tell(&prepared.warnings);
        }
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
        if is_entry(&wanted.origin) {
            self.drop_unlisted(&wanted.origin, &mut changes);
        }
        let mut deployed = Deployed {
            api: (project.identity.name.clone(), project.identity.version.clone()),
            deployments: Vec::new(),
            changed: false,
            warnings: prepared.warnings,
        };
        if again {
            tell(&deployed.warnings);
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
    /// for removal. An entry of a source is one API: whatever else it has deployed leaves, as does what entries that are
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
            let inherited = wanted.gone.contains(&existing.origin);
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
            let its_own = is_entry(&wanted.origin) && other.origin == wanted.origin;
            its_own || wanted.gone.contains(&other.origin)
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

    /// An entry says all there is to say: what it deployed before and doesn't name any more goes.
    fn drop_unlisted(&self, entry: &Origin, changes: &mut Changes) {
        for record in self.index().all() {
            let deployment = &record.deployment;
            let listed = changes.put.iter().any(|put| put.identity == deployment.identity);
            if deployment.origin == *entry && !listed && !changes.remove.contains(&deployment.identity) {
                changes.remove.push(deployment.identity.clone());
            }
        }
    }

    pub(super) async fn remove(
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
    pub(super) async fn apply(
        &self,
        changes: Changes,
        drafts: Vec<Draft>,
    ) -> Result<(Vec<Record>, Publication), CommitError> {
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
    async fn restore(&self, deployment: &Deployment) -> Result<Draft, CommitError> {
        let archive = self.shared.store.project(&deployment.digest).await?;
        let (shared, deployment) = (Arc::clone(&self.shared), deployment.clone());
        tokio::task::spawn_blocking(move || {
            let archive = archive.unwrap_or_default();
            prepare::restore(&archive, &deployment, &shared.settings)
        })
        .await
        .map_err(CommitError::Panicked)?
        .map_err(CommitError::Stored)
    }
}

/// It says all there is to say of what it deploys, where a call only changes what it names.
fn is_entry(origin: &Origin) -> bool {
    matches!(origin, Origin::Entry { .. })
}
