//! The order in which the resources of an API are tried.

use std::cmp::Ordering;

/// Compares two path templates: paths with a `.` first, paths that end in `/*` last, and within each group by what is left
/// of the path without word characters and blanks. So `/pet` precedes `/pet/{id}`, which precedes `/pet/*`.
///
/// Where that leaves no order, the longer literal prefix comes first (`/a/b/*` before `/a/*`), then plain text order.
#[must_use]
pub fn compare(left: &str, right: &str) -> Ordering {
    let (left_group, right_group) = (group(left), group(right));
    let prefix = literal_prefix(right).cmp(&literal_prefix(left));
    let shape = skeleton(left).cmp(skeleton(right));
    // Reversed for wildcards: `*` sorts before `/` and `{`, yet `/a/*` must not hide `/a/{b}/*`.
    let by_shape = if left_group == Group::Wildcard {
        prefix.then(shape.reverse())
    } else {
        shape.then(prefix)
    };
    left_group
        .cmp(&right_group)
        .then(by_shape)
        .then_with(|| left.cmp(right))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Group {
    Dotted,
    Plain,
    Wildcard,
}

fn group(path: &str) -> Group {
    if path.ends_with("/*") {
        Group::Wildcard
    } else if path.contains('.') {
        Group::Dotted
    } else {
        Group::Plain
    }
}

fn skeleton(path: &str) -> impl Iterator<Item = char> {
    path.chars()
        .filter(|c| !(c.is_ascii_alphanumeric() || *c == '_' || c.is_ascii_whitespace()))
}

/// Length of what precedes the first variable or wildcard.
fn literal_prefix(path: &str) -> usize {
    path.find(['{', '*']).unwrap_or(path.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(paths: &[&'static str]) -> Vec<&'static str> {
        let mut paths = paths.to_vec();
        paths.sort_by(|left, right| compare(left, right));
        paths
    }

    #[test]
    fn documented_order() {
        let want = [
            "/pet/index.html",
            "/pet/pet.{a}",
            "/pet/{id}.com",
            "/pet/{p}.{a}",
            "/pet",
            "/pet/{id}",
            "/pet/{id}/price",
            "/pet/{id}/{price}",
            "/pet/*",
        ];
        let mut shuffled = want;
        shuffled.reverse();
        assert_eq!(sorted(&shuffled), want);
    }

    #[test]
    fn ties() {
        let cases: [(&str, Vec<&str>); 4] = [
            ("longer wildcard first", vec!["/a/b/*", "/a/*", "/*"]),
            ("literal before variable", vec!["/a/mine", "/a/{id}", "/{a}/mine"]),
            ("longer literal prefix", vec!["/aaa/{x}", "/b/{x}", "/c/{x}"]),
            (
                "wildcards with equal prefix",
                vec!["/a/{b}/c/*", "/a/{b}/*", "/a/*"],
            ),
        ];
        for (name, want) in cases {
            let mut shuffled = want.clone();
            shuffled.reverse();
            assert_eq!(sorted(&shuffled), want, "{name}");
        }
    }
}
