//! Manifests as Kubernetes reads them, strictly: a field or kind that nothing here knows is an error that names it.
//!
//! What is known and cannot be shown on this engine (an Ingress, an affinity) is a [`NotShown`], so that nobody takes a
//! green run for more than it is.

mod config;
mod deployment;
mod object;
mod pod;
mod probe;
mod quantity;
mod service;
mod volume;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context as _, bail, ensure};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use yaml_serde::Value;

pub use config::Data;
pub use deployment::Deployment;
pub use object::{Metadata, NotShown};
pub use pod::{
    Capabilities, Container, ContainerPort, ContainerSecurity, EnvFrom, EnvSource, EnvVar, FieldRef,
    HostAlias, KeyRef, Lifecycle, Mount, Named, PodSecurity, PodSpec, PreStop, ResourceFieldRef, Resources,
    Seccomp, Sleep,
};
pub use probe::{Action, ExecAction, GrpcAction, Header, HttpGet, Port, Probe, TcpSocket};
pub use quantity::{bytes, millis};
pub use service::{Service, ServicePort};
pub use volume::{Claim, EmptyDir, Item, Projected, Projection, SecretVolume, SourceVolume, Volume};

/// Kinds that are read no further: nothing on a Docker Engine does what they say.
const OPAQUE: [(&str, &str); 13] = [
    (
        "HorizontalPodAutoscaler",
        "the number of replicas is the caller's choice",
    ),
    (
        "Ingress",
        "callers reach the router's published port by the ingress's host name",
    ),
    ("Namespace", "there is one"),
    (
        "NetworkPolicy",
        "the engine's network lets every container reach every other",
    ),
    ("PodDisruptionBudget", "there are no evictions"),
    ("PodMonitor", "nothing scrapes"),
    ("PrometheusRule", "nothing evaluates rules"),
    ("ResourceQuota", "there is no quota"),
    ("Role", "there is no API server"),
    ("RoleBinding", "there is no API server"),
    ("ServiceAccount", "there is no API server"),
    ("ServiceMonitor", "nothing scrapes"),
    ("StorageClass", "a claim is a folder"),
];

/// The objects of some manifests, by name.
#[derive(Debug, Clone, Default)]
pub struct Objects {
    /// ConfigMaps.
    pub config_maps: BTreeMap<String, Data>,
    /// Secrets.
    pub secrets: BTreeMap<String, Data>,
    /// Services.
    pub services: BTreeMap<String, Service>,
    /// Deployments.
    pub deployments: BTreeMap<String, Deployment>,
    /// Names of PersistentVolumeClaims.
    pub claims: BTreeSet<String>,
    /// What was left out.
    pub not_shown: BTreeSet<NotShown>,
}

/// Enough of an object to know how to read it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    api_version: String,
    kind: String,
    #[serde(default)]
    metadata: Option<HeadMetadata>,
}

#[derive(Debug, Deserialize)]
struct HeadMetadata {
    #[serde(default)]
    name: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Object<T> {
    #[serde(rename = "apiVersion")]
    _api_version: String,
    #[serde(rename = "kind")]
    _kind: String,
    metadata: Metadata,
    spec: T,
}

impl Objects {
    /// Reads every `.yaml` file of a folder, as `kubectl apply -f FOLDER` does: not those of folders below it.
    ///
    /// # Errors
    /// A file cannot be read, or holds something that [`Objects::read`] refuses.
    pub fn folder(&mut self, folder: &Path) -> anyhow::Result<()> {
        let entries = std::fs::read_dir(folder).with_context(|| folder.display().to_string())?;
        let mut files = entries
            .map(|entry| Ok(entry?.path()))
            .collect::<anyhow::Result<Vec<_>>>()?;
        files.retain(|path| {
            let extension = path.extension().and_then(|text| text.to_str());
            path.is_file() && matches!(extension, Some("yaml" | "yml"))
        });
        files.sort();
        ensure!(!files.is_empty(), "{}: no manifests", folder.display());
        for file in files {
            let text = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
            self.read(&text).with_context(|| file.display().to_string())?;
        }
        Ok(())
    }

    /// Reads the documents of a text.
    ///
    /// # Errors
    /// No YAML, an unknown kind or field, a value of another type, or two objects of one kind and name.
    pub fn read(&mut self, text: &str) -> anyhow::Result<()> {
        // Twice over the same documents: first what each is, then as that, so that an error has its line.
        let heads = yaml_serde::Deserializer::from_str(text);
        let documents = yaml_serde::Deserializer::from_str(text);
        for (number, (head, document)) in heads.zip(documents).enumerate() {
            let number = number + 1;
            let head = Option::<Head>::deserialize(head).with_context(|| format!("document {number}"))?;
            // A template that renders nothing leaves an empty document.
            let Some(head) = head else { continue };
            let name = head.metadata.map(|metadata| metadata.name).unwrap_or_default();
            let what = format!("{}/{name}", head.kind);
            self.object(&head.api_version, &head.kind, &what, document)
                .with_context(|| what.clone())?;
        }
        Ok(())
    }

    fn object(
        &mut self,
        version: &str,
        kind: &str,
        what: &str,
        document: yaml_serde::Deserializer<'_>,
    ) -> anyhow::Result<()> {
        let expected = match kind {
            "ConfigMap" | "PersistentVolumeClaim" | "Secret" | "Service" => "v1",
            "Deployment" => "apps/v1",
            _ => version,
        };
        ensure!(version == expected, "apiVersion is {version}, not {expected}");
        match kind {
            "ConfigMap" => {
                let (name, data) = config::config_map(document)?;
                insert(&mut self.config_maps, name, data)
            }
            "Secret" => {
                let (name, data) = config::secret(document)?;
                insert(&mut self.secrets, name, data)
            }
            "Service" => {
                let (metadata, spec) = object::<service::Spec>(document)?;
                let (service, not_shown) = spec.checked(what)?;
                self.not_shown.extend(not_shown);
                insert(&mut self.services, metadata.name, service)
            }
            "Deployment" => {
                let (metadata, spec) = object::<deployment::Spec>(document)?;
                let deployment = spec.checked(metadata.name.clone())?;
                self.not_shown.extend(deployment.not_shown(what));
                insert(&mut self.deployments, metadata.name, deployment)
            }
            "PersistentVolumeClaim" => {
                let (metadata, _) = object::<Value>(document)?;
                self.not_shown.insert(NotShown {
                    what: format!("{what}: size, access modes and class"),
                    why: "a claim is a folder",
                });
                ensure!(self.claims.insert(metadata.name), "is there twice");
                Ok(())
            }
            _ => {
                let Some((_, why)) = OPAQUE.iter().find(|(name, _)| *name == kind) else {
                    bail!("a kind that nothing here knows");
                };
                Value::deserialize(document)?;
                self.not_shown.insert(NotShown {
                    what: what.to_owned(),
                    why,
                });
                Ok(())
            }
        }
    }

    /// Holds what refers to something by name against what there is: images may be missing, names may not.
    ///
    /// # Errors
    /// A Service that selects no Deployment, or a port of it that no container names.
    pub fn check(&self) -> anyhow::Result<()> {
        for (name, service) in &self.services {
            let mut selected = self
                .deployments
                .values()
                .filter(|deployment| service.selects(&deployment.labels))
                .peekable();
            ensure!(selected.peek().is_some(), "Service/{name} selects nothing");
            for deployment in selected {
                for port in &service.ports {
                    service::target(port, &deployment.pod)
                        .with_context(|| format!("Service/{name}, of Deployment/{}", deployment.name))?;
                }
            }
        }
        Ok(())
    }
}

/// By way of a tree, where a number is none of the texts that Kubernetes wants.
fn object<T: DeserializeOwned>(document: yaml_serde::Deserializer<'_>) -> anyhow::Result<(Metadata, T)> {
    let object: Object<T> = yaml_serde::from_value(Value::deserialize(document)?)?;
    ensure!(!object.metadata.name.is_empty(), "no name");
    Ok((object.metadata, object.spec))
}

fn insert<T>(all: &mut BTreeMap<String, T>, name: String, value: T) -> anyhow::Result<()> {
    ensure!(all.insert(name, value).is_none(), "is there twice");
    Ok(())
}
