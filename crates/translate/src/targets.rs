//! Where a project is to be deployed (spec/adapter.md 3.5).

use std::collections::{BTreeMap, BTreeSet};

use trireme_project::{ApiProject, Diagnostic};

use crate::names::{DEFAULT_LABEL, DEFAULT_VHOST};

const FILE: &str = "deployment_environments.yaml";
/// Longest name of a virtual host, as in DNS.
const MAX_VHOST: usize = 253;

/// Most virtual hosts of one API.
const MAX_VHOSTS: usize = 256;
/// Most resources of one API on all of its virtual hosts: each is translated for each.
const MAX_RESOURCES: usize = 200_000;

/// One virtual host and the environments that serve it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Virtual host, in lower case.
    pub vhost: String,
    /// Environments, at least one.
    pub environments: BTreeSet<String>,
}

/// All targets, in order of virtual host.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Targets {
    /// The targets; none when no environment is configured.
    pub targets: Vec<Target>,
    /// Environments that were left out.
    pub warnings: Vec<Diagnostic>,
}

/// Targets of a project. `default_vhost` tells the virtual host of an environment; one that it doesn't know isn't configured and
/// is left out with a warning; that may leave none.
///
/// # Errors
/// Each virtual host that isn't a host name, or that there are too many of them.
pub(crate) fn of(
    project: &ApiProject,
    default_vhost: &dyn Fn(&str) -> Option<String>,
) -> Result<Targets, Vec<Diagnostic>> {
    let mut by_vhost: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut warnings = Vec::new();
    let mut errors = Vec::new();
    for deployment in &project.deployments {
        let (environment, place) = (&deployment.environment, deployment.place);
        let mapped = default_vhost(environment)
            .or_else(|| (environment == DEFAULT_LABEL).then(|| DEFAULT_VHOST.to_owned()));
        let Some(mapped) = mapped else {
            warnings.push(Diagnostic::warning(
                FILE,
                format!("/data/{place}/deploymentEnvironment"),
                format!("environment {environment} is not configured; nothing is deployed to it"),
            ));
            continue;
        };
        let vhost = deployment
            .vhost
            .as_deref()
            .filter(|vhost| !vhost.is_empty())
            .unwrap_or(&mapped)
            .to_ascii_lowercase();
        if is_vhost(&vhost) {
            by_vhost.entry(vhost).or_default().insert(environment.clone());
        } else {
            errors.push(Diagnostic::error(
                FILE,
                format!("/data/{place}/deploymentVhost"),
                format!("{vhost} is not a host name"),
            ));
        }
    }
    let resources = by_vhost.len().saturating_mul(project.resources.len());
    if by_vhost.len() > MAX_VHOSTS || resources > MAX_RESOURCES {
        errors.push(Diagnostic::error(
            FILE,
            "/data",
            format!(
                "{} virtual hosts with {resources} resources are more than the {MAX_VHOSTS} with {MAX_RESOURCES} that an API \
                 may have",
                by_vhost.len()
            ),
        ));
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    Ok(Targets {
        targets: by_vhost
            .into_iter()
            .map(|(vhost, environments)| Target { vhost, environments })
            .collect(),
        warnings,
    })
}

/// A host name of RFC 1123, in lower case, or `*` for any host.
fn is_vhost(vhost: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_'))
    };
    vhost == "*" || (vhost.len() <= MAX_VHOST && vhost.split('.').all(is_label))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn virtual_hosts_are_bounded() {
        let read = |vhosts: usize| {
            let targets: String = (0..vhosts)
                .map(|n| format!("  - {{ deploymentEnvironment: Default, deploymentVhost: h{n} }}\n"))
                .collect();
            let targets = format!("data:\n{targets}");
            let reading = testing::read(testing::API, testing::DEFINITION, &[(FILE, &targets)]);
            of(&reading.project, &|_| None)
        };
        assert_eq!(read(MAX_VHOSTS).unwrap().targets.len(), MAX_VHOSTS);
        let findings = read(MAX_VHOSTS + 1).unwrap_err();
        assert_eq!(findings[0].pointer, "/data");
    }

    #[test]
    fn virtual_hosts_are_host_names() {
        let long = "a".repeat(64);
        let cases = [
            ("localhost", true),
            ("us.wso2.com", true),
            ("10.0.0.1", true),
            ("*", true),
            ("", false),
            ("a..b", false),
            ("a b", false),
            ("-a", false),
            ("*.wso2.com", false),
            ("a:80", false),
            ("a\nb", false),
            (long.as_str(), false),
        ];
        for (vhost, want) in cases {
            assert_eq!(is_vhost(vhost), want, "{vhost:?}");
        }
    }
}
