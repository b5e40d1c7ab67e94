//! API projects to what router and enforcer serve: a list of pure steps, the same input gives the same output.
//!
//! ```text
//! Deployed ─┬─ clusters::Plan ──▶ Cluster…, targets of each resource ─┬─ routes::of_resource ──▶ Fragment
//!           └─ policy::of ─────────────────────────────────────────────┴──────────────────────▶ ApiPolicy
//! ```
//!
//! One API doesn't know of the others here; that two of them don't claim the same name is the catalogue's business.

mod clusters;
mod policy;
mod routes;
mod settings;
pub mod system;
pub mod template;

pub use settings::{RetrySettings, Settings, System, TlsSettings, Upstream};

use trireme_openapi::{ApiKind, ApiProject, Diagnostic, Implementation, Resource};
use trireme_policy::ApiPolicy;
use trireme_policy::api::Method;
use trireme_proto::names::context as context_key;
use trireme_routing::snapshot::{Check, Cluster, Fragment, Position, Revision, VirtualHost};

use crate::names;

/// One API on one virtual host.
#[derive(Debug, Clone, Copy)]
pub struct Deployed<'a> {
    /// What it is.
    pub project: &'a ApiProject,
    /// Whose it is.
    pub organization: &'a str,
    /// Where it is, in lower case.
    pub vhost: &'a str,
    /// Which generation it is.
    pub revision: Revision,
}

/// What becomes of some APIs.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Translation {
    /// Routes, one fragment per API that could be translated.
    pub fragments: Vec<Fragment>,
    /// Clusters of all those APIs.
    pub clusters: Vec<Cluster>,
    /// Policies, named like the fragments and in their order.
    pub policies: Vec<ApiPolicy>,
    /// What was found, by resource name. An API with an error isn't in the other lists.
    pub diagnostics: Vec<(String, Diagnostic)>,
}

/// What becomes of one API.
#[derive(Debug, Clone, PartialEq)]
pub struct Api {
    /// Its routes.
    pub fragment: Fragment,
    /// Its clusters, in order of their names.
    pub clusters: Vec<Cluster>,
    /// Its policy.
    pub policy: ApiPolicy,
    /// What in it has no effect.
    pub warnings: Vec<Diagnostic>,
}

/// Translates each of `apis`; a bad one is left out with its diagnostics and doesn't keep the others back.
#[must_use]
pub fn translate<'a>(apis: impl IntoIterator<Item = Deployed<'a>>, settings: &Settings) -> Translation {
    let mut translation = Translation::default();
    for deployed in apis {
        let name = deployed.name();
        let found = match api(&deployed, settings) {
            Ok(api) => {
                translation.fragments.push(api.fragment);
                translation.clusters.extend(api.clusters);
                translation.policies.push(api.policy);
                api.warnings
            }
            Err(errors) => errors,
        };
        translation
            .diagnostics
            .extend(found.into_iter().map(|found| (name.clone(), found)));
    }
    translation
}

/// Translates one API.
///
/// # Errors
/// All findings when the project asks for something that can't be served.
pub fn api(deployed: &Deployed<'_>, settings: &Settings) -> Result<Api, Vec<Diagnostic>> {
    let project = deployed.project;
    let mut findings = Findings::default();
    refuse_unserved(project, &mut findings);
    if findings.refused {
        return Err(findings.found);
    }
    warn_ignored(project, &mut findings);
    let policy = policy::of(deployed, settings, &mut findings);
    let mut plan = clusters::Plan::new(
        project,
        deployed.organization,
        deployed.vhost,
        settings,
        &mut findings,
    );
    let mut routes = Vec::with_capacity(project.resources.len());
    for resource in &project.resources {
        if !served(resource) {
            continue;
        }
        let targets = plan.targets(resource, &mut findings);
        routes.extend(routes::of_resource(deployed, resource, &targets, settings));
    }
    Ok(Api {
        fragment: Fragment {
            name: deployed.name(),
            position: if project.default_version {
                Position::Back
            } else {
                Position::Front
            },
            revision: deployed.revision,
            virtual_hosts: vec![VirtualHost {
                name: deployed.vhost.to_owned(),
                routes,
            }],
        },
        clusters: plan.into_clusters(),
        policy,
        warnings: findings.found,
    })
}

/// A resource whose every method is unknown to the enforcer has no routes either.
fn served(resource: &Resource) -> bool {
    resource
        .operations
        .iter()
        .any(|operation| Method::parse(&operation.method).is_some())
}

/// Half of an API is worse than none: what the gateway can't do yet is refused by name.
fn refuse_unserved(project: &ApiProject, findings: &mut Findings) {
    match project.kind {
        ApiKind::GraphQl => findings.refuse("APIs of type GRAPHQL are not served yet"),
        ApiKind::Ws => findings.refuse("APIs of type WS are not served yet"),
        ApiKind::Http | ApiKind::Soap => {}
    }
    match project.implementation {
        Implementation::Lambda => findings.refuse("AWS functions are not served yet"),
        Implementation::Mocked | Implementation::Upstream => {}
    }
}

fn warn_ignored(project: &ApiProject, findings: &mut Findings) {
    let operations = || project.resources.iter().flat_map(|resource| &resource.operations);
    if operations().any(|operation| !operation.policies.is_empty()) {
        findings.warn("operation policies have no effect yet");
    }
    let interceptor = |extensions: &trireme_openapi::Extensions| {
        extensions.contains_key("x-wso2-request-interceptor")
            || extensions.contains_key("x-wso2-response-interceptor")
    };
    if interceptor(&project.extensions)
        || project
            .resources
            .iter()
            .any(|resource| interceptor(&resource.extensions))
        || operations().any(|operation| interceptor(&operation.extensions))
    {
        findings.warn("interceptors have no effect yet");
    }
}

impl Api {
    /// Makes this the API's generation `revision`, in its routes as in its policy.
    pub fn stamp(&mut self, revision: Revision) {
        let text = format!("{}.{}", revision.epoch, revision.counter);
        self.fragment.revision = revision;
        for vhost in &mut self.fragment.virtual_hosts {
            for route in &mut vhost.routes {
                if let Check::Required { context, .. } = &mut route.check {
                    context.insert(context_key::REVISION.to_owned(), text.clone());
                }
            }
        }
        self.policy.revision = trireme_policy::api::Revision {
            epoch: revision.epoch,
            counter: revision.counter,
        };
    }
}

impl Deployed<'_> {
    /// Name of the API's fragment and policy.
    #[must_use]
    pub fn name(&self) -> String {
        names::resource(
            self.vhost,
            &self.project.base_path,
            &self.project.identity.version,
        )
    }
}

/// Collects what is found on the way.
#[derive(Debug, Default)]
struct Findings {
    found: Vec<Diagnostic>,
    refused: bool,
}

impl Findings {
    fn refuse(&mut self, message: impl Into<String>) {
        self.refused = true;
        self.found.push(Diagnostic::error("", "", message));
    }

    fn warn(&mut self, message: impl Into<String>) {
        self.found.push(Diagnostic::warning("", "", message));
    }
}
