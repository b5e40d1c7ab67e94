//! How far each deployment has come.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use trireme_xds::server::Cache;

use crate::store::Identity;

/// How far a deployment has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum Status {
    /// Every connected router and enforcer has it.
    Active,
    /// Some peer hasn't taken it yet; it's served as far as the others have.
    Pending {
        /// Peers that haven't answered; empty while the publication is under way.
        missing: Vec<String>,
    },
    /// A peer refused it; the last good revision, if there is one, is served instead.
    Rejected {
        /// What the peer said.
        reason: String,
    },
    /// Another organization holds the same address; this one takes its place when that one goes.
    Shadowed {
        /// The other organization.
        by: String,
    },
}

/// One set of a peer that a publication waits for: group, type URL and version.
pub(crate) type Mark = (String, &'static str, u64);

#[derive(Debug, Clone)]
enum Entry {
    Published(Vec<Mark>),
    Publishing,
    Rejected(String),
    Shadowed(String),
}

/// Status of every deployment; clones share it.
#[derive(Debug, Clone)]
pub struct Statuses {
    cache: Cache,
    entries: Arc<Mutex<HashMap<Identity, Entry>>>,
}

impl Statuses {
    /// Nothing yet, over the cache that peers are connected to.
    #[must_use]
    pub fn new(cache: Cache) -> Self {
        Self {
            cache,
            entries: Arc::default(),
        }
    }

    /// How far `identity` has come, `None` when it isn't known.
    #[must_use]
    pub fn find(&self, identity: &Identity) -> Option<Status> {
        self.all([identity.clone()])
            .into_iter()
            .next()
            .map(|(_, status)| status)
    }

    /// How far each of `identities` has come; unknown ones are left out.
    #[must_use]
    pub fn all(&self, identities: impl IntoIterator<Item = Identity>) -> Vec<(Identity, Status)> {
        let peers = self.cache.status();
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        identities
            .into_iter()
            .filter_map(|identity| {
                let status = match entries.get(&identity)? {
                    Entry::Published(marks) => {
                        let mut missing: Vec<String> = marks
                            .iter()
                            .flat_map(|(group, type_url, version)| {
                                peers.iter().filter(move |peer| {
                                    peer.group == *group
                                        && peer.type_url == *type_url
                                        && peer.acked < *version
                                })
                            })
                            .map(|peer| match peer.instance.as_str() {
                                "" => peer.node.clone(),
                                instance => format!("{}/{instance}", peer.node),
                            })
                            .collect();
                        missing.sort();
                        missing.dedup();
                        if missing.is_empty() {
                            Status::Active
                        } else {
                            Status::Pending { missing }
                        }
                    }
                    Entry::Publishing => Status::Pending { missing: Vec::new() },
                    Entry::Rejected(reason) => Status::Rejected {
                        reason: reason.clone(),
                    },
                    Entry::Shadowed(by) => Status::Shadowed { by: by.clone() },
                };
                Some((identity, status))
            })
            .collect()
    }

    pub(crate) fn published(&self, identity: &Identity, marks: Vec<Mark>) {
        self.set(identity, Entry::Published(marks));
    }

    pub(crate) fn publishing(&self, identity: &Identity) {
        self.set(identity, Entry::Publishing);
    }

    pub(crate) fn rejected(&self, identity: &Identity, reason: String) {
        self.set(identity, Entry::Rejected(reason));
    }

    pub(crate) fn shadowed(&self, identity: &Identity, by: &str) {
        self.set(identity, Entry::Shadowed(by.to_owned()));
    }

    pub(crate) fn forget(&self, identity: &Identity) {
        self.lock().remove(identity);
    }

    fn set(&self, identity: &Identity, entry: Entry) {
        self.lock().insert(identity.clone(), entry);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Identity, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
