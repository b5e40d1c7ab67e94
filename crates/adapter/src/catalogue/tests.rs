//! What outlives a process, who owns what, and who serves an address that two organizations claim.

use std::collections::BTreeSet;

use trireme_project::Severity;
use trireme_proto::names::{SYSTEM_FRAGMENT, type_url};

use super::{Deploy, DeployError, Deployed, Selection, UndeployError};
use crate::status::Status;
use crate::store::{FOLDER, Origin};
use crate::testing::{Bench, Peer, Project, names_of};

async fn deploy(bench: &Bench, project: &Project) -> Result<Deployed, DeployError> {
    deploy_as(bench, project, Origin::Rest).await
}

async fn deploy_as(bench: &Bench, project: &Project, origin: Origin) -> Result<Deployed, DeployError> {
    let wanted = Deploy {
        archive: project.archive(),
        replace: true,
        origin,
        gone: BTreeSet::new(),
    };
    bench.catalogue.deploy(wanted).await
}

fn pets() -> Selection {
    Selection {
        name: "Pets".to_owned(),
        version: "1.0.0".to_owned(),
        ..Selection::default()
    }
}

/// Name and version of everything that a new router of the default label gets, and of what an enforcer gets.
async fn published(bench: &Bench) -> Vec<(String, String)> {
    let mut all = Vec::new();
    let mut router = Peer::router(&bench.cache, "Default").await;
    let mut enforcer = Peer::enforcer(&bench.cache, "Default").await;
    let mut responses = router.take(3).await;
    responses.extend(enforcer.take(1).await);
    for response in responses {
        for resource in response.resources {
            all.push((
                format!("{} {}", response.type_url, resource.name),
                resource.version,
            ));
        }
    }
    all.sort();
    all
}

#[tokio::test]
async fn a_restart_publishes_the_same_as_before() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::start(folder.path()).await;
    let names: [(&'static str, &'static str); 3] =
        [("Pets", "/pets"), ("Fish", "/fish"), ("Birds", "/birds")];
    for (name, context) in names {
        let project = Project {
            name,
            context,
            ..Project::default()
        };
        deploy(&bench, &project).await.unwrap();
    }
    let before = published(&bench).await;
    assert_eq!(
        before.len(),
        3 * 3 + 2,
        "fragment, cluster and policy of each, system routes, one listener"
    );
    // Killed: nobody closes the store.
    std::mem::forget(bench);

    let bench = Bench::start(folder.path()).await;
    let listed = bench.catalogue.list();
    assert_eq!(listed.len(), 3);
    assert!(listed.iter().all(|one| one.status == Some(Status::Active)));
    assert_eq!(
        published(&bench).await,
        before,
        "peers that come back are sent nothing"
    );
    let answer = deploy(&bench, &Project::default()).await.unwrap();
    assert!(!answer.changed, "and the store knows what it has");
    bench.stop().await;
}

#[tokio::test]
async fn a_stored_api_that_is_bad_by_now_is_left_out_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::start(folder.path()).await;
    deploy(&bench, &Project::default()).await.unwrap();
    let other = Project {
        name: "Fish",
        context: "/fish",
        ..Project::default()
    };
    deploy(&bench, &other).await.unwrap();
    bench.stop().await;

    let fitting = Project::default().archive().len().max(other.archive().len());
    let strict = trireme_project::Limits {
        archive_bytes: u64::try_from(fitting).unwrap(),
        ..trireme_project::Limits::default()
    };
    let longer = Project {
        name: "Longer",
        context: "/a/context/that/does/not/fit/into/the/new/limit/of/archives/0123456789",
        ..Project::default()
    };
    let bench = Bench::start(folder.path()).await;
    deploy(&bench, &longer).await.unwrap();
    bench.stop().await;
    let bench = Bench::start_with(folder.path(), strict).await;
    let listed = bench.catalogue.list();
    let states: Vec<(&str, bool)> = listed
        .iter()
        .map(|one| {
            let rejected = matches!(one.status, Some(Status::Rejected { .. }));
            (one.deployment.name.as_str(), rejected)
        })
        .collect();
    assert_eq!(states, [("Fish", false), ("Longer", true), ("Pets", false)]);
    bench.stop().await;
}

#[tokio::test]
async fn deployments_belong_to_who_made_them() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::start(folder.path()).await;
    let entry = |name: &str| Origin::entry(FOLDER, name);
    deploy_as(&bench, &Project::default(), entry("pets"))
        .await
        .unwrap();

    for origin in [Origin::Rest, entry("other")] {
        let error = deploy_as(&bench, &Project::default(), origin).await.unwrap_err();
        assert!(matches!(error, DeployError::Owned { .. }), "{error}");
    }
    let error = bench.catalogue.undeploy(pets(), Origin::Rest).await.unwrap_err();
    assert!(matches!(error, UndeployError::Owned(_)), "{error}");

    let taken_over = Deploy {
        archive: Project::default().archive(),
        replace: true,
        origin: entry("renamed"),
        gone: BTreeSet::from([entry("pets")]),
    };
    bench.catalogue.deploy(taken_over).await.unwrap();
    assert_eq!(
        bench.catalogue.entries(FOLDER),
        BTreeSet::from(["renamed".to_owned()])
    );

    bench
        .catalogue
        .forget(&BTreeSet::from([entry("renamed")]))
        .await
        .unwrap();
    assert!(bench.catalogue.list().is_empty());
    deploy(&bench, &Project::default()).await.unwrap();
    let error = deploy_as(&bench, &Project::default(), entry("pets"))
        .await
        .unwrap_err();
    assert!(matches!(error, DeployError::Owned { .. }), "{error}");
    bench.stop().await;
}

#[tokio::test]
async fn an_entry_drops_the_virtual_hosts_it_no_longer_names() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::start(folder.path()).await;
    let two = Project {
        environments: &[("Default", "one.local"), ("Default", "two.local")],
        ..Project::default()
    };
    let one = Project {
        environments: &[("Default", "one.local")],
        ..Project::default()
    };
    let vhosts = |bench: &Bench| -> Vec<String> {
        let listed = bench.catalogue.list();
        listed
            .into_iter()
            .map(|one| one.deployment.identity.vhost)
            .collect()
    };
    let entry = Origin::entry(FOLDER, "pets");
    deploy_as(&bench, &two, entry.clone()).await.unwrap();
    deploy_as(&bench, &one, entry.clone()).await.unwrap();
    assert_eq!(vhosts(&bench), ["one.local"]);
    bench.catalogue.forget(&BTreeSet::from([entry])).await.unwrap();

    deploy(&bench, &two).await.unwrap();
    deploy(&bench, &one).await.unwrap();
    assert_eq!(
        vhosts(&bench),
        ["one.local", "two.local"],
        "a call only changes what it names"
    );
    bench.stop().await;
}

#[tokio::test]
async fn an_entry_may_give_its_base_path_to_another_api() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::start(folder.path()).await;
    let entry = |name: &str| Origin::entry(FOLDER, name);
    let renamed = Project {
        name: "Animals",
        ..Project::default()
    };
    deploy_as(&bench, &Project::default(), entry("pets"))
        .await
        .unwrap();
    let error = deploy_as(&bench, &renamed, entry("other")).await.unwrap_err();
    assert!(matches!(error, DeployError::BasePathTaken { .. }), "{error}");

    deploy_as(&bench, &renamed, entry("pets")).await.unwrap();
    let name_and_owner = |bench: &Bench| -> Vec<(String, Origin)> {
        let listed = bench.catalogue.list().into_iter();
        listed
            .map(|one| (one.deployment.name, one.deployment.origin))
            .collect()
    };
    assert_eq!(
        name_and_owner(&bench),
        [("Animals".to_owned(), entry("pets"))],
        "the same entry"
    );

    let taken_over = Deploy {
        archive: Project::default().archive(),
        replace: true,
        origin: entry("new"),
        gone: BTreeSet::from([entry("pets")]),
    };
    bench.catalogue.deploy(taken_over).await.unwrap();
    assert_eq!(
        name_and_owner(&bench),
        [("Pets".to_owned(), entry("new"))],
        "an entry in the place of one that is gone"
    );
    assert_eq!(published(&bench).await.len(), 3 + 2);
    bench.stop().await;
}

#[tokio::test]
async fn a_conflict_on_one_virtual_host_keeps_all_of_them_back() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::start(folder.path()).await;
    let there = Project {
        name: "Others",
        environments: &[("Default", "two.local")],
        ..Project::default()
    };
    deploy(&bench, &there).await.unwrap();
    let wanted = Project {
        environments: &[("Default", "one.local"), ("Default", "two.local")],
        ..Project::default()
    };
    let error = deploy(&bench, &wanted).await.unwrap_err();
    assert!(matches!(error, DeployError::BasePathTaken { .. }), "{error}");
    assert_eq!(bench.catalogue.list().len(), 1);
    assert_eq!(bench.store.list().await.unwrap().len(), 1);
    bench.stop().await;
}

#[tokio::test]
async fn names_that_share_their_clusters_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::start(folder.path()).await;
    deploy(&bench, &Project::default()).await.unwrap();
    let similar = Project {
        name: "'Pets1'",
        version: ".0.0",
        context: "/other",
        ..Project::default()
    };
    let error = deploy(&bench, &similar).await.unwrap_err();
    assert!(matches!(error, DeployError::NameTaken { .. }), "{error}");

    let one = Project {
        name: "b_c",
        environments: &[("Default", "a")],
        ..Project::default()
    };
    let two = Project {
        name: "c",
        environments: &[("Default", "a_b")],
        ..Project::default()
    };
    deploy(&bench, &one).await.unwrap();
    let error = deploy(&bench, &two).await.unwrap_err().to_string();
    assert!(error.ends_with("b_c 1.0.0 on virtual host a"), "{error}");
    bench.stop().await;
}

#[tokio::test]
async fn of_two_organizations_the_first_serves_an_address_until_it_goes() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::start(folder.path()).await;
    let second = Project {
        extra: "  organizationId: acme\n",
        ..Project::default()
    };
    deploy(&bench, &Project::default()).await.unwrap();
    let deployed = deploy(&bench, &second).await.unwrap();
    let by = "carbon.super".to_owned();
    assert_eq!(deployed.deployments[0].status, Some(Status::Shadowed { by }));
    let first = published(&bench).await;

    bench.catalogue.undeploy(pets(), Origin::Rest).await.unwrap();
    let listed = bench.catalogue.list();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].deployment.identity.organization, "acme");
    assert_eq!(listed[0].status, Some(Status::Active));
    let now = published(&bench).await;
    assert_eq!(now.len(), first.len());
    assert_ne!(now, first);
    bench.stop().await;
}

#[tokio::test]
async fn an_address_is_given_up_even_if_who_waits_for_it_can_not_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::start(folder.path()).await;
    let second = Project {
        extra: "  organizationId: acme\n",
        ..Project::default()
    };
    deploy(&bench, &Project::default()).await.unwrap();
    deploy(&bench, &second).await.unwrap();
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(folder.path().join(crate::store::FILE));
    let mut other = sqlx::ConnectOptions::connect(&options).await.unwrap();
    sqlx::query("UPDATE project SET bytes = x'00' WHERE digest IN (SELECT digest FROM deployment WHERE organization = 'acme')")
        .execute(&mut other)
        .await
        .unwrap();

    bench.catalogue.undeploy(pets(), Origin::Rest).await.unwrap();
    assert_eq!(published(&bench).await.len(), 2, "system routes and a listener");
    let listed = bench.catalogue.list();
    assert_eq!(listed[0].deployment.identity.organization, "acme");
    assert!(
        matches!(listed[0].status, Some(Status::Rejected { .. })),
        "{:?}",
        listed[0].status
    );
    bench.stop().await;
}

#[tokio::test]
async fn unknown_environments_are_left_out_with_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::start(folder.path()).await;
    let project = Project {
        environments: &[("Default", ""), ("Elsewhere", "")],
        ..Project::default()
    };
    let deployed = deploy(&bench, &project).await.unwrap();
    assert_eq!(deployed.deployments.len(), 1);
    assert_eq!(deployed.warnings.len(), 1);
    assert_eq!(deployed.warnings[0].severity, Severity::Warning);
    bench.stop().await;
}

#[tokio::test]
async fn a_label_has_listeners_and_system_routes_without_any_api() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::start(folder.path()).await;
    let mut router = Peer::router(&bench.cache, "Default").await;
    let responses = router.take(3).await;
    let of = |wanted: &str| {
        let response = responses.iter().find(|one| one.type_url == wanted).unwrap();
        names_of(response)
            .into_iter()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(of(type_url::LISTENER), ["HTTPListener"]);
    assert_eq!(of(type_url::ROUTE), [SYSTEM_FRAGMENT]);
    assert!(of(type_url::CLUSTER).is_empty());
    bench.stop().await;
}
