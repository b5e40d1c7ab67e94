//! Scripted routers and enforcers: what they get, in which order, and what becomes of what they refuse. Time is paused.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use trireme_proto::envoy::service::discovery::v3::DeltaDiscoveryResponse;
use trireme_proto::names::{DEFAULT_ROUTE_CONFIG, SYSTEM_FRAGMENT, type_url};
use trireme_xds::server::Cache;

use super::{Change, Desired, Publication, Publisher, Submitter};
use crate::resources::ApiResources;
use crate::status::{Status, Statuses};
use crate::store::Identity;
use crate::testing::{Peer, Project, base, names_of, resources};

const PETS: &str = "localhost/pets/1.0.01.0.0";
const LONG: Duration = Duration::from_secs(60);

struct Running {
    cache: Cache,
    statuses: Statuses,
    submitter: Submitter,
    _task: AbortOnDropHandle<()>,
}

fn start() -> Running {
    let cache = Cache::new();
    let statuses = Statuses::new(cache.clone());
    let (mut publisher, submitter) =
        Publisher::new(cache.clone(), statuses.clone(), base(), ["Default".to_owned()]);
    publisher.seal();
    let task = tokio::spawn(publisher.run(CancellationToken::new()));
    Running {
        cache,
        statuses,
        submitter,
        _task: AbortOnDropHandle::new(task),
    }
}

fn identity(api: &str) -> Identity {
    Identity {
        organization: "carbon.super".to_owned(),
        vhost: "localhost".to_owned(),
        api_id: api.to_owned(),
    }
}

fn put(api: &str, resources: ApiResources, labels: &[&str]) -> Change {
    Change {
        identity: identity(api),
        desired: Some(Desired {
            resources: Arc::new(resources),
            labels: labels
                .iter()
                .map(|label| (*label).to_owned())
                .collect::<BTreeSet<_>>(),
        }),
    }
}

fn remove(api: &str) -> Change {
    Change {
        identity: identity(api),
        desired: None,
    }
}

fn pets(counter: u64) -> ApiResources {
    resources(&Project::default(), "localhost", counter)
}

impl Running {
    async fn submit(&self, changes: Vec<Change>) -> Publication {
        self.submitter.submit(changes).await.unwrap()
    }

    fn status(&self, api: &str) -> Option<Status> {
        self.statuses.find(&identity(api))
    }

    /// A router that has taken what there is: clusters, routes, listeners.
    async fn router(&self) -> Peer {
        let mut router = Peer::router(&self.cache, "Default").await;
        router.take(3).await;
        router
    }

    /// An enforcer that has taken what there is.
    async fn enforcer(&self) -> Peer {
        let mut enforcer = Peer::enforcer(&self.cache, "Default").await;
        enforcer.take(1).await;
        enforcer
    }
}

#[tokio::test(start_paused = true)]
async fn routes_follow_when_the_policy_is_taken() {
    let adapter = start();
    let (mut enforcer, mut router) = (adapter.enforcer().await, adapter.router().await);
    let publication = adapter.submit(vec![put("pets", pets(1), &["Default"])]).await;

    let policy = enforcer.next().await;
    assert_eq!(names_of(&policy), [PETS]);
    router.quiet(Duration::from_secs(4)).await;
    assert_eq!(
        adapter.status("pets"),
        Some(Status::Pending { missing: Vec::new() })
    );

    enforcer.ack(&policy).await;
    let sent = router.take(2).await;
    assert_eq!(
        sent[0].type_url,
        type_url::CLUSTER,
        "clusters before the routes that name them"
    );
    assert_eq!(names_of(&sent[1]), [PETS]);
    assert!(publication.wait(LONG).await);
    assert_eq!(adapter.status("pets"), Some(Status::Active));
}

#[tokio::test(start_paused = true)]
async fn deploys_that_come_meanwhile_share_the_next_round() {
    let adapter = start();
    let (mut enforcer, mut router) = (adapter.enforcer().await, adapter.router().await);
    let first = adapter.submit(vec![put("pets", pets(1), &["Default"])]).await;
    let policy = enforcer.next().await;
    let mut others = Vec::new();
    for (api, name, context) in [("fish", "Fish", "/fish"), ("birds", "Birds", "/birds")] {
        let project = Project {
            name,
            context,
            ..Project::default()
        };
        let change = put(api, resources(&project, "localhost", 2), &["Default"]);
        others.push(adapter.submit(vec![change]).await);
    }
    enforcer.ack(&policy).await;
    router.take(2).await;
    assert!(first.wait(LONG).await);

    let policies = enforcer.next().await;
    assert_eq!(policies.resources.len(), 2);
    router.quiet(Duration::from_secs(4)).await;
    enforcer.ack(&policies).await;
    let sent = router.take(2).await;
    assert_eq!((sent[0].resources.len(), sent[1].resources.len()), (2, 2));
    for other in others {
        assert!(other.wait(LONG).await);
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_enforcer_delays_by_a_bound_and_is_named() {
    let adapter = start();
    let (mut enforcer, mut router) = (adapter.enforcer().await, adapter.router().await);
    let publication = adapter.submit(vec![put("pets", pets(1), &["Default"])]).await;
    let policy = enforcer.next().await;
    router.quiet(Duration::from_millis(4900)).await;
    router.take(2).await;
    assert!(publication.wait(LONG).await);
    let missing = vec!["Default".to_owned()];
    assert_eq!(adapter.status("pets"), Some(Status::Pending { missing }));

    enforcer.ack(&policy).await;
    let late = async {
        while adapter.status("pets") != Some(Status::Active) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(LONG, late)
        .await
        .expect("it is active in the end");
}

#[tokio::test(start_paused = true)]
async fn a_refused_policy_has_no_routes_and_the_last_good_one_stays() {
    let adapter = start();
    let (mut enforcer, mut router) = (adapter.enforcer().await, adapter.router().await);

    let publication = adapter.submit(vec![put("pets", pets(1), &["Default"])]).await;
    let policy = enforcer.next().await;
    enforcer.nack(&policy, PETS, "scheme is unknown").await;
    assert!(publication.wait(LONG).await);
    let Some(Status::Rejected { reason }) = adapter.status("pets") else {
        panic!("{:?}", adapter.status("pets"))
    };
    assert!(reason.contains("scheme is unknown"), "{reason}");
    let gone = enforcer.take(1).await;
    assert_eq!(gone[0].removed_resources, [PETS], "it is taken back");
    router.quiet(LONG).await;

    let publication = adapter.submit(vec![put("pets", pets(2), &["Default"])]).await;
    let good = enforcer.take(1).await;
    let routes = router.take(2).await;
    assert!(publication.wait(LONG).await);
    assert_eq!(adapter.status("pets"), Some(Status::Active));

    let publication = adapter.submit(vec![put("pets", pets(3), &["Default"])]).await;
    let policy = enforcer.next().await;
    enforcer.nack(&policy, PETS, "again").await;
    assert!(publication.wait(LONG).await);
    assert!(matches!(adapter.status("pets"), Some(Status::Rejected { .. })));
    let back = enforcer.take(1).await;
    assert_eq!(back[0].resources[0].version, good[0].resources[0].version);
    router.quiet(LONG).await;
    let mut newcomer = Peer::router(&adapter.cache, "Default").await;
    let held = newcomer.take(3).await;
    let fragment = held
        .iter()
        .flat_map(|one| &one.resources)
        .find(|one| one.name == PETS)
        .unwrap();
    assert_eq!(fragment.version, routes[1].resources[0].version);
}

#[tokio::test(start_paused = true)]
async fn refused_routes_go_back_for_every_router() {
    let adapter = start();
    let mut router = adapter.router().await;
    let publication = adapter.submit(vec![put("pets", pets(1), &["Default"])]).await;
    let good = router.take(2).await;
    assert!(publication.wait(LONG).await);

    let changed = Project {
        endpoint: "http://other.local",
        ..Project::default()
    };
    let changed = resources(&changed, "localhost", 2);
    let publication = adapter.submit(vec![put("pets", changed, &["Default"])]).await;
    let clusters = router.take(1).await;
    assert_eq!(clusters[0].type_url, type_url::CLUSTER);
    let routes = router.next().await;
    router.nack(&routes, PETS, "expression is too long").await;
    assert!(publication.wait(LONG).await);
    let Some(Status::Rejected { reason }) = adapter.status("pets") else {
        panic!("{:?}", adapter.status("pets"))
    };
    assert!(reason.contains("expression is too long"), "{reason}");
    let back = router.take(2).await;
    for (was, is) in good.iter().zip(&back) {
        assert_eq!(
            was.resources[0].version, is.resources[0].version,
            "{}",
            was.type_url
        );
    }
}

#[tokio::test(start_paused = true)]
async fn removal_takes_the_routes_first() {
    let adapter = start();
    let (mut enforcer, mut router) = (adapter.enforcer().await, adapter.router().await);
    let publication = adapter.submit(vec![put("pets", pets(1), &["Default"])]).await;
    enforcer.take(1).await;
    router.take(2).await;
    assert!(publication.wait(LONG).await);

    let publication = adapter.submit(vec![remove("pets")]).await;
    let routes = router.next().await;
    assert_eq!(routes.removed_resources, [PETS]);
    enforcer.quiet(Duration::from_secs(4)).await;
    router.ack(&routes).await;
    let policy = enforcer.take(1).await;
    assert_eq!(policy[0].removed_resources, [PETS]);
    let clusters = router.take(1).await;
    assert_eq!(clusters[0].type_url, type_url::CLUSTER);
    assert_eq!(clusters[0].removed_resources.len(), 1);
    assert!(publication.wait(LONG).await);
}

#[tokio::test(start_paused = true)]
async fn an_address_that_passes_on_is_empty_in_between() {
    let adapter = start();
    let (mut enforcer, mut router) = (adapter.enforcer().await, adapter.router().await);
    let publication = adapter.submit(vec![put("pets", pets(1), &["Default"])]).await;
    enforcer.take(1).await;
    router.take(2).await;
    assert!(publication.wait(LONG).await);

    let animals = Project {
        context: "/animals",
        ..Project::default()
    };
    let others = Project {
        name: "Others",
        ..Project::default()
    };
    let publication = adapter
        .submit(vec![
            put("pets", resources(&animals, "localhost", 2), &["Default"]),
            put("others", resources(&others, "localhost", 3), &["Default"]),
        ])
        .await;
    let gone = router.next().await;
    assert_eq!(gone.removed_resources, [PETS]);
    enforcer.quiet(Duration::from_secs(4)).await;
    router.ack(&gone).await;
    let policies = enforcer.take(1).await;
    let mut published = names_of(&policies[0]);
    published.sort_unstable();
    assert_eq!(published, ["localhost/animals/1.0.01.0.0", PETS]);
    let sent = router.take(2).await;
    assert!(sent[0].removed_resources.is_empty(), "pets keeps its cluster");
    assert_eq!(sent[1].resources.len(), 2);
    assert!(publication.wait(LONG).await);
}

#[tokio::test(start_paused = true)]
async fn a_router_that_holds_on_to_an_address_keeps_the_next_policy_away() {
    let adapter = start();
    let (mut enforcer, mut router) = (adapter.enforcer().await, adapter.router().await);
    let publication = adapter.submit(vec![put("pets", pets(1), &["Default"])]).await;
    enforcer.take(1).await;
    router.take(2).await;
    assert!(publication.wait(LONG).await);

    let others = Project {
        name: "Others",
        ..Project::default()
    };
    let others = resources(&others, "localhost", 2);
    adapter
        .submit(vec![remove("pets"), put("others", others, &["Default"])])
        .await;
    let gone = router.next().await;
    assert_eq!(gone.removed_resources, [PETS]);
    // Not answered: the router may still serve pets, and must not do so under the policy of others.
    let policy = enforcer.take(1).await;
    assert_eq!(policy[0].removed_resources, [PETS]);
    assert!(policy[0].resources.is_empty());
    enforcer.quiet(LONG).await;
    assert!(matches!(adapter.status("others"), Some(Status::Pending { .. })));
    router.ack(&gone).await;
    let policy = enforcer.take(1).await;
    assert_eq!(names_of(&policy[0]), [PETS]);
}

#[tokio::test(start_paused = true)]
async fn one_more_api_costs_its_own_resources_only() {
    let adapter = start();
    let (mut enforcer, mut router) = (adapter.enforcer().await, adapter.router().await);
    let many: Vec<Change> = (0..50)
        .map(|number| {
            let name: &'static str = format!("Api{number}").leak();
            let project = Project {
                name,
                context: format!("/api{number}").leak(),
                ..Project::default()
            };
            put(name, resources(&project, "localhost", number), &["Default"])
        })
        .collect();
    let publication = adapter.submit(many).await;
    enforcer.take(1).await;
    router.take(2).await;
    assert!(publication.wait(LONG).await);

    let before: u64 = adapter.cache.counters().values().map(|sent| sent.resources).sum();
    let publication = adapter.submit(vec![put("pets", pets(99), &["Default"])]).await;
    enforcer.take(1).await;
    router.take(2).await;
    assert!(publication.wait(LONG).await);
    let after: u64 = adapter.cache.counters().values().map(|sent| sent.resources).sum();
    assert_eq!(after - before, 3, "its policy, its cluster, its fragment");

    let publication = adapter.submit(vec![put("pets", pets(99), &["Default"])]).await;
    assert!(publication.wait(LONG).await);
    enforcer.quiet(LONG).await;
    router.quiet(LONG).await;
}

#[tokio::test(start_paused = true)]
async fn a_node_without_fragments_gets_one_configuration() {
    let adapter = start();
    let publication = adapter.submit(vec![put("pets", pets(1), &["Default"])]).await;
    assert!(publication.wait(LONG).await);
    let mut envoy = Peer::connect(&adapter.cache, "Default", &[], &[type_url::ROUTE]).await;
    let first = envoy.take(1).await;
    assert_eq!(names_of(&first[0]), [DEFAULT_ROUTE_CONFIG]);

    let others = Project {
        name: "Others",
        context: "/others",
        ..Project::default()
    };
    let others = resources(&others, "localhost", 2);
    let publication = adapter.submit(vec![put("others", others, &["Default"])]).await;
    let second = envoy.take(1).await;
    assert_eq!(names_of(&second[0]), [DEFAULT_ROUTE_CONFIG]);
    assert_ne!(first[0].resources[0].version, second[0].resources[0].version);
    assert!(publication.wait(LONG).await);
}

#[tokio::test(start_paused = true)]
async fn a_label_that_comes_later_is_complete() {
    let adapter = start();
    let mut router = Peer::router(&adapter.cache, "Later").await;
    router.quiet(LONG).await;
    let publication = adapter.submit(vec![put("pets", pets(1), &["Later"])]).await;
    let mut names: Vec<String> = Vec::new();
    while !["HTTPListener", SYSTEM_FRAGMENT, PETS]
        .iter()
        .all(|wanted| names.iter().any(|name| name == wanted))
    {
        let taken = router.take(1).await;
        names.extend(names_of(&taken[0]).into_iter().map(str::to_owned));
    }
    assert!(publication.wait(LONG).await);
    assert_eq!(adapter.status("pets"), Some(Status::Active));
}

#[tokio::test(start_paused = true)]
async fn labels_that_lose_an_api_drop_it_and_others_keep_it() {
    let adapter = start();
    let publication = adapter
        .submit(vec![put("pets", pets(1), &["Default", "Second"])])
        .await;
    assert!(publication.wait(LONG).await);
    let (mut stays, mut loses) = (
        adapter.router().await,
        Peer::router(&adapter.cache, "Second").await,
    );
    loses.take(3).await;
    let publication = adapter.submit(vec![put("pets", pets(1), &["Default"])]).await;
    let gone = loses.take(2).await;
    assert_eq!(gone[0].removed_resources, [PETS]);
    assert_eq!(gone[1].type_url, type_url::CLUSTER);
    assert!(publication.wait(LONG).await);
    stays.quiet(LONG).await;
}

impl Running {
    /// An Envoy that has taken what there is: clusters, one route configuration, listeners.
    async fn envoy(&self) -> Peer {
        let mut envoy = self.newcomer().await;
        envoy.take(3).await;
        envoy
    }

    /// An Envoy that hasn't answered anything.
    async fn newcomer(&self) -> Peer {
        let types = [type_url::CLUSTER, type_url::ROUTE, type_url::LISTENER];
        let envoy = Peer::connect(&self.cache, "Default", &[], &types).await;
        // It is asked for assembled routes before it is given clusters.
        let mut demanded = self.cache.demanded();
        let wanted = |groups: &BTreeSet<String>| groups.contains("route/Default");
        demanded.wait_for(wanted).await.unwrap();
        envoy
    }

    async fn until(&self, api: &str, wanted: impl Fn(&Status) -> bool) -> Status {
        let looked = async {
            loop {
                match self.status(api) {
                    Some(status) if wanted(&status) => return status,
                    _ => tokio::time::sleep(Duration::from_millis(1)).await,
                }
            }
        };
        let found = tokio::time::timeout(LONG, looked).await;
        found.unwrap_or_else(|_| panic!("{:?}", self.status(api)))
    }
}

fn rejected_for(status: &Status, why: &str) -> bool {
    matches!(status, Status::Rejected { reason } if reason.contains(why))
}

/// Names of the APIs whose routes are in an assembled route configuration.
fn bases(response: &DeltaDiscoveryResponse) -> String {
    let bodies = response.resources.iter().filter_map(|one| one.resource.as_ref());
    bodies
        .map(|any| String::from_utf8_lossy(&any.value).into_owned())
        .collect()
}

fn moved(counter: u64) -> ApiResources {
    let project = Project {
        context: "/pets",
        endpoint: "https://other.local",
        ..Project::default()
    };
    resources(&project, "localhost", counter)
}

fn fish(counter: u64) -> ApiResources {
    let project = Project {
        name: "Fish",
        context: "/fish",
        ..Project::default()
    };
    resources(&project, "localhost", counter)
}

#[tokio::test(start_paused = true)]
async fn a_refusal_that_comes_late_is_taken_back() {
    let adapter = start();
    let mut envoy = adapter.envoy().await;
    let publication = adapter.submit(vec![put("pets", pets(1), &["Default"])]).await;
    let good = envoy.take(2).await;
    assert!(publication.wait(LONG).await);
    assert_eq!(adapter.status("pets"), Some(Status::Active));

    let publication = adapter.submit(vec![put("pets", moved(2), &["Default"])]).await;
    let clusters = envoy.next().await;
    assert!(publication.wait(LONG).await);
    let name = names_of(&clusters)[0].to_owned();
    let missing = vec![format!("Default (cluster {name})")];
    assert_eq!(adapter.status("pets"), Some(Status::Pending { missing }));
    let routes = envoy.take(1).await;
    assert_ne!(routes[0].resources[0].version, good[1].resources[0].version);
    envoy.nack(&clusters, &name, "no such certificate").await;
    adapter
        .until("pets", |status| rejected_for(status, "no such certificate"))
        .await;
    let mut back = envoy.take(2).await;
    back.sort_by_key(|one| one.type_url != type_url::CLUSTER);
    for (was, is) in good.iter().zip(&back) {
        assert_eq!(
            was.resources[0].version, is.resources[0].version,
            "{}",
            was.type_url
        );
    }
    envoy.quiet(LONG).await;
    assert!(rejected_for(
        &adapter.status("pets").unwrap(),
        "no such certificate"
    ));

    let publication = adapter.submit(vec![put("pets", pets(3), &["Default"])]).await;
    envoy.take(1).await;
    assert!(publication.wait(LONG).await);
    assert_eq!(adapter.status("pets"), Some(Status::Active));
}

#[tokio::test(start_paused = true)]
async fn what_was_there_at_start_is_taken_back_as_well() {
    let cache = Cache::new();
    let statuses = Statuses::new(cache.clone());
    let (mut publisher, submitter) =
        Publisher::new(cache.clone(), statuses.clone(), base(), ["Default".to_owned()]);
    publisher.seed(vec![
        put("pets", pets(1), &["Default"]),
        put("fish", fish(2), &["Default"]),
    ]);
    publisher.seal();
    let task = tokio::spawn(publisher.run(CancellationToken::new()));
    let adapter = Running {
        cache,
        statuses,
        submitter,
        _task: AbortOnDropHandle::new(task),
    };
    let mut envoy = adapter.newcomer().await;
    let clusters = envoy.next().await;
    let pets = pets(1).clusters[0].name.clone();
    envoy.nack(&clusters, &pets, "no such certificate").await;
    adapter
        .until("pets", |status| rejected_for(status, "no such certificate"))
        .await;
    let mut last = String::new();
    while !last.contains("/fish") || last.contains("/pets") {
        let next = envoy.take(1).await;
        if next[0].type_url == type_url::ROUTE {
            last = bases(&next[0]);
        }
    }
    adapter.until("fish", |status| *status == Status::Active).await;
    assert!(rejected_for(
        &adapter.status("pets").unwrap(),
        "no such certificate"
    ));
}

#[tokio::test(start_paused = true)]
async fn a_newcomer_that_refuses_what_others_serve_goes_without() {
    let adapter = start();
    let mut router = adapter.router().await;
    let publication = adapter.submit(vec![put("pets", pets(1), &["Default"])]).await;
    router.take(2).await;
    assert!(publication.wait(LONG).await);

    let mut envoy = adapter.newcomer().await;
    let clusters = envoy.next().await;
    envoy.nack(&clusters, names_of(&clusters)[0], "unheard of").await;
    adapter
        .until("pets", |status| rejected_for(status, "unheard of"))
        .await;
    let mut last = "/pets".to_owned();
    while last.contains("/pets") {
        let next = envoy.take(1).await;
        if next[0].type_url == type_url::ROUTE {
            last = bases(&next[0]);
        }
    }
    router.quiet(LONG).await;
    assert!(rejected_for(&adapter.status("pets").unwrap(), "unheard of"));

    // It goes; the next one has everything.
    drop(envoy);
    adapter.until("pets", |status| *status == Status::Active).await;
    let mut envoy = adapter.newcomer().await;
    let first = envoy.take(3).await;
    assert!(bases(&first[1]).contains("/pets"));
    adapter.until("pets", |status| *status == Status::Active).await;
}

#[tokio::test(start_paused = true)]
async fn a_name_that_an_envoy_waits_for_delays_nobody_else_for_long() {
    let adapter = start();
    let (mut router, mut envoy) = (adapter.router().await, adapter.envoy().await);
    let silent = adapter.submit(vec![put("pets", pets(1), &["Default"])]).await;
    router.take(2).await;
    let first = envoy.next().await;
    assert_eq!(first.type_url, type_url::CLUSTER);
    let begun = tokio::time::Instant::now();
    let other = adapter.submit(vec![put("fish", fish(2), &["Default"])]).await;
    let clusters = envoy.next().await;
    assert_eq!(
        clusters.type_url,
        type_url::CLUSTER,
        "it isn't held up by the first"
    );
    router.take(2).await;
    let routes = envoy.take(1).await;
    let shown = bases(&routes[0]);
    assert!(shown.contains("/pets") && shown.contains("/fish"), "{shown}");
    assert!(begun.elapsed() <= Duration::from_secs(6), "{:?}", begun.elapsed());
    assert!(silent.wait(LONG).await && other.wait(LONG).await);
    let Some(Status::Pending { missing }) = adapter.status("fish") else {
        panic!("{:?}", adapter.status("fish"))
    };
    let waited = names_of(&first)[0];
    assert_eq!(
        missing,
        [format!("Default (cluster {waited})")],
        "which name is waited for"
    );

    // From now on nobody waits for it.
    let begun = tokio::time::Instant::now();
    let project = Project {
        name: "Birds",
        context: "/birds",
        ..Project::default()
    };
    let birds = resources(&project, "localhost", 3);
    let third = adapter.submit(vec![put("birds", birds, &["Default"])]).await;
    let late = envoy.next().await;
    router.take(2).await;
    assert!(bases(&envoy.take(1).await[0]).contains("/birds"));
    assert!(third.wait(LONG).await);
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    for open in [first, clusters, late] {
        envoy.ack(&open).await;
    }
    for api in ["pets", "fish", "birds"] {
        adapter.until(api, |status| *status == Status::Active).await;
    }
}

#[tokio::test(start_paused = true)]
async fn assembled_routes_that_are_refused_late_are_put_down_to_what_changed_last() {
    let adapter = start();
    let mut envoy = adapter.envoy().await;
    let publication = adapter.submit(vec![put("pets", pets(1), &["Default"])]).await;
    envoy.take(2).await;
    assert!(publication.wait(LONG).await);
    let publication = adapter.submit(vec![put("fish", fish(2), &["Default"])]).await;
    envoy.take(1).await;
    let routes = envoy.next().await;
    assert!(publication.wait(LONG).await);
    envoy.nack(&routes, DEFAULT_ROUTE_CONFIG, "too many").await;
    adapter
        .until("fish", |status| rejected_for(status, "too many"))
        .await;
    let mut shown = String::new();
    while !shown.contains("/pets") {
        shown = bases(&envoy.take(1).await[0]);
    }
    assert!(!shown.contains("/fish"), "{shown}");
    let gone = envoy.take(1).await;
    assert_eq!(gone[0].removed_resources, [fish(2).clusters[0].name.clone()]);
    adapter.until("pets", |status| *status == Status::Active).await;

    // The one before is refused as well: nothing goes round and round.
    let publication = adapter.submit(vec![put("pets", pets(3), &["Default"])]).await;
    let routes = envoy.next().await;
    assert!(publication.wait(LONG).await);
    envoy.nack(&routes, DEFAULT_ROUTE_CONFIG, "again").await;
    adapter
        .until("pets", |status| rejected_for(status, "again"))
        .await;
    let back = envoy.next().await;
    envoy.nack(&back, DEFAULT_ROUTE_CONFIG, "never").await;
    envoy.quiet(LONG).await;
}
