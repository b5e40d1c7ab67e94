//! Secrets for the Kubernetes manifests: `trireme certs --secrets`, with the host names of the folder's ingress.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};
use clap::Parser;
use serde_json::Value;

use crate::cargo::step;

/// Options of `cargo xtask secrets`.
#[derive(Debug, Parser)]
pub(crate) struct Options {
    /// For k8s-artifacts/choreo-connect-with-apim instead of k8s-artifacts/choreo-connect
    #[arg(long)]
    with_apim: bool,
    /// Namespace of the Secrets [default: none, kubectl says]
    #[arg(long, value_name = "NAME")]
    namespace: Option<String>,
    /// Certificate of an API Manager, to be trusted by adapter and enforcer
    #[arg(long, value_name = "FILE")]
    control_plane: Option<PathBuf>,
    /// Replace Secrets that are there; the CA stays
    #[arg(long)]
    force: bool,
    /// Cargo profile of the program that makes them
    #[arg(long, default_value = "release")]
    profile: String,
}

/// Fills the folder that `kubectl apply -f` takes.
pub(crate) fn write(root: &Path, options: &Options) -> anyhow::Result<()> {
    let folder = root.join("k8s-artifacts").join(match options.with_apim {
        false => "choreo-connect",
        true => "choreo-connect-with-apim/choreo-connect",
    });
    let hosts = hosts(&folder)?;
    let mut build = Command::new(env!("CARGO"));
    build.current_dir(root);
    step(build.args(["build", "--package", "trireme", "--profile", &options.profile]))?;
    let built = match options.profile.as_str() {
        "dev" => "debug",
        profile => profile,
    };
    let mut command = Command::new(root.join("target").join(built).join("trireme"));
    command.arg("certs").arg("--secrets").arg(&folder);
    for (service, host) in hosts {
        command.arg("--host").arg(format!("{service}={host}"));
    }
    if let Some(namespace) = &options.namespace {
        command.arg("--namespace").arg(namespace);
    }
    if let Some(file) = &options.control_plane {
        command.arg("--control-plane").arg(file);
    }
    if options.force {
        command.arg("--force");
    }
    let status = command.status()?;
    if !status.success() {
        bail!("trireme certs --secrets: {status}");
    }
    Ok(())
}

/// Services and the host names that lead to them, of the Ingresses with TLS in a folder.
fn hosts(folder: &Path) -> anyhow::Result<Vec<(String, String)>> {
    let mut hosts = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().ends_with("-ingress.yaml"))
        {
            let text = std::fs::read_to_string(&path)?;
            hosts.extend(routed(&text).with_context(|| path.display().to_string())?);
        }
    }
    Ok(hosts)
}

fn routed(text: &str) -> anyhow::Result<Vec<(String, String)>> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text)?;
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut hosts = Vec::new();
    for ingress in documents {
        let secured: Vec<Value> = list(&ingress["spec"]["tls"])
            .iter()
            .flat_map(|tls| list(&tls["hosts"]))
            .collect();
        for rule in list(&ingress["spec"]["rules"]) {
            let service = &rule["http"]["paths"][0]["backend"]["service"]["name"];
            if let (Some(service), Some(host)) = (service.as_str(), rule["host"].as_str())
                && secured.contains(&rule["host"])
            {
                hosts.push((service.to_owned(), host.to_owned()));
            }
        }
    }
    Ok(hosts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_come_from_the_shipped_ingresses() {
        let of = |folder: &str| hosts(&crate::cargo::root().join("k8s-artifacts").join(folder)).unwrap();
        let pair = |service: &str, host: &str| (service.to_owned(), host.to_owned());
        assert_eq!(
            of("choreo-connect"),
            [pair("router", "gw.wso2.com"), pair("adapter", "adapter.wso2.com")]
        );
        // The internal one has no TLS.
        assert_eq!(
            of("choreo-connect-with-apim/choreo-connect"),
            [pair("router", "gw.wso2.com"), pair("wso2apim", "apim.wso2.com")]
        );
    }

    #[test]
    fn what_is_no_ingress_has_no_hosts() {
        assert_eq!(
            routed("kind: Ingress\n---\nspec: { rules: [ 1, { host: 2 } ] }\n").unwrap(),
            []
        );
        assert!(routed("spec: [").is_err());
    }
}
