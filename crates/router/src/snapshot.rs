//! What is served at this moment: one immutable value, swapped in one step.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use http::HeaderValue;
use trireme_routing::RouteTable;
use trireme_routing::snapshot::{Caps, CheckSettings, HttpSettings};

use crate::cluster::Cluster;
use crate::event::Sinks;

/// Routes, clusters and listeners of one moment.
#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    /// Counts the snapshots of this process.
    pub(crate) version: u64,
    /// The route index.
    pub(crate) routes: RouteTable,
    /// By name.
    pub(crate) clusters: HashMap<String, Arc<Cluster>>,
    /// Both listeners at most.
    pub(crate) listeners: Vec<Arc<Listener>>,
}

/// Settings of a listener that can change without its socket.
#[derive(Debug)]
pub(crate) struct Listener {
    /// Resource name.
    pub(crate) name: String,
    /// Connections begin with a PROXY header.
    pub(crate) proxy_protocol: bool,
    /// What one address may take.
    pub(crate) caps: Caps,
    /// HTTP settings.
    pub(crate) http: HttpSettings,
    /// How the enforcer is asked.
    pub(crate) check: CheckSettings,
    /// `server` header.
    pub(crate) server: HeaderValue,
    /// Where its requests are recorded.
    pub(crate) sinks: Arc<Sinks>,
}

/// Where the snapshot lies.
#[derive(Debug, Default)]
pub(crate) struct Store(ArcSwap<Snapshot>);

impl Snapshot {
    /// The settings of a listener.
    pub(crate) fn listener(&self, name: &str) -> Option<&Arc<Listener>> {
        self.listeners.iter().find(|listener| listener.name == name)
    }
}

impl Store {
    /// The snapshot, borrowed for a moment.
    pub(crate) fn load(&self) -> arc_swap::Guard<Arc<Snapshot>> {
        self.0.load()
    }

    /// Replaces it.
    pub(crate) fn swap(&self, snapshot: Snapshot) {
        self.0.store(Arc::new(snapshot));
    }
}
