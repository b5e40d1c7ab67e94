//! What the map and the table of crates are refused for.

use super::*;

/// A map of two crates, and the table that goes with it.
const README: &str = "# The map

```
crates/
  low/        trireme-low    what all need
  high/       trireme-high   what needs it
  high/src/a/                its first half
conf/                        settings
tests/one, tests/two         tests
```

## Who may depend on whom

| Crate | Of ours, only |
| --- | --- |
| `low`, `one` | nothing |
| `high` | `low` (at times), `one` |

## Words

| `other` | `table` |
";

fn packages() -> Packages<'static> {
    [
        ("low", "trireme-low"),
        ("high", "trireme-high"),
        ("one", "trireme-one"),
    ]
    .into()
}

#[test]
fn the_map_has_each_crate_and_folder_and_no_more() {
    struct Case {
        name: &'static str,
        /// Replaced on the map.
        text: (&'static str, &'static str),
        want: &'static [&'static str],
    }
    let cases = [
        Case {
            name: "whole",
            text: ("", ""),
            want: &[],
        },
        Case {
            name: "no line for a folder",
            text: (
                "high/src/a/                its first half",
                "low/  trireme-low  x",
            ),
            want: &["the map has crates/low twice", "the map lacks crates/high/src/a"],
        },
        Case {
            name: "no line for a crate, one for nothing",
            text: ("low/    ", "lower/  "),
            want: &[
                "the map has crates/lower, which is no folder",
                "the map lacks crates/low",
            ],
        },
        Case {
            name: "a file of a list",
            text: ("tests/two", "tests/six"),
            want: &["the map has tests/six, which is no folder"],
        },
        Case {
            name: "another package",
            text: ("trireme-low", "trireme-high"),
            want: &["the map does not say that crates/low is trireme-low"],
        },
        Case {
            name: "no words",
            text: ("its first half", ""),
            want: &["the map says nothing of high/src/a/"],
        },
    ];
    let there = [
        "crates/low",
        "crates/high",
        "crates/high/src/a",
        "conf",
        "tests/one",
        "tests/two",
    ];
    let there =
        |path: &Path| path == Path::new("crates/") || there.iter().any(|found| path == Path::new(found));
    let sources = ["a/mod.rs", "a/tests.rs", "b/tests.rs", "tests/c.rs", "lib.rs"];
    let sources = sources.iter().map(|&path| (path.into(), String::new())).collect();
    let folders = folders("high", &sources);
    for case in cases {
        let readme = README.replace(case.text.0, case.text.1);
        let wrong = map(&readme, &folders, &packages(), there);
        assert_eq!(wrong, case.want, "{}", case.name);
    }
}

#[test]
fn the_table_of_crates_says_what_is_allowed() {
    const ALL: [(&str, &[&str]); 3] = [
        ("trireme-low", &[]),
        ("trireme-high", &["trireme-low", "trireme-one"]),
        ("trireme-one", &[]),
    ];
    struct Case {
        name: &'static str,
        text: (&'static str, &'static str),
        want: &'static [&'static str],
    }
    let cases = [
        Case {
            name: "the same",
            text: ("", ""),
            want: &[],
        },
        Case {
            name: "less",
            text: ("(at times), `one`", "(at times)"),
            want: &["the table of crates says that high may depend on low, allowed are low, one"],
        },
        Case {
            name: "more",
            text: ("| nothing", "| `high`"),
            want: &[
                "the table of crates says that low may depend on high, allowed are nothing",
                "the table of crates says that one may depend on high, allowed are nothing",
            ],
        },
        Case {
            name: "a line for no crate, none for one",
            text: ("`low`, `one`", "`low`, `two`"),
            want: &[
                "the table of crates lacks one",
                "the table of crates has two, which is no crate",
            ],
        },
        Case {
            name: "two lines",
            text: ("`low`, `one` |", "`low`, `one`, `low` |"),
            want: &["the table of crates has low twice"],
        },
    ];
    for case in cases {
        let readme = README.replacen(case.text.0, case.text.1, 1);
        assert_eq!(table(&readme, &ALL, &packages()), case.want, "{}", case.name);
    }
    let readme = README.replace("| `low`, `one` |", "| `low` |");
    let wrong = table(&readme, &[("trireme-gone", &[])], &packages());
    assert_eq!(
        wrong[0],
        "trireme-gone may depend on others, but there is no such crate"
    );
}
