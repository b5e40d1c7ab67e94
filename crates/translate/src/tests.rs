//! Which API, or which page of the gateway's own, answers a path: every nesting of a few base paths and versions against a
//! model that looks at nothing but text, both in our table and in the order that a stock Envoy gets.

use std::collections::BTreeSet;

use prost::Message as _;
use trireme_project::ApiProject;
use trireme_proto::envoy::config::route::v3::RouteConfiguration;
use trireme_proto::envoy::config::route::v3::route_match::PathSpecifier;
use trireme_proto::envoy::extensions::filters::http::ext_authz::v3::ExtAuthzPerRoute;
use trireme_proto::envoy::extensions::filters::http::ext_authz::v3::ext_authz_per_route::Override;
use trireme_proto::names::{context, filter};
use trireme_routing::snapshot::{Fragment, Position, Revision};
use trireme_routing::{RouteTable, encode};

use super::*;
use crate::testing;

const BASES: [&str; 12] = [
    "/",
    "/a",
    "/a/b",
    "/a/b/c",
    "/ab",
    "/a.b",
    "/1.0.0",
    "/a/1.0.0",
    "/a/1.0.0/b",
    "/testkey",
    "/health/x",
    "/ready",
];
const VERSIONS: [&str; 4] = ["1.0.0", "~", "-1", "zz"];
const SYSTEM: [&str; 3] = ["/testkey", "/health", "/ready"];

/// Cheap to vary: a project with `/*` alone.
fn wildcard() -> ApiProject {
    let definition = "openapi: 3.0.1\ninfo: { title: T, version: V }\npaths:\n  /*:\n    get: {}\n";
    testing::read(testing::API, definition, &[]).project
}

struct Candidate {
    name: String,
    default_version: bool,
    bases: Vec<String>,
    fragment: Fragment,
}

fn candidate(project: &ApiProject, base: &str, version: &str, default_version: bool) -> Candidate {
    let mut project = project.clone();
    base.clone_into(&mut project.base_path);
    version.clone_into(&mut project.identity.version);
    project.default_version = default_version;
    let deployed = Deployed {
        project: &project,
        organization: "carbon.super",
        vhost: "localhost",
    };
    let mut bases = vec![base.trim_matches('/').to_owned()];
    // The model's own way to take the version out: the last segment that is the version.
    let segments: Vec<&str> = bases[0].split('/').collect();
    if let Some(at) = segments.iter().rposition(|segment| *segment == version)
        && default_version
    {
        bases.push([&segments[..at], &segments[at + 1..]].concat().join("/"));
    }
    Candidate {
        name: deployed.name(),
        default_version,
        bases,
        fragment: draft(&deployed, &Settings::default())
            .unwrap()
            .at(Revision::default())
            .fragment,
    }
}

/// Whoever has the longest base path above the path; the gateway itself before all.
fn model<'a>(candidates: &[&'a Candidate], path: &str) -> Option<&'a str> {
    if SYSTEM.contains(&path.strip_suffix('/').unwrap_or(path)) {
        return Some("trireme.system");
    }
    let above = |base: &str| base.is_empty() || format!("{path}/").starts_with(&format!("/{base}/"));
    candidates
        .iter()
        .flat_map(|candidate| candidate.bases.iter().map(move |base| (candidate, base)))
        .filter(|(_, base)| above(base))
        .max_by(|(one, a), (two, b)| {
            (a.len(), two.default_version, &two.name).cmp(&(b.len(), one.default_version, &one.name))
        })
        .map(|(candidate, _)| candidate.name.as_str())
}

/// The first route of the assembled configuration that matches, as Envoy goes through them, by what is said of it to the
/// enforcer.
fn first(assembled: &RouteConfiguration, path: &str) -> Option<String> {
    let routes = &assembled.virtual_hosts.first()?.routes;
    let route = routes.iter().find(|route| {
        let wanted = route
            .r#match
            .as_ref()
            .and_then(|wanted| wanted.path_specifier.as_ref());
        matches(wanted.expect("a path condition"), path)
    })?;
    let settings = route.typed_per_filter_config.get(filter::EXT_AUTHZ)?;
    match ExtAuthzPerRoute::decode(settings.value.as_slice())
        .unwrap()
        .r#override?
    {
        Override::Disabled(_) => Some("trireme.system".to_owned()),
        Override::CheckSettings(check) => {
            let part = |key| check.context_extensions.get(key).map_or("", String::as_str);
            let parts = [context::VHOST, context::BASE_PATH, context::VERSION];
            Some(parts.map(part).concat())
        }
    }
}

/// What our wildcard patterns and system paths say, without any expression engine.
fn matches(condition: &PathSpecifier, path: &str) -> bool {
    match condition {
        PathSpecifier::Path(exact) => path == exact,
        PathSpecifier::SafeRegex(regex) => {
            let pattern = regex.regex.strip_prefix('^').expect("anchored");
            if let Some(page) = pattern.strip_suffix("[/]{0,1}") {
                return path.strip_suffix('/').unwrap_or(path) == page;
            }
            let base = pattern.strip_suffix("(/.*)*").expect("a wildcard");
            let base = base.replace('\\', "");
            path.strip_prefix(&base)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        }
        other => panic!("{other:?}"),
    }
}

/// Compares for every path near the candidates; the number of paths.
fn agree(candidates: &[&Candidate]) -> usize {
    let system = system::fragment(&Settings::default());
    let mut fragments: Vec<Fragment> = candidates.iter().map(|one| one.fragment.clone()).collect();
    fragments.push(system);
    let assembled = encode::assembled(&fragments).value;
    let assembled = RouteConfiguration::decode(assembled.as_slice()).unwrap();
    let mut tables = Vec::new();
    for turn in 0..fragments.len() {
        let mut order = fragments.clone();
        order.rotate_left(turn);
        let (last, before) = order.split_last().unwrap();
        let table = RouteTable::new().update(before.to_vec(), &[]).table;
        tables.push(table.update(vec![last.clone()], &[]).table);
    }
    let bases = candidates.iter().flat_map(|one| &one.bases);
    let mut paths: BTreeSet<String> = bases
        .flat_map(|base| {
            ["", "/", "/x", "/b/x", "/1.0.0/x"].map(|rest| format!("/{base}{rest}").replace("//", "/"))
        })
        .collect();
    paths.extend(SYSTEM.map(str::to_owned));
    for path in &paths {
        let want = model(candidates, path);
        let who: Vec<_> = candidates
            .iter()
            .map(|one| (&one.name, one.default_version))
            .collect();
        for table in &tables {
            let found = table.find("localhost", path, "GET", |_| None);
            assert_eq!(found.map(|found| found.fragment()), want, "{path} of {who:?}");
        }
        assert_eq!(
            first(&assembled, path).as_deref(),
            want,
            "Envoy, {path} of {who:?}"
        );
    }
    paths.len()
}

#[test]
fn the_longest_base_path_answers_and_the_gateway_itself_before_all() {
    let project = wildcard();
    let mut all = Vec::new();
    for base in BASES {
        for version in VERSIONS {
            all.push(candidate(&project, base, version, false));
            let versioned = format!("{}/{version}", base.trim_end_matches('/'));
            all.push(candidate(&project, &versioned, version, true));
        }
    }
    let apart = |one: &Candidate, two: &Candidate| {
        // Two APIs of one virtual host don't share a base path: that is 409.
        one.bases[0] != two.bases[0] && one.name != two.name
    };
    let (mut pairs, mut paths) = (0, 0);
    for (at, one) in all.iter().enumerate() {
        for two in all.iter().skip(at + 1).filter(|two| apart(one, two)) {
            pairs += 1;
            paths += agree(&[one, two]);
        }
    }
    let seed = fastrand::u64(..);
    let mut random = fastrand::Rng::with_seed(seed);
    println!("seed {seed}");
    for _ in 0..600 {
        let mut chosen: Vec<&Candidate> = Vec::new();
        for _ in 0..random.usize(3..7) {
            let one = &all[random.usize(..all.len())];
            if chosen.iter().all(|other| apart(one, other)) {
                chosen.push(one);
            }
        }
        paths += agree(&chosen);
    }
    println!(
        "{} APIs, {pairs} pairs and 600 sets, {paths} paths: no disagreement",
        all.len()
    );
}

#[test]
fn an_api_is_told_which_pages_are_not_its_own() {
    let project = wildcard();
    let shadowed = |base: &str, vhost: &str| {
        let mut project = project.clone();
        base.clone_into(&mut project.base_path);
        let deployed = Deployed {
            project: &project,
            organization: "carbon.super",
            vhost,
        };
        let draft = draft(&deployed, &Settings::default()).unwrap();
        let texts = draft.warnings().iter().map(|found| found.message.clone());
        texts.filter(|text| text.contains("gateway itself")).count()
    };
    let cases = [
        ("/", "localhost", 3),
        ("/testkey", "localhost", 1),
        ("/health/", "localhost", 1),
        ("/health/x", "localhost", 0),
        ("/healthy", "localhost", 0),
        ("/", "other.host", 0),
        ("/pets/1.0.0", "localhost", 0),
    ];
    for (base, vhost, want) in cases {
        assert_eq!(shadowed(base, vhost), want, "{base} on {vhost}");
    }
}

/// The flag alone says little: a bare definition with a base path of its own has it, too.
#[test]
fn a_default_version_without_a_version_in_its_base_path_stands_like_any_other() {
    let project = wildcard();
    for (base, version, flag, want) in [
        ("/de", "1.0.0", true, Position::Front),
        ("/de/1.0.0", "1.0.0", true, Position::Back),
        ("/de/1.0.0", "1.0.0", false, Position::Front),
    ] {
        let fragment = candidate(&project, base, version, flag).fragment;
        assert_eq!(fragment.position, want, "{base} {flag}");
    }
}
