//! What was decided about each API, as a metric. There are as many figures as APIs are held, times the reasons that were
//! given: a caller makes up neither.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::event::Ended;

/// What was decided about one API, whatever its revision.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    admitted: AtomicU64,
    /// By the label of the reason.
    denied: Mutex<BTreeMap<&'static str, u64>>,
}

impl Tally {
    /// Counts the end of a check.
    pub(crate) fn count(&self, ended: Ended) {
        match ended {
            Ended::Admitted => {
                self.admitted.fetch_add(1, Ordering::Relaxed);
            }
            Ended::Denied { reason, .. } => {
                let mut denied = self.denied.lock().unwrap_or_else(PoisonError::into_inner);
                *denied.entry(reason).or_default() += 1;
            }
            // Of the process, not of an API.
            Ended::Failed => {}
        }
    }

    /// Requests admitted.
    pub(crate) fn admitted(&self) -> u64 {
        self.admitted.load(Ordering::Relaxed)
    }

    /// Requests denied, by reason.
    pub(crate) fn denied(&self) -> BTreeMap<&'static str, u64> {
        self.denied.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
