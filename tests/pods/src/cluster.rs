//! One namespace: a network, the objects of some manifests, and the pods made of them.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use anyhow::Context as _;

use crate::engine::Engine;
use crate::images::Images;
use crate::manifest::{Data, Objects};
use crate::namespace::{LABEL, Namespace, World};
use crate::pod::{Pod, Volumes};

/// Pods on a network of their own. What belongs to it is removed when it and all its pods are dropped.
#[derive(Debug, Clone)]
pub struct Cluster {
    namespace: Arc<Namespace>,
    /// Volumes of the pods that are there.
    pods: Arc<Mutex<Vec<Weak<Volumes>>>>,
    number: Arc<AtomicU32>,
}

impl Cluster {
    /// A network, and nothing on it yet.
    ///
    /// # Errors
    /// The objects do not fit together, or the engine gives no network.
    pub async fn new(engine: &Engine, images: &Images, objects: Objects) -> anyhow::Result<Self> {
        objects.check()?;
        let folder = tempfile::tempdir()?;
        let name = format!("{LABEL}-{:08x}", fastrand::u32(..));
        // Before the network, so that its end is certain.
        let namespace = Namespace {
            engine: engine.clone(),
            images: images.clone(),
            name,
            world: World {
                objects: Mutex::new(objects),
                claims: folder.path().join("claims"),
            },
            folder,
        };
        let label = namespace.label();
        engine
            .run(["network", "create", "--label", &label, &namespace.name])
            .await?;
        Ok(Self {
            namespace: Arc::new(namespace),
            pods: Arc::default(),
            number: Arc::new(AtomicU32::new(1)),
        })
    }

    /// Starts a pod of a Deployment; returns when its containers are being started.
    ///
    /// # Errors
    /// There is no such Deployment, no image for it, or its network cannot be had.
    pub async fn start(&self, deployment: &str) -> anyhow::Result<Pod> {
        let found = self.namespace.world.lock().deployments.get(deployment).cloned();
        let deployment = found.with_context(|| format!("no Deployment {deployment}"))?;
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        let folder = self.namespace.folder.path().join(format!("pod-{number}"));
        std::fs::create_dir(&folder)?;
        let pod = Pod::start(Arc::clone(&self.namespace), deployment, number, folder).await?;
        let mut pods = self.pods.lock().unwrap_or_else(PoisonError::into_inner);
        pods.retain(|pod| pod.strong_count() > 0);
        pods.push(pod.volumes());
        drop(pods);
        Ok(pod)
    }

    /// An upstream that answers by these names on this port of the network.
    ///
    /// # Errors
    /// The engine does not start it.
    pub async fn upstream(&self, names: &[&str], port: u16) -> anyhow::Result<()> {
        let mut words = vec![
            "run".to_owned(),
            "-d".to_owned(),
            "--label".to_owned(),
            self.namespace.label(),
        ];
        words.extend(["--network".to_owned(), self.namespace.name.clone()]);
        for name in names {
            words.extend(["--network-alias".to_owned(), (*name).to_owned()]);
        }
        words.extend([
            self.namespace.images.peer.clone(),
            "serve".to_owned(),
            port.to_string(),
        ]);
        self.namespace.engine.run(words).await.map(drop)
    }

    /// Exchanges a Secret: what mounts it as a folder has the new files when this returns. A node takes up to a minute for it.
    ///
    /// # Errors
    /// A volume cannot be written, or refers to a key that is gone.
    pub fn put_secret(&self, name: &str, data: Data) -> anyhow::Result<()> {
        self.namespace.world.lock().secrets.insert(name.to_owned(), data);
        self.refresh()
    }

    /// As [`Cluster::put_secret`], for a ConfigMap.
    ///
    /// # Errors
    /// See there.
    pub fn put_config_map(&self, name: &str, data: Data) -> anyhow::Result<()> {
        self.namespace
            .world
            .lock()
            .config_maps
            .insert(name.to_owned(), data);
        self.refresh()
    }

    fn refresh(&self) -> anyhow::Result<()> {
        let pods = self.pods.lock().unwrap_or_else(PoisonError::into_inner);
        let living: Vec<_> = pods.iter().filter_map(Weak::upgrade).collect();
        drop(pods);
        living
            .iter()
            .try_for_each(|pod| pod.refresh(&self.namespace.world))
    }
}
