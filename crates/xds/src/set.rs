//! The resources of one group and type, with an index of what changed when.
//!
//! Every name, live or gone, stands exactly once in `log`, under the version of its last change. "What changed since v" is
//! therefore a range scan whose cost depends on the number of changes, not on the size of the set.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use crate::resource::{Rejection, Resource};

/// Larger resources are refused: a client could not receive them (its message limit is twice this).
pub(crate) const MAX_RESOURCE_BYTES: usize = 32 << 20;
/// Gone names that are kept in any case.
const GONE_KEPT: usize = 1024;
/// Gone names that are kept, beside as many as there are live ones, for a subscriber who lags.
const GONE_LIMIT: usize = 64 << 10;

/// Key of a set: group and type URL.
pub(crate) type Key = (Arc<str>, Arc<str>);

/// All sets of a cache.
pub(crate) type Sets = HashMap<Key, Set>;

#[derive(Debug, Default)]
pub(crate) struct Set {
    entries: HashMap<Arc<str>, Entry>,
    log: BTreeSet<(u64, Arc<str>)>,
    gone: BTreeSet<(u64, Arc<str>)>,
    /// Version of the last change.
    version: u64,
    /// Changes up to here may be missing from `log`.
    floor: u64,
    sealed: bool,
    oversized: HashMap<String, Rejection>,
}

#[derive(Debug)]
struct Entry {
    changed: u64,
    resource: Option<Arc<Resource>>,
}

/// Version, name and, unless it is gone, content of what changed last.
pub(crate) type Change<'a> = (u64, &'a Arc<str>, Option<&'a Arc<Resource>>);

/// The subscriber is older than what `log` reaches back to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Behind;

impl Set {
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    pub(crate) fn sealed(&self) -> bool {
        self.sealed
    }

    pub(crate) fn seal(&mut self) {
        self.sealed = true;
    }

    /// Resources that were too large to take.
    pub(crate) fn oversized(&self) -> impl Iterator<Item = &Rejection> {
        self.oversized.values()
    }

    pub(crate) fn live(&self) -> impl Iterator<Item = (u64, &Arc<str>, &Arc<Resource>)> {
        self.entries
            .iter()
            .filter_map(|(name, e)| Some((e.changed, name, e.resource.as_ref()?)))
    }

    pub(crate) fn find(&self, name: &str) -> Option<(u64, &Arc<str>, &Arc<Resource>)> {
        let (name, entry) = self.entries.get_key_value(name)?;
        Some((entry.changed, name, entry.resource.as_ref()?))
    }

    /// Makes the changes under `version`, which must be greater than any before, and tells whether there were any.
    pub(crate) fn apply(&mut self, version: u64, upserts: Vec<Resource>, removals: &[String]) -> bool {
        let mut changed = false;
        for name in removals {
            self.oversized.remove(name);
            changed |= self.remove(version, name);
        }
        for resource in upserts {
            changed |= self.put(version, resource);
        }
        if changed {
            self.version = version;
        }
        changed
    }

    fn put(&mut self, version: u64, resource: Resource) -> bool {
        if resource.body.len() > MAX_RESOURCE_BYTES {
            let reason = format!(
                "{} bytes are more than the {MAX_RESOURCE_BYTES} a resource may have",
                resource.body.len()
            );
            self.oversized
                .insert(resource.name.clone(), Rejection::new(resource.name, reason));
            return false;
        }
        self.oversized.remove(&resource.name);
        let name = match self.entries.get_key_value(resource.name.as_str()) {
            Some((_, e))
                if e.resource
                    .as_ref()
                    .is_some_and(|held| held.version == resource.version) =>
            {
                return false;
            }
            Some((name, e)) => {
                let key = (e.changed, Arc::clone(name));
                self.log.remove(&key);
                self.gone.remove(&key);
                key.1
            }
            None => Arc::from(resource.name.as_str()),
        };
        self.log.insert((version, Arc::clone(&name)));
        self.entries.insert(
            name,
            Entry {
                changed: version,
                resource: Some(Arc::new(resource)),
            },
        );
        true
    }

    fn remove(&mut self, version: u64, name: &str) -> bool {
        let Some((name, entry)) = self.entries.get_key_value(name) else {
            return false;
        };
        if entry.resource.is_none() {
            return false;
        }
        let name = Arc::clone(name);
        self.log.remove(&(entry.changed, Arc::clone(&name)));
        self.log.insert((version, Arc::clone(&name)));
        self.gone.insert((version, Arc::clone(&name)));
        self.entries.insert(
            name,
            Entry {
                changed: version,
                resource: None,
            },
        );
        true
    }

    /// Forgets gone names that nobody needs: all connected subscribers are at `everybody` or later.
    pub(crate) fn prune(&mut self, everybody: u64) {
        while self.gone.len() > GONE_KEPT {
            let live = self.entries.len() - self.gone.len();
            let needed = self.gone.first().is_some_and(|(version, _)| *version > everybody);
            if needed && self.gone.len() <= GONE_LIMIT.max(live) {
                return;
            }
            let Some(oldest) = self.gone.pop_first() else {
                return;
            };
            self.log.remove(&oldest);
            self.entries.remove(&oldest.1);
            self.floor = self.floor.max(oldest.0);
        }
    }

    /// Every name that changed after `version`, oldest change first; without a resource it is gone.
    pub(crate) fn since(&self, version: u64) -> Result<impl Iterator<Item = Change<'_>>, Behind> {
        if version < self.floor {
            return Err(Behind);
        }
        Ok(self
            .log
            .range((version.saturating_add(1), Arc::from(""))..)
            .map(|(changed, name)| {
                (
                    *changed,
                    name,
                    self.entries.get(name).and_then(|e| e.resource.as_ref()),
                )
            }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resource(name: &str, version: &str) -> Resource {
        Resource::new(name, version, name.to_owned())
    }

    fn since(set: &Set, version: u64) -> Vec<(u64, String, bool)> {
        set.since(version)
            .unwrap()
            .map(|(v, name, live)| (v, name.to_string(), live.is_some()))
            .collect()
    }

    #[test]
    fn a_name_stands_once_in_the_log_under_its_last_change() {
        let mut set = Set::default();
        assert!(set.apply(1, vec![resource("a", "1"), resource("b", "1")], &[]));
        assert!(set.apply(2, vec![resource("a", "2")], &[]));
        assert_eq!(since(&set, 0), [(1, "b".into(), true), (2, "a".into(), true)]);
        assert!(set.apply(3, vec![], &["b".into()]));
        assert_eq!(since(&set, 1), [(2, "a".into(), true), (3, "b".into(), false)]);
        assert!(set.apply(4, vec![resource("b", "1")], &[]));
        assert_eq!(since(&set, 2), [(4, "b".into(), true)]);
        assert_eq!(since(&set, 4), []);
        assert!(set.gone.is_empty());
    }

    #[test]
    fn equal_versions_and_unknown_removals_change_nothing() {
        let mut set = Set::default();
        set.apply(1, vec![resource("a", "1")], &[]);
        assert!(!set.apply(2, vec![resource("a", "1")], &["x".into()]));
        assert_eq!(set.version(), 1);
    }

    #[test]
    fn gone_names_are_forgotten_once_everybody_knows_and_a_lagging_reader_is_told() {
        let mut set = Set::default();
        let names: Vec<String> = (0..3000).map(|i| format!("r{i}")).collect();
        for (i, name) in (1..).zip(&names) {
            set.apply(i, vec![resource(name, "1")], &[]);
        }
        for (i, name) in (3001..).zip(&names) {
            set.apply(i, vec![], std::slice::from_ref(name));
        }
        set.prune(3000);
        assert_eq!(set.gone.len(), 3000, "someone at 3000 still needs them");
        set.prune(6000);
        assert_eq!(set.gone.len(), GONE_KEPT);
        assert_eq!(set.entries.len(), GONE_KEPT);
        assert_eq!(set.log.len(), GONE_KEPT);
        assert!(set.since(3000).is_err());
        assert_eq!(since(&set, 5999).len(), 1);
    }

    #[test]
    fn an_oversized_resource_keeps_its_last_good_version() {
        let mut set = Set::default();
        set.apply(1, vec![resource("a", "1")], &[]);
        assert!(!set.apply(
            2,
            vec![Resource::new("a", "2", vec![0; MAX_RESOURCE_BYTES + 1])],
            &[]
        ));
        assert_eq!(set.find("a").unwrap().2.version, "1");
        assert_eq!(set.oversized().count(), 1);
        assert!(set.apply(3, vec![resource("a", "3")], &[]));
        assert_eq!(set.oversized().count(), 0);
    }
}
