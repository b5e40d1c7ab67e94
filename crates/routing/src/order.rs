//! The one order in which the routes of a virtual host are tried (design D6, D19).
//!
//! System routes come first, then the more specific base path, then ordinary APIs before default versions. What is equal
//! so far is ordered by the name of the fragment, then by the place in the fragment. Of two base paths that a path lies
//! under, one lies under the other, so that the one with more segments is the more specific. A route below two base paths,
//! that of a default version, stands in two places.
//!
//! [`crate::RouteTable`] tries routes in this order, and [`crate::encode::assembled`] writes them in it, taken apart where one
//! stands in two places.

use std::borrow::Cow;

use crate::pattern::alternatives;
use crate::snapshot::{Action, Forward, Fragment, PathMatch, Position, Rewrite, Route};

/// As many segments of a base path count.
const MAX_DEPTH: u32 = 0xffff;

/// Where a route stands, the least first: what its fragment's position and its own name, the base path under which it
/// matches, decide. Empty segments of the name do not count.
#[must_use]
pub fn rank(position: Position, route_name: &str) -> u32 {
    let behind = match position {
        Position::System => return 0,
        Position::Front => 1,
        Position::Back => 2,
    };
    let segments = route_name.split('/').filter(|segment| !segment.is_empty());
    let depth = u32::try_from(segments.count()).map_or(MAX_DEPTH, |depth| depth.min(MAX_DEPTH));
    (MAX_DEPTH - depth) * 2 + behind
}

/// What a stable sort of routes, listed fragment by fragment in their configured order, goes by.
#[must_use]
pub fn key<'a>(fragment: &'a Fragment, route: &Route) -> (u32, &'a str) {
    (rank(fragment.position, &route.name), &fragment.name)
}

/// A route below several base paths as one for each, so that each can stand where its base path belongs.
pub(crate) fn apart(route: &Route) -> Vec<Cow<'_, Route>> {
    let PathMatch::Regex(pattern) = &route.path else {
        return vec![Cow::Borrowed(route)];
    };
    let Some(paths) = alternatives(pattern) else {
        return vec![Cow::Borrowed(route)];
    };
    let rewrites = match &route.action {
        Action::Forward(Forward {
            rewrite: Some(Rewrite::Regex { pattern, .. }),
            ..
        }) => alternatives(pattern),
        Action::Forward(_) | Action::Direct { .. } => None,
    };
    let rewrites = rewrites.filter(|rewrites| rewrites.len() == paths.len());
    let mut rewrites = rewrites.unwrap_or_default().into_iter();
    let each = paths.into_iter().map(|(name, pattern)| {
        let mut route = route.clone();
        (route.name, route.path) = (name, PathMatch::Regex(pattern));
        if let (Action::Forward(forward), Some((_, begun))) = (&mut route.action, rewrites.next())
            && let Some(Rewrite::Regex { pattern, .. }) = &mut forward.rewrite
        {
            *pattern = begun;
        }
        Cow::Owned(route)
    });
    each.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_rise_from_system_routes_to_default_versions_of_the_root() {
        use Position::{Back, Front, System};
        let deep = "/a".repeat(70_000);
        let rising = [
            (System, ""),
            (Front, &*deep),
            (Back, &*deep),
            (Front, "/a/b/1.0.0"),
            (Front, "/a/1.0.0"),
            (Back, "/a/1.0.0"),
            (Front, "/a"),
            (Back, "/a"),
            (Front, "/"),
            (Back, "/"),
        ];
        let ranks = rising.map(|(position, name)| rank(position, name));
        assert!(ranks.is_sorted_by(|a, b| a < b), "{ranks:?}");
        for (position, name, equal) in [
            (System, "/health", ""),
            (Front, "/a/", "/a"),
            (Front, "a//b/", "/z/%7C"),
            (Back, "", "/"),
        ] {
            assert_eq!(rank(position, name), rank(position, equal), "{name} {equal}");
        }
    }
}
