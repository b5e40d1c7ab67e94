//! Following the files of a [`Material`] on disk.
//!
//! Folders are watched, not files: an editor's rename and Kubernetes' swap of the link `..data` replace a file without
//! ever writing to it. Where the platform gives no events (network file systems, exhausted watches) a slow poll finds
//! the change all the same.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError, SyncSender, TrySendError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tracing::{error, warn};
use trireme_telemetry::chain;

use super::Material;
use crate::error::TlsError;

/// A certificate and its key are written one after the other; the pair is read when it has been quiet this long.
const QUIET: Duration = Duration::from_millis(200);
/// Constant activity in the folder must not put the reload off for ever.
const LONGEST_WAIT: u32 = 10;
/// Reading a handful of small files costs well under a millisecond.
const POLL: Duration = Duration::from_secs(30);

/// Follows the files of a [`Material`] until dropped.
#[derive(Debug)]
#[must_use = "dropping it ends the watch"]
pub struct Watch {
    signal: SyncSender<Signal>,
    thread: Option<JoinHandle<()>>,
}

enum Signal {
    Changed,
    Stop,
}

impl Watch {
    pub(crate) fn start(material: Material) -> Result<Self, TlsError> {
        // Two places: "something changed" is the same said twice, and a stop fits beside it.
        let (signal, signals) = mpsc::sync_channel(2);
        let folders = folders(&material);
        let watcher = watcher(signal.clone(), &folders);
        // The files may have changed between loading and this moment.
        signal.try_send(Signal::Changed).ok();
        let thread = thread::Builder::new()
            .name("tls-watch".to_owned())
            .spawn(move || follow(&material, watcher, &folders, &signals))
            .map_err(TlsError::Watch)?;
        Ok(Self {
            signal,
            thread: Some(thread),
        })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // Blocks at most for one reload when the queue is full; an error means that the thread has gone already.
        let stopped = self.signal.send(Signal::Stop);
        if let (Ok(()), Some(thread)) = (stopped, self.thread.take())
            && thread.join().is_err()
        {
            error!("the certificate watcher panicked");
        }
    }
}

fn follow(
    material: &Material,
    mut watcher: Option<RecommendedWatcher>,
    folders: &BTreeSet<Folder>,
    signals: &mpsc::Receiver<Signal>,
) {
    let mut last_error = None;
    loop {
        match signals.recv_timeout(POLL) {
            Ok(Signal::Changed) => {
                for _ in 0..LONGEST_WAIT {
                    match signals.recv_timeout(QUIET) {
                        Ok(Signal::Changed) => {}
                        Ok(Signal::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                        Err(RecvTimeoutError::Timeout) => break,
                    }
                }
            }
            Ok(Signal::Stop) | Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => {}
        }
        // A folder that was replaced lost its watch; one that still has it is unaffected.
        if let Some(watcher) = &mut watcher {
            for folder in folders {
                let _gone_for_now = folder.watch(watcher);
            }
        }
        match material.reload() {
            Ok(_) => {
                material.note(None);
                last_error = None;
            }
            Err(error) => {
                let reason = chain(&error);
                material.note(Some(reason.clone()));
                // The poll would repeat the same complaint every half minute.
                if last_error.as_ref() != Some(&reason) {
                    error!(
                        error = reason,
                        "new certificates cannot be used, the old ones stay in force"
                    );
                }
                last_error = Some(reason);
            }
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Folder {
    path: PathBuf,
    recursive: bool,
}

impl Folder {
    fn watch(&self, watcher: &mut RecommendedWatcher) -> notify::Result<()> {
        let mode = if self.recursive {
            RecursiveMode::Recursive
        } else {
            RecursiveMode::NonRecursive
        };
        watcher.watch(&self.path, mode)
    }
}

/// The parents of all files and folders, and what lies inside trust folders.
fn folders(material: &Material) -> BTreeSet<Folder> {
    let mut folders = BTreeSet::new();
    for path in material.paths() {
        let parent = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        folders.insert(Folder {
            path: parent.to_owned(),
            recursive: false,
        });
        if path.is_dir() {
            folders.insert(Folder {
                path: path.to_owned(),
                recursive: true,
            });
        }
    }
    // A path watched both ways would end as whichever came last.
    let recursive: BTreeSet<PathBuf> = folders
        .iter()
        .filter(|folder| folder.recursive)
        .map(|folder| folder.path.clone())
        .collect();
    folders.retain(|folder| folder.recursive || !recursive.contains(&folder.path));
    folders
}

fn watcher(signal: SyncSender<Signal>, folders: &BTreeSet<Folder>) -> Option<RecommendedWatcher> {
    let on_event = move |event: notify::Result<notify::Event>| {
        if event.as_ref().is_ok_and(|event| !is_change(event.kind)) {
            return;
        }
        match signal.try_send(Signal::Changed) {
            Ok(()) | Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {}
        }
    };
    let mut watcher = match notify::recommended_watcher(on_event) {
        Ok(watcher) => watcher,
        Err(error) => {
            warn!(%error, "no file events on this platform; certificates are compared twice a minute");
            return None;
        }
    };
    for folder in folders {
        if let Err(error) = folder.watch(&mut watcher) {
            warn!(%error, folder = %folder.path.display(), "no file events; compared twice a minute");
        }
    }
    Some(watcher)
}

/// Reading the files is itself an event; reacting to it would never end.
fn is_change(kind: EventKind) -> bool {
    !matches!(kind, EventKind::Access(access) if access != AccessKind::Close(AccessMode::Write))
}
