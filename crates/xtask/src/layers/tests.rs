//! Made-up crates: what is an arrow, and each thing that is refused.

use super::*;

/// Path and text.
type Text = (&'static str, &'static str);

/// The graph of a crate with these files.
fn graph(files: &[Text]) -> Graph {
    let files = files
        .iter()
        .map(|&(path, text)| (path.to_owned(), text.to_owned()))
        .collect();
    Graph::new(&Crate::read("trireme-x", &files).expect("a crate"))
}

/// The arrows, without what they are for.
fn arrows(graph: &Graph) -> Vec<String> {
    let file = |at: usize| &graph.files[at];
    let ends = graph.arrows.keys();
    let mut all: Vec<_> = ends
        .map(|&(from, to)| format!("{} -> {}", file(from), file(to)))
        .collect();
    all.sort();
    all
}

fn metadata(from: &str, to: &str, kind: Option<&str>) -> Metadata {
    let package = |name: &str, dependencies| Package {
        name: name.into(),
        manifest_path: PathBuf::new(),
        dependencies,
    };
    let edge = Dependency {
        name: to.into(),
        kind: kind.map(Into::into),
    };
    Metadata {
        packages: vec![package(from, vec![edge]), package(to, Vec::new())],
    }
}

#[test]
fn edges_outside_the_table_are_named() {
    struct Case {
        name: &'static str,
        edge: (&'static str, &'static str, Option<&'static str>),
        want: &'static [&'static str],
    }
    let cases = [
        Case {
            name: "allowed",
            edge: ("trireme-router", "trireme-routing", None),
            want: &[],
        },
        Case {
            name: "process to process",
            edge: ("trireme-router", "trireme-enforcer", None),
            want: &["trireme-router -> trireme-enforcer"],
        },
        Case {
            name: "library to configuration",
            edge: ("trireme-xds", "trireme-config", None),
            want: &["trireme-xds -> trireme-config"],
        },
        Case {
            name: "in tests",
            edge: ("trireme-router", "trireme-enforcer", Some("dev")),
            want: &[],
        },
        Case {
            name: "unknown crate",
            edge: ("trireme-new", "trireme-proto", None),
            want: &["trireme-new is not in the table"],
        },
    ];
    for case in cases {
        let (from, to, kind) = case.edge;
        assert_eq!(violations(&metadata(from, to, kind)), case.want, "{}", case.name);
    }
}

#[test]
fn a_name_is_followed_to_the_file_that_declares_it() {
    struct Case {
        name: &'static str,
        files: &'static [Text],
        want: &'static [&'static str],
    }
    let cases = [
        Case {
            name: "declarations and what is passed on are no arrows",
            files: &[
                ("lib.rs", "mod a; pub mod b; pub use a::A; pub(crate) use b::*;"),
                ("a.rs", "pub struct A;"),
                ("b.rs", "pub struct B;"),
            ],
            want: &[],
        },
        Case {
            name: "through what passes it on",
            files: &[
                ("lib.rs", "mod a; mod c;"),
                ("a/mod.rs", "mod b; pub(crate) use b::{B as Renamed, *};"),
                ("a/b.rs", "pub struct B; pub struct Other;"),
                ("c.rs", "use crate::a::Renamed; fn f() { crate::a::Other; }"),
            ],
            want: &["c.rs -> a/b.rs"],
        },
        Case {
            name: "what a module passes on and uses itself",
            files: &[
                ("lib.rs", "mod a;"),
                ("a.rs", "mod b; pub use b::B; fn f(_: B) {}"),
                ("a/b.rs", "pub struct B;"),
            ],
            want: &["a.rs -> a/b.rs"],
        },
        Case {
            name: "to the parent and past it",
            files: &[
                ("lib.rs", "mod a; pub const C: u8 = 0;"),
                ("a/mod.rs", "mod b; pub struct A;"),
                ("a/b.rs", "use super::A; const D: u8 = super::super::C;"),
            ],
            want: &["a/b.rs -> a/mod.rs", "a/b.rs -> lib.rs"],
        },
        Case {
            name: "a module by its name is none, its contents are",
            files: &[
                ("lib.rs", "mod a; mod b; mod c;"),
                (
                    "a.rs",
                    "use crate::b; use crate::c; fn f() { c::f(); let b = 1; b; }",
                ),
                ("b.rs", ""),
                ("c.rs", "pub fn f() {}"),
            ],
            want: &["a.rs -> c.rs"],
        },
        Case {
            name: "all of a module",
            files: &[
                ("lib.rs", "mod a; mod b; mod c;"),
                ("a.rs", "use crate::b::*; fn f(_: C) {}"),
                ("b.rs", "pub use crate::c::C;"),
                ("c.rs", "pub struct C;"),
            ],
            want: &["a.rs -> b.rs", "a.rs -> c.rs"],
        },
        Case {
            name: "inside of macros, attributes, bodies and modules without a file",
            files: &[
                ("lib.rs", "mod a; mod b; mod c; mod d; mod e; mod f;"),
                (
                    "a.rs",
                    r#"fn f() { debug!(x = %crate::b::B::new(), "crate::f::F"); use crate::e::E; }
                    struct S { #[serde(with = "crate::c")] x: u8, #[serde(default = "crate::c::f")] y: u8 }
                    mod inside { fn g() { super::super::d::D; } }"#,
                ),
                ("b.rs", "pub struct B;"),
                ("c.rs", "pub fn f() {}"),
                ("d.rs", "pub struct D;"),
                ("e.rs", "pub struct E;"),
                ("f.rs", "pub struct F;"),
            ],
            want: &["a.rs -> b.rs", "a.rs -> c.rs", "a.rs -> d.rs", "a.rs -> e.rs"],
        },
        Case {
            name: "what a macro declares",
            files: &[
                ("lib.rs", "mod a; mod b;"),
                ("a.rs", "use crate::b::Made;"),
                ("b.rs", "make!(Made);"),
            ],
            want: &["a.rs -> b.rs"],
        },
        Case {
            name: "tests, documentation and visibility are left out",
            files: &[
                ("lib.rs", "mod a; mod b;"),
                (
                    "a.rs",
                    "/// [`crate::b::B`] \n pub(in crate::b) fn f() {}
                    #[cfg(test)] mod tests; #[cfg(test)] use crate::b::B;
                    #[cfg(all(test, unix))] mod testing { use crate::b::B; }
                    impl X { #[cfg(test)] fn g(_: crate::b::B) {} }",
                ),
                ("b.rs", "pub struct B;"),
            ],
            want: &[],
        },
        Case {
            name: "others' names, and ones that go round",
            files: &[
                ("lib.rs", "mod a; mod http;"),
                (
                    "a.rs",
                    "use ::http::Uri; use std::fmt; use b::c; use c::b; fn f() { fmt::f(); b::x(); }",
                ),
                ("http.rs", "pub struct Uri;"),
            ],
            want: &[],
        },
        Case {
            name: "the program beside a library",
            files: &[
                ("lib.rs", "pub fn main() {}"),
                ("main.rs", "fn main() { trireme_x::main() }"),
            ],
            want: &["main.rs -> lib.rs"],
        },
    ];
    for case in cases {
        assert_eq!(arrows(&graph(case.files)), case.want, "{}", case.name);
    }
}

#[test]
fn what_cannot_be_followed_is_an_error() {
    let cases: [(&str, &[Text], &str); 3] = [
        (
            "no file",
            &[("lib.rs", "mod a;")],
            "trireme-x a/mod.rs: no such file",
        ),
        ("no Rust", &[("lib.rs", "fn {")], "trireme-x lib.rs"),
        (
            "a file elsewhere",
            &[("lib.rs", "#[path = \"b.rs\"] mod a;"), ("b.rs", "")],
            "trireme-x: the path of mod a is not followed",
        ),
    ];
    for (name, files, want) in cases {
        let files = files
            .iter()
            .map(|&(path, text)| (path.into(), text.into()))
            .collect();
        let error = Crate::read("trireme-x", &files).expect_err(name);
        assert_eq!(error.to_string(), want, "{name}");
    }
}

/// `low` <- `middle/` <- `high`, and a circle inside `middle`.
const FLOORS: [Text; 6] = [
    ("lib.rs", "mod low; mod middle; mod high;"),
    ("low.rs", "pub struct Low;"),
    (
        "middle/mod.rs",
        "mod a; mod b; use crate::low::Low; pub use a::A;",
    ),
    ("middle/a.rs", "pub struct A; fn f(_: super::b::B) {}"),
    ("middle/b.rs", "pub struct B; fn f(_: super::A) {}"),
    ("high.rs", "use crate::middle::A;"),
];

#[test]
fn an_arrow_goes_down_and_every_room_has_a_line() {
    let cases: [(&str, &[&str]); 4] = [
        ("low middle high lib", &[]),
        (
            "low high lib",
            &["trireme-x: room middle is not in the order of rooms"],
        ),
        (
            "low middle high lib main",
            &["trireme-x: the order of rooms has main, the crate has not"],
        ),
        (
            "low high middle lib",
            &["trireme-x: high needs middle, which stands above it: high.rs -> middle/a.rs (A)"],
        ),
    ];
    let graph = graph(&FLOORS);
    for (order, want) in cases {
        assert_eq!(rooms::against(&graph, order), want, "{order}");
    }
}

#[test]
fn circles_are_counted_and_come_with_the_fewest_cuts() {
    let mut files = FLOORS.to_vec();
    files[1].1 = "pub struct Low; fn f(_: crate::high::High) {}";
    files[5].1 = "pub struct High; use crate::middle::A;";
    let graphs = [graph(&FLOORS), graph(&files)];
    let found = Circles::of(&graphs);
    let told = |circles: &[(&str, Circle)]| -> Vec<_> {
        let each = circles.iter().map(|(_, circle)| circle);
        each.map(|circle| (circle.members.join(" "), circle.cuts.len()))
            .collect()
    };
    assert_eq!(told(&found.rooms), [("high low middle".into(), 1)]);
    // Rooms may go round where no files do.
    assert_eq!(
        told(&found.files),
        [
            ("middle/a.rs middle/b.rs".into(), 1),
            ("middle/a.rs middle/b.rs".into(), 1)
        ]
    );
    assert_eq!(found.files[0].1.room(), Some("middle"));
    assert_eq!(found.violations(2, 1), [""; 0]);
    let wrong = found.violations(1, 0);
    assert!(
        wrong[0]
            .starts_with("1 circles of rooms, allowed are 0:\n    trireme-x: high, low, middle\n      cut ")
    );
    assert!(
        wrong[1].starts_with("2 circles of files, allowed are 1:\n    trireme-x: middle/a.rs, middle/b.rs\n")
    );
}

#[test]
fn the_fewest_cuts_are_found_where_a_single_one_is_not_enough() {
    // Two circles through one file, each of which needs its own.
    let graph = graph(&[
        ("lib.rs", "mod a; mod b; mod c; mod d;"),
        ("a.rs", "pub struct A; use crate::b::B; use crate::c::C;"),
        ("b.rs", "pub struct B; use crate::a::A;"),
        ("c.rs", "pub struct C; use crate::d::D;"),
        ("d.rs", "pub struct D; use crate::a::A;"),
    ]);
    let circles = graph.circles();
    assert_eq!(circles.len(), 1);
    assert_eq!(circles[0].members, ["a.rs", "b.rs", "c.rs", "d.rs"]);
    assert_eq!(circles[0].cuts.len(), 2);
    assert_eq!(circles[0].room(), None);
}
