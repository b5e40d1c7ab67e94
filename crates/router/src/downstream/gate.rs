//! When the sockets begin to take connections: not before there is something to serve and somebody to ask.

use std::sync::Arc;

use tokio::sync::watch;

/// Shut at first. Clones are the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Gate(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    open: watch::Sender<bool>,
    /// Sockets that are to listen and do not yet.
    waiting: watch::Sender<usize>,
}

/// A socket that is to listen. Dropped when it does, or never will.
#[derive(Debug)]
pub(crate) struct Waiting(Gate);

// === impl Gate ===

impl Gate {
    /// One more socket is to listen.
    pub(crate) fn wait(&self) -> Waiting {
        self.0.waiting.send_modify(|waiting| *waiting += 1);
        Waiting(self.clone())
    }

    /// Opens it for good, and completes when all sockets that waited listen.
    pub(crate) async fn open(&self) {
        self.0.open.send_replace(true);
        let mut waiting = self.0.waiting.subscribe();
        // The sender is ours.
        waiting
            .wait_for(|waiting| *waiting == 0)
            .await
            .map(drop)
            .unwrap_or_default();
    }
}

// === impl Waiting ===

impl Waiting {
    /// Completes when the gate is open.
    pub(crate) async fn passed(&self) {
        let mut open = self.0.0.open.subscribe();
        open.wait_for(|open| *open).await.map(drop).unwrap_or_default();
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.0.waiting.send_modify(|waiting| *waiting -= 1);
    }
}
