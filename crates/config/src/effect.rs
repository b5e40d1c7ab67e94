//! Which keys have an effect in this version.
//!
//! When a feature arrives, change its line here; nothing else has to know.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::Origin;
use crate::schema::{Section, Value, walk};

/// Key path and whether it, and what is below it, has an effect. The longest path that fits a key decides.
pub(crate) const CONFIG: &[(&str, bool)] = &[
    ("adapter", true),
    ("adapter.consul", false),
    ("adapter.metrics", false),
    ("adapter.sourceControl", false),
    ("analytics", false),
    ("controlPlane", false),
    ("controlPlane.environmentLabels", true),
    ("controlPlane.username", true),
    ("enforcer", true),
    ("enforcer.authService", false),
    ("enforcer.authService.port", true),
    ("enforcer.filters", false),
    ("enforcer.jwtGenerator", false),
    ("enforcer.jwtGenerator.jwksRatelimitQuota", true),
    ("enforcer.jwtGenerator.jwksRatelimitTimeWindowInSeconds", true),
    ("enforcer.jwtGenerator.keypair", true),
    ("enforcer.jwtIssuer.encoding", false),
    ("enforcer.management", false),
    ("enforcer.metrics", false),
    ("enforcer.restServer", false),
    ("enforcer.security.tokenService.consumerKeyClaim", false),
    ("enforcer.throttling", false),
    ("enforcer.throttling.deny", true),
    ("enforcer.throttling.enabled", true),
    ("enforcer.throttling.keyTemplate", true),
    ("enforcer.throttling.policy", true),
    ("enforcer.throttling.rateLimitFields", true),
    ("enforcer.throttling.store", true),
    ("globalAdapter", false),
    ("router", true),
    ("router.awsLambda", false),
    ("router.filters", false),
    ("router.listenerCodecType", false),
    ("router.payloadPassingToEnforcer.allowPartialMessage", false),
    ("router.payloadPassingToEnforcer.packAsBytes", false),
    ("router.perConnectionBufferLimitBytes", false),
    ("router.upstream.dns.respectDNSTtl", false),
    ("tracing", false),
];

/// The same for `log_config.toml`.
pub(crate) const LOG: &[(&str, bool)] = &[
    ("", true),
    ("rotation.IP", false),
    ("rotation.Port", false),
    ("wireLogs", false),
];

/// The keys that were set and have no effect, rows without an index, in order. A key of a feature that is switched off
/// is not among them, nor one that is set to an empty text: that it does nothing is what the file asks for.
pub(crate) fn without_effect(
    root: &mut dyn Section,
    table: &[(&str, bool)],
    set: &BTreeMap<String, Origin>,
) -> Vec<String> {
    let mut keys = BTreeSet::new();
    walk(root, &mut |item| {
        let key = without_indices(item.path);
        let empty = matches!(&item.value, Value::Leaf(leaf) if leaf.literal() == EMPTY);
        if !item.off && !empty && set.contains_key(item.path) && !has_effect(table, &key) {
            keys.insert(key);
        }
    });
    keys.into_iter().collect()
}

/// An empty text as TOML.
const EMPTY: &str = "\"\"";

fn has_effect(table: &[(&str, bool)], key: &str) -> bool {
    let fits = |path: &str| match key.strip_prefix(path) {
        Some(rest) => path.is_empty() || rest.is_empty() || rest.starts_with('.'),
        None => false,
    };
    table
        .iter()
        .filter(|(path, _)| fits(path))
        .max_by_key(|(path, _)| path.len())
        .is_some_and(|(_, effect)| *effect)
}

/// `users[0].name` as `users.name`.
pub(crate) fn without_indices(path: &str) -> String {
    let mut plain = String::with_capacity(path.len());
    let mut inside = false;
    for c in path.chars() {
        match c {
            '[' => inside = true,
            ']' => inside = false,
            c if !inside => plain.push(c),
            _ => {}
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::paths;
    use crate::sections::{Config, LogConfig};

    #[test]
    fn every_line_names_a_key_and_every_key_has_a_line() {
        for (known, table) in [(paths::<Config>(), CONFIG), (paths::<LogConfig>(), LOG)] {
            for (path, _) in table {
                assert!(
                    path.is_empty() || known.iter().any(|key| key == path),
                    "{path} is no key"
                );
            }
            for key in known {
                let root = key.split('.').next().unwrap();
                assert!(
                    table.iter().any(|(path, _)| *path == root || path.is_empty()),
                    "{key} has no line"
                );
            }
        }
    }

    #[test]
    fn the_longest_path_decides() {
        for (key, want) in [
            ("enforcer.authService.port", true),
            ("enforcer.authService.portal", false),
            ("enforcer.authService.threadPool.coreSize", false),
            ("enforcer.security.tokenService.name", true),
            ("enforcer.security.tokenService.consumerKeyClaim", false),
            ("adapter.consul.URL", false),
            ("adapter.server.users.password", true),
        ] {
            assert_eq!(has_effect(CONFIG, key), want, "{key}");
        }
    }
}
