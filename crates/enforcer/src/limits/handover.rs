//! What is counted in this process, left in its state folder for the one that is started after it: a planned restart gives
//! nobody a second helping. A process that is killed leaves nothing.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use trireme_limits::{Counters, Time};
use trireme_tls::authority::write_private;

use crate::event::{CountersLost, CountersTaken};

/// Name of the file in the state folder.
const FILE: &str = "enforcer.counters";

/// Counters on their way from one process to the next.
#[derive(Debug)]
pub(crate) struct Handover {
    /// Absent where nothing outlives the process.
    file: Option<PathBuf>,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    /// The file has been looked for.
    taken: bool,
    counters: Option<Counters>,
}

impl Handover {
    /// By way of this folder.
    pub(crate) fn new(folder: Option<&Path>) -> Self {
        Self {
            file: folder.map(|folder| folder.join(FILE)),
            held: Mutex::default(),
        }
    }

    /// Gives new counters what the process before this one left, once, and keeps them to be left behind in turn.
    pub(super) fn take(&self, counters: &Counters, capacity: usize, now: Time) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.counters = Some(counters.clone());
        if std::mem::replace(&mut held.taken, true) {
            return;
        }
        let Some(file) = &self.file else {
            return;
        };
        let restored = match read(file, capacity) {
            Ok(None) => return,
            Ok(Some(dump)) => counters.restore(&dump, now).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        CountersTaken { file, restored }.emit();
    }

    /// Leaves what is counted, once nothing is counted any more.
    pub(crate) fn leave(&self, now: Time) {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let dump = held.counters.as_ref().and_then(|counters| counters.dump(now));
        if let (Some(file), Some(dump)) = (&self.file, dump)
            && let Err(error) = write_private(file, dump)
        {
            CountersLost { error: &error }.emit();
        }
    }
}

/// A dump for so many counters, taken away as it is read: a later start must not find it again. `None` when there is none.
fn read(path: &Path, capacity: usize) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    fs::remove_file(path)?;
    let most = Counters::most_bytes(capacity);
    let mut dump = Vec::new();
    file.take(most.saturating_add(1)).read_to_end(&mut dump)?;
    if dump.len() as u64 > most {
        return Err(io::Error::other("more counters than limits.store.capacity"));
    }
    Ok(Some(dump))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use trireme_limits::{Limit, MemorySettings, Take, WhenFull, Window};
    use trireme_telemetry::Metrics;

    use super::*;

    const NOW: Time = Time(1_800_000_000_000);

    fn counters() -> Counters {
        let settings = MemorySettings {
            capacity: 100,
            when_full: WhenFull::Evict,
        };
        Counters::memory(&settings, [7; 16], &Metrics::new())
    }

    fn admitted(counters: &Counters) -> bool {
        let limit = Limit {
            key: b"caller",
            quota: 1,
            window: Window::MINUTE,
            cost: 1,
        };
        matches!(counters.take(&[limit], NOW), Take::Decided(decision) if decision.admitted())
    }

    #[test]
    fn what_is_counted_passes_on_once() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(FILE);
        let first = Handover::new(Some(folder.path()));
        let counted = counters();
        first.take(&counted, 100, NOW);
        assert!(admitted(&counted));
        first.leave(NOW);
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);

        let second = Handover::new(Some(folder.path()));
        let taken = counters();
        second.take(&taken, 100, NOW);
        assert!(!file.exists());
        assert!(!admitted(&taken));
        // Other settings later, in the same process: they begin anew.
        let anew = counters();
        second.take(&anew, 100, NOW);
        assert!(admitted(&anew));
    }

    #[test]
    fn what_is_no_dump_is_put_away() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(FILE);
        for content in [&b""[..], b"TRILIMS1", &[0; 100 * 32 + 49]] {
            fs::write(&file, content).unwrap();
            let taken = counters();
            Handover::new(Some(folder.path())).take(&taken, 100, NOW);
            assert!(admitted(&taken));
            assert!(!file.exists());
        }
        Handover::new(None).leave(NOW);
        Handover::new(Some(folder.path())).leave(NOW);
        assert!(!file.exists());
    }
}
