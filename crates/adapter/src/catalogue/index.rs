//! What is deployed, in memory: found by any of its names, and who holds an address.

use std::collections::{BTreeMap, HashMap};

use trireme_translate::names;

use crate::store::{Deployment, Identity, Record};

/// Every deployment by identity.
#[derive(Debug, Default)]
pub(super) struct Index(BTreeMap<Identity, Record>);

impl Index {
    pub(super) fn new(records: Vec<Record>) -> Self {
        Self(
            records
                .into_iter()
                .map(|record| (record.deployment.identity.clone(), record))
                .collect(),
        )
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Record> {
        self.0.values()
    }

    pub(super) fn find(&self, identity: &Identity) -> Option<&Record> {
        self.0.get(identity)
    }

    pub(super) fn put(&mut self, record: Record) {
        self.0.insert(record.deployment.identity.clone(), record);
    }

    pub(super) fn remove(&mut self, identity: &Identity) -> Option<Record> {
        self.0.remove(identity)
    }

    /// The deployments that `deployment` would replace: the same API by id, or by name and version, on its virtual host.
    pub(super) fn replaced_by<'a>(&'a self, deployment: &'a Deployment) -> Vec<&'a Record> {
        self.0
            .values()
            .filter(|other| is_beside(&other.deployment, deployment))
            .filter(|other| is_same_api(&other.deployment, deployment))
            .collect()
    }

    /// Deployments of other APIs that stand in the way of `deployment`: on its virtual host by their address, anywhere by the
    /// names of their clusters, which two APIs must not share.
    pub(super) fn conflicts<'a>(
        &'a self,
        deployment: &'a Deployment,
    ) -> impl Iterator<Item = Conflict<'a>> + use<'a> {
        let (name, clusters) = (deployment.resource_name(), deployment.cluster_name());
        self.0.values().filter_map(move |record| {
            let other = &record.deployment;
            let beside = is_beside(other, deployment);
            if beside && is_same_api(other, deployment) {
                None
            } else if beside
                && (trimmed(&other.base_path) == trimmed(&deployment.base_path)
                    || other.resource_name() == name)
            {
                Some(Conflict::BasePath(other))
            } else {
                (other.cluster_name() == clusters).then_some(Conflict::Name(other))
            }
        })
    }

    /// The record that is served under `name`: the oldest of those that claim it, which only differ in organization.
    pub(super) fn holder(&self, name: &str) -> Option<&Record> {
        self.0
            .values()
            .filter(|record| record.deployment.resource_name() == name)
            .min_by_key(|record| (record.created, &record.deployment.identity))
    }

    /// [`Index::holder`] of every name.
    pub(super) fn holders(&self) -> HashMap<String, &Record> {
        let mut holders: HashMap<String, &Record> = HashMap::with_capacity(self.0.len());
        for record in self.0.values() {
            let age = |record: &Record| (record.created, record.deployment.identity.clone());
            holders
                .entry(record.deployment.resource_name())
                .and_modify(|holder| {
                    if age(record) < age(holder) {
                        *holder = record;
                    }
                })
                .or_insert(record);
        }
        holders
    }
}

/// Why a deployment can't be.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Conflict<'a> {
    /// Another API has its base path.
    BasePath(&'a Deployment),
    /// Another API has a name that can't be told from its own.
    Name(&'a Deployment),
}

impl Conflict<'_> {
    /// The deployment that is in the way.
    pub(super) fn other(&self) -> &Deployment {
        match self {
            Self::BasePath(other) | Self::Name(other) => other,
        }
    }
}

/// A trailing slash makes no other address.
fn trimmed(base_path: &str) -> &str {
    base_path.trim_end_matches('/')
}

/// On the same virtual host of the same organization.
fn is_beside(one: &Deployment, two: &Deployment) -> bool {
    one.identity.organization == two.identity.organization && one.identity.vhost == two.identity.vhost
}

fn is_same_api(one: &Deployment, two: &Deployment) -> bool {
    one.identity.api_id == two.identity.api_id || (one.name == two.name && one.version == two.version)
}

impl Deployment {
    /// Name of its fragment and policy.
    pub(crate) fn resource_name(&self) -> String {
        names::resource(&self.identity.vhost, &self.base_path, &self.version)
    }

    fn cluster_name(&self) -> String {
        let stem = names::cluster_stem(&self.identity.vhost, &self.name, &self.version);
        names::cluster(&self.identity.organization, names::Role::Production, &stem, None)
    }
}
