//! One API on one virtual host, translated.

use trireme_policy::ApiPolicy;
use trireme_policy::api::Method;
use trireme_project::{ApiProject, Diagnostic, Resource};
use trireme_proto::names::context;
use trireme_routing::snapshot::{Check, Cluster, Fragment, Position, Revision, VirtualHost};

use crate::clusters::Plan;
use crate::findings::Findings;
use crate::{Deployed, Settings, headers, limits, policy, routes, system, template, unserved};

/// All that becomes of an API but for its revision, which is known once it is stored. A project is judged by its draft, before
/// anything is stored; only what has a revision can be published.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft {
    name: String,
    position: Position,
    vhost: VirtualHost,
    clusters: Vec<Cluster>,
    /// Its revision is still to be given.
    policy: ApiPolicy,
    warnings: Vec<Diagnostic>,
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
}

/// Translates one API.
///
/// # Errors
/// All findings when the project asks for something that can't be served.
pub fn draft(deployed: &Deployed<'_>, settings: &Settings) -> Result<Draft, Vec<Diagnostic>> {
    let project = deployed.project;
    let mut findings = Findings::default();
    unserved::refuse(project, &mut findings);
    headers::refuse(project, &mut findings);
    limits::judge(project, &settings.tiers, &mut findings);
    if findings.refused {
        return Err(findings.found);
    }
    unserved::warn(project, &mut findings);
    let policy = policy::of(deployed, settings, &mut findings);
    let mut plan = Plan::new(
        project,
        deployed.organization,
        deployed.vhost,
        settings,
        &mut findings,
    );
    let mut routes = Vec::with_capacity(project.resources.len());
    let resources: Vec<_> = project
        .resources
        .iter()
        .filter(|resource| is_served(resource))
        .collect();
    for (resource, methods) in routes::in_order(project, &resources) {
        let targets = plan.targets(resource, &mut findings);
        routes.extend(routes::of_resource(
            deployed, resource, &methods, &targets, settings,
        ));
    }
    let vhost = VirtualHost {
        name: deployed.vhost.to_owned(),
        routes,
    };
    for path in system::shadows(&vhost, settings) {
        findings.warn(format!(
            "requests for {path} on {} are answered by the gateway itself, not by this API",
            deployed.vhost
        ));
    }
    Ok(Draft {
        name: deployed.name(),
        position: if is_default(project) {
            Position::Back
        } else {
            Position::Front
        },
        vhost,
        clusters: plan.into_clusters(),
        policy,
        warnings: findings.found,
    })
}

impl Draft {
    /// The API as its generation `revision`, which routes, policy and every check of a route say alike.
    #[must_use]
    pub fn at(self, revision: Revision) -> Api {
        let Self {
            name,
            position,
            mut vhost,
            clusters,
            policy,
            warnings: _,
        } = self;
        let text = revision.to_string();
        for route in &mut vhost.routes {
            if let Check::Required { context, .. } = &mut route.filters.check {
                context.insert(context::REVISION.to_owned(), text.clone());
            }
        }
        Api {
            fragment: Fragment {
                name,
                position,
                revision,
                virtual_hosts: vec![vhost],
            },
            clusters,
            policy: ApiPolicy { revision, ..policy },
        }
    }

    /// Kind of the API as it is listed: `HTTP`, `WS`, `GRAPHQL`.
    #[must_use]
    pub fn kind(&self) -> &str {
        self.policy.kind.as_str()
    }

    /// What in it has no effect.
    #[must_use]
    pub fn warnings(&self) -> &[Diagnostic] {
        &self.warnings
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn a_revision_is_said_by_routes_policy_and_every_check_alike() {
        let project = testing::read(testing::API, testing::DEFINITION, &[]).project;
        let deployed = Deployed {
            project: &project,
            organization: "carbon.super",
            vhost: "localhost",
        };
        let draft = draft(&deployed, &Settings::default()).unwrap();
        for revision in [
            Revision { epoch: 7, counter: 3 },
            Revision { epoch: 7, counter: 4 },
        ] {
            let api = draft.clone().at(revision);
            assert_eq!((api.fragment.revision, api.policy.revision), (revision, revision));
            let routes = &api.fragment.virtual_hosts[0].routes;
            assert!(!routes.is_empty());
            for route in routes {
                let Check::Required { context, .. } = &route.filters.check else {
                    panic!("{} is unchecked", route.name);
                };
                assert_eq!(context[context::REVISION], revision.to_string());
            }
        }
    }
}
