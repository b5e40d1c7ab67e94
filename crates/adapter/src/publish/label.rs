//! What one label holds.

use std::collections::{BTreeMap, HashMap};

use sha2::{Digest as _, Sha256};
use trireme_proto::names::{DEFAULT_ROUTE_CONFIG, type_url};
use trireme_xds::Resource;
use trireme_xds::server::Cache;

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
}

/// The router's half of an API.
#[derive(Debug, Clone)]
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
    /// Somebody has asked for the assembled route configuration.
    assembled: bool,
}

impl Label {
    /// A label with listeners and system routes.
    pub(super) fn new(cache: &Cache, name: &str, base: &Base) -> Self {
        let mut label = Self {
            apis: HashMap::new(),
            fragments: BTreeMap::new(),
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
        for fragment in &fragments {
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
            self.fragments.remove(fragment);
        }
        self.apply(cache, name, Vec::new(), fragments)
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
        for resource in self.fragments.values() {
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

/// Lets the peers of a label have what is there.
pub(super) fn seal(cache: &Cache, label: &str) {
    cache.seal(&groups::apis(label), type_url::API);
    cache.seal(&groups::clusters(label), type_url::CLUSTER);
    cache.seal(&groups::fragments(label), type_url::ROUTE);
    cache.seal(&groups::listeners(label), type_url::LISTENER);
}
