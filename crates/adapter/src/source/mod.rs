//! Where projects come from.
//!
//! ```text
//! read    Folder ──▶ Entries: what it holds is what is deployed ─┐
//!                                                                ├─▶ Catalogue
//! asked   management API ──▶ each call for itself ───────────────┘
//! ```
//!
//! A source is a type that implements [`Source`] and a line in `app.rs` that starts it. It owns what it deploys: neither another
//! source nor a call changes that. There are two kinds. One that is *read* holds projects as a folder does: it is looked at as a
//! whole, what has left it is removed, what is bad in it keeps its last good revision and is named in the status; [`Entries`] does
//! all of that. One that is *asked* holds nothing: each call changes what it names, at once or not at all, and somebody waits for
//! the answer, so it works with the [`Catalogue`] itself. Both start with an [`Intake`] and end with the process.

mod entries;
pub mod folder;
mod refused;
#[cfg(test)]
mod tests;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

pub use self::entries::Entries;
pub use self::refused::Refused;
use crate::catalogue::Catalogue;

/// Something that brings projects.
pub trait Source: Send + 'static {
    /// Brings what there is, says so by [`Intake::ready`], and goes on until `shutdown`; what is under way then is finished.
    ///
    /// Peers are answered once every source has said that, or has ended: a source whose other side doesn't answer says it after
    /// a time of its own.
    fn run(self, intake: Intake, shutdown: CancellationToken) -> impl Future<Output = ()> + Send;
}

/// The way in for one source.
#[derive(Debug)]
pub struct Intake {
    catalogue: Catalogue,
    refused: Refused,
    /// Held until the source is ready, or gone.
    unready: Option<TaskTrackerToken>,
}

impl Intake {
    /// What is deployed, for a source that is asked.
    #[must_use]
    pub fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }

    /// The entries of a source that is read. The name is part of what is stored; it has no slash.
    #[must_use]
    pub fn entries(&self, source: &'static str) -> Entries {
        Entries::new(source, self.catalogue.clone(), self.refused.clone())
    }

    /// What the source has at start is deployed.
    pub fn ready(&mut self) {
        self.unready = None;
    }
}

/// Every source of the process.
#[derive(Debug)]
pub struct Sources {
    catalogue: Catalogue,
    refused: Refused,
    unready: TaskTracker,
    tasks: TaskTracker,
    shutdown: CancellationToken,
}

impl Sources {
    /// None yet. They will run in `tasks`, until `shutdown`.
    #[must_use]
    pub fn new(catalogue: Catalogue, tasks: TaskTracker, shutdown: CancellationToken) -> Self {
        Self {
            catalogue,
            refused: Refused::default(),
            unready: TaskTracker::new(),
            tasks,
            shutdown,
        }
    }

    /// Starts one.
    pub fn start(&self, source: impl Source) {
        let intake = Intake {
            catalogue: self.catalogue.clone(),
            refused: self.refused.clone(),
            unready: Some(self.unready.token()),
        };
        self.tasks.spawn(source.run(intake, self.shutdown.clone()));
    }

    /// Waits until all that were started have brought what they have.
    pub async fn ready(&self) {
        self.unready.close();
        self.unready.wait().await;
    }

    /// What their entries are refused for, now and later.
    #[must_use]
    pub fn refused(&self) -> Refused {
        self.refused.clone()
    }
}
