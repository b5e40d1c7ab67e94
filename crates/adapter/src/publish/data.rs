//! Plain sets: messages by name, each for itself, such as the configuration of the enforcers.
//!
//! ```text
//! Set: put, remove ─▶ what is wanted ─a burst as one─▶ cache ─▶ peers
//!                                                       ▲         │ refused
//!                                                       ╰ last good one ◀╯
//! ```
//!
//! APIs need an order between routers and enforcers, so that no route is without its policy; the publisher of this folder keeps it.
//! The entries of a plain set need none: they are sent as they come, nobody waits for a peer that is slow, and a peer's answer only
//! tells what becomes of the entry. One that a peer refuses goes back to the last that was taken, for all of them; without such a
//! one it stays, since others may take it. Either way the status says so.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use trireme_proto::names::type_url;
use trireme_xds::Resource;
use trireme_xds::server::{Cache, Settled};

use crate::burst::{self, Burst, Teller};
use crate::status::{self, Statuses};
use crate::{event, groups};

/// Time without a change after which what has changed is sent.
const QUIET: Duration = Duration::from_millis(100);
/// What changes all the time is sent after this long.
const LONGEST_UNREST: Duration = Duration::from_secs(1);
/// How long peers have to refuse what they were sent; what they refuse later is told, and stays.
const ANSWER_BOUND: Duration = Duration::from_secs(5);

/// Which set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    /// Its name in the status.
    pub name: &'static str,
    /// Group of the nodes that get it.
    pub group: &'static str,
    /// Type of its messages.
    pub type_url: &'static str,
}

/// The configuration of the enforcers: one entry.
pub const CONFIG: Kind = Kind {
    name: "config",
    group: groups::CONFIG,
    type_url: type_url::CONFIG,
};

/// A set, to those who know what shall be in it. Clones share it.
#[derive(Debug, Clone)]
pub struct Set {
    wanted: Arc<Mutex<Wanted>>,
    teller: Teller,
}

/// What is to be different.
#[derive(Debug, Default)]
struct Wanted {
    put: BTreeMap<String, Resource>,
    remove: BTreeSet<String>,
}

impl Set {
    /// Adds or replaces an entry.
    pub fn put(&self, entry: Resource) {
        let mut wanted = lock(&self.wanted);
        wanted.remove.remove(&entry.name);
        wanted.put.insert(entry.name.clone(), entry);
        drop(wanted);
        self.teller.tell();
    }

    /// Removes an entry, if it's there.
    pub fn remove(&self, name: &str) {
        let mut wanted = lock(&self.wanted);
        wanted.put.remove(name);
        wanted.remove.insert(name.to_owned());
        drop(wanted);
        self.teller.tell();
    }
}

/// Sends what a set wants.
#[derive(Debug)]
pub struct SetPublisher {
    kind: Kind,
    cache: Cache,
    statuses: Statuses,
    wanted: Arc<Mutex<Wanted>>,
    burst: Burst,
    /// The last of each entry that nobody has refused.
    good: BTreeMap<String, Resource>,
    /// What peers haven't answered yet, and the version that has all of it.
    asked: BTreeMap<String, Resource>,
    version: u64,
}

impl SetPublisher {
    /// An empty set, which no peer gets before it is [opened](Self::open).
    #[must_use]
    pub fn new(kind: Kind, cache: Cache, statuses: Statuses) -> (Self, Set) {
        let (teller, burst) = burst::channel();
        let wanted = Arc::<Mutex<Wanted>>::default();
        let publisher = Self {
            kind,
            cache,
            statuses,
            wanted: Arc::clone(&wanted),
            burst,
            good: BTreeMap::new(),
            asked: BTreeMap::new(),
            version: 0,
        };
        (publisher, Set { wanted, teller })
    }

    /// Lets peers have what is wanted by now, even if that is nothing.
    pub fn open(&mut self) {
        self.send();
        self.cache.seal(self.kind.group, self.kind.type_url);
    }

    /// Sends what changes until `shutdown`, or until nobody is left to change anything.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut open = true;
        while open || !self.asked.is_empty() {
            let Kind { group, type_url, .. } = self.kind;
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                changed = self.burst.over(QUIET, LONGEST_UNREST), if open => {
                    open = changed;
                    self.send();
                }
                settled = self.cache.settled(group, type_url, self.version, ANSWER_BOUND), if !self.asked.is_empty() => {
                    self.judge(&settled);
                }
            }
        }
    }

    /// Hands what is wanted to the cache.
    fn send(&mut self) {
        let Wanted { put, remove } = std::mem::take(&mut *lock(&self.wanted));
        if put.is_empty() && remove.is_empty() {
            return;
        }
        for name in &remove {
            self.good.remove(name);
            self.asked.remove(name);
            self.statuses.set_taken(self.kind.name, name);
        }
        let entries = put.values().cloned().collect();
        self.apply(entries, remove.into_iter().collect());
        self.asked.extend(put);
    }

    /// What has been asked is answered, or isn't in time.
    fn judge(&mut self, settled: &Settled) {
        let mut back = Vec::new();
        for (name, entry) in std::mem::take(&mut self.asked) {
            let Some(refused) = settled.rejection_of(&name) else {
                self.statuses.set_taken(self.kind.name, &name);
                self.good.insert(name, entry);
                continue;
            };
            let reason = status::refusal(refused);
            event::set_rejected(self.kind.name, &name, &reason);
            self.statuses.set_rejected(self.kind.name, &name, reason);
            back.extend(self.good.get(&name).cloned());
        }
        if !back.is_empty() {
            self.apply(back, Vec::new());
        }
    }

    fn apply(&mut self, entries: Vec<Resource>, removals: Vec<String>) {
        let Kind {
            name,
            group,
            type_url,
        } = self.kind;
        self.version = self.cache.apply(group, type_url, entries, removals);
        self.statuses
            .set_sent(name, (group.to_owned(), type_url, self.version));
    }
}

fn lock(wanted: &Mutex<Wanted>) -> MutexGuard<'_, Wanted> {
    wanted.lock().unwrap_or_else(PoisonError::into_inner)
}
