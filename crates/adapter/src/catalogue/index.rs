//! What is deployed, in memory: found by any of its names, and who holds an address.

use std::collections::BTreeMap;

use crate::names;
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
        self.neighbours(deployment)
            .filter(|other| is_same_api(&other.deployment, deployment))
            .collect()
    }

    /// A deployment of another API that stands in the way of `deployment`.
    pub(super) fn conflict<'a>(&'a self, deployment: &'a Deployment) -> Option<Conflict<'a>> {
        self.neighbours(deployment)
            .filter(|other| !is_same_api(&other.deployment, deployment))
            .find_map(|other| {
                let one = &other.deployment;
                if trimmed(&one.base_path) == trimmed(&deployment.base_path)
                    || one.resource_name() == deployment.resource_name()
                {
                    Some(Conflict::BasePath(one))
                } else if one.cluster_stem() == deployment.cluster_stem() {
                    Some(Conflict::Name(one))
                } else {
                    None
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

    fn neighbours<'a>(&'a self, deployment: &'a Deployment) -> impl Iterator<Item = &'a Record> {
        let wanted = &deployment.identity;
        self.0.values().filter(move |record| {
            let identity = &record.deployment.identity;
            identity.organization == wanted.organization && identity.vhost == wanted.vhost
        })
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

/// A trailing slash makes no other address.
fn trimmed(base_path: &str) -> &str {
    base_path.trim_end_matches('/')
}

fn is_same_api(one: &Deployment, two: &Deployment) -> bool {
    one.identity.api_id == two.identity.api_id || (one.name == two.name && one.version == two.version)
}

impl Deployment {
    /// Name of its fragment and policy.
    pub(crate) fn resource_name(&self) -> String {
        names::resource(&self.identity.vhost, &self.base_path, &self.version)
    }

    fn cluster_stem(&self) -> String {
        names::cluster_stem(&self.identity.vhost, &self.name, &self.version)
    }
}
