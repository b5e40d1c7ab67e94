//! What the containers of a pod have in common.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;

use super::volume::{self, Mounted};
use crate::manifest::Deployment;
use crate::namespace::{Namespace, World};

/// What the containers of a pod have in common.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) cluster: Arc<Namespace>,
    pub(crate) deployment: Deployment,
    pub(crate) name: String,
    /// Holds the network.
    pub(crate) sandbox: String,
    /// Address on the cluster's network.
    pub(crate) address: String,
    /// Ports of the pod, and those of this machine that lead to them.
    pub(crate) ports: BTreeMap<u16, u16>,
    pub(super) folder: PathBuf,
}

/// The volumes of a pod.
#[derive(Debug)]
pub(crate) struct Volumes {
    pub(super) deployment: Deployment,
    pub(super) folder: PathBuf,
    pub(super) made: BTreeMap<String, Mounted>,
}

impl Volumes {
    /// Writes anew what is made of keys.
    pub(crate) fn refresh(&self, world: &World) -> anyhow::Result<()> {
        let pod = &self.deployment.pod;
        for volume in &pod.volumes {
            let folder = self.folder.join("volumes").join(&volume.name);
            volume::refresh(world, volume, &folder, pod.security_context.fs_group)
                .with_context(|| format!("volume {}", volume.name))?;
        }
        Ok(())
    }
}

impl Shared {
    /// Where the termination log of a container is on this machine.
    pub(super) fn message_file(&self, container: &str) -> PathBuf {
        self.folder.join(format!("{container}-termination-log"))
    }
}
