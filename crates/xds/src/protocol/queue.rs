//! What one subscription is still to be sent.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::Arc,
};

use super::{MESSAGE_BYTES, NAME_OVERHEAD, RESOURCE_OVERHEAD};
use crate::{resource::Resource, set::Set};

/// A name with the version of the oldest change that it stands for: the peer has not "everything up to" that version
/// before the name goes out.
pub(super) type Due = (u64, Arc<str>);

/// Names only: the content is looked up when it is sent, so a resource that changes twice meanwhile is sent once.
#[derive(Debug, Default)]
pub(super) struct Queue {
    names: HashMap<Arc<str>, (u64, bool)>,
    upserts: BTreeSet<Due>,
    removals: BTreeSet<Due>,
    /// Parts of a response that was refused as a whole, each to be sent by itself.
    suspects: VecDeque<Vec<Due>>,
}

/// Content of one response.
#[derive(Debug, Default)]
pub(super) struct Load {
    pub(super) upserts: Vec<(Due, Arc<Resource>)>,
    pub(super) removals: Vec<Due>,
}

impl Queue {
    pub(super) fn put(&mut self, version: u64, name: &Arc<str>, live: bool) {
        let version = self.take(name).map_or(version, |queued| queued.min(version));
        self.names.insert(Arc::clone(name), (version, live));
        let side = if live {
            &mut self.upserts
        } else {
            &mut self.removals
        };
        side.insert((version, Arc::clone(name)));
    }

    pub(super) fn take(&mut self, name: &str) -> Option<u64> {
        let (name, (version, live)) = self.names.remove_entry(name)?;
        let side = if live {
            &mut self.upserts
        } else {
            &mut self.removals
        };
        side.remove(&(version, name));
        Some(version)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.names.contains_key(name)
    }

    /// Keeps only names that are still wanted.
    pub(super) fn retain(&mut self, wanted: impl Fn(&str) -> bool) {
        let unwanted: Vec<_> = self.names.keys().filter(|name| !wanted(name)).cloned().collect();
        for name in unwanted {
            self.take(&name);
        }
    }

    /// The peer refused these together without naming one: they are halved until the bad one stands alone, so that it
    /// does not keep the others (design D16). Every step is smaller than the one before, so nothing goes in circles.
    pub(super) fn suspect(&mut self, mut names: Vec<Due>) {
        let second = names.split_off(names.len() / 2);
        for half in [second, names] {
            if !half.is_empty() {
                self.suspects.push_front(half);
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.names.is_empty() && self.suspects.is_empty()
    }

    pub(super) fn has_upserts(&self) -> bool {
        !self.upserts.is_empty() || !self.suspects.is_empty()
    }

    pub(super) fn has_removals(&self) -> bool {
        !self.removals.is_empty()
    }

    /// Oldest change that is waiting.
    pub(super) fn oldest(&self) -> Option<u64> {
        let sides = [self.upserts.first(), self.removals.first()];
        sides
            .into_iter()
            .flatten()
            .chain(self.suspects.iter().flatten())
            .map(|(version, _)| *version)
            .min()
    }

    /// Takes out what fits into one response.
    pub(super) fn load(
        &mut self,
        set: &Set,
        type_url: &str,
        wanted: impl Fn(&str) -> bool,
        with_removals: bool,
    ) -> Load {
        let mut load = Load::default();
        let mut room = Room {
            used: 0,
            type_url: type_url.len(),
        };
        while let Some(group) = self.suspects.pop_front() {
            self.load_suspects(group, set, &wanted, &mut load, &mut room);
            if !load.upserts.is_empty() {
                return load;
            }
        }
        while let Some((version, name)) = self.upserts.first().cloned() {
            let Some((_, _, resource)) = set.find(&name) else {
                self.put(version, &name, false);
                continue;
            };
            if !room.takes(resource) {
                return load;
            }
            self.take(&name);
            load.upserts.push(((version, name), Arc::clone(resource)));
        }
        while with_removals && let Some((version, name)) = self.removals.first().cloned() {
            if !room.takes_name(&name) {
                return load;
            }
            self.take(&name);
            load.removals.push((version, name));
        }
        load
    }

    fn load_suspects(
        &mut self,
        group: Vec<Due>,
        set: &Set,
        wanted: impl Fn(&str) -> bool,
        load: &mut Load,
        room: &mut Room,
    ) {
        let mut group = group.into_iter();
        while let Some((version, name)) = group.next() {
            // What was removed since needs no clearing up.
            let Some((_, _, resource)) = set.find(&name).filter(|_| wanted(&name)) else {
                continue;
            };
            if !room.takes(resource) {
                self.suspects
                    .push_front([(version, name)].into_iter().chain(group).collect());
                return;
            }
            // What has changed since goes as it is now, here and only here.
            let version = self.take(&name).map_or(version, |queued| queued.min(version));
            load.upserts.push(((version, name), Arc::clone(resource)));
        }
    }
}

/// What still fits into a response.
struct Room {
    used: usize,
    /// Length of the type URL, which stands in every resource.
    type_url: usize,
}

impl Room {
    /// The first resource always fits, however large.
    fn takes(&mut self, resource: &Resource) -> bool {
        let Resource { name, version, body } = resource;
        let bytes = name.len() + version.len() + body.len() + self.type_url + RESOURCE_OVERHEAD;
        let takes = self.used == 0 || self.used + bytes <= MESSAGE_BYTES;
        if takes {
            self.used += bytes;
        }
        takes
    }

    fn takes_name(&mut self, name: &str) -> bool {
        let bytes = name.len() + NAME_OVERHEAD;
        let takes = self.used + bytes <= MESSAGE_BYTES;
        if takes {
            self.used += bytes;
        }
        takes
    }
}
