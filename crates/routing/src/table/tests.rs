//! The index against a naive list of regular expressions.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::{Index, select};
use prost::Message;
use trireme_proto::envoy::service::auth::v3::AttributeContext;

use super::*;
use crate::Permitted;
use crate::snapshot::{
    Action, Check, ClusterRef, Cors, Filters, Forward, Guard, PathMatch, Rewrite, VirtualHost,
};

const NO_HEADERS: fn(&str) -> Option<&'static [u8]> = |_| None;

fn forward(rewrite: Option<Rewrite>) -> Action {
    Action::Forward(Forward {
        cluster: ClusterRef::Name("c".to_owned()),
        rewrite,
        auto_host: true,
        timeout: Duration::from_secs(60),
        idle_timeout: Duration::from_secs(300),
        retry: None,
        websocket: false,
        max_stream_duration: None,
    })
}

fn route(name: &str, path: PathMatch, methods: &[&str]) -> Route {
    Route {
        name: name.to_owned(),
        methods: methods.iter().map(|&method| method.to_owned()).collect(),
        ..Route::new(path, forward(None))
    }
}

fn regex(pattern: &str) -> PathMatch {
    PathMatch::Regex(pattern.to_owned())
}

fn fragment(name: &str, position: Position, hosts: Vec<(&str, Vec<Route>)>) -> Fragment {
    Fragment {
        name: name.to_owned(),
        position,
        revision: Revision { epoch: 1, counter: 1 },
        virtual_hosts: hosts
            .into_iter()
            .map(|(name, routes)| VirtualHost {
                name: name.to_owned(),
                routes,
            })
            .collect(),
    }
}

fn table(fragments: Vec<Fragment>) -> RouteTable {
    let update = RouteTable::new().update(fragments, &[]);
    assert_eq!(update.rejected, []);
    update.table
}

fn found(table: &RouteTable, host: &str, path: &str, method: &str) -> Option<String> {
    table
        .find(host, path, method, NO_HEADERS)
        .map(|matched| matched.route().name.clone())
}

#[test]
fn host_is_exact_without_port_and_case_then_star() {
    let table = table(vec![
        fragment(
            "a",
            Position::Front,
            vec![("a.example", vec![route("a", regex("^/x"), &[])])],
        ),
        fragment(
            "b",
            Position::Front,
            vec![("*", vec![route("b", regex("^/(x|y)"), &[])])],
        ),
        fragment(
            "c",
            Position::Front,
            vec![("[::1]", vec![route("c", regex("^/x"), &[])])],
        ),
    ]);
    for (host, path, want) in [
        ("a.example", "/x", Some("a")),
        ("A.Example:9095", "/x", Some("a")),
        ("a.example", "/y", None),
        ("b.example", "/y", Some("b")),
        ("[::1]:80", "/x", Some("c")),
        ("[::1]", "/x", Some("c")),
        ("[::2]:80", "/x", Some("b")),
        ("", "/x", Some("b")),
    ] {
        assert_eq!(found(&table, host, path, "GET").as_deref(), want, "{host} {path}");
    }
    assert_eq!(found(&RouteTable::new(), "a.example", "/x", "GET"), None);
}

#[test]
fn order_is_system_base_path_position_name_place() {
    let star = |name: &str| route(name, regex("^/c(/.*)*"), &[]);
    let one = |name: &str, position, route| fragment(name, position, vec![("h", vec![route])]);
    let places = vec![
        route("/c", regex("^/c/([^/]+)[/]{0,1}"), &["GET"]),
        route("/c/", regex("^/c/1"), &["GET"]),
    ];
    let table = table(vec![
        one("0-back", Position::Back, star("c")),
        one("1-shallow", Position::Front, star("/")),
        one(
            "2-deep",
            Position::Back,
            route("/c/d/", regex("^/c/d(/.*)*"), &[]),
        ),
        one("z", Position::Front, star("/c//")),
        fragment("a", Position::Front, vec![("h", places)]),
        one(
            "s",
            Position::System,
            route("", PathMatch::Exact("/c/s".to_owned()), &[]),
        ),
    ]);
    type Case<'a> = (&'a [&'a str], &'a str, &'a str, Option<(&'a str, u32)>);
    let cases: [Case<'_>; 9] = [
        (&[], "GET", "/c/s", Some(("s", 0))),
        (&["s"], "GET", "/c/s", Some(("a", 0))),
        (&[], "GET", "/c/d/x", Some(("2-deep", 0))),
        (&[], "GET", "/c/1", Some(("a", 0))),
        (&[], "OPTIONS", "/c/1", Some(("a", 0))),
        (&[], "PUT", "/c/1", Some(("z", 0))),
        (&["z"], "PUT", "/c/1", Some(("0-back", 0))),
        (&["z", "0-back"], "PUT", "/c/1", Some(("1-shallow", 0))),
        (&["z", "0-back", "1-shallow"], "PUT", "/c/1", None),
    ];
    for (gone, method, path, want) in cases {
        let gone: Vec<String> = gone.iter().map(|&name| name.to_owned()).collect();
        let table = table.update(Vec::new(), &gone).table;
        let matched = table.find("h", path, method, NO_HEADERS);
        let got = matched
            .as_ref()
            .map(|matched| (matched.fragment(), matched.place().1));
        assert_eq!(got, want, "{method} {path} without {gone:?}");
    }
}

#[test]
fn routes_of_one_fragment_stand_where_their_own_base_paths_say() {
    let at = |name: &str| route(name, regex(&format!("^{}(/.*)*", name.replace('.', r"\."))), &[]);
    let table = table(vec![
        // The default version of `/c` is reached with its version and without.
        fragment(
            "default",
            Position::Back,
            vec![("h", vec![at("/c/1.0"), at("/c")])],
        ),
        fragment("inner", Position::Front, vec![("h", vec![at("/c/in")])]),
        fragment("same", Position::Front, vec![("h", vec![at("/c")])]),
    ]);
    for (path, want) in [
        ("/c/1.0/x", "default"),
        ("/c/in/x", "inner"),
        ("/c/x", "same"),
        ("/c", "same"),
    ] {
        let matched = table.find("h", path, "GET", NO_HEADERS).expect(path);
        assert_eq!(matched.fragment(), want, "{path}");
    }
    let table = table.update(Vec::new(), &["same".to_owned()]).table;
    let matched = table.find("h", "/c/x", "GET", NO_HEADERS).expect("a match");
    assert_eq!((matched.fragment(), matched.place()), ("default", (0, 1)));
}

#[test]
fn a_path_that_is_another_operation_to_others_is_refused() {
    use Ambiguity::{EncodedDelimiter, EncodedSlash, PathParameter};
    let operation = |name: &str, pattern: &str, methods: &[&str]| {
        let mut operation = route(name, regex(pattern), methods);
        operation.filters.check = Check::Required {
            context: BTreeMap::from([("path".to_owned(), pattern.to_owned())]),
            with_body: false,
        };
        operation
    };
    let open = Route {
        ambiguous_paths: Permitted::ALL,
        ..operation("/open", "^/open(/.*)*", &[])
    };
    let mut sandbox = operation("/api", "^/api/me[/]{0,1}", &[]);
    sandbox.headers = vec![("x-wso2-cluster-header".to_owned(), "sand".to_owned())];
    let api = vec![
        sandbox,
        operation("/api", "^/api/me[/]{0,1}", &["GET"]),
        operation("/api", "^/api/a,b[/]{0,1}", &[]),
        operation("/api", r"^/api/([^/]+)\.json[/]{0,1}", &[]),
        operation("/api", "^/api(/.*)*", &[]),
    ];
    let root = vec![
        // Another API stands before it.
        operation("/", "^/api/me[/]{0,1}", &[]),
        operation("/", "^(/.*)*", &[]),
    ];
    let opted_in = vec![operation("/open", "^/open/me[/]{0,1}", &[]), open];
    let table = table(vec![
        fragment("api", Position::Front, vec![("h", api)]),
        fragment("open", Position::Front, vec![("h", opted_in)]),
        fragment("root", Position::Front, vec![("*", root.clone()), ("h", root)]),
    ]);
    let cases = [
        ("h", "GET", "/api/me", None, Ok(())),
        ("h", "GET", "/api/me;v=1", None, Err(PathParameter)),
        ("h", "GET", "/api/me;/", None, Err(PathParameter)),
        ("h", "GET", "/api/me%3bv=1", None, Err(PathParameter)),
        ("h", "PUT", "/api/me;v=1", None, Ok(())),
        ("h", "PUT", "/api/me;v=1", Some("sand"), Err(PathParameter)),
        ("h", "GET", "/api/you;v=1/b;w", None, Ok(())),
        ("h", "GET", "/api/a%2Cb", None, Err(EncodedDelimiter)),
        ("h", "GET", "/api/a%2Cb;v", None, Err(PathParameter)),
        ("h", "GET", "/api/a%2Cc%3D", None, Ok(())),
        ("h", "GET", "/api/a;v.json", None, Err(PathParameter)),
        ("h", "GET", "/api/a;v/b.json", None, Ok(())),
        ("h", "GET", "/api/me;a%2Fb", None, Err(EncodedSlash)),
        // What is permitted opens no other operation.
        ("h", "GET", "/open/me;v=1", None, Err(PathParameter)),
        ("h", "GET", "/open/you;v=1//a%2Fb", None, Ok(())),
        ("h", "GET", "/api;v=1/me", None, Err(PathParameter)),
        // Two APIs, one upstream: nobody knows that it isn't.
        ("h", "GET", "/open;v=1/me", None, Err(PathParameter)),
        ("other", "GET", "/api/me;v=1", None, Err(PathParameter)),
    ];
    for (host, method, path, cluster, want) in cases {
        let target = Target::parse(path, host).expect(path);
        let header = |_: &str| cluster.map(str::as_bytes);
        let matched = table.find(host, &target.path, method, header).expect(path);
        assert_eq!(
            table.admit(&matched, &target, method, header),
            want,
            "{method} {host}{path}"
        );
    }
}

#[test]
fn what_is_permitted_reaches_no_other_operation() {
    use Ambiguity::*;
    let operation = |base: &str, rest: &str, guard, ambiguous_paths| Route {
        filters: Filters {
            check: Check::Required {
                context: BTreeMap::from([("path".to_owned(), format!("{base} {rest}"))]),
                with_body: false,
            },
            ..Filters::default()
        },
        guard,
        ambiguous_paths,
        ..route(base, regex(&format!("^{base}{rest}")), &[])
    };
    let (open, token, admin) = (Guard::Open, Guard::Demand(2), Guard::Demand(3));
    let (slash, empty) = (Permitted::ENCODED_SLASH, Permitted::EMPTY_SEGMENT);
    let api = |name: &str, base: &str, permitted, operations: &[(&str, Guard)]| {
        let routes = operations
            .iter()
            .map(|(rest, guard)| operation(base, rest, *guard, permitted))
            .collect();
        fragment(name, Position::Front, vec![("h", routes)])
    };
    let one = "/([^/]+)[/]{0,1}";
    let rest = "(/.*)*";
    let table = table(vec![
        api(
            "r",
            "/r",
            slash,
            &[("/admin/b[/]{0,1}", admin), (one, token), ("/x/y[/]{0,1}", token)],
        ),
        api("f", "/f", empty, &[("/admin[/]{0,1}", admin), (rest, open)]),
        api(
            "all",
            "/all",
            Permitted::ALL,
            &[("/admin/b[/]{0,1}", admin), (rest, open)],
        ),
        // Below each other, and each with a set of its own.
        api("outer", "/n", slash, &[(rest, open)]),
        api("inner", "/n/in", empty, &[(rest, token)]),
        api("none", "/none", Permitted::NONE, &[(rest, open)]),
        api("public", "/public", slash, &[(rest, open)]),
        api("admin", "/admin", Permitted::NONE, &[(rest, admin)]),
    ]);
    for (path, want) in [
        ("/r/a%2Fb", Ok(())),
        ("/r/a%2fb%2Fc", Ok(())),
        ("/r/x%2Fy", Ok(())),
        ("/r/admin%2Fb", Err(EncodedSlash)),
        ("/r/admin%2Fb;x", Err(EncodedSlash)),
        ("/r/%61dmin%2fb/", Err(EncodedSlash)),
        ("/r/a%2F..%2Fadmin%2Fb", Err(DotSegment)),
        ("/r/a%5Cb", Err(EncodedBackslash)),
        ("/r/admin%252Fb", Err(DoubleEncoding)),
        ("/f//a///b", Ok(())),
        ("/f/a/", Ok(())),
        ("/f//admin", Err(EmptySegment)),
        ("/f//admin;x", Err(EmptySegment)),
        ("/f/a%2F/b", Err(EncodedSlash)),
        ("/f/;x/admin", Err(EmptySegment)),
        ("/f//../admin", Err(DotSegment)),
        ("/all/a%2Fb//c%5Cd%252Fe", Ok(())),
        ("/all//admin%2Fb", Err(EncodedSlash)),
        ("/all/admin%252Fb", Err(EncodedSlash)),
        ("/all/admin%255Cb", Err(EncodedBackslash)),
        ("/all/%2561dmin/b", Err(DoubleEncoding)),
        ("/all/admin%5Cb", Err(EncodedBackslash)),
        ("/all/admin%2C//b%00", Err(EncodedControl)),
        // The route that is matched says what is permitted; what it would be to others is still theirs.
        ("/n/a%2Fb", Ok(())),
        ("/n//in/x", Err(EmptySegment)),
        ("/n/in%2Fx", Err(EncodedSlash)),
        ("/n%2Fin/x", Err(EncodedSlash)),
        ("/n/in//x", Ok(())),
        ("/n/in/a%2Fb", Err(EncodedSlash)),
        ("/none/a%2Fb", Err(EncodedSlash)),
        ("/public/a%2Fb", Ok(())),
        ("/public%2F..%2Fadmin", Err(EncodedSlash)),
        ("/public/%2F..%2F..%2Fadmin", Err(DotSegment)),
        ("/public/..%2F..%2Fadmin", Err(DotSegment)),
    ] {
        let target = Target::parse(path, "h").expect(path);
        let got = match table.find("h", &target.path, "GET", NO_HEADERS) {
            Some(matched) => table.admit(&matched, &target, "GET", NO_HEADERS),
            None => target.admit(Permitted::NONE),
        };
        assert_eq!(got, want, "{path}");
    }
}

#[test]
fn a_path_is_another_operation_only_where_that_one_asks_for_something_else() {
    let route = |name: &str, pattern: &str, guard| Route {
        filters: Filters {
            check: Check::Required {
                context: BTreeMap::from([("path".to_owned(), pattern.to_owned())]),
                with_body: false,
            },
            ..Filters::default()
        },
        guard,
        ..route(name, regex(pattern), &[])
    };
    let guards = [Guard::Untold, Guard::Open, Guard::Demand(2), Guard::Demand(3)];
    for matched in guards {
        for read in guards {
            let table = table(vec![
                fragment(
                    "a",
                    Position::Front,
                    vec![(
                        "h",
                        vec![
                            route("/a", "^/a/me[/]{0,1}", read),
                            route("/a", "^/a/([^/]+)[/]{0,1}", matched),
                        ],
                    )],
                ),
                fragment(
                    "b",
                    Position::Front,
                    vec![("h", vec![route("/a/b", "^/a/b(/.*)*", read)])],
                ),
            ]);
            let admitted = |path: &str| {
                let target = Target::parse(path, "h").expect(path);
                let found = table.find("h", &target.path, "GET", NO_HEADERS).expect(path);
                table.admit(&found, &target, "GET", NO_HEADERS).is_ok()
            };
            let equal = matches!((matched, read), (Guard::Demand(one), Guard::Demand(two)) if one == two);
            assert_eq!(
                admitted("/a/me;x"),
                read == Guard::Open || equal,
                "{matched:?} {read:?}"
            );
            assert_eq!(
                admitted("/a/b;x"),
                read == Guard::Open,
                "another API: {matched:?} {read:?}"
            );
            assert!(admitted("/a/you;x"), "{matched:?} {read:?}");
        }
    }
}

#[test]
fn the_context_of_a_check_is_held_as_it_is_sent() {
    let context = BTreeMap::from([
        ("name".to_owned(), "Pets".to_owned()),
        ("sandClusterName".to_owned(), String::new()),
    ]);
    let mut pets = route("pets", PathMatch::Exact("/pets".to_owned()), &["GET"]);
    pets.filters.check = Check::Required {
        context: context.clone(),
        with_body: true,
    };
    let table = table(vec![fragment("api", Position::Back, vec![("h", vec![pets])])]);
    let matched = table.find("h", "/pets", "GET", NO_HEADERS).expect("a match");
    let attributes = AttributeContext::decode(matched.context()).unwrap();
    assert_eq!(BTreeMap::from_iter(attributes.context_extensions), context);
}

#[test]
fn header_conditions_choose_after_the_check() {
    let mut sandbox = route("sandbox", regex("^/x"), &[]);
    sandbox.headers = vec![("x-wso2-cluster-header".to_owned(), "sand".to_owned())];
    let table = table(vec![fragment(
        "a",
        Position::Front,
        vec![("h", vec![sandbox, route("production", regex("^/x"), &[])])],
    )]);
    for (value, want) in [
        (None, "production"),
        (Some("prod"), "production"),
        (Some("sand"), "sandbox"),
    ] {
        let header = |name: &str| {
            value
                .filter(|_| name == "x-wso2-cluster-header")
                .map(str::as_bytes)
        };
        let matched = table.find("h", "/x", "GET", header).expect("a match");
        assert_eq!(matched.route().name, want);
    }
}

#[test]
fn a_match_tells_what_the_router_needs() {
    let pattern = "^(?:/c/1.0.0|/c)/pets/([^/]+)(/.*)*"
        .replace('.', r"\.")
        .replace(r"/\.*", "/.*");
    let mut pets = route("pets", regex(&pattern), &["GET"]);
    pets.action = forward(Some(Rewrite::Regex {
        pattern,
        substitution: r"/v9/pets/\1\2".to_owned(),
    }));
    pets.filters.cors = Some(std::sync::Arc::new(Cors {
        allow_origins: vec!["https://*.example".to_owned()],
        ..Cors::default()
    }));
    let table = table(vec![fragment("api", Position::Back, vec![("h", vec![pets])])]);
    let held = table
        .find("h", "/c/pets/7/x", "GET", NO_HEADERS)
        .expect("a match")
        .hold();
    drop(table);
    let matched = held.matched();
    assert_eq!(matched.rewrite_path("/c/pets/7/x"), "/v9/pets/7/x");
    assert_eq!(
        (matched.fragment(), matched.virtual_host(), matched.place()),
        ("api", "h", (0, 0))
    );
    assert_eq!(
        (matched.position(), matched.revision()),
        (Position::Back, Revision { epoch: 1, counter: 1 })
    );
    assert!(matched.allows_origin("https://a.example"));
    assert!(!matched.allows_origin("https://a.example.org"));
}

#[test]
fn a_bad_fragment_keeps_its_last_good_version_and_spares_the_others() {
    let good = fragment(
        "a",
        Position::Front,
        vec![("h", vec![route("a", regex("^/a"), &[])])],
    );
    let first = table(vec![good]);
    let mut bad = fragment(
        "a",
        Position::Front,
        vec![(
            "h",
            vec![route("x", regex("^/x"), &[]), route("y", regex("^/("), &[])],
        )],
    );
    let other = fragment(
        "b",
        Position::Front,
        vec![("h", vec![route("b", regex("^/b"), &[])])],
    );
    let update = first.update(vec![bad.clone(), other], &[]);
    let invalid = Invalid::new(
        "virtual_hosts[0].routes[1].match.safe_regex",
        "invalid pattern: unclosed group",
    );
    assert_eq!(
        update.rejected,
        [Rejected {
            fragment: "a".to_owned(),
            invalid
        }]
    );
    assert_eq!(found(&update.table, "h", "/a", "GET").as_deref(), Some("a"));
    assert_eq!(found(&update.table, "h", "/b", "GET").as_deref(), Some("b"));
    assert_eq!(found(&first, "h", "/b", "GET"), None);

    bad.virtual_hosts[0].routes[1].path = regex("^/y");
    let rewrite = |pattern: &str, substitution: &str| {
        Some(Rewrite::Regex {
            pattern: pattern.to_owned(),
            substitution: substitution.to_owned(),
        })
    };
    for (action, path) in [
        (
            forward(rewrite("^/(", "/")),
            "virtual_hosts[0].routes[1].route.regex_rewrite.pattern",
        ),
        (
            forward(rewrite("^/y", r"\1")),
            "virtual_hosts[0].routes[1].route.regex_rewrite.substitution",
        ),
    ] {
        bad.virtual_hosts[0].routes[1].action = action;
        let update = first.update(vec![bad.clone()], &[]);
        assert_eq!(
            update
                .rejected
                .iter()
                .map(|rejected| rejected.invalid.path.as_str())
                .collect::<Vec<_>>(),
            [path]
        );
    }
    bad.name.clear();
    assert_eq!(first.update(vec![bad], &[]).rejected[0].invalid.path, "name");
}

#[test]
fn counts_and_revisions_follow_updates() {
    let api = |name: &str, counter| {
        let mut api = fragment(
            name,
            Position::Front,
            vec![("h", vec![route(name, regex("^/a"), &[]); 3])],
        );
        api.revision.counter = counter;
        api
    };
    let table = table(vec![api("a", 1), api("b", 2)]);
    assert_eq!((table.fragments(), table.routes()), (2, 6));
    let table = table.update(vec![api("a", 3)], &["nothing".to_owned()]).table;
    assert_eq!((table.fragments(), table.routes()), (2, 6));
    let revision = |counter| Revision { epoch: 1, counter };
    assert_eq!(
        table.revisions(),
        [("a".to_owned(), revision(3)), ("b".to_owned(), revision(2))]
    );
    assert_eq!(table.revision("a"), Some(revision(3)));
    let table = table.update(Vec::new(), &["a".to_owned(), "b".to_owned()]).table;
    assert_eq!(
        (table.fragments(), table.routes(), table.is_empty()),
        (0, 0, true)
    );
    assert!(table.hosts.is_empty(), "an emptied virtual host is gone");
}

#[test]
fn an_update_shares_the_other_fragments() {
    let api = |name: &str| {
        fragment(
            name,
            Position::Front,
            vec![("h", vec![route(name, regex(&format!("^/{name}")), &[])])],
        )
    };
    let before = table((0..50).map(|n| api(&format!("api{n}"))).collect());
    let after = before.update(vec![api("api7")], &[]).table;
    let changed: Vec<usize> = (0..50)
        .filter(|n| {
            let name = format!("api{n}");
            !Arc::ptr_eq(
                before.fragment(&name).expect("there"),
                after.fragment(&name).expect("there"),
            )
        })
        .collect();
    assert_eq!(changed, [7]);
}

/// The specification of [`RouteTable::find`]: every route in order, each by an anchored expression.
struct Naive(Vec<(String, Vec<(regex::Regex, Route)>)>);

impl Naive {
    fn new(fragments: Vec<Fragment>) -> Self {
        let mut hosts: BTreeMap<String, Vec<_>> = BTreeMap::new();
        for fragment in fragments {
            for host in fragment.virtual_hosts {
                let routes = host.routes.into_iter().flat_map(|route| match &route.path {
                    // By text, each base path by itself.
                    PathMatch::Regex(pattern) if pattern.starts_with("^(?:") => {
                        let (heads, rest) = pattern.strip_prefix("^(?:").unwrap().split_once(')').unwrap();
                        let each = heads.split('|').map(|head| Route {
                            path: PathMatch::Regex(format!("^{head}{rest}")),
                            ..route.clone()
                        });
                        let named = each
                            .zip(heads.split('|'))
                            .map(|(route, head)| (head.to_owned(), route));
                        named.collect()
                    }
                    PathMatch::Exact(_) | PathMatch::Prefix(_) | PathMatch::Regex(_) => {
                        vec![(route.name.clone(), route)]
                    }
                });
                let routes = routes.map(|(base_path, route)| {
                    let depth = base_path.split('/').filter(|segment| !segment.is_empty()).count();
                    let order = match fragment.position {
                        Position::System => (0, Reverse(0), 0, fragment.name.clone()),
                        Position::Front => (1, Reverse(depth), 0, fragment.name.clone()),
                        Position::Back => (1, Reverse(depth), 1, fragment.name.clone()),
                    };
                    (order, route)
                });
                hosts.entry(host.name).or_default().extend(routes);
            }
        }
        let hosts = hosts.into_iter().map(|(host, mut routes)| {
            routes.sort_by(|(a, _), (b, _)| a.cmp(b));
            let routes = routes.into_iter().map(|(_, route)| {
                let pattern = match &route.path {
                    PathMatch::Exact(path) => regex::escape(path),
                    PathMatch::Prefix(path) => format!("{}.*", regex::escape(path)),
                    PathMatch::Regex(pattern) => pattern.clone(),
                };
                (
                    regex::Regex::new(&format!(r"\A(?:{pattern})\z")).expect("compiles"),
                    route,
                )
            });
            (host, routes.collect())
        });
        // A virtual host without routes is no virtual host; `encode::assembled` leaves it out, too.
        Self(
            hosts
                .filter(|(_, routes): &(_, Vec<_>)| !routes.is_empty())
                .collect(),
        )
    }

    fn find(&self, host: &str, path: &str, method: &str) -> Option<(&Route, String)> {
        let routes = |name: &str| {
            self.0
                .iter()
                .find(|(host, _)| host == name)
                .map(|(_, routes)| routes)
        };
        let (regex, route) = routes(host)
            .or_else(|| routes("*"))?
            .iter()
            .find(|(regex, route)| {
                let by_method = route.methods.is_empty()
                    || method == "OPTIONS"
                    || route.methods.iter().any(|m| m == method);
                by_method && regex.is_match(path)
            })?;
        let rewritten = match &route.action {
            Action::Forward(Forward {
                rewrite: Some(Rewrite::Regex { substitution, .. }),
                ..
            }) => {
                let replacement = substitution
                    .replace('$', "$$")
                    .replace(r"\1", "${1}")
                    .replace(r"\2", "${2}");
                regex.replace(path, replacement).into_owned()
            }
            Action::Forward(_) | Action::Direct { .. } => path.to_owned(),
        };
        Some((
            route,
            if rewritten.is_empty() {
                "/".to_owned()
            } else {
                rewritten
            },
        ))
    }
}

fn any_pattern() -> impl Strategy<Value = PathMatch> {
    let literal = || {
        select(vec![
            "/", "/a", "/b", "/a/b", "/ab", "a", r"\.x", "-", "/a/", r"/v1\.0",
        ])
    };
    let element = prop_oneof![3 => literal(), 2 => Just("/([^/]+)"), 1 => Just("([^/]+)")];
    let head = prop_oneof![4 => Just(""), 1 => Just("(?:/a/b|/a)"), 1 => Just("(?:/a|/b)")];
    let tail = prop_oneof![2 => Just("[/]{0,1}"), 1 => Just("(/.*)*"), 1 => Just(""), 1 => Just("$")];
    let template = (head, proptest::collection::vec(element, 0..5), tail)
        .prop_map(|(head, parts, tail)| PathMatch::Regex(format!("^{head}{}{tail}", parts.concat())));
    let odd = select(vec![
        "^/a.*",
        "^/(a|b)/.+",
        "/a|/b/.*",
        "^/a/?b*",
        r"^/\w+/[ab]{1,2}",
        "^/a/b.?x?",
    ]);
    let path = || select(vec!["/", "/a", "/a/b", "/a/b/", "/b/a/b"]).prop_map(str::to_owned);
    prop_oneof![
        8 => template,
        2 => odd.prop_map(|pattern| PathMatch::Regex(pattern.to_owned())),
        1 => path().prop_map(PathMatch::Exact),
        1 => path().prop_map(PathMatch::Prefix),
    ]
}

fn any_route() -> impl Strategy<Value = Route> {
    (
        any_pattern(),
        select(vec![vec![], vec!["GET"], vec!["GET", "PUT"]]),
        (select(vec!["/", "/a/", "/a/b/", "//b//c/"]), any::<u32>()),
    )
        .prop_map(|(path, methods, (base, id))| {
            let mut route = route(base, path.clone(), &methods);
            // Who it is, whatever becomes of its name.
            route.filters.cors = Some(Arc::new(Cors {
                expose_headers: vec![id.to_string()],
                ..Cors::default()
            }));
            if let PathMatch::Regex(pattern) = path {
                let groups = regex::Regex::new(&pattern).expect("compiles").captures_len() - 1;
                let substitution = ["/up", r"/up\1", r"/up/\2\1"][groups.min(2)].to_owned();
                // A searched rewrite is unanchored at its end; only templates are the same either way.
                if template::Template::parse(&pattern).is_some() {
                    route.action = forward(Some(Rewrite::Regex {
                        pattern,
                        substitution,
                    }));
                }
            }
            route
        })
}

fn any_fragments() -> impl Strategy<Value = Vec<Fragment>> {
    let position = select(vec![Position::Front, Position::Back, Position::System]);
    let host = (
        select(vec!["h", "g", "*"]),
        proptest::collection::vec(any_route(), 0..5),
    );
    let one = (position, proptest::collection::vec(host, 1..3));
    proptest::collection::vec(one, 1..6).prop_map(|all| {
        let named = all.into_iter().enumerate();
        named
            .map(|(n, (position, hosts))| fragment(&format!("f{n}"), position, hosts))
            .collect()
    })
}

fn any_path() -> impl Strategy<Value = String> {
    let piece = select(vec![
        "/", "/a", "/b", "/ab", "/a/b", "a", "b", ".x", "-", "/v1.0", "/v1x0", "/x",
    ]);
    proptest::collection::vec(piece, 1..7)
        .prop_map(|pieces| format!("/{}", pieces.concat().trim_start_matches('/')))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(100) })]

    #[test]
    fn finds_what_the_ordered_list_finds(
        fragments in any_fragments(),
        paths in proptest::collection::vec(any_path(), 30),
        removed in any::<Index>(),
    ) {
        let mut table = table(fragments.clone());
        let mut left = fragments;
        for round in 0..2 {
            let naive = Naive::new(left.clone());
            for path in &paths {
                for (host, method) in [("h", "GET"), ("g", "PUT"), ("other", "DELETE"), ("h", "OPTIONS")] {
                    let got = table.find(host, path, method, NO_HEADERS);
                    let got = got.map(|got| (got.route().filters.cors.clone(), got.rewrite_path(path).into_owned()));
                    let want = naive.find(host, path, method).map(|(route, path)| (route.filters.cors.clone(), path));
                    prop_assert_eq!(&got, &want, "round {} {} {} {}", round, host, method, path);
                }
            }
            let gone = left.remove(removed.index(left.len()));
            table = table.update(Vec::new(), &[gone.name]).table;
            if left.is_empty() {
                prop_assert!(table.is_empty() && table.hosts.is_empty());
                break;
            }
        }
    }
}
