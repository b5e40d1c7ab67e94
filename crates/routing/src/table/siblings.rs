//! Routes that differ in nothing that the enforcer is asked about: one that it steers a request to is found without a search.
//!
//! An API whose environments have different base paths has two routes for a resource. The sandbox's has a condition on the
//! header by which the enforcer names the cluster, and stands before the other. Which of them serves is known after the
//! check; whatever else decided the match is the same for both.

use std::collections::HashMap;
use std::sync::Arc;

use trireme_proto::names::CLUSTER_HEADER;

use super::entry::Entry;
use crate::Permitted;
use crate::snapshot::{Check, Guard, PathMatch, Route};

/// All that siblings have in common: where they stand, what they match and what is asked about them. The first of them
/// whose conditions hold is therefore what a search finds, captures and all.
#[derive(PartialEq, Eq, Hash)]
struct Kin<'e> {
    name: &'e str,
    path: &'e PathMatch,
    program: *const (),
    methods: &'e [String],
    headers: Vec<&'e (String, String)>,
    check: &'e Check,
    context: &'e [u8],
    ambiguous_paths: Permitted,
    guard: Guard,
}

/// Makes siblings known to each other.
pub(super) fn link(entries: &mut [Entry]) {
    let steered = |entry: &Entry| conditions(&entry.route).next().is_some();
    if !entries.iter().any(steered) {
        return;
    }
    let mut families: HashMap<Kin<'_>, Vec<u32>> = HashMap::new();
    for (index, entry) in (0_u32..).zip(&*entries) {
        families.entry(Kin::of(entry)).or_default().push(index);
    }
    let families: Vec<Vec<u32>> = families.into_values().filter(|family| family.len() > 1).collect();
    for family in families {
        let family: Arc<[u32]> = family.into();
        for entry in family.iter().filter_map(|&index| usize::try_from(index).ok()) {
            if let Some(entry) = entries.get_mut(entry) {
                entry.siblings = Some(Arc::clone(&family));
            }
        }
    }
}

/// Whether the route serves requests that go to that cluster, so far as its conditions on the header say.
pub(super) fn serves(route: &Route, cluster: &str) -> bool {
    conditions(route).all(|wanted| wanted == cluster)
}

/// What the route wants the header to be.
fn conditions(route: &Route) -> impl Iterator<Item = &str> {
    let headers = route.headers.iter();
    headers
        .filter(|(name, _)| name == CLUSTER_HEADER)
        .map(|(_, value)| value.as_str())
}

impl<'e> Kin<'e> {
    fn of(entry: &'e Entry) -> Self {
        let route = &entry.route;
        Self {
            name: &route.name,
            path: &route.path,
            program: entry.program.id(),
            methods: &route.methods,
            headers: route
                .headers
                .iter()
                .filter(|(name, _)| name != CLUSTER_HEADER)
                .collect(),
            check: &route.filters.check,
            context: &entry.context,
            ambiguous_paths: route.ambiguous_paths,
            guard: route.guard,
        }
    }
}
