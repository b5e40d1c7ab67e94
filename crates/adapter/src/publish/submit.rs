//! Changes on their way to the publisher.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::resources::ApiResources;
use crate::store::Identity;

/// Submissions that wait at a time; more make the submitter wait.
const QUEUE: usize = 64;

/// One deployment that is to be served differently from now on.
#[derive(Debug, Clone)]
pub struct Change {
    /// Which.
    pub identity: Identity,
    /// As what; `None` = no longer.
    pub desired: Option<Desired>,
}

/// What is to be served, and where.
#[derive(Debug, Clone)]
pub struct Desired {
    /// What.
    pub resources: Arc<ApiResources>,
    /// Labels.
    pub labels: BTreeSet<String>,
}

/// The publisher has stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the adapter is stopping")]
pub struct Stopped;

/// Takes changes for the publisher.
#[derive(Debug, Clone)]
pub struct Submitter {
    jobs: mpsc::Sender<Job>,
}

/// A publication under way.
#[derive(Debug)]
pub struct Publication(oneshot::Receiver<()>);

#[derive(Debug)]
pub(super) struct Job {
    pub(super) changes: Vec<Change>,
    pub(super) done: oneshot::Sender<()>,
}

impl Submitter {
    /// With the end that the publisher takes from.
    pub(super) fn new() -> (Self, mpsc::Receiver<Job>) {
        let (jobs, queue) = mpsc::channel(QUEUE);
        (Self { jobs }, queue)
    }

    /// Hands changes over, to be published after all that were handed over before. Once this has returned, they are
    /// published whether anybody waits or not.
    ///
    /// # Errors
    /// When the publisher has stopped.
    pub async fn submit(&self, changes: Vec<Change>) -> Result<Publication, Stopped> {
        let (done, waiting) = oneshot::channel();
        self.jobs.send(Job { changes, done }).await.map_err(|_| Stopped)?;
        Ok(Publication(waiting))
    }
}

impl Publication {
    /// Waits until it is done, at most for `bound`; tells whether it is.
    pub async fn wait(self, bound: Duration) -> bool {
        matches!(timeout(bound, self.0).await, Ok(Ok(())))
    }
}
