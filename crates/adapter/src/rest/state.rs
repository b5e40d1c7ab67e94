//! What the operations work with.

use tokio::sync::Semaphore;

use super::auth::Auth;
use crate::catalogue::Catalogue;

/// Uploads that are held in memory at a time; more wait.
const MAX_UPLOADS: usize = 4;

/// What the operations work with.
#[derive(Debug)]
pub(super) struct Rest {
    pub(super) auth: Auth,
    pub(super) catalogue: Catalogue,
    /// API Manager is the control plane: nothing is deployed here.
    pub(super) control_plane: bool,
    /// Greatest archive.
    pub(super) max_archive_bytes: usize,
    pub(super) uploads: Semaphore,
}

impl Rest {
    pub(super) fn new(auth: Auth, catalogue: Catalogue, control_plane: bool, max_archive_bytes: u64) -> Self {
        Self {
            auth,
            catalogue,
            control_plane,
            max_archive_bytes: usize::try_from(max_archive_bytes).unwrap_or(usize::MAX / 2),
            uploads: Semaphore::new(MAX_UPLOADS),
        }
    }
}
