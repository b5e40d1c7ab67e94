//! Translated APIs as what travels: encoded, with versions that only change when the content does.

use std::fmt::{self, Write as _};

use sha2::{Digest as _, Sha256};
use trireme_policy::{ApiPolicy, Settings as EnforcerSettings};
use trireme_proto::names::CONFIG_RESOURCE;
use trireme_routing::snapshot::{Cluster, Fragment, Listener};
use trireme_translate::Api;
use trireme_xds::Resource;

/// The resources of one API on one virtual host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiResources {
    /// Name of the fragment and of the policy.
    pub name: String,
    /// Route fragment.
    pub fragment: Resource,
    /// Clusters.
    pub clusters: Vec<Resource>,
    /// What the enforcer gets.
    pub policy: Resource,
}

impl ApiResources {
    /// Names of everything.
    pub(crate) fn names(&self) -> Vec<String> {
        let clusters = self.clusters.iter().map(|cluster| cluster.name.clone());
        clusters.chain([self.name.clone()]).collect()
    }

    /// Encodes a translated API.
    #[must_use]
    pub fn new(api: &Api) -> Self {
        Self {
            name: api.fragment.name.clone(),
            fragment: fragment(&api.fragment),
            clusters: api.clusters.iter().map(cluster).collect(),
            policy: policy(&api.policy),
        }
    }
}

/// A route fragment.
#[must_use]
pub fn fragment(fragment: &Fragment) -> Resource {
    let body = trireme_routing::encode::fragment(fragment).value;
    hashed(fragment.name.clone(), body)
}

/// A listener.
#[must_use]
pub fn listener(listener: &Listener) -> Resource {
    let body = trireme_routing::encode::listener(listener).value;
    hashed(listener.name.clone(), body)
}

/// The enforcers' configuration.
#[must_use]
pub fn config(settings: &EnforcerSettings) -> Resource {
    let mut hash = DebugHash::of(settings);
    for account in settings.test_issuer.users.iter().chain([&settings.management]) {
        hash.hide(&account.password);
    }
    Resource::new(
        CONFIG_RESOURCE,
        hash.finish(),
        trireme_policy::encode::settings(settings),
    )
}

fn cluster(cluster: &Cluster) -> Resource {
    let body = trireme_routing::encode::cluster(cluster).value;
    hashed(cluster.name.clone(), body)
}

/// The bytes of an encoded map have no stable order, so the version of a policy comes from its value. Passwords, which
/// values don't print, are added to it.
fn policy(policy: &ApiPolicy) -> Resource {
    let mut hash = DebugHash::of(policy);
    let security = &policy.endpoint_security;
    for credentials in [&security.production, &security.sandbox].into_iter().flatten() {
        hash.hide(&credentials.password);
        for (name, value) in &credentials.parameters {
            hash.hide(name);
            hash.hide(value);
        }
    }
    Resource::new(policy.name(), hash.finish(), trireme_policy::encode::api(policy))
}

/// Routing messages encode to the same bytes each time.
fn hashed(name: String, body: Vec<u8>) -> Resource {
    let version = short(&Sha256::digest(&body));
    Resource::new(name, version, body)
}

/// 128 bits of a digest in hexadecimal: versions are told apart, not defended.
pub(crate) fn short(digest: &[u8]) -> String {
    digest.iter().take(16).fold(String::new(), |mut text, byte| {
        text.push(char::from_digit(u32::from(byte >> 4), 16).unwrap_or('0'));
        text.push(char::from_digit(u32::from(byte & 15), 16).unwrap_or('0'));
        text
    })
}

/// Hash of a value's debug form, without building the text.
struct DebugHash(Sha256);

impl DebugHash {
    fn of(value: &impl fmt::Debug) -> Self {
        let mut hash = Self(Sha256::new());
        // Writing into a hash can't fail.
        write!(hash, "{value:?}").unwrap_or_default();
        hash
    }

    fn hide(&mut self, secret: &str) {
        self.0.update(Sha256::digest(secret));
    }

    fn finish(self) -> String {
        short(&self.0.finalize())
    }
}

impl fmt::Write for DebugHash {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.update(text);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use trireme_proto::names::context;
    use trireme_routing::snapshot::Check;

    use super::*;
    use crate::testing::{self, Project};

    #[test]
    fn what_a_check_says_of_its_api_is_what_the_policy_says() {
        let names = [
            "Pets",
            "\"  Größe \u{a0} {x} %2F + \\\\ \"",
            "'1.10'",
            "\u{202e}e\u{301}",
        ];
        let versions = ["1.0.0", "'2.0'", "v1-rc_1~x"];
        for (name, version) in names
            .iter()
            .flat_map(|name| versions.map(|version| (*name, version)))
        {
            let project = Project {
                name,
                version,
                ..Project::default()
            };
            let resources = testing::resources(&project, "localhost", 1);
            let policy = trireme_policy::decode::api(&resources.policy.body).unwrap();
            let fragment = trireme_routing::decode::fragment(&resources.fragment.body).unwrap();
            let routes = &fragment.virtual_hosts[0].routes;
            assert!(!routes.is_empty());
            for route in routes {
                let Check::Required { context: said, .. } = &route.filters.check else {
                    panic!("{name} is unchecked");
                };
                let want = [
                    (context::BASE_PATH, &policy.base_path),
                    (context::NAME, &policy.title),
                    (context::VERSION, &policy.version),
                    (context::VHOST, &policy.vhost),
                ];
                for (key, want) in want {
                    assert_eq!(said.get(key), Some(want), "{key} of {name} {version}");
                }
            }
        }
    }

    #[test]
    fn a_changed_password_changes_the_version() {
        let mut settings = EnforcerSettings::default();
        settings.management.password = "one".to_owned();
        let one = config(&settings);
        assert_eq!(one.version, config(&settings).version);
        settings.management.password = "two".to_owned();
        assert_ne!(one.version, config(&settings).version);
    }
}
