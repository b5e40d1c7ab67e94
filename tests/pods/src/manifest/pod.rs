//! What a pod is made of.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail, ensure};
use serde::Deserialize;
use yaml_serde::Value;

use super::probe::{Action, ExecAction, Port, Probe};
use super::quantity::{self, Written};
use super::volume::Volume;

/// The specification of a pod.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PodSpec {
    /// Run side by side.
    pub containers: Vec<Container>,
    #[serde(default)]
    init_containers: Vec<Value>,
    /// Volumes.
    #[serde(default)]
    pub volumes: Vec<Volume>,
    /// Security of all containers, and of the volumes.
    #[serde(default)]
    pub security_context: PodSecurity,
    /// From SIGTERM to SIGKILL, seconds; 30 when not set.
    #[serde(default)]
    pub termination_grace_period_seconds: Option<u64>,
    /// Whether the variables of Services are left out.
    #[serde(default)]
    pub enable_service_links: Option<bool>,
    /// Names in `/etc/hosts`.
    #[serde(default)]
    pub host_aliases: Vec<HostAlias>,
    #[serde(default)]
    restart_policy: Option<String>,
    #[serde(default)]
    automount_service_account_token: Option<bool>,
    #[serde(default)]
    service_account_name: Option<String>,
    #[serde(default)]
    service_account: Option<String>,
    #[serde(default)]
    image_pull_secrets: Vec<Value>,
    #[serde(default)]
    affinity: Option<Value>,
    #[serde(default)]
    node_selector: Option<Value>,
    #[serde(default)]
    tolerations: Vec<Value>,
    #[serde(default)]
    topology_spread_constraints: Vec<Value>,
    #[serde(default)]
    priority_class_name: Option<String>,
    #[serde(default)]
    dns_policy: Option<String>,
}

/// Names of an address.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HostAlias {
    /// Address.
    pub ip: String,
    /// Its names.
    pub hostnames: Vec<String>,
}

/// One container.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Container {
    /// Name.
    pub name: String,
    /// Image, as the manifest has it.
    pub image: String,
    #[serde(default)]
    image_pull_policy: Option<String>,
    /// In place of the image's entry point.
    #[serde(default)]
    pub command: Vec<String>,
    /// In place of the image's arguments.
    #[serde(default)]
    pub args: Vec<String>,
    /// In place of the image's.
    #[serde(default)]
    pub working_dir: Option<String>,
    /// Variables.
    #[serde(default)]
    pub env: Vec<EnvVar>,
    /// All keys of a ConfigMap or Secret as variables.
    #[serde(default)]
    pub env_from: Vec<EnvFrom>,
    /// Ports it names.
    #[serde(default)]
    pub ports: Vec<ContainerPort>,
    /// Limits and requests.
    #[serde(default)]
    pub resources: Resources,
    /// Where volumes are seen.
    #[serde(default)]
    pub volume_mounts: Vec<Mount>,
    /// Before the others.
    #[serde(default)]
    pub startup_probe: Option<Probe>,
    /// A failure restarts.
    #[serde(default)]
    pub liveness_probe: Option<Probe>,
    /// A success makes ready.
    #[serde(default)]
    pub readiness_probe: Option<Probe>,
    /// Hooks.
    #[serde(default)]
    pub lifecycle: Lifecycle,
    /// Security.
    #[serde(default)]
    pub security_context: ContainerSecurity,
    /// Where it leaves its last words; `/dev/termination-log` when not set.
    #[serde(default)]
    pub termination_message_path: Option<String>,
    /// `File` or `FallbackToLogsOnError`.
    #[serde(default)]
    pub termination_message_policy: Option<String>,
}

/// A named port.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ContainerPort {
    /// Name.
    #[serde(default)]
    pub name: Option<String>,
    /// Number.
    pub container_port: u16,
    #[serde(default)]
    protocol: Option<String>,
}

/// A variable.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EnvVar {
    /// Name.
    pub name: String,
    /// Value, in which `$(NAME)` stands for a variable before it.
    #[serde(default)]
    pub value: Option<String>,
    /// Or where it is from.
    #[serde(default)]
    pub value_from: Option<EnvSource>,
}

/// Where a variable is from.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EnvSource {
    /// A key of a Secret.
    #[serde(default)]
    pub secret_key_ref: Option<KeyRef>,
    /// A key of a ConfigMap.
    #[serde(default)]
    pub config_map_key_ref: Option<KeyRef>,
    /// A field of the pod.
    #[serde(default)]
    pub field_ref: Option<FieldRef>,
    /// A limit or request of a container.
    #[serde(default)]
    pub resource_field_ref: Option<ResourceFieldRef>,
}

/// A key of something named.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeyRef {
    /// Of what.
    pub name: String,
    /// Which.
    pub key: String,
    /// Whether it may be missing.
    #[serde(default)]
    pub optional: bool,
}

/// A field of the pod.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FieldRef {
    /// `metadata.name` and its like.
    pub field_path: String,
    #[serde(default, rename = "apiVersion")]
    _api_version: Option<String>,
}

/// A limit or request.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ResourceFieldRef {
    /// `limits.cpu` and its like.
    pub resource: String,
    /// Of another container.
    #[serde(default)]
    pub container_name: Option<String>,
    /// The unit of the answer.
    #[serde(default)]
    pub divisor: Option<String>,
}

/// All keys of something named.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EnvFrom {
    /// Put before each name.
    #[serde(default)]
    pub prefix: String,
    /// A ConfigMap.
    #[serde(default)]
    pub config_map_ref: Option<Named>,
    /// A Secret.
    #[serde(default)]
    pub secret_ref: Option<Named>,
}

/// Something by name.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Named {
    /// Which.
    pub name: String,
    /// Whether it may be missing.
    #[serde(default)]
    pub optional: bool,
}

/// Limits and requests.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Resources {
    #[serde(default)]
    limits: BTreeMap<String, Written>,
    #[serde(default)]
    requests: BTreeMap<String, Written>,
}

/// Where a volume is seen.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Mount {
    /// The volume's name.
    pub name: String,
    /// Path in the container.
    pub mount_path: String,
    /// One file or folder of it.
    #[serde(default)]
    pub sub_path: Option<String>,
    /// Whether it cannot be written.
    #[serde(default)]
    pub read_only: bool,
}

/// Security of a pod.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PodSecurity {
    /// User.
    #[serde(default)]
    pub run_as_user: Option<u32>,
    /// Group.
    #[serde(default)]
    pub run_as_group: Option<u32>,
    /// Whether root is refused.
    #[serde(default)]
    pub run_as_non_root: Option<bool>,
    /// Group of the volumes, and one more of every container.
    #[serde(default)]
    pub fs_group: Option<u32>,
    #[serde(default, rename = "fsGroupChangePolicy")]
    _fs_group_change_policy: Option<String>,
    /// More groups.
    #[serde(default)]
    pub supplemental_groups: Vec<u32>,
    /// System calls.
    #[serde(default)]
    pub seccomp_profile: Option<Seccomp>,
}

/// Security of a container.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ContainerSecurity {
    /// User.
    #[serde(default)]
    pub run_as_user: Option<u32>,
    /// Group.
    #[serde(default)]
    pub run_as_group: Option<u32>,
    /// Whether root is refused.
    #[serde(default)]
    pub run_as_non_root: Option<bool>,
    /// `false`: no new privileges.
    #[serde(default)]
    pub allow_privilege_escalation: Option<bool>,
    /// Whether its own file system cannot be written.
    #[serde(default)]
    pub read_only_root_filesystem: bool,
    /// Capabilities.
    #[serde(default)]
    pub capabilities: Capabilities,
    /// System calls.
    #[serde(default)]
    pub seccomp_profile: Option<Seccomp>,
    #[serde(default)]
    privileged: bool,
}

/// Capabilities.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Capabilities {
    /// More.
    #[serde(default)]
    pub add: Vec<String>,
    /// Fewer.
    #[serde(default)]
    pub drop: Vec<String>,
}

/// System calls: `RuntimeDefault` is what the engine does by itself.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Seccomp {
    /// Which profile.
    #[serde(rename = "type")]
    pub kind: String,
}

/// Hooks.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Lifecycle {
    /// Before SIGTERM.
    #[serde(default)]
    pub pre_stop: Option<PreStop>,
}

/// What is done before SIGTERM.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PreStop {
    /// A command in the container.
    #[serde(default)]
    pub exec: Option<ExecAction>,
    /// A pause.
    #[serde(default)]
    pub sleep: Option<Sleep>,
}

/// A pause.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Sleep {
    /// How long.
    pub seconds: u64,
}

impl PodSpec {
    /// The number behind a port.
    ///
    /// # Errors
    /// No container names it.
    pub fn port(&self, port: &Port) -> anyhow::Result<u16> {
        let name = match port {
            Port::Number(number) => return Ok(*number),
            Port::Name(name) => name,
        };
        let mut ports = self.containers.iter().flat_map(|container| &container.ports);
        let found = ports.find(|port| port.name.as_ref() == Some(name));
        Ok(found
            .with_context(|| format!("no container has a port {name}"))?
            .container_port)
    }

    /// What the API server and the node refuse, and what nothing here does.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        ensure!(!self.containers.is_empty(), "no containers");
        ensure!(
            self.init_containers.is_empty(),
            "init containers cannot be shown here"
        );
        ensure!(
            matches!(self.restart_policy.as_deref(), None | Some("Always")),
            "a Deployment's restartPolicy is Always"
        );
        ensure!(
            matches!(self.dns_policy.as_deref(), None | Some("ClusterFirst")),
            "a dnsPolicy that nothing here does"
        );
        for volume in &self.volumes {
            volume
                .check()
                .with_context(|| format!("volume {}", volume.name))?;
        }
        for container in &self.containers {
            self.check_container(container)
                .with_context(|| format!("container {}", container.name))?;
        }
        Ok(())
    }

    fn check_container(&self, container: &Container) -> anyhow::Result<()> {
        ensure!(!container.security_context.privileged, "privileged");
        for mount in &container.volume_mounts {
            let known = self.volumes.iter().any(|volume| volume.name == mount.name);
            ensure!(known, "mounts volume {}, which the pod has not", mount.name);
            let sub = mount.sub_path.as_deref().unwrap_or_default();
            ensure!(
                !sub.starts_with('/') && sub.split('/').all(|part| part != ".."),
                "subPath {sub:?} leads out of its volume"
            );
        }
        for port in &container.ports {
            ensure!(
                matches!(port.protocol.as_deref(), None | Some("TCP")),
                "port {}: not TCP",
                port.container_port
            );
        }
        ensure!(
            matches!(
                container.termination_message_policy.as_deref(),
                None | Some("File" | "FallbackToLogsOnError")
            ),
            "terminationMessagePolicy"
        );
        container.resources.check()?;
        let profile = container.security_context.seccomp_profile.as_ref();
        let profile = profile.or(self.security_context.seccomp_profile.as_ref());
        if let Some(Seccomp { kind }) = profile {
            ensure!(
                matches!(kind.as_str(), "RuntimeDefault" | "Unconfined"),
                "seccomp profile {kind}"
            );
        }
        let probes = [
            ("startupProbe", &container.startup_probe),
            ("livenessProbe", &container.liveness_probe),
            ("readinessProbe", &container.readiness_probe),
        ];
        for (name, probe) in probes {
            let Some(probe) = probe else { continue };
            let port = match probe.action().context(name)? {
                Action::Exec(_) => continue,
                Action::Http(get) => &get.port,
                Action::Tcp(port) => port,
            };
            self.port(port).context(name)?;
            ensure!(
                name == "readinessProbe" || probe.success_threshold() == 1,
                "{name}: its successThreshold is 1"
            );
        }
        Ok(())
    }

    pub(super) fn not_shown(&self) -> Vec<(String, &'static str)> {
        let scheduling = "there is one node";
        let account = "there is no API server";
        let fields = [
            ("affinity", self.affinity.is_some(), scheduling),
            ("nodeSelector", self.node_selector.is_some(), scheduling),
            ("tolerations", !self.tolerations.is_empty(), scheduling),
            (
                "topologySpreadConstraints",
                !self.topology_spread_constraints.is_empty(),
                scheduling,
            ),
            (
                "priorityClassName",
                self.priority_class_name.is_some(),
                scheduling,
            ),
            (
                "imagePullSecrets",
                !self.image_pull_secrets.is_empty(),
                "no image is pulled",
            ),
            (
                "serviceAccountName",
                self.service_account_name.is_some() || self.service_account.is_some(),
                account,
            ),
            (
                "a mounted service account token",
                self.automount_service_account_token != Some(false),
                account,
            ),
        ];
        let mut notes: Vec<_> = fields
            .iter()
            .filter(|(_, set, _)| *set)
            .map(|&(field, _, why)| (field.to_owned(), why))
            .collect();
        for container in &self.containers {
            let name = &container.name;
            let profiles = [
                &self.security_context.seccomp_profile,
                &container.security_context.seccomp_profile,
            ];
            if profiles.iter().all(|profile| profile.is_none()) {
                notes.push((
                    format!("{name}: no seccomp profile"),
                    "the engine applies its own where a node applies none",
                ));
            }
            if container.image_pull_policy.is_some() {
                notes.push((format!("{name}: imagePullPolicy"), "no image is pulled"));
            }
            if !container.resources.requests.is_empty() {
                notes.push((format!("{name}: resources.requests"), scheduling));
            }
            if container.resources.limits.contains_key("ephemeral-storage") {
                notes.push((
                    format!("{name}: limits.ephemeral-storage"),
                    "the engine does not count what a container writes",
                ));
            }
        }
        for volume in &self.volumes {
            let disk = volume.empty_dir.as_ref();
            if disk.is_some_and(|dir| dir.medium.is_none() && dir.size_limit.is_some()) {
                notes.push((
                    format!("volume {}: sizeLimit", volume.name),
                    "a node evicts a pod that goes over it, here nobody does",
                ));
            }
        }
        notes
    }
}

impl ContainerPort {
    pub(super) fn unnamed(port: u16) -> Self {
        Self {
            name: None,
            container_port: port,
            protocol: None,
        }
    }
}

impl Resources {
    fn check(&self) -> anyhow::Result<()> {
        for (name, quantity) in self.limits.iter().chain(&self.requests) {
            ensure!(
                matches!(name.as_str(), "cpu" | "ephemeral-storage" | "memory"),
                "resource {name} is not known here"
            );
            quantity::of(quantity, 1.0).with_context(|| format!("resource {name}"))?;
        }
        for (name, request) in &self.requests {
            let Some(limit) = self.limits.get(name) else {
                continue;
            };
            ensure!(
                quantity::of(request, 1e3)? <= quantity::of(limit, 1e3)?,
                "more {name} requested than allowed"
            );
        }
        Ok(())
    }

    /// `limits.cpu`, thousandths of a processor, and `limits.memory`, bytes.
    pub fn limits(&self) -> (Option<u64>, Option<u64>) {
        // Read before, by `check`.
        let limit = |name: &str, factor| {
            let written = self.limits.get(name)?;
            quantity::of(written, factor).ok()
        };
        (limit("cpu", 1e3), limit("memory", 1.0))
    }

    /// What a variable is told of `limits.cpu` and its like: a limit that is not set is that of the node.
    ///
    /// # Errors
    /// A resource that nothing here knows, a divisor that is none.
    pub fn field(&self, resource: &str, divisor: Option<&str>) -> anyhow::Result<u64> {
        let (of, name) = resource.split_once('.').context("no resource")?;
        let set = match of {
            "limits" => self.limits.get(name),
            "requests" => self.requests.get(name),
            _ => bail!("resource {resource}"),
        };
        let written =
            set.with_context(|| format!("{resource} is not set, and a node's is not shown here"))?;
        // As Kubernetes: a part of a unit counts as a whole one.
        let divisor = millis_or_one(divisor)?;
        Ok(quantity::of(written, 1e3)?.div_ceil(divisor))
    }
}

fn millis_or_one(divisor: Option<&str>) -> anyhow::Result<u64> {
    let divisor = divisor.map_or(Ok(1000), quantity::millis)?;
    ensure!(divisor > 0, "a divisor of zero");
    Ok(divisor)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        let read = || -> anyhow::Result<()> {
            let tree: Value = yaml_serde::from_str(text)?;
            let pod: PodSpec = yaml_serde::from_value(tree)?;
            pod.check()
        };
        format!("{:#}", read().expect_err(text))
    }

    #[test]
    fn what_nothing_here_does_is_an_error_that_names_it() {
        let cases = [
            (
                "{containers: [{name: a, image: b, stdin: true}]}",
                "unknown field `stdin`",
            ),
            (
                "{containers: [], hostNetwork: true}",
                "unknown field `hostNetwork`",
            ),
            ("{containers: []}", "no containers"),
            (
                "{containers: [{name: a, image: b, env: [{name: A, value: 5}]}]}",
                "invalid type",
            ),
            (
                "{containers: [{name: a, image: b, securityContext: {privileged: true}}]}",
                "container a: privileged",
            ),
            (
                "{containers: [{name: a, image: b, volumeMounts: [{name: v, mountPath: /v}]}]}",
                "container a: mounts volume v, which the pod has not",
            ),
            (
                "{containers: [{name: a, image: b, livenessProbe: {grpc: {port: 1}}}]}",
                "container a: livenessProbe: a probe by gRPC",
            ),
            (
                "{containers: [{name: a, image: b, livenessProbe: {tcpSocket: {port: https}}}]}",
                "container a: livenessProbe: no container has a port https",
            ),
            (
                "{containers: [{name: a, image: b, resources: {limits: {memory: many}}}]}",
                "resource memory: \"many\" is no quantity",
            ),
            (
                "{containers: [{name: a, image: b, resources: {limits: {cpu: 1}, requests: {cpu: 2}}}]}",
                "more cpu requested than allowed",
            ),
            (
                "{containers: [{name: a, image: b}], volumes: [{name: v, emptyDir: {medium: HugePages}}]}",
                "volume v: a medium",
            ),
            (
                "{containers: [{name: a, image: b}], volumes: [{name: v}]}",
                "volume v: of one kind",
            ),
        ];
        for (text, want) in cases {
            let told = refused(text);
            assert!(told.contains(want), "{text}: {told}");
        }
    }

    #[test]
    fn resources_as_variables() {
        let resources: Resources = yaml_serde::from_str("{limits: {cpu: 1500m, memory: 100Mi}}").unwrap();
        assert_eq!(resources.limits(), (Some(1500), Some(104_857_600)));
        let field = |name, divisor| resources.field(name, divisor).unwrap();
        assert_eq!(field("limits.cpu", None), 2);
        assert_eq!(field("limits.cpu", Some("1m")), 1500);
        assert_eq!(field("limits.memory", Some("1Mi")), 100);
        resources.field("requests.cpu", None).unwrap_err();
    }
}
