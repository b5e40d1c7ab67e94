//! Resources to routes (spec/adapter.md 5.3–5.6, 5.8).

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use trireme_project::{AmbiguousPath, ApiProject, Cors as ProjectCors, EndpointCluster, Resource};
use trireme_proto::names::{CLUSTER_HEADER, context};
use trireme_routing::Permitted;
use trireme_routing::snapshot::{
    Action, Check, ClusterRef, Cors, Filters, Forward, Guard, PathMatch, Retry, Rewrite, Route,
};

use crate::clusters::{Target, Targets};
use crate::{Deployed, Settings, headers, limits, template};

const OPTIONS: &str = "OPTIONS";

/// RE2 substitutions name their groups by one digit.
const MAX_GROUPS: usize = 9;

/// Routes of one resource: the sandbox's own one first, where a single rewrite can't serve both environments.
pub(crate) fn of_resource(
    deployed: &Deployed<'_>,
    resource: &Resource,
    methods: &[String],
    targets: &Targets,
    settings: &Settings,
) -> Vec<Route> {
    let project = deployed.project;
    let pattern = pattern(project, resource);
    let route = |target: Option<&Target>, headers: Vec<(String, String)>| {
        let base_path = target.map_or("", |target| &target.base_path);
        let action = Action::Forward(forward(project, resource, &pattern, base_path, settings));
        Route {
            name: project.base_path.clone(),
            methods: methods.to_vec(),
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
            ambiguous_paths: ambiguous_paths(project, settings),
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

/// What the project says replaces what the configuration says: an empty list closes the API.
fn ambiguous_paths(project: &ApiProject, settings: &Settings) -> Permitted {
    let Some(kinds) = &project.ambiguous_paths else {
        return settings.ambiguous_paths;
    };
    let each = kinds.iter().map(|kind| match kind {
        AmbiguousPath::DoubleEncoding => Permitted::DOUBLE_ENCODING,
        AmbiguousPath::EmptySegment => Permitted::EMPTY_SEGMENT,
        AmbiguousPath::EncodedBackslash => Permitted::ENCODED_BACKSLASH,
        AmbiguousPath::EncodedSlash => Permitted::ENCODED_SLASH,
    });
    each.fold(Permitted::NONE, |all, one| all | one)
}

/// What the operations of a resource ask for and hold callers to, told only where all do the same.
fn guard(project: &ApiProject, resource: &Resource) -> Guard {
    let mut demands = resource.operations.iter().map(|operation| {
        let security = (!operation.disable_security).then(|| project.requirements(operation));
        (security, limits::tier(project, operation))
    });
    let Some(first) = demands
        .next()
        .filter(|first| demands.all(|other| other == *first))
    else {
        return Guard::Untold;
    };
    let demand = match first {
        (None, None) => return Guard::Open,
        (Some(security), None) => format!("{security:?}"),
        (security, Some(tier)) => format!("{security:?} {tier}"),
    };
    let digest = Sha256::digest(demand);
    let number = digest.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
    // 0 and 1 mean something else.
    Guard::Demand(number.max(2))
}

fn pattern(project: &ApiProject, resource: &Resource) -> String {
    template::pattern(
        &project.base_path,
        &project.identity.version,
        project.default_version,
        &resource.path,
    )
}

/// Resources in the order of their routes, with the methods of each. OPTIONS is let through by every route, for the enforcer to answer
/// where it isn't defined (spec/adapter.md 5.5), so a resource that does define it has a route for it alone in front of another one for
/// the same requests.
pub(crate) fn in_order<'a>(
    project: &ApiProject,
    resources: &[&'a Resource],
) -> Vec<(&'a Resource, Vec<String>)> {
    let mut defining: HashMap<String, &Resource> = HashMap::new();
    for resource in resources.iter().filter(|resource| has_options(resource)) {
        defining.entry(pattern(project, resource)).or_insert(resource);
    }
    let mut ordered = Vec::with_capacity(resources.len());
    for resource in resources {
        let is_own = has_options(resource);
        if !defining.is_empty()
            && let Some(defining) = defining.remove(&pattern(project, resource))
            && !is_own
        {
            ordered.push((defining, vec![OPTIONS.to_owned()]));
        }
        let operations = resource.operations.iter();
        let options = (!is_own).then(|| OPTIONS.to_owned());
        let methods = operations
            .map(|operation| operation.method.clone())
            .chain(options);
        ordered.push((*resource, methods.collect()));
    }
    ordered
}

fn has_options(resource: &Resource) -> bool {
    resource
        .operations
        .iter()
        .any(|operation| operation.method == OPTIONS)
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

#[cfg(test)]
mod tests {
    use trireme_routing::Ambiguity;
    use trireme_routing::snapshot::Revision;

    use super::*;
    use crate::{draft, testing};

    fn taken(line: &str, settings: &Settings) -> Vec<Permitted> {
        let definition = format!("{}{line}", testing::DEFINITION);
        let project = testing::read(testing::API, &definition, &[]).project;
        let deployed = Deployed {
            project: &project,
            organization: "carbon.super",
            vhost: "localhost",
        };
        let api = draft(&deployed, settings).unwrap().at(Revision::default());
        let hosts = api.fragment.virtual_hosts.into_iter();
        hosts
            .flat_map(|host| host.routes)
            .map(|route| route.ambiguous_paths)
            .collect()
    }

    #[test]
    fn what_an_api_says_of_ambiguous_paths_replaces_the_default() {
        let closed = Settings::default();
        let open = Settings {
            ambiguous_paths: Permitted::ENCODED_SLASH,
            ..Settings::default()
        };
        for (line, settings, want) in [
            ("", &closed, Permitted::NONE),
            ("", &open, Permitted::ENCODED_SLASH),
            ("x-wso2-allow-ambiguous-path: []\n", &open, Permitted::NONE),
            (
                "x-wso2-allow-ambiguous-path: [empty_segment]\n",
                &open,
                Permitted::EMPTY_SEGMENT,
            ),
            (
                "x-wso2-allow-ambiguous-path: [encoded_slash, double_slash, double_encoding, encoded_backslash]\n",
                &closed,
                Permitted::ALL,
            ),
        ] {
            assert_eq!(taken(line, settings), [want], "{line}");
        }
    }

    #[test]
    fn projects_and_routes_have_the_same_names_for_ambiguous_paths() {
        for kind in Ambiguity::ALL {
            match AmbiguousPath::named(kind.as_str()) {
                Ok(named) => assert_eq!(named.as_str(), kind.as_str()),
                Err(refused) => assert!(refused.contains("can't be allowed"), "{refused}"),
            }
            assert_eq!(
                AmbiguousPath::named(kind.as_str()).is_ok(),
                kind.is_permissible(),
                "{kind}"
            );
        }
    }

    /// By the paths of their resources.
    fn guards(paths: &str) -> Vec<(String, Guard)> {
        let definition = format!("openapi: 3.0.1\ninfo: {{ title: T, version: V }}\npaths:\n{paths}");
        let project = testing::read(testing::API, &definition, &[]).project;
        let each = project.resources.iter();
        each.map(|resource| (resource.path.to_string(), guard(&project, resource)))
            .collect()
    }

    #[test]
    fn what_a_resource_holds_callers_to_is_part_of_its_guard() {
        let open = "x-auth-type: None";
        let found = guards(&format!(
            "  /a:\n    get: {{}}\n    put: {{}}\n  /b:\n    get: {{ x-throttling-tier: Gold }}\n  \
             /c:\n    get: {{ x-throttling-tier: Gold }}\n    put: {{}}\n  \
             /d:\n    get: {{ {open} }}\n  /e:\n    get: {{ {open}, x-throttling-tier: Gold }}\n  \
             /f:\n    get: {{ {open}, x-throttling-tier: Unlimited }}\n"
        ));
        let of = |path: &str| found.iter().find(|(name, _)| name == path).unwrap().1;
        assert!(matches!(of("/a"), Guard::Demand(_)));
        assert!(matches!(of("/b"), Guard::Demand(_)));
        assert_ne!(of("/a"), of("/b"));
        assert_eq!(of("/c"), Guard::Untold);
        assert_eq!((of("/d"), of("/f")), (Guard::Open, Guard::Open));
        assert!(matches!(of("/e"), Guard::Demand(_)));
        assert_ne!(of("/e"), of("/b"));
    }
}
