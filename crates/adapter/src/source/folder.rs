//! The mounted folder `<artifactsDirectory>/apis`: each entry, an archive or a folder, is a project that is deployed as
//! long as it is there.
//!
//! The folder is looked at as a whole, at start and whenever something in it changes.

use std::collections::BTreeMap;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use notify::{RecursiveMode, Watcher as _};
use tokio_util::sync::CancellationToken;
use trireme_project::{Limits, ProjectSource as _};

use super::{Entries, Intake, Source};
use crate::store::FOLDER;
use crate::{burst, event};

/// Time without events after which a change counts as complete.
const QUIET: Duration = Duration::from_millis(300);
/// A folder that doesn't come to rest by then is looked at as it is.
const LONGEST_UNREST: Duration = Duration::from_secs(3);
/// Between looks without any event: mounts of some kinds give none.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
/// Entries that are looked at.
const MAX_ENTRIES: usize = 10_000;

/// The mounted folder.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    limits: Limits,
}

impl Folder {
    /// The folder at `path`; there may be none.
    #[must_use]
    pub fn new(path: PathBuf, limits: Limits) -> Self {
        Self { path, limits }
    }

    /// Looks once, and deploys and removes what has changed.
    async fn look(&self, deployed: &mut Entries) {
        let path = self.path.clone();
        let found = match blocking(move || entries(&path)).await {
            Ok(found) => found,
            Err(error) => return event::folder_unreadable(&self.path, &error),
        };
        let packed = |name: String, path: PathBuf| {
            let limits = self.limits.clone();
            blocking(move || content(&name, &path, &limits))
        };
        if let Err(error) = deployed.follow(found, packed).await {
            event::folder_unreadable(&self.path, &error);
        }
    }
}

impl Source for Folder {
    /// Looks again after every change.
    async fn run(self, mut intake: Intake, shutdown: CancellationToken) {
        let (teller, mut changes) = burst::channel();
        let told = move |changed: notify::Result<notify::Event>| {
            if changed.is_ok_and(|event| !event.kind.is_access()) {
                teller.tell();
            }
        };
        let watcher = notify::recommended_watcher(told).and_then(|mut watcher| {
            watcher.watch(&self.path, RecursiveMode::Recursive)?;
            Ok(watcher)
        });
        if let Err(error) = &watcher {
            event::folder_unwatched(&self.path, error);
        }
        let mut deployed = intake.entries(FOLDER);
        self.look(&mut deployed).await;
        intake.ready();
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                true = changes.over(QUIET, LONGEST_UNREST) => {}
                () = tokio::time::sleep(LOOK_AGAIN) => {}
            }
            self.look(&mut deployed).await;
        }
    }
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
    let files = trireme_project::Folder(path.to_owned())
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
    use tokio_util::task::TaskTracker;

    use super::*;
    use crate::source::{Refused, Sources};
    use crate::store::Origin;
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
        source: Folder,
        entries: Entries,
        refused: Refused,
        folder: tempfile::TempDir,
    }

    impl Mounted {
        async fn start() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let bench = Bench::start(&folder.path().join("state")).await;
            let apis = folder.path().join("apis");
            std::fs::create_dir(&apis).unwrap();
            let refused = Refused::default();
            Self {
                source: Folder::new(apis, Limits::default()),
                entries: Entries::new(FOLDER, bench.catalogue.clone(), refused.clone()),
                bench,
                refused,
                folder,
            }
        }

        async fn look(&mut self) {
            self.source.look(&mut self.entries).await;
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
                    let Origin::Entry { source, entry } = one.deployment.origin else {
                        panic!("{:?}", one.deployment)
                    };
                    assert_eq!(source, FOLDER);
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
        mounted.look().await;
        let both = [pair("/fish/1.0.0", "fish"), pair("/pets/1.0.0", "pets.zip")];
        assert_eq!(mounted.deployed(), both);

        mounted.write("pets.zip", animals.archive());
        mounted.look().await;
        assert_eq!(mounted.deployed()[1], pair("/animals/1.0.0", "pets.zip"));

        mounted.write("pets.zip", "half an archive");
        mounted.look().await;
        assert_eq!(
            mounted.deployed()[1],
            pair("/animals/1.0.0", "pets.zip"),
            "the last good one stays"
        );
        let refused = mounted.refused.all();
        assert!(refused["pets.zip"].contains("archive"), "{refused:?}");

        mounted.write("renamed.zip", animals.archive());
        mounted.remove("pets.zip");
        mounted.look().await;
        assert_eq!(mounted.deployed()[1], pair("/animals/1.0.0", "renamed.zip"));
        assert!(mounted.refused.all().is_empty());

        mounted.remove("renamed.zip");
        std::fs::remove_dir_all(project).unwrap();
        mounted.look().await;
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
        mounted.look().await;
        assert_eq!(mounted.deployed(), [pair("/pets/1.0.0", "a.zip")]);
        let refused = mounted.refused.all();
        assert!(refused["b.zip"].contains("is taken by Pets 1.0.0"), "{refused:?}");
        mounted.remove("a.zip");
        mounted.look().await;
        assert_eq!(mounted.deployed(), [pair("/pets/1.0.0", "b.zip")]);
        mounted.bench.stop().await;
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
            () = mounted.look() => panic!("ended before all are stored"),
            () = all_stored => {}
            () = tokio::time::sleep(crate::publish::POLICY_BOUND) => panic!("waits for each"),
        }
    }

    #[tokio::test]
    async fn a_restart_forgets_what_has_left_the_folder() {
        let mut mounted = Mounted::start().await;
        mounted.write("a.zip", Project::default().archive());
        mounted.look().await;
        mounted.bench.stop().await;
        mounted.bench = Bench::start(&mounted.folder.path().join("state")).await;
        assert_eq!(mounted.deployed().len(), 1, "served before anybody looks");
        mounted.remove("a.zip");
        mounted.entries = Entries::new(FOLDER, mounted.bench.catalogue.clone(), Refused::default());
        mounted.look().await;
        assert!(mounted.deployed().is_empty());
        mounted.bench.stop().await;
    }

    #[tokio::test]
    async fn changes_are_followed() {
        let Mounted {
            bench,
            source,
            folder,
            ..
        } = Mounted::start().await;
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let sources = Sources::new(bench.catalogue.clone(), tasks.clone(), stop.clone());
        sources.start(source);
        sources.ready().await;
        let path = folder.path().join("apis/pets.zip");
        let wait = async |count: usize| {
            let soon = async {
                while bench.catalogue.list().len() != count {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            };
            tokio::time::timeout(Duration::from_secs(20), soon)
                .await
                .expect("it is followed");
        };
        std::fs::write(&path, Project::default().archive()).unwrap();
        wait(1).await;
        std::fs::remove_file(&path).unwrap();
        wait(0).await;
        stop.cancel();
        tasks.close();
        tasks.wait().await;
        bench.stop().await;
    }
}
