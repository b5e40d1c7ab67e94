//! Which crate may depend on which: the table of `crates/README.md`, compared with what cargo says.

use std::collections::BTreeSet;
use std::process::Command;

use anyhow::{Context as _, bail};
use serde::Deserialize;

/// Package, and the packages of ours that it may depend on outside tests.
const ALLOWED: [(&str, &[&str]); 18] = [
    ("trireme-proto", &[]),
    ("trireme-project", &[]),
    ("trireme-config", &[]),
    ("trireme-telemetry", &[]),
    ("trireme-tls", &["trireme-telemetry"]),
    ("trireme-fetch", &["trireme-tls"]),
    ("trireme-shell", &["trireme-telemetry"]),
    ("trireme-routing", &["trireme-proto"]),
    ("trireme-policy", &["trireme-proto"]),
    ("trireme-xds", &["trireme-proto", "trireme-telemetry"]),
    (
        "trireme-translate",
        &[
            "trireme-project",
            "trireme-routing",
            "trireme-policy",
            "trireme-proto",
        ],
    ),
    (
        "trireme-router",
        &[
            "trireme-routing",
            "trireme-xds",
            "trireme-proto",
            "trireme-config",
            "trireme-tls",
            "trireme-shell",
            "trireme-telemetry",
        ],
    ),
    (
        "trireme-enforcer",
        &[
            "trireme-fetch",
            "trireme-policy",
            "trireme-xds",
            "trireme-proto",
            "trireme-config",
            "trireme-tls",
            "trireme-shell",
            "trireme-telemetry",
        ],
    ),
    (
        "trireme-adapter",
        &[
            "trireme-project",
            "trireme-translate",
            "trireme-routing",
            "trireme-policy",
            "trireme-xds",
            "trireme-proto",
            "trireme-config",
            "trireme-tls",
            "trireme-shell",
            "trireme-telemetry",
        ],
    ),
    (
        "trireme",
        &[
            "trireme-router",
            "trireme-enforcer",
            "trireme-adapter",
            "trireme-project",
            "trireme-translate",
            "trireme-config",
            "trireme-tls",
        ],
    ),
    ("xtask", &[]),
    ("trireme-harness", &["trireme-config", "trireme-proto"]),
    (
        "trireme-e2e",
        &["trireme-harness", "trireme-config", "trireme-proto"],
    ),
];

#[derive(Debug, Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Debug, Deserialize)]
struct Package {
    name: String,
    dependencies: Vec<Dependency>,
}

#[derive(Debug, Deserialize)]
struct Dependency {
    name: String,
    kind: Option<String>,
}

/// Fails with every edge that the table does not allow.
pub(crate) fn check() -> anyhow::Result<()> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .output()
        .context("cargo metadata")?;
    let metadata: Metadata = serde_json::from_slice(&output.stdout).context("cargo metadata")?;
    let wrong = violations(&metadata);
    if !wrong.is_empty() {
        bail!("edges that the layers do not allow:\n  {}", wrong.join("\n  "));
    }
    Ok(())
}

fn violations(metadata: &Metadata) -> Vec<String> {
    let ours: BTreeSet<&str> = metadata
        .packages
        .iter()
        .map(|package| package.name.as_str())
        .collect();
    let mut wrong = Vec::new();
    for package in &metadata.packages {
        let Some((_, allowed)) = ALLOWED.iter().find(|(name, _)| *name == package.name) else {
            wrong.push(format!("{} is not in the table", package.name));
            continue;
        };
        // A crate's own tests may start what it talks to.
        for dependency in package
            .dependencies
            .iter()
            .filter(|found| found.kind.as_deref() != Some("dev"))
        {
            let name = dependency.name.as_str();
            if ours.contains(name) && !allowed.contains(&name) {
                wrong.push(format!("{} -> {name}", package.name));
            }
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(from: &str, to: &str, kind: Option<&str>) -> Metadata {
        let package = |name: &str, dependencies| Package {
            name: name.into(),
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
}
