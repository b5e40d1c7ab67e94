//! The folder for what is to outlive a process.

use std::io;
use std::path::Path;

use tracing::warn;

use crate::ready::Readiness;

/// Says in the log and on `/ready` that nothing outlives the process, where that is so: a root that is read-only, a folder of
/// somebody else. Whether there is to be such a folder is for whoever sets it.
pub fn look(folder: Option<&Path>, readiness: &Readiness) {
    if let Some(folder) = folder
        && let Err(error) = try_out(folder)
    {
        warn!(%error, folder = %folder.display(), "no last good file: a restart needs the adapter");
        readiness.note(format!("no last good file ({}: {error})", folder.display()));
    }
}

fn try_out(folder: &Path) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let probe = folder.join(format!(".probe.{}", std::process::id()));
    std::fs::write(&probe, "")?;
    std::fs::remove_file(&probe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_takes_nothing_is_noted() {
        let folder = tempfile::tempdir().unwrap();
        let readiness = Readiness::default();
        look(Some(&folder.path().join("new")), &readiness);
        look(None, &readiness);
        assert!(readiness.notes().is_empty());
        assert_eq!(std::fs::read_dir(folder.path().join("new")).unwrap().count(), 0);
        // /sys takes no folders, whoever asks.
        look(Some(Path::new("/sys/trireme")), &readiness);
        let [note] = &readiness.notes()[..] else {
            panic!("{:?}", readiness.notes());
        };
        assert!(note.starts_with("no last good file (/sys/trireme: "), "{note}");
        assert!(readiness.is_ready());
    }
}
