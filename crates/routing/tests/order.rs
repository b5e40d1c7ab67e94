//! Which API answers where several could: every nesting of base paths against the rule that the longest one wins.

use trireme_routing::RouteTable;
use trireme_routing::snapshot::*;

const BASES: [&str; 12] = [
    "/", "/a", "/a/", "/a/b", "/a/b/c", "/ab", "/a.b", "/1.0.0", "/a/1.0.0", "/a/~", "/x~", "/testkey",
];
/// Before and after `/` and letters, as characters and as what follows a base path in a fragment's name.
const VERSIONS: [&str; 4] = ["1.0.0", "!", "-1", "~"];
const SYSTEM: [&str; 3] = ["/testkey", "/health", "/a/b"];

fn route(name: &str, path: PathMatch) -> Route {
    let action = Action::Direct {
        status: 200,
        body: String::new(),
    };
    Route {
        name: name.to_owned(),
        ..Route::new(path, action)
    }
}

fn fragment(name: String, position: Position, hosts: &[&str], routes: &[Route]) -> Fragment {
    let hosts = hosts.iter().map(|&name| VirtualHost {
        name: name.to_owned(),
        routes: routes.to_vec(),
    });
    Fragment {
        name,
        position,
        revision: Revision::default(),
        virtual_hosts: hosts.collect(),
    }
}

/// An API that takes everything under its base path, on both hosts.
fn api(base: &str, version: &str, position: Position) -> Fragment {
    let literal = base.trim_end_matches('/').replace('.', r"\.");
    let everything = route(base, PathMatch::Regex(format!("^{literal}(/.*)*")));
    fragment(
        format!("h{base}{version}"),
        position,
        &["h", "other"],
        &[everything],
    )
}

fn system() -> Fragment {
    let routes = SYSTEM.map(|path| route(path, PathMatch::Exact(path.to_owned())));
    fragment("trireme.system".to_owned(), Position::System, &["h"], &routes)
}

fn segments(path: &str) -> Vec<&str> {
    path.split('/').filter(|segment| !segment.is_empty()).collect()
}

/// The base path with the most segments of which all begin the path's.
fn longest<'a>(bases: &[&'a str], path: &str) -> Option<&'a str> {
    let path = segments(path);
    let fitting = bases.iter().filter(|base| path.starts_with(&segments(base)));
    fitting.max_by_key(|base| segments(base).len()).copied()
}

/// All ways to choose and order `count` of what there is.
fn orders(count: usize, of: usize) -> Vec<Vec<usize>> {
    let mut all = vec![Vec::new()];
    for _ in 0..count {
        let longer = all.iter().flat_map(|chosen: &Vec<usize>| {
            let left = (0..of).filter(|next| !chosen.contains(next));
            left.map(|next| [&chosen[..], &[next]].concat())
                .collect::<Vec<_>>()
        });
        all = longer.collect();
    }
    all
}

#[test]
fn the_longest_base_path_wins_and_system_routes_before_it() {
    let (mut tables, mut calls) = (0, 0);
    for count in [2, 3] {
        for chosen in orders(count, BASES.len()) {
            let bases: Vec<&str> = chosen.iter().map(|&at| BASES[at]).collect();
            let equal = |at: usize| {
                bases[..at]
                    .iter()
                    .any(|base| segments(base) == segments(bases[at]))
            };
            if (1..count).any(equal) {
                continue;
            }
            for versions in 0..VERSIONS.len().pow(count.try_into().expect("small")) {
                let mut fragments: Vec<Fragment> = (0_u32..)
                    .zip(&bases)
                    .map(|(at, base)| {
                        let version = VERSIONS[versions / VERSIONS.len().pow(at) % VERSIONS.len()];
                        // Default versions too, in every place.
                        let back = tables % (count + 1) == usize::try_from(at).expect("small");
                        api(base, version, if back { Position::Back } else { Position::Front })
                    })
                    .collect();
                fragments.insert(tables % (count + 1), system());
                let mut table = RouteTable::new();
                for fragment in fragments {
                    table = table.update(vec![fragment], &[]).table;
                }
                tables += 1;
                for path in bases
                    .iter()
                    .flat_map(|base| [(*base).to_owned(), format!("{base}/b").replace("//", "/")])
                {
                    for host in ["h", "other"] {
                        let want = match host {
                            "h" if SYSTEM.contains(&&*path) => Some(&*path),
                            _ => longest(&bases, &path),
                        };
                        let found = table.find(host, &path, "GET", |_| None);
                        let found = found.as_ref().map(|found| &*found.route().name);
                        assert_eq!(found, want, "{host}{path} of {bases:?}, versions {versions}");
                        calls += 1;
                    }
                }
            }
        }
    }
    println!("{tables} tables, {calls} calls");
}
