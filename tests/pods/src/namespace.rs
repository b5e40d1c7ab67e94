//! What the pods of a cluster share: a network, and the objects that they refer to by name.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use tempfile::TempDir;

use crate::engine::Engine;
use crate::images::Images;
use crate::manifest::{Data, Objects};

/// Marks what belongs to a cluster.
pub(crate) const LABEL: &str = "trireme-pods";

/// What every pod has of its cluster. What belongs to it is removed when it is dropped.
#[derive(Debug)]
pub(crate) struct Namespace {
    pub(crate) engine: Engine,
    pub(crate) images: Images,
    /// Of the network, and before every other name.
    pub(crate) name: String,
    pub(crate) world: World,
    pub(crate) folder: TempDir,
}

/// What pods refer to by name.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) objects: Mutex<Objects>,
    pub(crate) claims: PathBuf,
}

impl Namespace {
    pub(crate) fn label(&self) -> String {
        format!("{LABEL}={}", self.name)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let filter = format!("label={}", self.label());
        let list = |words: [&str; 3]| {
            let mut command = self.engine.command();
            let output = command
                .as_std_mut()
                .args(words)
                .args(["--filter", &filter])
                .output();
            let text = output.map(|output| output.stdout).unwrap_or_default();
            let text = String::from_utf8_lossy(&text).into_owned();
            text.split_whitespace().map(ToOwned::to_owned).collect::<Vec<_>>()
        };
        let ids = list(["ps", "--all", "--quiet"]);
        if !ids.is_empty() {
            self.engine.run_now(
                ["rm", "--force", "--volumes"]
                    .into_iter()
                    .chain(ids.iter().map(String::as_str)),
            );
        }
        let ids = list(["volume", "ls", "--quiet"]);
        if !ids.is_empty() {
            self.engine
                .run_now(["volume", "rm"].into_iter().chain(ids.iter().map(String::as_str)));
        }
        self.engine.run_now(["network", "rm", &self.name]);
    }
}

impl World {
    pub(crate) fn lock(&self) -> std::sync::MutexGuard<'_, Objects> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn secret(&self, name: &str) -> Option<Data> {
        self.lock().secrets.get(name).cloned()
    }

    pub(crate) fn config_map(&self, name: &str) -> Option<Data> {
        self.lock().config_maps.get(name).cloned()
    }

    /// Where a claim's files are; pods that come later find them again.
    pub(crate) fn claim(&self, name: &str) -> Option<PathBuf> {
        self.lock().claims.contains(name).then(|| self.claims.join(name))
    }

    /// Names of the Services that lead to pods with these labels, in every form that the name service of a cluster knows.
    pub(crate) fn aliases(&self, labels: &BTreeMap<String, String>) -> Vec<String> {
        let objects = self.lock();
        let selected = objects
            .services
            .iter()
            .filter(|(_, service)| service.selects(labels));
        selected
            .flat_map(|(name, _)| {
                ["", ".default", ".default.svc", ".default.svc.cluster.local"]
                    .map(|end| format!("{name}{end}"))
            })
            .collect()
    }

    /// Ports that Services lead to, of pods with these labels.
    pub(crate) fn service_ports(&self, labels: &BTreeMap<String, String>) -> Vec<u16> {
        let objects = self.lock();
        let selected = objects
            .services
            .values()
            .filter(|service| service.selects(labels));
        selected
            .flat_map(|service| &service.ports)
            .map(|port| port.port)
            .collect()
    }

    /// The variables that a node adds for every Service, with addresses of the kind that a cluster gives; nothing listens there.
    pub(crate) fn links(&self) -> BTreeMap<String, String> {
        let mut links = BTreeMap::new();
        for (number, (name, service)) in self.lock().services.iter().enumerate() {
            let name = name.to_uppercase().replace('-', "_");
            let address = format!("10.96.0.{}", 10 + number);
            links.insert(format!("{name}_SERVICE_HOST"), address.clone());
            for (number, port) in service.ports.iter().enumerate() {
                let (port, named) = (port.port, &port.name);
                let url = format!("tcp://{address}:{port}");
                if number == 0 {
                    links.insert(format!("{name}_SERVICE_PORT"), port.to_string());
                    links.insert(format!("{name}_PORT"), url.clone());
                }
                if let Some(named) = named {
                    let named = named.to_uppercase().replace('-', "_");
                    links.insert(format!("{name}_SERVICE_PORT_{named}"), port.to_string());
                }
                let one = format!("{name}_PORT_{port}_TCP");
                links.insert(format!("{one}_PROTO"), "tcp".to_owned());
                links.insert(format!("{one}_PORT"), port.to_string());
                links.insert(format!("{one}_ADDR"), address.clone());
                links.insert(one, url);
            }
        }
        links
    }
}
