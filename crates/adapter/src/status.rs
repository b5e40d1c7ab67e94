//! How far each deployment has come.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use trireme_proto::names::type_url;
use trireme_xds::Rejection;
use trireme_xds::server::{Cache, PeerStatus};

use crate::store::Identity;

/// How far a deployment has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum Status {
    /// Every connected router and enforcer has it.
    Active,
    /// Some peer hasn't taken it yet; it's served as far as the others have.
    Pending {
        /// Peers that haven't answered, with clusters that they owe an answer for; empty while the publication is under way.
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
    Published {
        marks: Vec<Mark>,
        /// What peers may refuse of it.
        names: Vec<String>,
    },
    Publishing,
    Rejected(String),
    Shadowed(String),
}

/// How far a plain set has come.
#[derive(Debug, Default)]
struct SetEntry {
    sent: Option<Mark>,
    /// Why entries were refused that were taken back, by name.
    refused: BTreeMap<String, String>,
}

/// Status of every deployment and of every plain set; clones share it.
#[derive(Debug, Clone)]
pub struct Statuses {
    cache: Cache,
    entries: Arc<Mutex<HashMap<Identity, Entry>>>,
    sets: Arc<Mutex<BTreeMap<&'static str, SetEntry>>>,
}

impl Statuses {
    /// Nothing yet, over the cache that peers are connected to.
    #[must_use]
    pub fn new(cache: Cache) -> Self {
        Self {
            cache,
            entries: Arc::default(),
            sets: Arc::default(),
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
                    Entry::Published { marks, names } => match standing(&peers, marks, names) {
                        Some(reason) => Status::Rejected { reason },
                        None => progress(missing(&peers, marks)),
                    },
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

    /// How far each plain set has come.
    #[must_use]
    pub fn sets(&self) -> BTreeMap<&'static str, Status> {
        let peers = self.cache.status();
        let status = |set: &SetEntry| {
            let (group, type_url, _) = set.sent.as_ref()?;
            // What is refused and not taken back stands with the peer alone.
            let standing = peers
                .iter()
                .filter(|peer| peer.group == *group && peer.type_url == *type_url)
                .flat_map(|peer| &peer.rejected)
                .filter(|rejection| !set.refused.contains_key(&rejection.resource))
                .map(refusal);
            let reasons: Vec<String> = set.refused.values().cloned().chain(standing).collect();
            Some(if reasons.is_empty() {
                progress(missing(&peers, set.sent.as_slice()))
            } else {
                Status::Rejected {
                    reason: reasons.join("; "),
                }
            })
        };
        let sets = self.lock_sets();
        let known = sets.iter();
        known
            .filter_map(|(name, set)| Some((*name, status(set)?)))
            .collect()
    }

    pub(crate) fn set_sent(&self, set: &'static str, mark: Mark) {
        self.lock_sets().entry(set).or_default().sent = Some(mark);
    }

    pub(crate) fn set_taken(&self, set: &'static str, entry: &str) {
        self.lock_sets().entry(set).or_default().refused.remove(entry);
    }

    pub(crate) fn set_rejected(&self, set: &'static str, entry: &str, reason: String) {
        let mut sets = self.lock_sets();
        let refused = &mut sets.entry(set).or_default().refused;
        refused.insert(entry.to_owned(), reason);
    }

    /// Everything of `names` is published up to `marks`.
    pub(crate) fn published(&self, identity: &Identity, marks: Vec<Mark>, names: Vec<String>) {
        self.set(identity, Entry::Published { marks, names });
    }

    /// What was published is taken back, as a peer refused it later.
    pub(crate) fn taken_back(&self, identity: &Identity, reason: String) {
        if let Some(entry) = self.lock().get_mut(identity) {
            *entry = Entry::Rejected(reason);
        }
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

    fn lock(&self) -> MutexGuard<'_, HashMap<Identity, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
    fn lock_sets(&self) -> MutexGuard<'_, BTreeMap<&'static str, SetEntry>> {
        self.sets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a peer says of an entry that it doesn't take.
pub(crate) fn refusal(rejection: &Rejection) -> String {
    format!(
        "{} refused {}: {}",
        rejection.node, rejection.resource, rejection.reason
    )
}

/// Why a peer refuses one of `names` as it is published. Who hasn't answered up to a mark may still refuse what was before.
fn standing(peers: &[PeerStatus], marks: &[Mark], names: &[String]) -> Option<String> {
    let refusing = peers.iter().filter(|peer| !peer.rejected.is_empty());
    let answered = refusing.filter(|peer| {
        marks
            .iter()
            .any(|mark| concerns(peer, mark) && peer.acked >= mark.2)
    });
    let mut rejections = answered.flat_map(|peer| &peer.rejected);
    let found = rejections.find(|rejection| names.contains(&rejection.resource))?;
    Some(refusal(found))
}

fn concerns(peer: &PeerStatus, (group, type_url, _): &Mark) -> bool {
    peer.group == *group && peer.type_url == *type_url
}

/// Peers that haven't answered up to `marks`, each with clusters that it owes an answer for: an Envoy answers when it has
/// resolved their names.
fn missing(peers: &[PeerStatus], marks: &[Mark]) -> Vec<String> {
    let mut missing: BTreeMap<String, &[String]> = BTreeMap::new();
    for mark in marks {
        let late = peers
            .iter()
            .filter(|peer| concerns(peer, mark) && peer.acked < mark.2);
        for peer in late {
            let name = match peer.instance.as_str() {
                "" => peer.node.clone(),
                instance => format!("{}/{instance}", peer.node),
            };
            let clusters = missing.entry(name).or_default();
            if peer.type_url == type_url::CLUSTER {
                *clusters = &peer.open;
            }
        }
    }
    let told = missing.into_iter().map(|(name, clusters)| match clusters {
        [] => name,
        clusters => format!("{name} (cluster {})", clusters.join(", ")),
    });
    told.collect()
}

fn progress(missing: Vec<String>) -> Status {
    if missing.is_empty() {
        Status::Active
    } else {
        Status::Pending { missing }
    }
}
