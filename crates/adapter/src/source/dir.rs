//! The mounted folder `<artifactsDirectory>/apis`: each entry, an archive or a folder, is a project that is deployed as
//! long as it is there.
//!
//! The folder is looked at as a whole, at start and whenever something in it changes; what an entry deployed before and
//! is gone is removed, a bad one keeps its last good revision. Entries own what they deploy: the management API may
//! neither replace nor remove it, and an entry does not replace what the management API has deployed.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use notify::{RecursiveMode, Watcher as _};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use trireme_project::{Folder, Limits, ProjectSource as _};

use crate::catalogue::{Catalogue, Deploy, DeployError, Stored};
use crate::event;
use crate::store::{self, Digest, Origin};

/// Time without events after which a change counts as complete.
const QUIET: Duration = Duration::from_millis(300);
/// A folder that doesn't come to rest by then is looked at as it is.
const LONGEST_UNREST: Duration = Duration::from_secs(3);
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
    refused: Refused,
}

/// Entries that are refused as they are now, with the reason. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Refused(Arc<Mutex<BTreeMap<String, String>>>);

impl Refused {
    /// All of them.
    #[must_use]
    pub fn all(&self) -> BTreeMap<String, String> {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
            refused: Refused::default(),
        }
    }

    /// What is refused, now and later.
    #[must_use]
    pub fn refused(&self) -> Refused {
        self.refused.clone()
    }

    /// Looks once, and deploys and removes what has changed. Waits for routers and enforcers once, for a bounded time.
    pub async fn look(&mut self) {
        let folder = self.folder.clone();
        let found = match blocking(move || entries(&folder)).await {
            Ok(found) => found,
            Err(error) => return event::folder_unreadable(&self.folder, &error),
        };
        let gone: BTreeSet<String> = self
            .catalogue
            .entries()
            .into_iter()
            .filter(|entry| !found.contains_key(entry))
            .collect();
        self.tried.retain(|entry, _| found.contains_key(entry));
        self.refused.lock().retain(|entry, _| found.contains_key(entry));
        // One after the other: only one archive is in memory at a time.
        let mut last = None;
        for (entry, path) in found {
            let (name, limits) = (entry.clone(), self.limits.clone());
            match blocking(move || content(&name, &path, &limits)).await {
                Ok(archive) => last = self.look_at(entry, archive, &gone).await.or(last),
                Err(error) => self.refuse(entry, &error, &event::chain(&error)),
            }
        }
        if let Err(error) = self.catalogue.forget_entries(&gone).await {
            event::folder_unreadable(&self.folder, &error);
        }
        // They are published in this order: with the last, all are.
        if let Some(last) = last {
            self.catalogue.finish(last).await;
        }
    }

    /// Stores an entry whose content is new, to be published after what was stored before.
    async fn look_at(&mut self, entry: String, archive: Bytes, gone: &BTreeSet<String>) -> Option<Stored> {
        let digest = store::digest(&archive);
        if self.tried.get(&entry) == Some(&digest) {
            return None;
        }
        let wanted = Deploy {
            archive,
            replace: true,
            origin: Origin::Folder(entry.clone()),
            gone: gone.clone(),
        };
        match self.catalogue.store(wanted).await {
            Ok(stored) => {
                self.refused.lock().remove(&entry);
                self.tried.insert(entry, digest);
                Some(stored).filter(Stored::is_under_way)
            }
            Err(error) => {
                // A bad project stays bad; anything else, such as a taken base path or a full disk, may pass.
                let reason = match &error {
                    DeployError::Invalid(findings) => {
                        self.tried.insert(entry.clone(), digest);
                        let errors = findings.iter().filter(|finding| finding.is_error());
                        errors.map(ToString::to_string).collect::<Vec<_>>().join("; ")
                    }
                    other => event::chain(other),
                };
                self.refuse(entry, &error, &reason);
                None
            }
        }
    }

    /// Notes that an entry isn't taken; told once as long as the reason is the same.
    fn refuse(&self, entry: String, error: &dyn std::error::Error, reason: &str) {
        let before = self.refused.lock().insert(entry.clone(), reason.to_owned());
        if before.as_deref() != Some(reason) {
            event::refused(&Origin::Folder(entry), error, reason);
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

/// Waits until nothing has changed for a moment, but not for ever: something else may write there all the time.
async fn settle(changes: &mut mpsc::Receiver<()>) {
    let restless = async { while let Ok(Some(())) = tokio::time::timeout(QUIET, changes.recv()).await {} };
    // Whether it has come to rest makes no difference.
    tokio::time::timeout(LONGEST_UNREST, restless)
        .await
        .unwrap_or_default();
}

/// Work that reads files, on a thread that may block.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(io::Error::other(error)))
}

/// Every entry by name: archives and folders.
fn entries(folder: &Path) -> io::Result<BTreeMap<String, PathBuf>> {
    let mut entries = BTreeMap::new();
    let listing = match std::fs::read_dir(folder) {
        Ok(listing) => listing,
        // Nothing is mounted.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(entries),
        Err(error) => return Err(error),
    };
    for entry in listing {
        let path = entry?.path();
        let Some(name) = path.file_name().map(|name| name.to_string_lossy().into_owned()) else {
            continue;
        };
        let is_archive = path
            .extension()
            .is_some_and(|extension| extension.eq_ignore_ascii_case("zip"));
        // Kubernetes keeps the mounted files behind names that start with a dot.
        if name.starts_with('.') || !((is_archive && path.is_file()) || path.is_dir()) {
            continue;
        }
        if entries.len() == MAX_ENTRIES {
            return Err(io::Error::other(format!(
                "it has more than {MAX_ENTRIES} entries"
            )));
        }
        entries.insert(name, path);
    }
    Ok(entries)
}

/// An entry as an archive.
fn content(name: &str, path: &Path, limits: &Limits) -> io::Result<Bytes> {
    if path.is_dir() {
        pack(name, path, limits)
    } else {
        read(path, limits)
    }
}

fn read(path: &Path, limits: &Limits) -> io::Result<Bytes> {
    let bound = limits.archive_bytes;
    let mut content = Vec::new();
    // Not by its length: it may grow meanwhile.
    std::fs::File::open(path)?
        .take(bound.saturating_add(1))
        .read_to_end(&mut content)?;
    if u64::try_from(content.len()).unwrap_or(u64::MAX) > bound {
        return Err(io::Error::other(format!("more than {bound} bytes")));
    }
    Ok(content.into())
}

fn pack(name: &str, path: &Path, limits: &Limits) -> io::Result<Bytes> {
    let files = Folder(path.to_owned())
        .load(limits, &|_| true)
        .map_err(|findings| {
            let findings: Vec<String> = findings.iter().map(ToString::to_string).collect();
            io::Error::other(findings.join("; "))
        })?;
    trireme_project::archive(name, files)
        .map(Bytes::from)
        .map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Bench, Peer, Project};

    #[test]
    fn entries_are_archives_and_folders_only() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("project")).unwrap();
        std::fs::write(folder.path().join("project/api.yaml"), "data: {}").unwrap();
        std::fs::create_dir(folder.path().join("..data")).unwrap();
        std::fs::write(folder.path().join("packed.zip"), "PK").unwrap();
        std::fs::write(folder.path().join("README.md"), "text").unwrap();
        // Neither can be read to an end.
        std::os::unix::fs::symlink("/dev/zero", folder.path().join("endless.zip")).unwrap();
        std::os::unix::fs::symlink("nowhere", folder.path().join("dangling.zip")).unwrap();
        let found = entries(folder.path()).unwrap();
        assert_eq!(found.keys().collect::<Vec<_>>(), ["packed.zip", "project"]);
        let missing = entries(&folder.path().join("nothing")).unwrap();
        assert!(missing.is_empty());
        let limits = Limits::default();
        let packed = content("packed.zip", &found["packed.zip"], &limits).unwrap();
        assert_eq!(packed.as_ref(), b"PK");
        let one = content("project", &found["project"], &limits).unwrap();
        let again = content("project", &found["project"], &limits).unwrap();
        assert_eq!(one, again, "the same folder is the same archive");
    }

    #[test]
    fn what_is_too_large_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("big.zip");
        std::fs::write(&path, [0; 100]).unwrap();
        let limits = Limits {
            archive_bytes: 10,
            ..Limits::default()
        };
        assert!(content("big.zip", &path, &limits).is_err());
        assert_eq!(
            entries(folder.path()).unwrap().len(),
            1,
            "it is there nevertheless"
        );
    }

    struct Mounted {
        bench: Bench,
        source: Source,
        folder: tempfile::TempDir,
    }

    impl Mounted {
        async fn start() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let bench = Bench::start(&folder.path().join("state")).await;
            let apis = folder.path().join("apis");
            std::fs::create_dir(&apis).unwrap();
            let source = Source::new(apis, bench.catalogue.clone(), Limits::default());
            Self {
                bench,
                source,
                folder,
            }
        }

        fn write(&self, name: &str, content: impl AsRef<[u8]>) {
            std::fs::write(self.folder.path().join("apis").join(name), content).unwrap();
        }

        fn remove(&self, name: &str) {
            std::fs::remove_file(self.folder.path().join("apis").join(name)).unwrap();
        }

        /// Context and entry of everything that is deployed.
        fn deployed(&self) -> Vec<(String, String)> {
            let listed = self.bench.catalogue.list().into_iter();
            listed
                .map(|one| {
                    let Origin::Folder(entry) = one.deployment.origin else {
                        panic!("{:?}", one.deployment)
                    };
                    (one.deployment.base_path, entry)
                })
                .collect()
        }
    }

    fn pair(one: &str, two: &str) -> (String, String) {
        (one.to_owned(), two.to_owned())
    }

    #[tokio::test]
    async fn the_folder_is_what_is_deployed() {
        let mut mounted = Mounted::start().await;
        let pets = Project::default();
        let animals = Project {
            context: "/animals",
            ..Project::default()
        };
        mounted.write("pets.zip", pets.archive());
        let project = mounted.folder.path().join("apis/fish");
        let fish = Project {
            name: "Fish",
            context: "/fish",
            ..Project::default()
        };
        for (path, content) in fish.files() {
            let path = project.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        mounted.source.look().await;
        let both = [pair("/fish/1.0.0", "fish"), pair("/pets/1.0.0", "pets.zip")];
        assert_eq!(mounted.deployed(), both);

        mounted.write("pets.zip", animals.archive());
        mounted.source.look().await;
        assert_eq!(mounted.deployed()[1], pair("/animals/1.0.0", "pets.zip"));

        mounted.write("pets.zip", "half an archive");
        mounted.source.look().await;
        assert_eq!(
            mounted.deployed()[1],
            pair("/animals/1.0.0", "pets.zip"),
            "the last good one stays"
        );
        let refused = mounted.source.refused().all();
        assert!(refused["pets.zip"].contains("archive"), "{refused:?}");

        mounted.write("renamed.zip", animals.archive());
        mounted.remove("pets.zip");
        mounted.source.look().await;
        assert_eq!(mounted.deployed()[1], pair("/animals/1.0.0", "renamed.zip"));
        assert!(mounted.source.refused().all().is_empty());

        mounted.remove("renamed.zip");
        std::fs::remove_dir_all(project).unwrap();
        mounted.source.look().await;
        assert!(mounted.deployed().is_empty());
        assert!(mounted.bench.store.list().await.unwrap().is_empty());
        mounted.bench.stop().await;
    }

    #[tokio::test]
    async fn an_entry_that_had_to_wait_is_tried_again() {
        let mut mounted = Mounted::start().await;
        let others = Project {
            name: "Others",
            ..Project::default()
        };
        mounted.write("a.zip", Project::default().archive());
        mounted.write("b.zip", others.archive());
        mounted.source.look().await;
        assert_eq!(mounted.deployed(), [pair("/pets/1.0.0", "a.zip")]);
        let refused = mounted.source.refused().all();
        assert!(refused["b.zip"].contains("is taken by Pets 1.0.0"), "{refused:?}");
        mounted.remove("a.zip");
        mounted.source.look().await;
        assert_eq!(mounted.deployed(), [pair("/pets/1.0.0", "b.zip")]);
        mounted.bench.stop().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_folder_that_never_rests_is_looked_at_nevertheless() {
        let (sender, mut changes) = mpsc::channel(1);
        let restless = async move {
            while sender.send(()).await.is_ok() {
                tokio::time::sleep(QUIET / 3).await;
            }
        };
        tokio::select! {
            () = settle(&mut changes) => {}
            () = restless => {}
            () = tokio::time::sleep(LOOK_AGAIN) => panic!("nobody looks"),
        }
    }

    #[tokio::test]
    async fn entries_do_not_wait_for_silent_peers_one_by_one() {
        let mut mounted = Mounted::start().await;
        let mut silent = Peer::enforcer(&mounted.bench.cache, "Default").await;
        silent.take(1).await;
        let apis = [("A", "/a"), ("B", "/b"), ("C", "/c"), ("D", "/d")];
        for (name, context) in apis {
            let project = Project {
                name,
                context,
                ..Project::default()
            };
            mounted.write(&format!("{name}.zip"), project.archive());
        }
        let catalogue = mounted.bench.catalogue.clone();
        let all_stored = async {
            while catalogue.list().len() != apis.len() {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            biased;
            () = mounted.source.look() => panic!("ended before all are stored"),
            () = all_stored => {}
            () = tokio::time::sleep(crate::publish::POLICY_BOUND) => panic!("waits for each"),
        }
    }

    #[tokio::test]
    async fn a_restart_forgets_what_has_left_the_folder() {
        let mut mounted = Mounted::start().await;
        mounted.write("a.zip", Project::default().archive());
        mounted.source.look().await;
        mounted.bench.stop().await;
        mounted.bench = Bench::start(&mounted.folder.path().join("state")).await;
        assert_eq!(mounted.deployed().len(), 1, "served before anybody looks");
        let apis = mounted.folder.path().join("apis");
        std::fs::remove_file(apis.join("a.zip")).unwrap();
        let mut source = Source::new(apis, mounted.bench.catalogue.clone(), Limits::default());
        source.look().await;
        assert!(mounted.deployed().is_empty());
        mounted.bench.stop().await;
    }

    #[tokio::test]
    async fn changes_are_followed() {
        let mounted = Mounted::start().await;
        let stop = CancellationToken::new();
        let Mounted {
            bench,
            source,
            folder,
        } = mounted;
        let following = tokio::spawn(source.follow(stop.clone()));
        let path = folder.path().join("apis/pets.zip");
        let wait = async |count: usize| {
            let soon = async {
                while bench.catalogue.list().len() != count {
                    // Written again: the watch may not have been there yet.
                    if count == 1 {
                        std::fs::write(&path, Project::default().archive()).unwrap();
                    }
                    tokio::time::sleep(Duration::from_millis(400)).await;
                }
            };
            tokio::time::timeout(Duration::from_secs(20), soon)
                .await
                .expect("it is followed");
        };
        wait(1).await;
        std::fs::remove_file(&path).unwrap();
        wait(0).await;
        stop.cancel();
        following.await.unwrap();
        bench.stop().await;
    }
}
