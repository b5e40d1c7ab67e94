//! The route index (design D6): an immutable table over fragments, updated by sharing what did not change.
//!
//! Per virtual host a radix tree holds every route under the certain part of its path condition: literal text, whole
//! segments that may be anything, and whether the path must end there. A look-up walks the tree along the path, which
//! gives a handful of candidates whatever the number of routes, and tries them in their [`order`]. The first full
//! match wins, as in Envoy's ordered list.

use std::borrow::Cow;
use std::sync::Arc;

use crate::snapshot::{Fragment, Guard, Position, Revision, Route};
use crate::{Ambiguity, Invalid, Target, order};

mod entry;
mod fragment;
mod origin;
mod program;
mod radix;
mod rewrite;
mod siblings;
mod template;
#[cfg(test)]
mod tests;

use entry::Entry;
use fragment::{Candidate, Compiled};
use radix::{Met, Node};
use template::Captures;

/// All routes, indexed. Immutable: [`RouteTable::update`] gives a new table that shares what stayed.
#[derive(Debug, Clone, Default)]
pub struct RouteTable {
    /// By name.
    fragments: Node<Arc<Compiled>>,
    /// By virtual host.
    hosts: Node<Arc<Node<Candidate>>>,
    fragment_count: usize,
    route_count: usize,
}

/// What an update gave.
#[derive(Debug)]
pub struct Update {
    /// The table after the update. A rejected fragment keeps its last good version in it, or stays absent.
    pub table: RouteTable,
    /// Fragments that could not be taken.
    pub rejected: Vec<Rejected>,
}

/// A fragment that could not be taken, with the reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// Name of the fragment.
    pub fragment: String,
    /// What is wrong with it.
    pub invalid: Invalid,
}

/// A route that serves a request, borrowed from the table.
#[derive(Debug, Clone, Copy)]
pub struct Matched<'t> {
    fragment: &'t Arc<Compiled>,
    entry: &'t Entry,
    host: u32,
    index: u32,
    captures: Captures,
}

/// A [`Matched`] that owns its share of the table, for use beyond a borrow of it.
#[derive(Debug, Clone)]
pub struct Held {
    fragment: Arc<Compiled>,
    host: u32,
    index: u32,
    captures: Captures,
}

// === impl RouteTable ===

impl RouteTable {
    /// A table without routes.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The table after `removals` and then `upserts`. Costs what the changed fragments cost, not what the table holds;
    /// the tables before and after share everything else.
    ///
    /// This compiles patterns, so it belongs off the hot path.
    #[must_use]
    pub fn update(&self, upserts: Vec<Fragment>, removals: &[String]) -> Update {
        let mut table = self.clone();
        let mut rejected = Vec::new();
        for name in removals {
            table.remove(name);
        }
        for fragment in upserts {
            let name = fragment.name.clone();
            match Compiled::new(fragment) {
                Ok(compiled) => table.insert(Arc::new(compiled)),
                Err(invalid) => rejected.push(Rejected {
                    fragment: name,
                    invalid,
                }),
            }
        }
        Update { table, rejected }
    }

    /// The first route in their [`order`] that serves the request, or `None` (404).
    ///
    /// `host` may hold a port and capital letters; a virtual host of that name is searched, and the one named `*` only
    /// when there is none. `path` is in normal form, without query. `header` gives the value of a request header by its
    /// lower-case name.
    pub fn find<'t, 'h>(
        &'t self,
        host: &str,
        path: &str,
        method: &str,
        header: impl Fn(&str) -> Option<&'h [u8]>,
    ) -> Option<Matched<'t>> {
        first(self.host(host)?, path, method, &header, |_| true)
    }

    /// Refuses a path with two readings unless the matched route takes it: what [`Target::admit`] refuses, and a path that
    /// others read as another operation, one that asks its callers for something else, because they decode sub-delimiters,
    /// cut path parameters off, or take what the route permits in their own way. Another API asks for something else unless
    /// it asks for nothing. `matched` is what [`RouteTable::find`] gave for this target, method and headers: its API says
    /// what is permitted, whatever another one says that the path would be in another reading.
    ///
    /// Only a path that has anything to read in another way costs anything here.
    ///
    /// # Errors
    /// The reason.
    pub fn admit<'h>(
        &self,
        matched: &Matched<'_>,
        target: &Target<'_>,
        method: &str,
        header: impl Fn(&str) -> Option<&'h [u8]>,
    ) -> Result<(), Ambiguity> {
        if !target.has_readings() {
            return Ok(());
        }
        target.admit(matched.route().ambiguous_paths)?;
        let Some(tree) = self.host(matched.virtual_host()) else {
            return Ok(());
        };
        // An API may answer here what it could not if another one were not deployed, so its own routes are asked apart.
        let same_api = |candidate: &Candidate| candidate.fragment.name == matched.fragment.name;
        let asks_otherwise = |path: &str| {
            let own = first(tree, path, method, &header, same_api);
            let any = first(tree, path, method, &header, |_| true);
            let mut found = own.into_iter().chain(any);
            found.any(|found| matched.differs_from(&found))
        };
        match target.readings()?.iter().find(|(_, path)| asks_otherwise(path)) {
            Some((reason, _)) => Err(*reason),
            None => Ok(()),
        }
    }

    /// Number of fragments.
    #[must_use]
    pub fn fragments(&self) -> usize {
        self.fragment_count
    }

    /// Number of routes.
    #[must_use]
    pub fn routes(&self) -> usize {
        self.route_count
    }

    /// Whether there is nothing to serve.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.fragment_count == 0
    }

    /// Revision of the fragment of that name.
    #[must_use]
    pub fn revision(&self, fragment: &str) -> Option<Revision> {
        self.fragment(fragment).map(|fragment| fragment.revision)
    }

    /// Names and revisions of all fragments, ordered by name.
    #[must_use]
    pub fn revisions(&self) -> Vec<(String, Revision)> {
        let mut all = Vec::with_capacity(self.fragment_count);
        self.fragments
            .each(&mut |fragment| all.push((fragment.name.to_string(), fragment.revision)));
        all
    }

    fn fragment(&self, name: &str) -> Option<&Arc<Compiled>> {
        self.fragments.get(name.as_bytes()).first()
    }

    fn host(&self, host: &str) -> Option<&Node<Candidate>> {
        let name = match host.strip_prefix('[') {
            Some(_) => host.split_inclusive(']').next().unwrap_or(host),
            None => host.split_once(':').map_or(host, |(name, _)| name),
        };
        let name = if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            Cow::Owned(name.to_ascii_lowercase())
        } else {
            Cow::Borrowed(name)
        };
        let exact = self.hosts.get(name.as_bytes()).first();
        exact.or_else(|| self.hosts.get(b"*").first()).map(|tree| &**tree)
    }

    fn insert(&mut self, fragment: Arc<Compiled>) {
        self.remove(&fragment.name);
        self.fragment_count += 1;
        self.route_count += fragment.routes();
        self.index(&fragment, |candidates, candidate| {
            if let Err(at) = candidates.binary_search(&candidate) {
                candidates.insert(at, candidate);
            }
        });
        let name = fragment.name.clone();
        self.fragments
            .edit(name.as_bytes(), |values| values.push(fragment));
    }

    fn remove(&mut self, name: &str) {
        let Some(fragment) = self.fragment(name).cloned() else {
            return;
        };
        self.fragment_count -= 1;
        self.route_count -= fragment.routes();
        self.index(&fragment, |candidates, candidate| {
            if let Ok(at) = candidates.binary_search(&candidate) {
                candidates.remove(at);
            }
        });
        self.fragments.edit(name.as_bytes(), Vec::clear);
    }

    /// Applies `change` to the candidates under each key of each route.
    fn index(&mut self, fragment: &Arc<Compiled>, change: impl Fn(&mut Vec<Candidate>, Candidate)) {
        for (host, entries) in (0_u32..).zip(&fragment.hosts) {
            self.hosts.edit(entries.name.as_bytes(), |trees| {
                let mut tree = trees.pop().unwrap_or_default();
                let root = Arc::make_mut(&mut tree);
                for (route, entry) in (0_u32..).zip(&entries.entries) {
                    for (number, (base_path, key)) in (0_u32..).zip(entry.keys()) {
                        let candidate = Candidate {
                            rank: order::rank(fragment.position, base_path),
                            fragment: Arc::clone(fragment),
                            host,
                            route,
                            key: number,
                        };
                        root.edit(&key, |candidates| change(candidates, candidate));
                    }
                }
                if !root.is_empty() {
                    trees.push(tree);
                }
            });
        }
    }
}

/// The first route among those `wanted` that serves the request.
fn first<'t, 'h>(
    tree: &'t Node<Candidate>,
    path: &str,
    method: &str,
    header: &impl Fn(&str) -> Option<&'h [u8]>,
    wanted: impl Fn(&Candidate) -> bool,
) -> Option<Matched<'t>> {
    let mut met = Met::new();
    tree.walk(path.as_bytes(), &mut met);
    while let Some(candidate) = met.next() {
        let Some(entry) = candidate.entry().filter(|_| wanted(candidate)) else {
            continue;
        };
        if let Some(captures) = entry.matches(candidate.key, path, method, header) {
            return Some(Matched {
                fragment: &candidate.fragment,
                entry,
                host: candidate.host,
                index: candidate.route,
                captures,
            });
        }
    }
    None
}

// === impl Matched ===

impl<'t> Matched<'t> {
    /// The route, without the context of its check, its rewrite and the pattern of a template, which are held compiled.
    #[must_use]
    pub fn route(&self) -> &'t Route {
        &self.entry.route
    }

    /// What the enforcer is told of the route: the encoded `context_extensions` of an `AttributeContext`, field number and
    /// all. Encoded once, since every check carries it.
    #[must_use]
    pub fn context(&self) -> &'t [u8] {
        &self.entry.context
    }

    /// The route after the enforcer has chosen a cluster: what [`RouteTable::find`] gives for the same request if its
    /// `x-wso2-cluster-header` is `cluster`, without a search.
    ///
    /// It is looked for among this route and those beside it that differ from it only in conditions on that header, in what is
    /// done and in filters other than the check, as the adapter makes them of one resource; the first that fits is the answer.
    /// So whatever else is in the table, nothing is served under another check or context than the one that was asked about.
    /// In a table of another make `find` could give a route of another kind, or none; this one stays then.
    #[must_use]
    pub fn steered(self, cluster: &str) -> Self {
        let Some(siblings) = &self.entry.siblings else {
            return self;
        };
        let mut fitting = siblings.iter().filter_map(|&index| {
            let entry = self.fragment.entry(self.host, index)?;
            siblings::serves(&entry.route, cluster).then_some(Self { entry, index, ..self })
        });
        fitting.next().unwrap_or(self)
    }

    /// Whether `other` may ask its callers for something that this route doesn't.
    fn differs_from(&self, other: &Matched<'_>) -> bool {
        match other.route().guard {
            Guard::Open => false,
            _ if self.context() == other.context() => false,
            Guard::Demand(_) => {
                self.fragment.name != other.fragment.name || self.route().guard != other.route().guard
            }
            Guard::Untold => true,
        }
    }

    /// Name of the fragment that the route belongs to.
    #[must_use]
    pub fn fragment(&self) -> &'t str {
        &self.fragment.name
    }

    /// Position of the fragment.
    #[must_use]
    pub fn position(&self) -> Position {
        self.fragment.position
    }

    /// Revision of the fragment.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.fragment.revision
    }

    /// Name of the virtual host.
    #[must_use]
    pub fn virtual_host(&self) -> &'t str {
        let at = usize::try_from(self.host).unwrap_or(usize::MAX);
        self.fragment.hosts.get(at).map_or("", |host| &host.name)
    }

    /// Place of the route: virtual host in the fragment, route in the virtual host. With [`Matched::fragment`] it keys
    /// what the router keeps per route beside the table, such as token buckets.
    #[must_use]
    pub fn place(&self) -> (u32, u32) {
        (self.host, self.index)
    }

    /// The path to send upstream for `path`, which must be the one that was matched. Never empty.
    #[must_use]
    pub fn rewrite_path<'p>(&self, path: &'p str) -> Cow<'p, str> {
        self.entry.plan.apply(path, &self.captures)
    }

    /// Whether the route's CORS policy allows `origin`; false without a policy.
    #[must_use]
    pub fn allows_origin(&self, origin: &str) -> bool {
        self.entry
            .origins
            .as_ref()
            .is_some_and(|origins| origins.allow(origin))
    }

    /// An owned handle, at the price of one reference count.
    #[must_use]
    pub fn hold(&self) -> Held {
        let Self {
            fragment,
            host,
            index,
            captures,
            ..
        } = *self;
        Held {
            fragment: Arc::clone(fragment),
            host,
            index,
            captures,
        }
    }
}

// === impl Held ===

impl Held {
    /// The match again.
    #[must_use]
    pub fn matched(&self) -> Matched<'_> {
        let Self {
            fragment,
            host,
            index,
            captures,
        } = self;
        let entry = fragment
            .entry(*host, *index)
            .expect("made from a match in this fragment");
        Matched {
            fragment,
            entry,
            host: *host,
            index: *index,
            captures: *captures,
        }
    }
}
