//! The index that the hot path asks.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

/// How many parts the table has. An update copies only the parts it touches, so that putting one API among ten thousand
/// costs a few hundred pointers.
const SHARDS: usize = 64;

/// Immutable map from resource name to policy. `P` is whatever the process makes of a policy once, off the hot path.
///
/// A new table shares every part and every policy that an [`Update`] doesn't touch with the table it came from.
#[derive(Debug)]
pub struct PolicyTable<P> {
    hasher: RandomState,
    shards: Box<[Shard<P>]>,
    len: usize,
}

type Shard<P> = Arc<HashMap<Arc<str>, Arc<P>, RandomState>>;

/// A change of a table.
#[derive(Debug, Clone)]
pub struct Update<P> {
    /// Policies to put, by resource name ([`crate::ApiPolicy::name`]).
    pub upserts: Vec<(String, Arc<P>)>,
    /// Names to forget; unknown ones are ignored.
    pub removals: Vec<String>,
}

impl<P> Clone for PolicyTable<P> {
    /// Shares every part, whatever `P` is.
    fn clone(&self) -> Self {
        Self {
            hasher: self.hasher.clone(),
            shards: self.shards.clone(),
            len: self.len,
        }
    }
}

impl<P> Default for PolicyTable<P> {
    fn default() -> Self {
        let hasher = RandomState::new();
        let empty = Arc::new(HashMap::with_hasher(hasher.clone()));
        Self {
            shards: (0..SHARDS).map(|_| Arc::clone(&empty)).collect(),
            hasher,
            len: 0,
        }
    }
}

impl<P> PolicyTable<P> {
    /// The policy of that resource name. Names are concatenations, so the caller compares the parts it came by.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Arc<P>> {
        self.shards.get(self.shard(name))?.get(name)
    }

    /// How many policies there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Every name and policy, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Arc<P>)> {
        self.shards
            .iter()
            .flat_map(|shard| shard.iter().map(|(name, policy)| (&**name, policy)))
    }

    /// The table after the change.
    #[must_use]
    pub fn update(&self, update: Update<P>) -> Self {
        let mut next = self.clone();
        for name in update.removals {
            let shard = next.shard_mut(&name);
            if shard.contains_key(name.as_str()) {
                Arc::make_mut(shard).remove(name.as_str());
                next.len -= 1;
            }
        }
        for (name, policy) in update.upserts {
            let shard = Arc::make_mut(next.shard_mut(&name));
            if shard.insert(name.into(), policy).is_none() {
                next.len += 1;
            }
        }
        next
    }

    fn shard(&self, name: &str) -> usize {
        // The maps inside use the low and the topmost bits of the same hash.
        let hash = self.hasher.hash_one(name) >> 32;
        usize::try_from(hash).unwrap_or(0) % SHARDS
    }

    fn shard_mut(&mut self, name: &str) -> &mut Shard<P> {
        let index = self.shard(name);
        &mut self.shards[index]
    }
}
