//! What the gateway makes of a definition: routes, clusters and policies as an adapter pushes them, asked as router and enforcer do.

use std::collections::BTreeSet;

use trireme_policy::api::{Lifecycle, SchemeKind};
use trireme_policy::{ApiPolicy, api};
use trireme_project::{Archive, Defaults, Definition, Diagnostic, ProjectSource, Severity, archive_alone};
use trireme_proto::names::{CLUSTER_HEADER, context};
use trireme_reader::{Address, Demand};
use trireme_routing::snapshot::{Action, Check, Revision};
use trireme_routing::{RouteTable, Target};
use trireme_translate::{Api, Settings, Surroundings};

const VHOST: &str = "localhost";

/// One definition in force.
pub(crate) struct Served {
    api: Api,
    table: RouteTable,
    warnings: Vec<String>,
}

/// What becomes of one request.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Template of the resource whose demands are asked.
    pub(crate) path: String,
    /// What is asked of the caller; `None` when nobody can bring it.
    pub(crate) demand: Option<Demand>,
    /// Where it goes in production: each address with the path that is sent there.
    pub(crate) production: BTreeSet<Address>,
    /// The same in the sandbox.
    pub(crate) sandbox: BTreeSet<Address>,
}

/// A definition as `trireme deploy` sends it.
pub(crate) fn deployed(name: &str, content: &[u8]) -> Result<Served, Vec<String>> {
    let packed = archive_alone(name, content).expect("one file is packed");
    in_force(&Archive(&packed), Defaults::Require)
}

/// A definition as `trireme validate` reads it.
pub(crate) fn validated(name: &str, content: &[u8]) -> Result<Served, Vec<String>> {
    in_force(&Definition { name, content }, Defaults::Derive)
}

fn in_force(source: &dyn ProjectSource, defaults: Defaults) -> Result<Served, Vec<String>> {
    let surroundings = Surroundings {
        reading: trireme_project::Settings::new(defaults),
        organization: "carbon.super",
        vhost: &|_| Some(VHOST.to_owned()),
        settings: &Settings::default(),
    };
    let prepared = surroundings
        .prepare(source)
        .map_err(|refused| told(refused.all()))?;
    let (_, draft) = prepared
        .drafts
        .into_iter()
        .next()
        .expect("a bare definition goes to the default environment");
    let api = draft.at(Revision { epoch: 1, counter: 1 });
    let update = RouteTable::new().update(vec![api.fragment.clone()], &[]);
    assert!(update.rejected.is_empty(), "{:?}", update.rejected);
    let warnings = prepared.warnings.iter().map(ToString::to_string).collect();
    Ok(Served {
        api,
        table: update.table,
        warnings,
    })
}

/// What a definition is refused for.
fn told(findings: Vec<Diagnostic>) -> Vec<String> {
    findings
        .into_iter()
        .filter(|finding| finding.severity != Severity::Warning)
        .map(|finding| finding.message)
        .collect()
}

impl Served {
    pub(crate) fn policy(&self) -> &ApiPolicy {
        &self.api.policy
    }

    /// What was told.
    pub(crate) fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Method and path of everything that is served.
    pub(crate) fn operations(&self) -> impl Iterator<Item = (&str, &str)> {
        let resources = self.api.policy.resources.iter();
        resources.flat_map(|resource| {
            resource
                .operations
                .iter()
                .map(|operation| (operation.method.as_str(), resource.path.as_str()))
        })
    }

    /// What becomes of a request for a path below the base path; `None` when it is answered 404, or 405.
    pub(crate) fn answer(&self, method: &str, below: &str) -> Option<Answer> {
        let policy = &self.api.policy;
        let sent = format!("{}{below}", policy.base_path.trim_end_matches('/'));
        let target = Target::parse(&sent, VHOST).ok()?;
        let matched = self.table.find(VHOST, &target.path, method, |_| None)?;
        self.table.admit(&matched, &target, method, |_| None).ok()?;
        // The table keeps the check's context encoded; the fragment has it in words.
        let (host, route) = matched.place();
        let host = self.api.fragment.virtual_hosts.get(usize::try_from(host).ok()?)?;
        let route = host.routes.get(usize::try_from(route).ok()?)?;
        let Check::Required { context, .. } = &route.filters.check else {
            return None;
        };
        let path = context.get(context::PATH)?;
        // Operations with an upstream of their own are resources of their own.
        let resources = policy.resources.iter().filter(|resource| resource.path == *path);
        let operation = resources
            .flat_map(|resource| &resource.operations)
            .find(|operation| operation.method.as_str() == method)?;
        Some(Answer {
            path: path.clone(),
            demand: demand(policy, operation),
            production: self.upstream(context.get(context::PROD_CLUSTER)?, &target.path, method),
            sandbox: self.upstream(context.get(context::SAND_CLUSTER)?, &target.path, method),
        })
    }

    /// Where a request goes once the enforcer has named its cluster.
    fn upstream(&self, cluster: &str, path: &str, method: &str) -> BTreeSet<Address> {
        let header = |name: &str| (name == CLUSTER_HEADER).then_some(cluster.as_bytes());
        let Some(matched) = self.table.find(VHOST, path, method, header) else {
            return BTreeSet::new();
        };
        assert!(
            matches!(matched.route().action, Action::Forward(_)),
            "{path} is not sent upstream"
        );
        let endpoints = self
            .api
            .clusters
            .iter()
            .filter(|found| found.name == cluster)
            .flat_map(|found| &found.endpoints);
        let address = endpoints.map(|endpoint| Address {
            scheme: if endpoint.tls.is_some() { "https" } else { "http" }.to_owned(),
            host: endpoint.host.to_ascii_lowercase(),
            port: endpoint.port,
            path: matched.rewrite_path(path).into_owned(),
        });
        address.collect()
    }
}

/// What an enforcer asks for, of those who have a token and nothing else.
fn demand(policy: &ApiPolicy, operation: &api::Operation) -> Option<Demand> {
    if operation.disable_security || policy.lifecycle == Lifecycle::Prototyped {
        return Some(Demand::Open);
    }
    let alternatives = policy.requirements(operation);
    let is_token = |name: &String| {
        let scheme = policy.schemes.iter().find(|scheme| scheme.definition == *name);
        scheme.is_some_and(|scheme| matches!(scheme.kind, SchemeKind::OAuth2 | SchemeKind::OpenIdConnect))
    };
    let by_token = alternatives.is_empty() || alternatives.iter().any(|one| one.schemes.keys().all(is_token));
    // Scopes of all alternatives are looked at together.
    let scopes = alternatives
        .iter()
        .flat_map(|one| &one.schemes)
        .filter(|(name, _)| is_token(name))
        .flat_map(|(_, scopes)| scopes);
    by_token.then(|| Demand::Token(scopes.cloned().collect()))
}
