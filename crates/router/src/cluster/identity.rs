//! The client certificate of clusters whose trust arrives as text. The files of the certificate are followed, and the
//! connectors that were made from them are made anew when they change.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tracing::warn;
use trireme_routing::snapshot::Pem;
use trireme_tls::{Connector, Material, Watch};

use crate::cluster::material::{self, MaterialError};

/// A connector that can be replaced while clusters hold it.
pub(crate) type Dial = Arc<ArcSwap<Connector>>;

/// A certificate and its key, in files.
#[derive(Debug)]
pub(super) struct Identity {
    followers: Arc<Mutex<Vec<Follower>>>,
    // Dropping both ends the task that waits for changes.
    _material: Material,
    _watch: Option<Watch>,
}

struct Follower {
    dial: Weak<ArcSwap<Connector>>,
    make: Box<Make>,
}

type Make = dyn Fn() -> Result<Connector, MaterialError> + Send;

impl Identity {
    /// Follows the files from now on, on the current runtime.
    pub(super) fn new(files: &(Pem, Pem)) -> Result<Self, MaterialError> {
        let (material, watch) = material::load(Some(files), None)?;
        let followers = Arc::<Mutex<Vec<Follower>>>::default();
        tokio::spawn(follow(material.subscribe(), Arc::downgrade(&followers)));
        Ok(Self {
            followers,
            _material: material,
            _watch: watch,
        })
    }

    /// A connector that `make` makes, now and whenever the files have changed.
    pub(super) fn connector(
        &self,
        make: impl Fn() -> Result<Connector, MaterialError> + Send + 'static,
    ) -> Result<Dial, MaterialError> {
        // Made under the lock: a change is either seen by this call of `make`, or finds the follower in the list.
        let mut followers = self.followers.lock().unwrap_or_else(PoisonError::into_inner);
        let dial = Arc::new(ArcSwap::from_pointee(make()?));
        followers.retain(|follower| follower.dial.strong_count() > 0);
        followers.push(Follower {
            dial: Arc::downgrade(&dial),
            make: Box::new(make),
        });
        Ok(dial)
    }
}

async fn follow(mut changes: watch::Receiver<u64>, followers: Weak<Mutex<Vec<Follower>>>) {
    while changes.changed().await.is_ok() {
        let Some(followers) = followers.upgrade() else {
            return;
        };
        let mut followers = followers.lock().unwrap_or_else(PoisonError::into_inner);
        followers.retain(|Follower { dial, make }| {
            let Some(dial) = dial.upgrade() else { return false };
            match make() {
                Ok(connector) => dial.store(Arc::new(connector)),
                Err(error) => {
                    warn!(%error, "the new client certificate cannot be used, the old one stays in force")
                }
            }
            true
        });
    }
}

impl std::fmt::Debug for Follower {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Follower")
            .field("dial", &self.dial)
            .finish_non_exhaustive()
    }
}
