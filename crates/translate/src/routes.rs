//! Resources to routes (spec/adapter.md 5.3–5.6, 5.8).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use trireme_project::{ApiProject, Cors as ProjectCors, EndpointCluster, Resource};
use trireme_proto::names::{CLUSTER_HEADER, context};
use trireme_routing::snapshot::{
    Action, Check, ClusterRef, Cors, Filters, Forward, Guard, PathMatch, Retry, Rewrite, Route,
};

use crate::clusters::{Target, Targets};
use crate::{Deployed, Settings, headers, template};

/// RE2 substitutions name their groups by one digit.
const MAX_GROUPS: usize = 9;

/// Routes of one resource: the sandbox's own one first, where a single rewrite can't serve both environments.
pub(crate) fn of_resource(
    deployed: &Deployed<'_>,
    resource: &Resource,
    targets: &Targets,
    settings: &Settings,
) -> Vec<Route> {
    let project = deployed.project;
    let pattern = template::pattern(
        &project.base_path,
        &project.identity.version,
        project.default_version,
        &resource.path,
    );
    let route = |target: Option<&Target>, headers: Vec<(String, String)>| {
        let base_path = target.map_or("", |target| &target.base_path);
        let action = Action::Forward(forward(project, resource, &pattern, base_path, settings));
        Route {
            name: project.base_path.clone(),
            methods: methods(resource),
            headers,
            filters: Filters {
                check: Check::Required {
                    context: context_of(deployed, resource, targets),
                    with_body: settings.pass_payload && project.pass_request_payload,
                },
                cors: cors(project, settings),
                headers: headers::of(project, resource),
                ..Filters::default()
            },
            guard: guard(project, resource),
            ..Route::new(PathMatch::Regex(pattern.clone()), action)
        }
    };
    let mut routes = Vec::with_capacity(2);
    if let (Some(production), Some(sandbox)) = (&targets.production, &targets.sandbox)
        && production.base_path != sandbox.base_path
    {
        let header = (CLUSTER_HEADER.to_owned(), sandbox.cluster.clone());
        routes.push(route(Some(sandbox), vec![header]));
    }
    let target = targets.production.as_ref().or(targets.sandbox.as_ref());
    routes.push(route(target, Vec::new()));
    routes
}

/// What the operations of a resource ask for, told only where all ask for the same.
fn guard(project: &ApiProject, resource: &Resource) -> Guard {
    let mut demands = resource
        .operations
        .iter()
        .map(|operation| (!operation.disable_security).then(|| project.requirements(operation)));
    let Some(first) = demands
        .next()
        .filter(|first| demands.all(|other| other == *first))
    else {
        return Guard::Untold;
    };
    let Some(security) = first else {
        return Guard::Open;
    };
    let digest = Sha256::digest(format!("{security:?}"));
    let number = digest.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
    // 0 and 1 mean something else.
    Guard::Demand(number.max(2))
}

/// OPTIONS is always let through: the enforcer answers it when the resource doesn't define it.
fn methods(resource: &Resource) -> Vec<String> {
    let mut methods: Vec<String> = resource
        .operations
        .iter()
        .map(|operation| operation.method.clone())
        .collect();
    if !methods.iter().any(|method| method == "OPTIONS") {
        methods.push("OPTIONS".to_owned());
    }
    methods
}

fn forward(
    project: &ApiProject,
    resource: &Resource,
    pattern: &str,
    endpoint_base: &str,
    settings: &Settings,
) -> Forward {
    let upstream = &settings.upstream;
    let rewrite = if template::groups(&resource.path) <= MAX_GROUPS {
        Rewrite::Regex {
            pattern: pattern.to_owned(),
            substitution: template::substitution(endpoint_base, &resource.path),
        }
    } else {
        // Only the start is replaced, so the client's own trailing slash stays.
        Rewrite::Regex {
            pattern: template::prefix(
                &project.base_path,
                &project.identity.version,
                project.default_version,
            ),
            substitution: template::substitution(endpoint_base, ""),
        }
    };
    let retries = |endpoints: &Option<EndpointCluster>| {
        endpoints
            .as_ref()
            .is_some_and(|endpoints| endpoints.config.retry.is_some())
    };
    Forward {
        cluster: ClusterRef::Header(CLUSTER_HEADER.to_owned()),
        rewrite: Some(rewrite),
        auto_host: true,
        timeout: upstream.route_timeout,
        idle_timeout: upstream.route_idle_timeout,
        // The enforcer sends the count with each request; without a policy on the route the router would not look.
        retry: (retries(&project.production) || retries(&project.sandbox)).then(|| Retry {
            count: 0,
            statuses: upstream.retry.statuses.clone(),
            backoff_base: upstream.retry.backoff_base,
        }),
        websocket: false,
        max_stream_duration: None,
    }
}

/// What a check says of its route, but for the revision.
fn context_of(deployed: &Deployed<'_>, resource: &Resource, targets: &Targets) -> BTreeMap<String, String> {
    let project = deployed.project;
    let methods: Vec<&str> = resource
        .operations
        .iter()
        .map(|operation| operation.method.as_str())
        .collect();
    let cluster = |target: &Option<Target>| {
        target
            .as_ref()
            .map(|target| target.cluster.clone())
            .unwrap_or_default()
    };
    [
        (context::BASE_PATH, project.base_path.clone()),
        (context::METHOD, methods.join(" ")),
        (context::NAME, project.identity.name.clone()),
        (context::PATH, resource.path.clone()),
        (context::PROD_CLUSTER, cluster(&targets.production)),
        (context::SAND_CLUSTER, cluster(&targets.sandbox)),
        (context::VERSION, project.identity.version.clone()),
        (context::VHOST, deployed.vhost.to_owned()),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value))
    .collect()
}

fn cors(project: &ApiProject, settings: &Settings) -> Option<Arc<Cors>> {
    match &project.cors {
        ProjectCors::Custom(policy) => Some(Arc::new(Cors {
            allow_origins: policy.allow_origins.clone(),
            allow_methods: policy.allow_methods.clone(),
            allow_headers: policy.allow_headers.clone(),
            expose_headers: policy.expose_headers.clone(),
            allow_credentials: policy.allow_credentials,
        })),
        ProjectCors::Global => settings.cors.clone(),
        ProjectCors::Off => None,
    }
}

/// The timeout that a project may have, of what it asks for.
pub(crate) fn capped(timeout: Duration, settings: &Settings) -> Duration {
    timeout.min(settings.upstream.max_route_timeout)
}
