//! The mounted folder `<artifactsDirectory>/apis`: each entry, an archive or a folder, is a project that is deployed as
//! long as it is there.
//!
//! The folder is looked at as a whole, at start and whenever something in it changes; what an entry deployed before and
//! is gone is removed, a bad one keeps its last good revision. Entries own what they deploy: the management API may
//! neither replace nor remove it, and an entry does not replace what the management API has deployed.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use notify::{RecursiveMode, Watcher as _};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use trireme_openapi::{Folder, Limits, ProjectSource as _};

use crate::catalogue::{Catalogue, Deploy};
use crate::event;
use crate::store::{self, Digest, Origin};

/// Time without events after which a change counts as complete.
const QUIET: Duration = Duration::from_millis(300);
/// Between looks without any event: mounts of some kinds give none.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
/// Entries that are looked at.
const MAX_ENTRIES: usize = 10_000;

/// Follows one folder.
#[derive(Debug)]
pub struct Source {
    folder: PathBuf,
    catalogue: Catalogue,
    limits: Limits,
    /// Content of each entry when it was last tried, good or bad: the same content is not tried again.
    tried: BTreeMap<String, Digest>,
}

impl Source {
    /// A source that has looked at nothing yet.
    #[must_use]
    pub fn new(folder: PathBuf, catalogue: Catalogue, limits: Limits) -> Self {
        Self {
            folder,
            catalogue,
            limits,
            tried: BTreeMap::new(),
        }
    }

    /// Looks once, and deploys and removes what has changed.
    pub async fn look(&mut self) {
        let (folder, limits) = (self.folder.clone(), self.limits.clone());
        let read = tokio::task::spawn_blocking(move || entries(&folder, &limits)).await;
        let found = match read {
            Ok(Ok(found)) => found,
            Ok(Err(error)) => return event::folder_unreadable(&self.folder, &error),
            Err(error) => return event::folder_unreadable(&self.folder, &error),
        };
        let gone: BTreeSet<String> = self
            .catalogue
            .entries()
            .into_iter()
            .filter(|entry| !found.contains_key(entry))
            .collect();
        self.tried.retain(|entry, _| found.contains_key(entry));
        for (entry, archive) in found {
            let digest = store::digest(&archive);
            if self.tried.get(&entry) == Some(&digest) {
                continue;
            }
            self.tried.insert(entry.clone(), digest);
            let origin = Origin::Folder(entry);
            let wanted = Deploy {
                archive,
                replace: true,
                origin: origin.clone(),
                gone: gone.clone(),
            };
            match self.catalogue.deploy(wanted).await {
                Ok(deployed) => {
                    for warning in &deployed.warnings {
                        event::finding(&deployed.api.0, warning);
                    }
                }
                Err(error) => event::refused(&origin, &error),
            }
        }
        if let Err(error) = self.catalogue.forget_entries(&gone).await {
            event::folder_unreadable(&self.folder, &error);
        }
    }

    /// Looks again after every change until `shutdown`.
    pub async fn follow(mut self, shutdown: CancellationToken) {
        let (sender, mut changes) = mpsc::channel(1);
        let told = move |changed: notify::Result<notify::Event>| {
            if changed.is_ok_and(|event| !event.kind.is_access()) {
                // Full: a look is due already.
                sender.try_send(()).unwrap_or_default();
            }
        };
        let watcher = notify::recommended_watcher(told).and_then(|mut watcher| {
            watcher.watch(&self.folder, RecursiveMode::Recursive)?;
            Ok(watcher)
        });
        if let Err(error) = &watcher {
            event::folder_unwatched(&self.folder, error);
        }
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                Some(()) = changes.recv() => settle(&mut changes).await,
                () = tokio::time::sleep(LOOK_AGAIN) => {}
            }
            self.look().await;
        }
    }
}

/// Waits until nothing has changed for a moment.
async fn settle(changes: &mut mpsc::Receiver<()>) {
    while let Ok(Some(())) = tokio::time::timeout(QUIET, changes.recv()).await {}
}

/// Every entry as an archive. One that can't be read is an empty archive, which no project is: it is refused, and what it
/// deployed before does not count as gone.
fn entries(folder: &Path, limits: &Limits) -> io::Result<BTreeMap<String, Bytes>> {
    let mut entries = BTreeMap::new();
    let listing = match std::fs::read_dir(folder) {
        Ok(listing) => listing,
        // Nothing is mounted.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(entries),
        Err(error) => return Err(error),
    };
    for entry in listing.take(MAX_ENTRIES) {
        let path = entry?.path();
        let Some(name) = path.file_name().map(|name| name.to_string_lossy().into_owned()) else {
            continue;
        };
        let is_archive = path
            .extension()
            .is_some_and(|extension| extension.eq_ignore_ascii_case("zip"));
        // Kubernetes keeps the mounted files behind names that start with a dot.
        if name.starts_with('.') || !(is_archive || path.is_dir()) {
            continue;
        }
        let archive = if path.is_dir() {
            pack(&name, &path, limits)
        } else {
            read(&path, limits)
        };
        let archive = archive.unwrap_or_else(|error| {
            event::folder_unreadable(&path, &error);
            Bytes::new()
        });
        entries.insert(name, archive);
    }
    Ok(entries)
}

fn read(path: &Path, limits: &Limits) -> io::Result<Bytes> {
    if path.metadata()?.len() > limits.archive_bytes {
        return Err(io::Error::other(format!(
            "more than {} bytes",
            limits.archive_bytes
        )));
    }
    std::fs::read(path).map(Bytes::from)
}

fn pack(name: &str, path: &Path, limits: &Limits) -> io::Result<Bytes> {
    let files = Folder(path.to_owned())
        .load(limits, &|_| true)
        .map_err(|findings| {
            let findings: Vec<String> = findings.iter().map(ToString::to_string).collect();
            io::Error::other(findings.join("; "))
        })?;
    trireme_openapi::archive(name, files)
        .map(Bytes::from)
        .map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_archives_and_folders_only() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("project")).unwrap();
        std::fs::write(folder.path().join("project/api.yaml"), "data: {}").unwrap();
        std::fs::create_dir(folder.path().join("..data")).unwrap();
        std::fs::write(folder.path().join("packed.zip"), "PK").unwrap();
        std::fs::write(folder.path().join("README.md"), "text").unwrap();
        let found = entries(folder.path(), &Limits::default()).unwrap();
        assert_eq!(found.keys().collect::<Vec<_>>(), ["packed.zip", "project"]);
        assert_eq!(
            found.get("packed.zip").map(|bytes| bytes.as_ref()),
            Some(&b"PK"[..])
        );
        let missing = entries(&folder.path().join("nothing"), &Limits::default()).unwrap();
        assert!(missing.is_empty());
    }

    #[test]
    fn what_is_too_large_is_no_project_but_not_gone() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("big.zip"), [0; 100]).unwrap();
        let limits = Limits {
            archive_bytes: 10,
            ..Limits::default()
        };
        let found = entries(folder.path(), &limits).unwrap();
        assert_eq!(found.get("big.zip").map(|bytes| bytes.len()), Some(0));
    }
}
