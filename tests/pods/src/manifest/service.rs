//! Services: names that lead to the ports of pods.

use std::collections::BTreeMap;

use anyhow::{Context as _, ensure};
use serde::Deserialize;
use yaml_serde::Value;

use super::object::NotShown;
use super::pod::PodSpec;
use super::probe::Port;

/// What of a Service this engine uses.
#[derive(Debug, Clone)]
pub struct Service {
    /// Labels that a pod must have.
    pub selector: BTreeMap<String, String>,
    /// Its ports.
    pub ports: Vec<ServicePort>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Spec {
    selector: BTreeMap<String, String>,
    ports: Vec<ServicePort>,
    #[serde(default, rename = "type")]
    kind: Option<String>,
    #[serde(default, rename = "clusterIP")]
    cluster_ip: Option<String>,
    #[serde(default)]
    publish_not_ready_addresses: Option<bool>,
    #[serde(default)]
    session_affinity: Option<Value>,
    #[serde(default)]
    internal_traffic_policy: Option<Value>,
    #[serde(default)]
    external_traffic_policy: Option<Value>,
    #[serde(default)]
    traffic_distribution: Option<Value>,
}

/// One port.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServicePort {
    /// Name.
    #[serde(default)]
    pub name: Option<String>,
    /// The Service's.
    pub port: u16,
    /// The pod's, when another.
    #[serde(default)]
    pub target_port: Option<Port>,
    #[serde(default)]
    protocol: Option<String>,
    #[serde(default, rename = "appProtocol")]
    _app_protocol: Option<String>,
    #[serde(default, rename = "nodePort")]
    _node_port: Option<u16>,
}

impl Spec {
    pub(super) fn checked(self, what: &str) -> anyhow::Result<(Service, Vec<NotShown>)> {
        ensure!(!self.selector.is_empty(), "a Service without selector");
        for port in &self.ports {
            ensure!(
                matches!(port.protocol.as_deref(), None | Some("TCP")),
                "port {}: not TCP",
                port.port
            );
        }
        let mut not_shown = Vec::new();
        let mut note = |field: &str, why| {
            not_shown.push(NotShown {
                what: format!("{what}: {field}"),
                why,
            });
        };
        if self.kind.is_some_and(|kind| kind != "ClusterIP") {
            note("type", "its pods are reached by the name alone");
        }
        if self.cluster_ip.is_some_and(|address| address != "None") {
            note("clusterIP", "the address is the engine's choice");
        }
        if self.publish_not_ready_addresses != Some(true) {
            note(
                "endpoints of ready pods alone",
                "the name leads to its pods from their start",
            );
        }
        let others = [
            self.session_affinity,
            self.internal_traffic_policy,
            self.external_traffic_policy,
            self.traffic_distribution,
        ];
        if others.iter().any(Option::is_some) {
            note("affinity and traffic policies", "there is one node");
        }
        Ok((
            Service {
                selector: self.selector,
                ports: self.ports,
            },
            not_shown,
        ))
    }
}

impl Service {
    /// Whether pods with these labels are behind it.
    pub fn selects(&self, labels: &BTreeMap<String, String>) -> bool {
        self.selector
            .iter()
            .all(|(key, value)| labels.get(key) == Some(value))
    }
}

/// The pod's port behind a Service's.
///
/// # Errors
/// No container names it, or it has another number: the engine's names lead to the same number alone.
pub(super) fn target(port: &ServicePort, pod: &PodSpec) -> anyhow::Result<u16> {
    let number = match &port.target_port {
        None => port.port,
        Some(target) => pod.port(target).with_context(|| format!("port {}", port.port))?,
    };
    ensure!(
        number == port.port,
        "port {}: its pods listen on {number}, and no other number can be shown here",
        port.port
    );
    Ok(number)
}
