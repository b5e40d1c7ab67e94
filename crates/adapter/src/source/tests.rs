//! A source that is nobody's yet, beside the folder and the management API.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Intake, Source, Sources};
use crate::catalogue::{Deploy, DeployError, Selection, UndeployError};
use crate::store::Origin;
use crate::testing::{Bench, Project};

/// Brings what it is sent, as a whole each time.
struct Sent {
    name: &'static str,
    looks: mpsc::Receiver<BTreeMap<String, Bytes>>,
}

impl Source for Sent {
    async fn run(mut self, mut intake: Intake, shutdown: CancellationToken) {
        let mut entries = intake.entries(self.name);
        loop {
            let found = tokio::select! {
                () = shutdown.cancelled() => return,
                Some(found) = self.looks.recv() => found,
            };
            let content = async |_, archive| Ok::<_, Infallible>(archive);
            entries.follow(found, content).await.unwrap();
            intake.ready();
        }
    }
}

fn look(entries: &[(&str, &Project)]) -> BTreeMap<String, Bytes> {
    let named = entries
        .iter()
        .map(|(name, project)| ((*name).to_owned(), project.archive()));
    named.collect()
}

/// Base path and owner of everything that is deployed.
fn owned(bench: &Bench) -> Vec<(String, String)> {
    let listed = bench.catalogue.list().into_iter();
    listed
        .map(|one| (one.deployment.base_path, one.deployment.origin.to_string()))
        .collect()
}

fn pair(one: &str, two: &str) -> (String, String) {
    (one.to_owned(), two.to_owned())
}

#[tokio::test]
async fn one_more_source_is_a_type_and_a_line() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::start(folder.path()).await;
    let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
    let sources = Sources::new(bench.catalogue.clone(), tasks.clone(), stop.clone());
    let (git, looks) = mpsc::channel(1);
    sources.start(Sent { name: "git", looks });
    let (other, looks) = mpsc::channel(1);
    sources.start(Sent { name: "other", looks });

    let (pets, fish) = (
        Project::default(),
        Project {
            name: "Fish",
            context: "/fish",
            ..Project::default()
        },
    );
    other.send(look(&[("same", &fish)])).await.unwrap();
    let waiting = tokio::time::timeout(Duration::from_millis(300), sources.ready()).await;
    assert!(waiting.is_err(), "one of them has brought nothing yet");
    git.send(look(&[("same", &pets)])).await.unwrap();
    sources.ready().await;
    let both = [pair("/fish/1.0.0", "other/same"), pair("/pets/1.0.0", "git/same")];
    assert_eq!(owned(&bench), both, "entries of one name belong to their sources");

    // Nobody else changes it.
    let wanted = Deploy {
        archive: pets.archive(),
        replace: true,
        origin: Origin::Rest,
        gone: [].into(),
    };
    let error = bench.catalogue.deploy(wanted).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the API on virtual host localhost is deployed by the entry same of source git; change it there"
    );
    assert!(matches!(error, DeployError::Owned { .. }));
    let selection = Selection {
        name: "Pets".to_owned(),
        version: "1.0.0".to_owned(),
        ..Selection::default()
    };
    let error = bench
        .catalogue
        .undeploy(selection, Origin::Rest)
        .await
        .unwrap_err();
    assert!(matches!(error, UndeployError::Owned(_)), "{error}");

    // What one can't have is named, under its own name.
    // The third finds room once the first is done with.
    for _ in 0..3 {
        other.send(look(&[("same", &pets)])).await.unwrap();
    }
    let refused = sources.refused().all();
    assert!(
        refused["other/same"].contains("is deployed by the entry same of source git"),
        "{refused:?}"
    );
    assert_eq!(owned(&bench), both, "the last good one stays");

    stop.cancel();
    tasks.close();
    tasks.wait().await;
    bench.stop().await;

    // Owners outlive the process, and an empty source takes its own away and nothing else.
    let bench = Bench::start(folder.path()).await;
    assert_eq!(owned(&bench), both);
    let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
    let sources = Sources::new(bench.catalogue.clone(), tasks.clone(), stop.clone());
    let (git, looks) = mpsc::channel(1);
    sources.start(Sent { name: "git", looks });
    git.send(BTreeMap::new()).await.unwrap();
    sources.ready().await;
    assert_eq!(owned(&bench), [pair("/fish/1.0.0", "other/same")]);
    stop.cancel();
    tasks.close();
    tasks.wait().await;
    bench.stop().await;
}

/// Ends at once.
struct Failing;

impl Source for Failing {
    async fn run(self, _intake: Intake, _shutdown: CancellationToken) {}
}

#[tokio::test]
async fn a_source_that_has_ended_keeps_nobody_waiting() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::start(folder.path()).await;
    let sources = Sources::new(
        bench.catalogue.clone(),
        TaskTracker::new(),
        CancellationToken::new(),
    );
    sources.start(Failing);
    sources.ready().await;
    bench.stop().await;
}
