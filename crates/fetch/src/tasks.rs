//! The tasks that drive connections, and their owner.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use hyper::rt::Executor;
use tokio::task::JoinSet;
use tracing::error;

/// What hyper asks to be run.
type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Owns the tasks of a pool: they end with the last clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tasks(Arc<Mutex<JoinSet<()>>>);

impl Tasks {
    /// Where a pool runs its tasks. They hold on to it, so it does not own them.
    pub(crate) fn executor(&self) -> Spawn {
        Spawn(Arc::downgrade(&self.0))
    }
}

/// Runs tasks for as long as there is an owner.
#[derive(Clone, Debug)]
pub(crate) struct Spawn(Weak<Mutex<JoinSet<()>>>);

impl Executor<Task> for Spawn {
    fn execute(&self, task: Task) {
        // Without an owner nobody waits for what the task does.
        let Some(tasks) = self.0.upgrade() else { return };
        let mut tasks: MutexGuard<'_, _> = tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(ended) = tasks.try_join_next() {
            if let Err(error) = ended {
                error!(%error, "a connection's task ended abnormally");
            }
        }
        tasks.spawn(task);
    }
}
