//! One pod: a container that holds its network, its volumes, and the containers of its specification.

mod container;
mod environment;
mod probe;
mod shared;
mod volume;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::manifest::{Action, Deployment};
use crate::namespace::{Namespace, World};
use shared::Shared;

pub use container::{Ended, State, Status, Stopped};
pub use probe::{Probed, Probes};
pub(crate) use shared::Volumes;

/// A pod. Dropped, its containers go with its cluster.
#[derive(Debug)]
pub struct Pod {
    shared: Arc<Shared>,
    volumes: Arc<Volumes>,
    containers: Vec<Running>,
    stop: watch::Sender<bool>,
    started: Instant,
}

#[derive(Debug)]
struct Running {
    name: String,
    status: watch::Receiver<Status>,
    task: JoinHandle<Option<Stopped>>,
}

impl Pod {
    pub(crate) async fn start(
        cluster: Arc<Namespace>,
        deployment: Deployment,
        number: u32,
        folder: PathBuf,
    ) -> anyhow::Result<Self> {
        let started = Instant::now();
        let engine = &cluster.engine;
        for container in &deployment.pod.containers {
            cluster.images.of(&container.image)?;
        }
        // As in a cluster, where the host's name is the pod's.
        let name = format!("{}-{number}", deployment.name);
        let full = format!("{}-{number}", cluster.name);
        let mut words: Vec<String> = ["run", "--detach", "--hostname", &name, "--name", &full, "--label"]
            .map(ToOwned::to_owned)
            .to_vec();
        words.extend([cluster.label(), "--network".to_owned(), cluster.name.clone()]);
        for alias in cluster.world.aliases(&deployment.labels) {
            words.extend(["--network-alias".to_owned(), alias]);
        }
        for alias in &deployment.pod.host_aliases {
            for host in &alias.hostnames {
                words.extend(["--add-host".to_owned(), format!("{host}:{}", alias.ip)]);
            }
        }
        let published = ports(&cluster.world, &deployment)?;
        for port in &published {
            words.extend(["--publish".to_owned(), format!("127.0.0.1::{port}")]);
        }
        words.extend([cluster.images.peer.clone(), "hold".to_owned()]);
        let sandbox = engine.run(words).await?;
        let mut ports = BTreeMap::new();
        for line in engine.run(["port", &sandbox]).await?.lines() {
            // 9095/tcp -> 127.0.0.1:49153
            let (port, address) = line.split_once("/tcp -> ").context("docker port")?;
            let address: SocketAddr = address.parse().context("docker port")?;
            ports.insert(port.parse()?, address.port());
        }
        let format = format!(
            "{{{{(index .NetworkSettings.Networks {:?}).IPAddress}}}}",
            cluster.name
        );
        let address = engine.inspect(&sandbox, &format).await?;

        let mut made = BTreeMap::new();
        let group = deployment.pod.security_context.fs_group;
        let mut failed = None;
        for volume in &deployment.pod.volumes {
            let inside = folder.join("volumes").join(&volume.name);
            match volume::make(engine, &cluster, volume, &full, &inside, group).await {
                Ok(mounted) => drop(made.insert(volume.name.clone(), mounted)),
                Err(error) => {
                    // As a node tells it, and the containers wait.
                    failed = Some(format!(
                        "MountVolume.SetUp failed for volume \"{}\" : {error:#}",
                        volume.name
                    ));
                    break;
                }
            }
        }
        volume::nested(&deployment.pod, &made)?;

        let shared = Arc::new(Shared {
            cluster,
            deployment,
            name,
            sandbox,
            address,
            ports,
            folder: folder.clone(),
        });
        let volumes = Arc::new(Volumes {
            deployment: shared.deployment.clone(),
            folder,
            made,
        });
        let (stop, stopped) = watch::channel(false);
        let mut containers = Vec::new();
        for (index, container) in shared.deployment.pod.containers.iter().enumerate() {
            let (sender, status) = watch::channel(Status::default());
            let supervisor = container::Supervisor {
                pod: Arc::clone(&shared),
                volumes: Arc::clone(&volumes),
                index,
                status: sender,
            };
            let task = match &failed {
                Some(why) => tokio::spawn(supervisor.wait_for_ever(why.clone(), stopped.clone())),
                None => tokio::spawn(supervisor.run(stopped.clone())),
            };
            containers.push(Running {
                name: container.name.clone(),
                status,
                task,
            });
        }
        Ok(Self {
            shared,
            volumes,
            containers,
            stop,
            started,
        })
    }

    /// Its name, which its host name is too.
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// Where a port of the pod is reached from this machine.
    ///
    /// # Panics
    /// The pod has no such port.
    pub fn address(&self, port: u16) -> SocketAddr {
        let ports = &self.shared.ports;
        let found = ports.get(&port);
        let found = found.unwrap_or_else(|| panic!("{} has no port {port}: {ports:?}", self.name()));
        (Ipv4Addr::LOCALHOST, *found).into()
    }

    /// Its ports, and where each is reached from this machine.
    pub fn addresses(&self) -> impl Iterator<Item = (u16, SocketAddr)> {
        let ports = self.shared.ports.iter();
        ports.map(|(port, published)| (*port, (Ipv4Addr::LOCALHOST, *published).into()))
    }

    /// Waits until all its containers are ready, and gives the time since the pod was asked for.
    ///
    /// # Errors
    /// Not within `bound`, with what there is to know of each container.
    pub async fn ready(&self, bound: Duration) -> anyhow::Result<Duration> {
        let all = async {
            for container in &self.containers {
                container.status.clone().wait_for(|status| status.ready).await?;
            }
            anyhow::Ok(())
        };
        match tokio::time::timeout(bound, all).await {
            Ok(done) => done?,
            Err(_) => bail!(
                "{} is not ready within {bound:?}:\n{}",
                self.name(),
                self.told().await
            ),
        }
        Ok(self.started.elapsed())
    }

    /// Waits for a state of a container.
    ///
    /// # Errors
    /// There is no such container, or it is not in that state within `bound`.
    pub async fn until(
        &self,
        container: &str,
        bound: Duration,
        wanted: impl FnMut(&Status) -> bool,
    ) -> anyhow::Result<Status> {
        let mut status = self.find(container)?.status.clone();
        match tokio::time::timeout(bound, status.wait_for(wanted)).await {
            Ok(status) => Ok(status?.clone()),
            Err(_) => bail!("{container}: not within {bound:?}:\n{}", self.told().await),
        }
    }

    /// The state of a container.
    ///
    /// # Errors
    /// There is no such container.
    pub fn status(&self, container: &str) -> anyhow::Result<Status> {
        Ok(self.find(container)?.status.borrow().clone())
    }

    /// What a running container has written so far.
    ///
    /// # Errors
    /// There is no such container, or it does not run.
    pub async fn log(&self, container: &str) -> anyhow::Result<String> {
        let id = self.id(container)?;
        Ok(self.shared.cluster.engine.logs(&id, u32::MAX).await)
    }

    /// What a container has left in its termination log so far.
    ///
    /// # Errors
    /// It was never started.
    pub fn message(&self, container: &str) -> anyhow::Result<String> {
        Ok(std::fs::read_to_string(self.shared.message_file(container))?)
    }

    /// What the kernel says of a container's first process: `/proc/PID/status`.
    ///
    /// # Errors
    /// There is no such container, it does not run, or its process is not on this machine.
    pub async fn process(&self, container: &str) -> anyhow::Result<String> {
        let id = self.id(container)?;
        let pid = self.shared.cluster.engine.inspect(&id, "{{.State.Pid}}").await?;
        Ok(std::fs::read_to_string(format!("/proc/{pid}/status"))?)
    }

    /// The engine's id of a running container.
    ///
    /// # Errors
    /// There is no such container, or it does not run.
    pub fn id(&self, container: &str) -> anyhow::Result<String> {
        match self.status(container)?.state {
            State::Running(id) => Ok(id),
            other => bail!("{container} does not run: {other:?}"),
        }
    }

    /// Names of its containers.
    pub fn containers(&self) -> impl Iterator<Item = &str> {
        self.containers.iter().map(|container| container.name.as_str())
    }

    fn find(&self, container: &str) -> anyhow::Result<&Running> {
        let mut all = self.containers.iter();
        let found = all.find(|other| other.name == container);
        found.with_context(|| format!("{} has no container {container}", self.name()))
    }

    pub(crate) fn volumes(&self) -> Weak<Volumes> {
        Arc::downgrade(&self.volumes)
    }

    /// Everything there is to know, for a person.
    pub async fn told(&self) -> String {
        let mut text = String::new();
        for container in &self.containers {
            let status = container.status.borrow().clone();
            text.push_str(&format!("--- {} {status:#?}\n", container.name));
            if let State::Running(id) = &status.state {
                text.push_str(&self.shared.cluster.engine.logs(id, 30).await);
            }
        }
        text
    }

    /// Stops it as a node does: hooks, SIGTERM to every container at once, and SIGKILL when the grace period is over.
    ///
    /// # Errors
    /// The engine does not do it.
    pub async fn stop(self) -> anyhow::Result<Vec<Stopped>> {
        self.stop.send_replace(true);
        let mut ends = Vec::new();
        for container in self.containers {
            ends.extend(container.task.await?);
        }
        let engine = &self.shared.cluster.engine;
        engine.run(["rm", "--force", &self.shared.sandbox]).await?;
        // The volumes go with it.
        std::fs::remove_dir_all(&self.shared.folder)?;
        Ok(ends)
    }
}

/// Ports to be published: what containers name, what Services lead to and what probes ask.
fn ports(world: &World, deployment: &Deployment) -> anyhow::Result<Vec<u16>> {
    let pod = &deployment.pod;
    let mut ports = world.service_ports(&deployment.labels);
    for container in &pod.containers {
        ports.extend(container.ports.iter().map(|port| port.container_port));
        let probes = [
            &container.startup_probe,
            &container.liveness_probe,
            &container.readiness_probe,
        ];
        for probe in probes.into_iter().flatten() {
            match probe.action()? {
                Action::Exec(_) => {}
                Action::Http(get) => ports.push(pod.port(&get.port)?),
                Action::Tcp(port) => ports.push(pod.port(port)?),
            }
        }
    }
    ports.sort_unstable();
    ports.dedup();
    Ok(ports)
}
