//! The route after the enforcer has chosen a cluster: what a second search with the header would find.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use proptest::test_runner::TestRunner;
use trireme_proto::names::CLUSTER_HEADER;
use trireme_routing::snapshot::*;
use trireme_routing::{Matched, Permitted, RouteTable};

const METHODS: [&str; 3] = ["GET", "POST", "OPTIONS"];

fn runner(cases: u32) -> TestRunner {
    TestRunner::new(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(cases)
    })
}

fn table(fragments: Vec<Fragment>) -> RouteTable {
    let update = RouteTable::new().update(fragments, &[]);
    assert_eq!(update.rejected, []);
    update.table
}

fn fragment(name: String, position: Position, routes: Vec<Route>) -> Fragment {
    Fragment {
        name,
        position,
        revision: Revision::default(),
        virtual_hosts: vec![VirtualHost {
            name: "h".to_owned(),
            routes,
        }],
    }
}

fn forward(rewrite: Option<Rewrite>) -> Action {
    Action::Forward(Forward {
        cluster: ClusterRef::Header(CLUSTER_HEADER.to_owned()),
        rewrite,
        auto_host: true,
        timeout: Duration::ZERO,
        idle_timeout: Duration::ZERO,
        retry: None,
        websocket: false,
        max_stream_duration: None,
    })
}

/// Searches with a cluster, and perhaps with another header that routes look at.
fn find<'t>(
    table: &'t RouteTable,
    path: &str,
    method: &str,
    cluster: Option<&str>,
    other: bool,
) -> Option<Matched<'t>> {
    table.find("h", path, method, |name| match name {
        CLUSTER_HEADER => cluster.map(str::as_bytes),
        "x-a" => other.then_some(&b"1"[..]),
        _ => None,
    })
}

/// Which route it is, and what becomes of the path.
fn seen(matched: &Matched<'_>, path: &str) -> (String, (u32, u32), String) {
    let rewritten = matched.rewrite_path(path).into_owned();
    (matched.fragment().to_owned(), matched.place(), rewritten)
}

// === As the adapter makes them ===

#[derive(Debug, Clone)]
struct Api {
    context: &'static str,
    /// Answers without its version as well.
    default: bool,
    resources: Vec<(&'static str, Vec<&'static str>)>,
    /// Base paths of the endpoints of production and sandbox.
    endpoints: (Option<&'static str>, Option<&'static str>),
}

const TEMPLATES: [&str; 6] = [
    "/p",
    "/p/{id}",
    "/{kind}/q",
    "/p/*",
    "/*",
    // More groups than a substitution can name: only the beginning is rewritten, by a pattern of its own.
    "/{a}/{b}/{c}/{d}/{e}/{f}/{g}/{h}/{i}/{j}",
];

fn api() -> impl Strategy<Value = Api> {
    let resource = (select(&TEMPLATES[..]), subsequence(&METHODS[..2], 1..=2));
    let endpoints = select(vec![
        (Some("/v1"), None),
        (None, Some("/v1")),
        (Some("/v1"), Some("/v1")),
        (Some("/v1"), Some("/sand")),
        (Some(""), Some("/sand")),
    ]);
    (
        select(vec!["/a", "/a/b", "/c"]),
        any::<bool>(),
        vec(resource, 1..5),
        endpoints,
    )
        .prop_map(|(context, default, resources, endpoints)| Api {
            context,
            default,
            resources,
            endpoints,
        })
}

impl Api {
    fn fragment(&self, number: usize) -> Fragment {
        let routes = self
            .resources
            .iter()
            .flat_map(|resource| self.routes(number, resource));
        let position = if self.default {
            Position::Back
        } else {
            Position::Front
        };
        fragment(format!("h{}/{number}", self.context), position, routes.collect())
    }

    fn routes(&self, number: usize, (template, methods): &(&str, Vec<&str>)) -> Vec<Route> {
        let context = self.context;
        let head = if self.default {
            format!("^(?:{context}/{number}|{context})")
        } else {
            format!("^{context}/{number}")
        };
        let (steps, tail) = match template.strip_suffix("/*") {
            Some(steps) => (steps, "(/.*)*"),
            None => (*template, "[/]{0,1}"),
        };
        let (mut pattern, mut substitution, mut groups) = (head.clone(), String::new(), 0);
        for step in steps.split('/').skip(1) {
            if step.starts_with('{') {
                groups += 1;
                pattern.push_str("/([^/]+)");
                substitution.push_str(&format!("/\\{groups}"));
            } else {
                pattern.push_str(&format!("/{step}"));
                substitution.push_str(&format!("/{step}"));
            }
        }
        pattern.push_str(tail);
        if tail == "(/.*)*" {
            substitution.push_str(&format!("\\{}", groups + 1));
        }
        let route = |endpoint: &str, headers| {
            let (searched, substitution) = if groups > 9 {
                (head.clone(), endpoint.to_owned())
            } else {
                (pattern.clone(), format!("{endpoint}{substitution}"))
            };
            let rewrite = Rewrite::Regex {
                pattern: searched,
                substitution,
            };
            let mut route = Route {
                name: format!("{context}/{number}"),
                methods: methods.iter().map(|&method| method.to_owned()).collect(),
                headers,
                guard: Guard::Demand(2),
                ..Route::new(PathMatch::Regex(pattern.clone()), forward(Some(rewrite)))
            };
            route.filters.check = Check::Required {
                context: BTreeMap::from([
                    ("basePath".to_owned(), format!("{context}/{number}")),
                    ("path".to_owned(), (*template).to_owned()),
                ]),
                with_body: false,
            };
            route
        };
        let mut routes = Vec::new();
        if let (Some(production), Some(sandbox)) = self.endpoints
            && production != sandbox
        {
            let condition = (CLUSTER_HEADER.to_owned(), format!("sand{number}"));
            routes.push(route(sandbox, vec![condition]));
        }
        let endpoint = self.endpoints.0.or(self.endpoints.1);
        routes.push(route(endpoint.unwrap_or_default(), Vec::new()));
        routes
    }
}

#[test]
fn steering_is_a_search_with_the_header() {
    let step = select(vec!["a", "b", "c", "p", "q", "0", "1", "2", ""]);
    let path = vec(step, 1..13).prop_map(|steps| format!("/{}", steps.join("/")));
    let begun =
        (select(vec!["/a", "/a/0", "/a/b", "/a/b/1", "/c/2"]), path).prop_map(|(a, b)| a.to_owned() + &b);
    let requests = vec((begun, select(METHODS.to_vec())), 24);
    let (found, moved) = (Cell::new(0), Cell::new(0));
    let property = |(apis, requests): (Vec<Api>, Vec<(String, &str)>)| {
        let table = table(
            apis.iter()
                .enumerate()
                .map(|(number, api)| api.fragment(number))
                .collect(),
        );
        let clusters = [
            None,
            Some("prod0"),
            Some("sand0"),
            Some("sand1"),
            Some("sand2"),
            Some("sand"),
        ];
        for (path, method) in &requests {
            for before in clusters {
                let Some(matched) = find(&table, path, method, before, false) else {
                    continue;
                };
                found.set(found.get() + 1);
                for cluster in clusters.into_iter().flatten() {
                    let steered = matched.steered(cluster);
                    let searched = find(&table, path, method, Some(cluster), false).expect("a route");
                    prop_assert_eq!(
                        seen(&steered, path),
                        seen(&searched, path),
                        "{} {} from {:?} to {}",
                        method,
                        path,
                        before,
                        cluster
                    );
                    moved.set(moved.get() + u32::from(steered.place() != matched.place()));
                }
            }
        }
        Ok(())
    };
    runner(400).run(&(vec(api(), 1..4), requests), property).unwrap();
    assert!(found.get() > 2_000 && moved.get() > 1_000, "{found:?} {moved:?}");
}

// === Of any make ===

fn odd_route() -> impl Strategy<Value = Route> {
    let path = select(vec![
        PathMatch::Exact("/a/x".to_owned()),
        PathMatch::Prefix("/a".to_owned()),
        PathMatch::Regex("^/a/([^/]+)[/]{0,1}".to_owned()),
        PathMatch::Regex("^(?:/a/b|/a)/x[/]{0,1}".to_owned()),
        PathMatch::Regex("^/a(/.*)*".to_owned()),
        PathMatch::Regex("/a/[wx]".to_owned()),
    ]);
    let conditions = [(CLUSTER_HEADER, "s"), (CLUSTER_HEADER, "t"), ("x-a", "1")];
    let headers = subsequence(conditions.to_vec(), 0..=2);
    let methods = subsequence(METHODS[..2].to_vec(), 0..=1);
    let check = prop_oneof![
        Just(Check::Disabled),
        (0..2_u32, any::<bool>()).prop_map(|(context, with_body)| Check::Required {
            context: BTreeMap::from([("c".to_owned(), context.to_string())]),
            with_body,
        }),
    ];
    let permitted = select(vec![Permitted::NONE, Permitted::ENCODED_SLASH, Permitted::ALL]);
    let rules = (permitted, select(vec![Guard::Untold, Guard::Open]));
    let rewrite = select(vec!["/v", "/w"]);
    (
        select(vec!["/a", "/a/b"]),
        path,
        methods,
        headers,
        check,
        rules,
        rewrite,
    )
        .prop_map(
            |(name, path, methods, headers, check, (ambiguous_paths, guard), rewrite)| {
                let owned = |text: &str| text.to_owned();
                let mut route = Route {
                    name: owned(name),
                    methods: methods.into_iter().map(owned).collect(),
                    headers: headers
                        .into_iter()
                        .map(|(name, value)| (owned(name), owned(value)))
                        .collect(),
                    ambiguous_paths,
                    guard,
                    ..Route::new(path, forward(Some(Rewrite::Path(owned(rewrite)))))
                };
                route.filters.check = check;
                route
            },
        )
}

/// Families: a route, others that differ from it in conditions and in their rewrite, and some in one thing more.
fn odd_routes() -> impl Strategy<Value = Vec<Route>> {
    let family = (odd_route(), vec((odd_route(), 0..12_u32), 0..4)).prop_map(|(first, others)| {
        let relative = |(other, differs): (Route, u32)| {
            let mut route = Route {
                headers: other.headers,
                action: other.action,
                ..first.clone()
            };
            match differs {
                0 => route.filters.check = other.filters.check,
                1 => route.name = other.name,
                2 => route.methods = other.methods,
                3 => route.guard = other.guard,
                4 => route.ambiguous_paths = other.ambiguous_paths,
                5 => route.path = other.path,
                _ => {}
            }
            route
        };
        let mut routes: Vec<Route> = others.into_iter().map(relative).collect();
        routes.push(first);
        routes
    });
    vec(family, 1..4)
        .prop_map(|families| families.concat())
        .prop_shuffle()
}

/// The route without what siblings may differ in.
fn kin(route: &Route) -> Route {
    let mut route = route.clone();
    route.headers.retain(|(name, _)| name != CLUSTER_HEADER);
    route.action = forward(None);
    route
}

fn serves(route: &Route, cluster: &str) -> bool {
    let mut conditions = route.headers.iter().filter(|(name, _)| name == CLUSTER_HEADER);
    conditions.all(|(_, value)| value == cluster)
}

/// A search may find a route of another kind there. Steering stays with what the enforcer was asked about: it gives the first
/// sibling that serves the cluster, which is what the search finds unless that is no sibling, or the route itself.
#[test]
fn steering_never_leaves_what_was_asked_about() {
    let position = select(vec![Position::Front, Position::Back]);
    let fragments = vec((position, odd_routes()), 1..3);
    let (moved, otherwise) = (Cell::new(0), Cell::new(0));
    let property = |fragments: Vec<(Position, Vec<Route>)>| {
        let fragments: Vec<Fragment> = (0..)
            .zip(fragments)
            .map(|(number, (position, routes))| fragment(format!("f{number}"), position, routes))
            .collect();
        let table = table(fragments.clone());
        let source = |matched: &Matched<'_>| {
            let fragment = fragments
                .iter()
                .find(|fragment| fragment.name == matched.fragment());
            &fragment.expect("its fragment").virtual_hosts[0].routes
        };
        let clusters = [None, Some("s"), Some("t"), Some("u")];
        for (path, method, other) in ["/a/x", "/a/b/x", "/a/w/", "/a"]
            .into_iter()
            .flat_map(|path| METHODS.map(|method| (path, method)))
            .flat_map(|(path, method)| [(path, method, false), (path, method, true)])
        {
            for before in clusters {
                let Some(matched) = find(&table, path, method, before, other) else {
                    continue;
                };
                let routes = source(&matched);
                let own = &routes[usize::try_from(matched.place().1).unwrap()];
                for cluster in clusters.into_iter().flatten() {
                    let steered = matched.steered(cluster);
                    prop_assert_eq!(steered.fragment(), matched.fragment());
                    prop_assert_eq!(steered.virtual_host(), matched.virtual_host());
                    prop_assert_eq!(steered.context(), matched.context());
                    prop_assert_eq!(&steered.route().filters.check, &matched.route().filters.check);
                    let is_first = |route: &Route| kin(route) == kin(own) && serves(route, cluster);
                    let want = routes
                        .iter()
                        .position(is_first)
                        .map(|index| u32::try_from(index).unwrap());
                    prop_assert_eq!(steered.place().1, want.unwrap_or(matched.place().1));
                    let searched = find(&table, path, method, Some(cluster), other);
                    let sibling = searched.filter(|found| {
                        let found_source = source(found);
                        let there = &found_source[usize::try_from(found.place().1).unwrap()];
                        found.fragment() == matched.fragment() && kin(there) == kin(own)
                    });
                    match sibling {
                        Some(sibling) => prop_assert_eq!(seen(&steered, path), seen(&sibling, path)),
                        None => otherwise.set(otherwise.get() + 1),
                    }
                    moved.set(moved.get() + u32::from(steered.place() != matched.place()));
                }
            }
        }
        Ok(())
    };
    runner(600).run(&fragments, property).unwrap();
    assert!(
        moved.get() > 1_000 && otherwise.get() > 1_000,
        "{moved:?} {otherwise:?}"
    );
}
