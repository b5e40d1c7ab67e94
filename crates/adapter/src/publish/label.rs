//! What one label holds.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use sha2::{Digest as _, Sha256};
use trireme_proto::names::{DEFAULT_ROUTE_CONFIG, type_url};
use trireme_xds::server::{Cache, PeerStatus};
use trireme_xds::{Rejection, Resource};

use crate::event;
use crate::groups;
use crate::resources::short;
use crate::status::Mark;
use crate::store::Identity;

/// Resources that every label has.
#[derive(Debug, Clone)]
pub struct Base {
    /// Listeners.
    pub listeners: Vec<Resource>,
    /// System routes.
    pub system: Resource,
}

/// An API as it is published.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) owner: Identity,
    pub(super) policy: Resource,
    /// Absent when a router has refused its first ones.
    pub(super) routes: Option<Routes>,
    /// The last ones that every router which was there has taken.
    pub(super) good: Option<Routes>,
    /// Where `routes` stand in the sets of routers.
    pub(super) marks: Vec<Mark>,
}

/// The router's half of an API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Routes {
    pub(super) fragment: Resource,
    pub(super) clusters: Vec<Resource>,
}

/// What one label holds.
#[derive(Debug)]
pub(super) struct Label {
    /// APIs by resource name.
    pub(super) apis: HashMap<String, Held>,
    /// Fragments that are in the cache, system routes included.
    fragments: BTreeMap<String, Resource>,
    /// APIs whose routes not every router has taken yet.
    pub(super) open: BTreeSet<String>,
    /// Fragments that changed last, which a refusal of the assembled route configuration is put down to.
    latest: BTreeSet<String>,
    /// APIs that others serve, left out of the assembled route configuration as who asks for that refuses their clusters.
    withheld: BTreeSet<String>,
    /// Somebody has asked for the assembled route configuration.
    assembled: bool,
}

impl Label {
    /// A label with listeners and system routes.
    pub(super) fn new(cache: &Cache, name: &str, base: &Base) -> Self {
        let mut label = Self {
            apis: HashMap::new(),
            fragments: BTreeMap::new(),
            open: BTreeSet::new(),
            latest: BTreeSet::new(),
            withheld: BTreeSet::new(),
            assembled: false,
        };
        label
            .put_routes(cache, name, vec![base.system.clone()])
            .for_each(drop);
        cache.replace(
            &groups::listeners(name),
            type_url::LISTENER,
            base.listeners.clone(),
        );
        label
    }

    /// Adds or changes fragments; returns what to wait for.
    pub(super) fn put_routes(
        &mut self,
        cache: &Cache,
        name: &str,
        fragments: Vec<Resource>,
    ) -> impl Iterator<Item = Mark> + use<> {
        self.latest = match self.assembled {
            true => fragments.iter().map(|fragment| fragment.name.clone()).collect(),
            false => BTreeSet::new(),
        };
        for fragment in &fragments {
            self.withheld.remove(&fragment.name);
            self.fragments.insert(fragment.name.clone(), fragment.clone());
        }
        self.apply(cache, name, fragments, Vec::new())
    }

    /// Removes fragments; returns what to wait for.
    pub(super) fn remove_routes(
        &mut self,
        cache: &Cache,
        name: &str,
        fragments: Vec<String>,
    ) -> impl Iterator<Item = Mark> + use<> {
        for fragment in &fragments {
            self.withheld.remove(fragment);
            self.fragments.remove(fragment);
        }
        self.apply(cache, name, Vec::new(), fragments)
    }

    /// Leaves exactly these APIs out of the assembled route configuration.
    pub(super) fn withhold(&mut self, cache: &Cache, name: &str, apis: BTreeSet<String>) {
        if self.withheld == apis {
            return;
        }
        self.withheld = apis;
        if self.assembled {
            self.apply_assembled(cache, name);
        }
    }

    /// Starts to keep the assembled route configuration.
    pub(super) fn assemble(&mut self, cache: &Cache, name: &str) {
        if self.assembled {
            return;
        }
        self.assembled = true;
        self.apply_assembled(cache, name);
        cache.seal(&groups::routes(name), type_url::ROUTE);
    }

    fn apply(
        &self,
        cache: &Cache,
        name: &str,
        upserts: Vec<Resource>,
        removals: Vec<String>,
    ) -> impl Iterator<Item = Mark> + use<> {
        let group = groups::fragments(name);
        let version = cache.apply(&group, type_url::ROUTE, upserts, removals);
        let assembled = self.assembled.then(|| self.apply_assembled(cache, name));
        [(group, type_url::ROUTE, version)].into_iter().chain(assembled)
    }

    /// All fragments as the one route configuration that nodes without fragments ask for.
    fn apply_assembled(&self, cache: &Cache, name: &str) -> Mark {
        let mut hash = Sha256::new();
        let mut fragments = Vec::with_capacity(self.fragments.len());
        let shown = self
            .fragments
            .iter()
            .filter(|(name, _)| !self.withheld.contains(*name));
        for (_, resource) in shown {
            match trireme_routing::decode::fragment(&resource.body) {
                Ok(fragment) => {
                    hash.update(&resource.version);
                    hash.update([0]);
                    fragments.push(fragment);
                }
                Err(error) => event::undecodable(&resource.name, &error),
            }
        }
        let body = trireme_routing::encode::assembled(&fragments).value;
        let resource = Resource::new(DEFAULT_ROUTE_CONFIG, short(&hash.finalize()), body);
        let group = groups::routes(name);
        let version = cache.apply(&group, type_url::ROUTE, vec![resource], Vec::new());
        (group, type_url::ROUTE, version)
    }
}

/// What the routers of one label say of what is published.
#[derive(Debug, Default)]
pub(super) struct Answers<'a> {
    /// Version that everybody has answered, by group and type.
    floors: HashMap<(&'a str, &'a str), u64>,
    /// Standing refusals, with the peer's version.
    refusals: Vec<(&'a PeerStatus, &'a Rejection)>,
}

impl<'a> Answers<'a> {
    pub(super) fn of(peers: &'a [PeerStatus], label: &str) -> Self {
        let mut answers = Self::default();
        let groups = [
            groups::clusters(label),
            groups::fragments(label),
            groups::routes(label),
        ];
        for peer in peers.iter().filter(|peer| groups.contains(&peer.group)) {
            let key = (peer.group.as_str(), peer.type_url.as_str());
            let floor = answers.floors.entry(key).or_insert(u64::MAX);
            *floor = peer.acked.min(*floor);
            answers
                .refusals
                .extend(peer.rejected.iter().map(|rejection| (peer, rejection)));
        }
        answers
    }

    /// Somebody is there, and everybody has answered what is published.
    fn all(&self, held: &Held) -> bool {
        !self.floors.is_empty()
            && held.marks.iter().all(|(group, type_url, version)| {
                let floor = self.floors.get(&(group.as_str(), *type_url));
                floor.is_none_or(|floor| floor >= version)
            })
    }
}

impl Label {
    /// APIs of which something is refused as it is published, by name, with the refusal. An older version of it that stands
    /// refused means nothing.
    pub(super) fn refused<'a>(&self, answers: &Answers<'a>) -> BTreeMap<String, &'a Rejection> {
        let mut refused = BTreeMap::new();
        if answers.refusals.is_empty() {
            return refused;
        }
        for (name, held) in &self.apis {
            let Some(routes) = &held.routes else { continue };
            let concerns = |peer: &PeerStatus, rejection: &Rejection| {
                let answered = held.marks.iter().all(|(group, type_url, version)| {
                    peer.group != *group || peer.type_url != *type_url || peer.acked >= *version
                });
                answered
                    && match peer.type_url.as_str() {
                        type_url::CLUSTER => routes.clusters.iter().any(|one| one.name == rejection.resource),
                        _ if rejection.resource == DEFAULT_ROUTE_CONFIG => self.latest.contains(name),
                        _ => rejection.resource == *name,
                    }
            };
            let found = answers.refusals.iter().find(|(peer, one)| concerns(peer, one));
            if let Some((_, rejection)) = found {
                refused.insert(name.clone(), *rejection);
            }
        }
        refused
    }

    /// Notes what every router has taken.
    pub(super) fn confirm(&mut self, answers: &Answers<'_>) {
        let apis = &mut self.apis;
        self.open.retain(|name| match apis.get_mut(name) {
            Some(held) if answers.all(held) => {
                held.good.clone_from(&held.routes);
                false
            }
            Some(_) => true,
            None => false,
        });
    }
}

/// Lets the peers of a label have what is there.
pub(super) fn seal(cache: &Cache, label: &str) {
    cache.seal(&groups::apis(label), type_url::API);
    cache.seal(&groups::clusters(label), type_url::CLUSTER);
    cache.seal(&groups::fragments(label), type_url::ROUTE);
    cache.seal(&groups::listeners(label), type_url::LISTENER);
}
