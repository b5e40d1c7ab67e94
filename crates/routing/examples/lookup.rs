//! Prints what one look-up costs with 10, 1,000 and 100,000 routes, and what one changed API costs.
//!
//! `cargo run -p trireme-routing --example lookup` (add `--release` for figures to compare).
//!
//! Times move with the machine and its caches. To count instructions, build with `--release` and run the example with a number
//! of routes: `valgrind --tool=callgrind --toggle-collect='*look_up*' target/release/examples/lookup 100000`; what is collected
//! is for 1024 look-ups.

#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a measurement, printed"
)]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::{Duration, Instant};

use trireme_routing::RouteTable;
use trireme_routing::snapshot::{
    Action, Check, ClusterRef, Forward, Fragment, PathMatch, Position, Revision, Rewrite, Route, VirtualHost,
};

const ROUTES_PER_API: usize = 25;
const PATHS: usize = 1024;

fn api(number: usize, routes: usize) -> Fragment {
    let base = format!("/api{number}/1\\.0\\.0");
    let route = |index: usize| {
        let pattern = match index % 4 {
            0 => format!("^{base}/resource{index}[/]{{0,1}}"),
            1 => format!("^{base}/resource{index}/([^/]+)[/]{{0,1}}"),
            2 => format!("^{base}/([^/]+)/sub{index}/([^/]+)[/]{{0,1}}"),
            _ => format!("^{base}/resource{index}(/.*)*"),
        };
        let substitution = if index.is_multiple_of(4) { "/v1" } else { r"/v1/\1" }.to_owned();
        let context = [
            "path",
            "vHost",
            "basePath",
            "method",
            "version",
            "name",
            "prodClusterName",
            "trireme.revision",
        ];
        let action = Action::Forward(Forward {
            cluster: ClusterRef::Header("x-wso2-cluster-header".to_owned()),
            rewrite: Some(Rewrite::Regex {
                pattern: pattern.clone(),
                substitution,
            }),
            auto_host: true,
            timeout: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(300),
            retry: None,
            websocket: false,
            max_stream_duration: None,
        });
        let mut route = Route {
            name: base.clone(),
            methods: vec!["GET".to_owned(), "OPTIONS".to_owned()],
            ..Route::new(PathMatch::Regex(pattern), action)
        };
        route.filters.check = Check::Required {
            context: context
                .iter()
                .map(|&key| (key.to_owned(), base.clone()))
                .collect::<BTreeMap<_, _>>(),
            with_body: false,
        };
        route
    };
    let routes = (0..routes).map(route).collect();
    Fragment {
        name: format!("localhost/api{number}/1.0.0"),
        position: Position::Front,
        revision: Revision { epoch: 1, counter: 1 },
        virtual_hosts: vec![VirtualHost {
            name: "localhost".to_owned(),
            routes,
        }],
    }
}

fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse().unwrap_or_default()
}

/// A table of that many routes, and paths that spread over all of its APIs.
fn made(routes: usize) -> (RouteTable, Vec<String>) {
    let apis = (routes / ROUTES_PER_API).max(1);
    let fragments = (0..apis).map(|number| api(number, routes.min(ROUTES_PER_API)));
    let table = RouteTable::new().update(fragments.collect(), &[]).table;
    let path = |number: usize| {
        let base = format!("/api{}/1.0.0", number * 7919 % apis);
        match number % 4 {
            0 => format!("{base}/resource8/"),
            1 => format!("{base}/resource5/12345"),
            2 => format!("{base}/first/sub6/second"),
            _ => format!("{base}/resource7/a/b/c"),
        }
    };
    (table, (0..PATHS).map(path).collect())
}

/// What a request costs of the table. A function of its own, for callgrind to count what is done in it.
#[inline(never)]
fn look_up(table: &RouteTable, paths: &[String]) {
    for path in paths {
        let matched = table
            .find("localhost:9090", path, "GET", |_| None)
            .expect("a route");
        black_box(matched.rewrite_path(path));
    }
}

fn main() {
    // One size alone, each path once: for callgrind.
    if let Some(routes) = std::env::args().nth(1) {
        let (table, paths) = made(routes.parse().expect("a number of routes"));
        look_up(&table, &paths);
        return;
    }
    for routes in [10, 1_000, 100_000] {
        let before = resident();
        let built = Instant::now();
        let (table, paths) = made(routes);
        let built = built.elapsed();
        let size = resident().saturating_sub(before);
        let (mut rounds, started) = (0_u32, Instant::now());
        while started.elapsed() < Duration::from_millis(500) {
            look_up(&table, &paths);
            rounds += 1;
        }
        let each = started.elapsed() / (rounds * 1024);
        let changed = Instant::now();
        let update = table.update(vec![api(0, ROUTES_PER_API)], &[]);
        println!(
            "{:>7} routes: {each:?} a look-up with rewrite; built in {built:?} ({size} KiB); one API changed in {:?}",
            table.routes(),
            changed.elapsed(),
        );
        drop(update);
    }
}
