//! What checks are decided by, as one immutable value that is swapped in one step.

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use tokio::sync::watch;
use trireme_policy::PolicyTable;
use trireme_shell::{Condition, Readiness};

use crate::api::Api;
use crate::security::Security;

/// Settings and policies at one moment.
#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    /// Settings made ready; absent until they are there.
    pub(crate) security: Option<Arc<Security>>,
    /// APIs by resource name.
    pub(crate) apis: PolicyTable<Api>,
    /// Whether the first set of APIs is there.
    pub(crate) complete: bool,
    /// Counts the swaps.
    pub(crate) version: u64,
}

impl Snapshot {
    /// The settings, once checks can be decided: with settings and a first set of APIs.
    #[must_use]
    pub(crate) fn ready(&self) -> Option<&Security> {
        self.security.as_deref().filter(|_| self.complete)
    }
}

/// The current snapshot, and word of every new one.
#[derive(Debug)]
pub(crate) struct Current {
    snapshot: ArcSwap<Snapshot>,
    version: watch::Sender<u64>,
    configuration: Condition,
    complete: Condition,
}

impl Default for Current {
    fn default() -> Self {
        Self::new(&Readiness::default())
    }
}

impl Current {
    /// Holds nothing yet, and marks in the list what it has of what checks need.
    pub(crate) fn new(readiness: &Readiness) -> Self {
        Self {
            snapshot: ArcSwap::default(),
            version: watch::Sender::new(0),
            configuration: readiness.condition("configuration"),
            complete: readiness.condition("first set of APIs"),
        }
    }

    /// The snapshot of this moment.
    pub(crate) fn load(&self) -> Guard<Arc<Snapshot>> {
        self.snapshot.load()
    }

    /// The snapshot of this moment, for those who keep it longer than a check takes.
    pub(crate) fn load_full(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// Told of every snapshot after the one that is there now.
    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// Swaps the next snapshot in. There is one writer: discovery.
    pub(crate) fn store(&self, mut next: Snapshot) {
        next.version = self.snapshot.load().version + 1;
        let (version, configured, complete) = (next.version, next.security.is_some(), next.complete);
        self.snapshot.store(Arc::new(next));
        self.configuration.set(configured);
        self.complete.set(complete);
        self.version.send_replace(version);
    }
}
