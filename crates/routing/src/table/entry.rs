//! A route as the table holds it.

use std::sync::Arc;

use super::origin::Origins;
use super::program::Program;
use super::rewrite::Plan;
use super::template::Captures;
use crate::snapshot::Route;

/// Siblings, by their places among the routes of a virtual host, in order.
pub(super) type Siblings = Option<Arc<[u32]>>;

/// A route with its programs.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) route: Route,
    pub(super) plan: Plan,
    pub(super) origins: Option<Arc<Origins>>,
    /// What the enforcer is told, as each check carries it.
    pub(super) context: Box<[u8]>,
    pub(super) program: Program,
    /// The routes that the enforcer's choice of a cluster decides between, this one among them; mostly none.
    pub(super) siblings: Siblings,
}

impl Entry {
    /// The keys under which the index finds the route, each with the base path under which it matches there.
    pub(super) fn keys(&self) -> impl Iterator<Item = (&str, Vec<u8>)> {
        let keys = self.program.keys(&self.route.path);
        keys.into_iter()
            .map(|(base_path, key)| (base_path.unwrap_or(&self.route.name), key))
    }

    /// Tries the route.
    pub(super) fn matches<'h>(
        &self,
        key: u32,
        path: &str,
        method: &str,
        header: &impl Fn(&str) -> Option<&'h [u8]>,
    ) -> Option<Captures> {
        let route = &self.route;
        // OPTIONS is let through by every route, for the enforcer to answer (spec/adapter.md 5.5).
        let by_method = route.methods.is_empty()
            || method == "OPTIONS"
            || route.methods.iter().any(|allowed| allowed == method);
        let by_headers = || {
            route
                .headers
                .iter()
                .all(|(name, value)| header(name) == Some(value.as_bytes()))
        };
        if by_method && by_headers() {
            self.program.matches(&route.path, path, key)
        } else {
            None
        }
    }
}
