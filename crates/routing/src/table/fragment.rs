//! One fragment in the form in which its routes are tried.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use prost::Message;

use super::entry::Entry;
use super::origin::Origins;
use super::program::{Compiler, Program};
use super::rewrite::{Fault, Plan};
use super::siblings;
use super::template::Template;
use crate::snapshot::{
    Action, Check, Cors, Fragment, PathMatch, Position, Revision, Rewrite, Route, VirtualHost,
};
use crate::{Invalid, order};

/// A fragment, compiled.
#[derive(Debug)]
pub(super) struct Compiled {
    pub(super) name: Box<str>,
    pub(super) position: Position,
    pub(super) revision: Revision,
    pub(super) hosts: Box<[Host]>,
}

/// A virtual host of a fragment.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) name: Box<str>,
    pub(super) entries: Box<[Entry]>,
}

/// The one field of `AttributeContext` (Envoy's ext_authz v3) that a route decides.
#[derive(Clone, PartialEq, Message)]
struct Extensions {
    #[prost(btree_map = "string, string", tag = "10")]
    context: BTreeMap<String, String>,
}

/// A route as the index holds it. Sorted as [`crate::order`] says.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    pub(super) rank: u32,
    pub(super) fragment: Arc<Compiled>,
    pub(super) host: u32,
    pub(super) route: u32,
    /// Which of the route's keys.
    pub(super) key: u32,
}

// === impl Compiled ===

impl Compiled {
    pub(super) fn new(fragment: Fragment) -> Result<Self, Invalid> {
        if fragment.name.is_empty() {
            return Err(Invalid::new("name", "must not be empty"));
        }
        let mut build = Build::default();
        let hosts = fragment
            .virtual_hosts
            .into_iter()
            .enumerate()
            .map(|(at, host)| build.host(at, host))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            name: fragment.name.into(),
            position: fragment.position,
            revision: fragment.revision,
            hosts,
        })
    }

    /// Number of routes.
    pub(super) fn routes(&self) -> usize {
        self.hosts.iter().map(|host| host.entries.len()).sum()
    }

    /// The route at that place.
    pub(super) fn entry(&self, host: u32, route: u32) -> Option<&Entry> {
        let host = self.hosts.get(usize::try_from(host).ok()?)?;
        host.entries.get(usize::try_from(route).ok()?)
    }
}

#[derive(Default)]
struct Build {
    compiler: Compiler,
    policies: HashMap<Arc<Cors>, Arc<Origins>>,
}

impl Build {
    fn host(&mut self, at: usize, host: VirtualHost) -> Result<Host, Invalid> {
        let mut entries: Box<[Entry]> = host
            .routes
            .into_iter()
            .enumerate()
            .flat_map(|(index, route)| apart(route).into_iter().map(move |route| (index, route)))
            .map(|(index, route)| {
                self.entry(route).map_err(|(field, reason)| {
                    Invalid::new(format!("virtual_hosts[{at}].routes[{index}].{field}"), reason)
                })
            })
            .collect::<Result<_, _>>()?;
        siblings::link(&mut entries);
        Ok(Host {
            name: host.name.to_ascii_lowercase().into(),
            entries,
        })
    }

    fn entry(&mut self, mut route: Route) -> Result<Entry, (&'static str, String)> {
        let program = self
            .compiler
            .whole(&route.path)
            .map_err(|reason| ("match.safe_regex", reason))?;
        let rewrite = match &route.action {
            Action::Direct { .. } => None,
            Action::Forward(forward) => forward.rewrite.as_ref(),
        };
        let plan =
            Plan::compile(rewrite, &route.path, &program, &mut self.compiler).map_err(
                |fault| match fault {
                    Fault::Pattern(reason) => ("route.regex_rewrite.pattern", reason),
                    Fault::Substitution(reason) => ("route.regex_rewrite.substitution", reason),
                },
            )?;
        let origins = route.filters.cors.take().map(|cors| {
            let (cors, origins) = self.policy(cors);
            route.filters.cors = Some(cors);
            origins
        });
        // What is compiled is not held as text as well: a gateway has ten thousands of routes.
        if let Action::Forward(forward) = &mut route.action {
            forward.rewrite = None;
        }
        if matches!(program, Program::Template(_)) {
            route.path = PathMatch::Regex(String::new());
        }
        let context = match &mut route.filters.check {
            Check::Disabled => BTreeMap::new(),
            Check::Required { context, .. } => std::mem::take(context),
        };
        Ok(Entry {
            context: Extensions { context }.encode_to_vec().into(),
            route,
            plan,
            origins,
            program,
            siblings: None,
        })
    }

    /// The one value for all routes that have this policy.
    fn policy(&mut self, cors: Arc<Cors>) -> (Arc<Cors>, Arc<Origins>) {
        if let Some((cors, origins)) = self.policies.get_key_value(&cors) {
            return (Arc::clone(cors), Arc::clone(origins));
        }
        let origins = Arc::new(Origins::new(&cors.allow_origins));
        self.policies.insert(Arc::clone(&cors), Arc::clone(&origins));
        (cors, origins)
    }
}

/// A template has a key for each of its base paths. What the engine matches or rewrites has not, so it becomes a route for each.
fn apart(route: Route) -> Vec<Route> {
    let PathMatch::Regex(pattern) = &route.path else {
        return vec![route];
    };
    let searched = match &route.action {
        Action::Forward(forward) => {
            matches!(&forward.rewrite, Some(Rewrite::Regex { pattern: searched, .. }) if searched != pattern)
        }
        Action::Direct { .. } => false,
    };
    if !searched && Template::parse(pattern).is_some() {
        return vec![route];
    }
    order::apart(&route).into_iter().map(Cow::into_owned).collect()
}

// === impl Candidate ===

impl Candidate {
    pub(super) fn entry(&self) -> Option<&Entry> {
        self.fragment.entry(self.host, self.route)
    }
}

impl Ord for Candidate {
    fn cmp(&self, other: &Self) -> Ordering {
        let fragments = || {
            if Arc::ptr_eq(&self.fragment, &other.fragment) {
                Ordering::Equal
            } else {
                self.fragment.name.cmp(&other.fragment.name)
            }
        };
        let place = || (self.host, self.route, self.key).cmp(&(other.host, other.route, other.key));
        self.rank.cmp(&other.rank).then_with(fragments).then_with(place)
    }
}

impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Candidate {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Candidate {}
