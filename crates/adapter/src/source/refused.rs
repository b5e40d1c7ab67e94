//! What can't be deployed as it is.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::store::Origin;

/// Entries that are refused as they are now, with the reason. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Refused(Arc<Mutex<BTreeMap<Origin, String>>>);

impl Refused {
    /// All of them, by the text of their origin.
    #[must_use]
    pub fn all(&self) -> BTreeMap<String, String> {
        let refused = self.lock();
        let named = refused
            .iter()
            .map(|(origin, reason)| (origin.to_string(), reason.clone()));
        named.collect()
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, BTreeMap<Origin, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
