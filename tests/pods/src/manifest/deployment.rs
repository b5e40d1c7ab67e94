//! Deployments: a pod template, and how often.

use std::collections::BTreeMap;

use anyhow::ensure;
use serde::Deserialize;
use yaml_serde::Value;

use super::object::{Metadata, NotShown};
use super::pod::{ContainerPort, EnvVar, PodSpec};

/// What of a Deployment this engine uses.
#[derive(Debug, Clone)]
pub struct Deployment {
    /// Name.
    pub name: String,
    /// Pods at first.
    pub replicas: u32,
    /// Labels of its pods.
    pub labels: BTreeMap<String, String>,
    /// Annotations of its pods.
    pub annotations: BTreeMap<String, String>,
    /// Its pods.
    pub pod: PodSpec,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Spec {
    #[serde(default)]
    replicas: Option<u32>,
    selector: Selector,
    template: Template,
    #[serde(default)]
    strategy: Option<Strategy>,
    #[serde(default, rename = "minReadySeconds")]
    _min_ready_seconds: Option<u32>,
    #[serde(default, rename = "progressDeadlineSeconds")]
    _progress_deadline_seconds: Option<u32>,
    #[serde(default, rename = "revisionHistoryLimit")]
    _revision_history_limit: Option<u32>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Selector {
    match_labels: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Template {
    metadata: Metadata,
    spec: PodSpec,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Strategy {
    #[serde(default, rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    rolling_update: Option<RollingUpdate>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RollingUpdate {
    #[serde(default, rename = "maxSurge")]
    _max_surge: Option<Value>,
    #[serde(default, rename = "maxUnavailable")]
    _max_unavailable: Option<Value>,
}

impl Spec {
    pub(super) fn checked(self, name: String) -> anyhow::Result<Deployment> {
        let labels = self.template.metadata.labels;
        for (key, value) in &self.selector.match_labels {
            ensure!(
                labels.get(key) == Some(value),
                "its selector does not select its own pods by {key}"
            );
        }
        if let Some(strategy) = &self.strategy {
            let kind = strategy.kind.as_deref().unwrap_or("RollingUpdate");
            ensure!(matches!(kind, "Recreate" | "RollingUpdate"), "strategy {kind}");
            ensure!(
                kind == "RollingUpdate" || strategy.rolling_update.is_none(),
                "strategy Recreate takes no rollingUpdate"
            );
        }
        self.template.spec.check()?;
        Ok(Deployment {
            name,
            replicas: self.replicas.unwrap_or(1),
            labels,
            annotations: self.template.metadata.annotations,
            pod: self.template.spec,
        })
    }
}

impl Deployment {
    /// Adds a variable to every container.
    pub fn set_variable(&mut self, name: &str, value: &str) {
        for container in &mut self.pod.containers {
            container.env.push(EnvVar {
                name: name.to_owned(),
                value: Some(value.to_owned()),
                value_from: None,
            });
        }
    }

    /// Names a port more.
    pub fn open(&mut self, port: u16) {
        if let Some(container) = self.pod.containers.first_mut() {
            container.ports.push(ContainerPort::unnamed(port));
        }
    }

    pub(super) fn not_shown(&self, what: &str) -> Vec<NotShown> {
        let note = |(field, why): (String, &'static str)| NotShown {
            what: format!("{what}: {field}"),
            why,
        };
        self.pod.not_shown().into_iter().map(note).collect()
    }
}
