//! API projects to what router and enforcer serve: a list of pure steps, the same input gives the same output.
//!
//! ```text
//! Deployed ─┬─ clusters::Plan ──▶ Cluster…, targets of each resource ─┬─ routes::of_resource ──▶ Fragment
//!           └─ policy::of ─────────────────────────────────────────────┴──────────────────────▶ ApiPolicy
//! ```
//!
//! One API doesn't know of the others here; that two of them don't claim the same name is the catalogue's business.

mod clusters;
mod guards;
pub mod names;
mod policy;
mod routes;
mod settings;
pub mod system;
pub mod targets;
mod template;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use crate::settings::{RetrySettings, Settings, System, TlsSettings, Upstream};

use std::collections::BTreeSet;

use trireme_policy::ApiPolicy;
use trireme_policy::api::Method;
use trireme_project::{ApiKind, ApiProject, Diagnostic, Extensions, Implementation, Resource};
use trireme_proto::names::context as context_key;
use trireme_routing::snapshot::{Check, Cluster, Fragment, Position, Revision, VirtualHost};

/// The file that says what kind of API it is.
const API: &str = "api.yaml";
/// The definition, by its usual name.
const DEFINITION: &str = "Definitions/swagger.yaml";

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
    for resource in project.resources.iter().filter(|resource| is_served(resource)) {
        let targets = plan.targets(resource, &mut findings);
        routes.extend(routes::of_resource(deployed, resource, &targets, settings));
    }
    let fragment = Fragment {
        name: deployed.name(),
        position: if is_default(project) {
            Position::Back
        } else {
            Position::Front
        },
        revision: deployed.revision,
        virtual_hosts: vec![VirtualHost {
            name: deployed.vhost.to_owned(),
            routes,
        }],
    };
    for path in system::shadows(&fragment, settings) {
        findings.warn(format!(
            "requests for {path} on {} are answered by the gateway itself, not by this API",
            deployed.vhost
        ));
    }
    Ok(Api {
        fragment,
        clusters: plan.into_clusters(),
        policy,
        warnings: findings.found,
    })
}

/// What is found in a project that was read, with every environment that it names: for those who want to know without a gateway.
#[must_use]
pub fn findings(project: &ApiProject, settings: &Settings) -> Vec<Diagnostic> {
    let environments = project.deployments.iter().map(|deployment| {
        let vhost = names::DEFAULT_VHOST.to_owned();
        (deployment.environment.clone(), vhost)
    });
    let targets = match targets::of(project, &environments.collect()) {
        Ok(targets) => targets.targets,
        Err(findings) => return findings,
    };
    let deployed = Deployed {
        project,
        organization: "",
        vhost: targets
            .first()
            .map_or(names::DEFAULT_VHOST, |target| target.vhost.as_str()),
        revision: Revision::default(),
    };
    api(&deployed, settings).map_or_else(|errors| errors, |api| api.warnings)
}

/// Whether the API has a base path without its version as well.
fn is_default(project: &ApiProject) -> bool {
    project.default_version && template::unversioned(&project.base_path, &project.identity.version).is_some()
}

/// A resource whose every method is unknown to the enforcer has no routes either.
fn is_served(resource: &Resource) -> bool {
    resource
        .operations
        .iter()
        .any(|operation| Method::parse(&operation.method).is_some())
}

/// Half of an API is worse than none: what the gateway can't do yet is refused by name.
fn refuse_unserved(project: &ApiProject, findings: &mut Findings) {
    match project.kind {
        ApiKind::GraphQl => findings.refuse(API, "/data/type", "APIs of type GRAPHQL are not served yet"),
        ApiKind::Ws => findings.refuse(API, "/data/type", "APIs of type WS are not served yet"),
        ApiKind::Http | ApiKind::Soap => {}
    }
    match project.implementation {
        Implementation::Lambda => findings.refuse(
            API,
            "/data/endpointConfig/endpoint_type",
            "AWS functions are not served yet",
        ),
        Implementation::Mocked => findings.refuse(
            API,
            "/data/endpointImplementationType",
            "mocked APIs are not served yet",
        ),
        Implementation::Upstream => {}
    }
    guards::refuse(project, findings);
    let mut clusters = BTreeSet::new();
    for name in project.named_endpoints.keys() {
        if !clusters.insert(names::cluster("", names::Role::Named(name), "", None)) {
            findings.refuse(
                DEFINITION,
                "/x-wso2-endpoints",
                &format!(
                    "{name} differs from another name by blanks only, which names of clusters leave out"
                ),
            );
        }
    }
}

fn warn_ignored(project: &ApiProject, findings: &mut Findings) {
    let operations = || project.resources.iter().flat_map(|resource| &resource.operations);
    if !project.api_policies.is_empty() || operations().any(|operation| !operation.policies.is_empty()) {
        findings.warn("operation policies have no effect yet");
    }
    let interceptor = |extensions: &Extensions| extensions.contains_key("x-wso2-response-interceptor");
    if interceptor(&project.extensions)
        || project
            .resources
            .iter()
            .any(|resource| interceptor(&resource.extensions))
        || operations().any(|operation| interceptor(&operation.extensions))
    {
        findings.warn("response interceptors have no effect yet");
    }
}

impl Api {
    /// Makes this the API's generation `revision`, in its routes as in its policy.
    pub fn stamp(&mut self, revision: Revision) {
        let text = format!("{}.{}", revision.epoch, revision.counter);
        self.fragment.revision = revision;
        for vhost in &mut self.fragment.virtual_hosts {
            for route in &mut vhost.routes {
                if let Check::Required { context, .. } = &mut route.filters.check {
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
    fn refuse(&mut self, file: &str, pointer: &str, message: &str) {
        self.refused = true;
        self.found.push(Diagnostic::error(file, pointer, message));
    }

    fn warn(&mut self, message: impl Into<String>) {
        self.found.push(Diagnostic::warning("", "", message));
    }
}
