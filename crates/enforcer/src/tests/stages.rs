//! Checks that wait: where they go on, and with what.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use prost::Message;
use prost::bytes::Bytes;
use tokio::time::{Duration, timeout};
use tokio_util::sync::CancellationToken;
use tonic::Request;
use trireme_policy::api::*;
use trireme_policy::{ApiPolicy, Settings, Update};
use trireme_proto::envoy::service::auth::v3::CheckRequest;
use trireme_proto::envoy::service::auth::v3::CheckResponse;
use trireme_proto::envoy::service::auth::v3::authorization_server::Authorization;
use trireme_proto::envoy::service::auth::v3::check_response::HttpResponse;
use trireme_proto::trireme::auth::v1::{Check, CheckBatch};
use trireme_telemetry::Metrics;

use super::fixture::*;
use super::jwks::{KeyServer, jwk};
use super::{bench, fixture};
use crate::api::Api;
use crate::check::{Known, Stage, Stages, stages};
use crate::event::Counters;
use crate::need::{Question, Stop};
use crate::service::{Room, Service};
use crate::snapshot::Snapshot;

/// How often the stages around the one that asks were run; the test that counts is alone with them.
static BEFORE: AtomicUsize = AtomicUsize::new(0);
static COUNTED: AtomicUsize = AtomicUsize::new(0);

/// The usual stages between one that tells that it ran and one that counts.
fn counting(api: &Api) -> &'static [Stage] {
    fn before(_: &Question<'_>, _: &mut Known) -> Result<(), Stop> {
        BEFORE.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
    fn find(question: &Question<'_>, known: &mut Known) -> Result<(), Stop> {
        stages(question.api)[0](question, known)
    }
    fn lifecycle(question: &Question<'_>, known: &mut Known) -> Result<(), Stop> {
        stages(question.api)[1](question, known)
    }
    fn environment(question: &Question<'_>, known: &mut Known) -> Result<(), Stop> {
        stages(question.api)[2](question, known)
    }
    fn limits(question: &Question<'_>, known: &mut Known) -> Result<(), Stop> {
        stages(question.api)[3](question, known)
    }
    fn count(_: &Question<'_>, _: &mut Known) -> Result<(), Stop> {
        COUNTED.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
    assert_eq!(stages(api).len(), 4, "a stage is missing from this list");
    &[before, find, lifecycle, environment, limits, count]
}

fn service(stages: Stages, policy: ApiPolicy, settings: Settings) -> Service {
    let service = Service {
        current: Arc::default(),
        counters: Counters::new(&Metrics::new()),
        stages,
        drain: CancellationToken::new(),
    };
    service.current.store(World::new(policy, settings).snapshot);
    service
}

/// Swaps in a snapshot that has this policy, and the settings of the last one.
fn swap(service: &Service, policy: ApiPolicy) {
    let held = service.current.load_full();
    let upserts = vec![(policy.name(), Arc::new(Api::new(policy).unwrap()))];
    service.current.store(Snapshot {
        security: held.security.clone(),
        apis: held.apis.update(Update {
            upserts,
            removals: Vec::new(),
        }),
        complete: true,
        version: held.version,
    });
}

/// A request whose token is signed by a key that has to be fetched.
fn keyed() -> CheckRequest {
    let claims = changed(&serde_json::json!({ "nbf": null, "exp": 10 * NOW }));
    let header = serde_json::json!({ "alg": "RS256", "kid": "a" });
    bench::request(&token(&KEYS.ours, &header, &claims))
}

/// A key server that doesn't answer until it's let.
async fn held_back() -> KeyServer {
    let server = KeyServer::start(&serde_json::json!({ "keys": [jwk("ours", "a")] })).await;
    server.gate.forget_permits(1000);
    server
}

async fn asked(server: &KeyServer) {
    while server.asked() == 0 {
        tokio::task::yield_now().await;
    }
}

/// HTTP status of a refusal, or 200.
fn status(response: &CheckResponse) -> i32 {
    match response.http_response.as_ref().unwrap() {
        HttpResponse::OkResponse(_) => 200,
        HttpResponse::DeniedResponse(denied) => denied.status.as_ref().unwrap().code,
        HttpResponse::ErrorResponse(_) => panic!("no check is answered so"),
    }
}

fn counts() -> (usize, usize) {
    (
        BEFORE.swap(0, Ordering::SeqCst),
        COUNTED.swap(0, Ordering::SeqCst),
    )
}

#[tokio::test]
async fn a_check_that_waited_goes_on_where_it_stopped_and_counts_once() {
    // One at a time, by either way in: all of them share the counts.
    let server = held_back().await;
    let unary = service(counting, policy(), server.settings());
    let check = unary.check(Request::new(keyed()));
    let open = async {
        asked(&server).await;
        assert_eq!(counts(), (1, 0), "before the keys are there");
        server.gate.add_permits(1);
    };
    let (answer, ()) = timeout(BOUND, async { tokio::join!(check, open) }).await.unwrap();
    assert_eq!(status(&answer.unwrap().into_inner()), 200);
    assert_eq!(counts(), (0, 1), "after them");

    let server = held_back().await;
    let batched = service(counting, policy(), server.settings());
    let batch = CheckBatch {
        checks: vec![Check {
            id: 1,
            request: Bytes::from(keyed().encode_to_vec()),
        }],
        steering: true,
    };
    let batches = futures_util::stream::iter([Ok(batch)]);
    let mut answers = Box::pin(batched.answers(batches));
    let open = async {
        asked(&server).await;
        server.gate.add_permits(1);
    };
    let answer = async {
        futures_util::StreamExt::next(&mut answers)
            .await
            .unwrap()
            .unwrap()
    };
    let (answer, ()) = timeout(BOUND, async { tokio::join!(answer, open) })
        .await
        .unwrap();
    let verdict = &answer.verdicts[0];
    assert_eq!(status(&CheckResponse::decode(&*verdict.response).unwrap()), 200);
    assert_eq!(verdict.steering.as_ref().unwrap().cluster, "prod");
    assert_eq!(counts(), (1, 1));

    // Another snapshot in the meantime: what was found with the old one is not used, and still it counts once.
    let server = held_back().await;
    let swapped = service(counting, policy(), server.settings());
    let check = swapped.check(Request::new(keyed()));
    let open = async {
        asked(&server).await;
        swap(&swapped, policy_with(|policy| policy.title = "Pets".to_owned()));
        server.gate.add_permits(1);
    };
    let (answer, ()) = timeout(BOUND, async { tokio::join!(check, open) }).await.unwrap();
    assert_eq!(status(&answer.unwrap().into_inner()), 200);
    assert_eq!(counts(), (2, 1));
}

#[tokio::test]
async fn a_snapshot_that_comes_during_the_wait_decides() {
    type Change = fn(&mut ApiPolicy);
    let cases: [(&str, Change, i32); 4] = [
        ("the same", |_| {}, 200),
        ("blocked", |policy| policy.lifecycle = Lifecycle::Blocked, 503),
        (
            "another API's address",
            |policy| policy.title = "Cats".to_owned(),
            404,
        ),
        (
            "without the operation",
            |policy| policy.resources[0].operations.clear(),
            404,
        ),
    ];
    for (name, change, want) in cases {
        let server = held_back().await;
        let service = service(stages, policy(), server.settings());
        let check = service.check(Request::new(keyed()));
        let open = async {
            asked(&server).await;
            swap(&service, policy_with(change));
            server.gate.add_permits(1);
        };
        let (answer, ()) = timeout(BOUND, async { tokio::join!(check, open) }).await.unwrap();
        assert_eq!(status(&answer.unwrap().into_inner()), want, "{name}");
    }
}

#[tokio::test]
async fn no_policy_older_than_the_route_decides() {
    // The route's own policy was there when the check began, and is gone when the keys come: an older one is not good enough.
    let server = held_back().await;
    let service = service(stages, policy(), server.settings());
    let older = |policy: &mut ApiPolicy| {
        policy.revision.counter -= 1;
        // It would admit anybody.
        policy.resources[0].operations[0].disable_security = true;
    };
    let check = service.check(Request::new(keyed()));
    let open = async {
        asked(&server).await;
        swap(&service, policy_with(older));
        server.gate.add_permits(1);
    };
    let (answer, ()) = timeout(BOUND, async { tokio::join!(check, open) }).await.unwrap();
    assert_eq!(status(&answer.unwrap().into_inner()), 503);
}

#[tokio::test]
async fn snapshots_that_are_not_it_are_waited_past() {
    let service = service(stages, policy(), fixture::settings());
    let mut ahead = bench::request(&lasting_token());
    let extensions = &mut ahead.attributes.as_mut().unwrap().context_extensions;
    extensions.insert("trireme.revision".to_owned(), "10.7".to_owned());
    let revision = |counter| policy_with(|policy| policy.revision.counter = counter);
    let check = async {
        let answer = service.check(Request::new(ahead)).await;
        status(&answer.unwrap().into_inner())
    };
    let bring = async {
        for counter in [5, 6, 7] {
            tokio::time::sleep(Duration::from_millis(10)).await;
            swap(&service, revision(counter));
        }
    };
    let (status, ()) = timeout(BOUND, async { tokio::join!(check, bring) })
        .await
        .unwrap();
    assert_eq!(status, 200);
}

#[tokio::test]
async fn a_first_configuration_that_is_on_its_way_is_waited_for() {
    let service = service(stages, policy(), fixture::settings());
    let held = service.current.load_full();
    for complete in [false, true] {
        service.current.store(Snapshot {
            security: None,
            apis: held.apis.update(Update {
                upserts: Vec::new(),
                removals: vec![policy().name()],
            }),
            complete,
            version: held.version,
        });
        let check = service.check(Request::new(bench::request(&lasting_token())));
        let bring = async {
            tokio::task::yield_now().await;
            service.current.store(Snapshot {
                security: held.security.clone(),
                apis: held.apis.clone(),
                complete: true,
                version: held.version,
            });
        };
        let (answer, ()) = timeout(BOUND, async { tokio::join!(check, bring) })
            .await
            .unwrap();
        assert_eq!(status(&answer.unwrap().into_inner()), 200, "{complete}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_first_configuration_that_never_comes_is_a_failed_check() {
    let service = service(stages, policy(), fixture::settings());
    service.current.store(Snapshot::default());
    let check = service.check(Request::new(bench::request(&lasting_token())));
    let status = check.await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::Unavailable);
    assert_eq!(status.message(), "the first configuration has not arrived");
}

#[tokio::test]
async fn a_snapshot_that_came_before_the_wait_began_is_not_missed() {
    let service = service(stages, policy(), fixture::settings());
    let mut ahead = bench::request(&lasting_token());
    let extensions = &mut ahead.attributes.as_mut().unwrap().context_extensions;
    extensions.insert("trireme.revision".to_owned(), "10.6".to_owned());
    let batch = CheckBatch {
        checks: vec![Check {
            id: 1,
            request: Bytes::from(ahead.encode_to_vec()),
        }],
        ..CheckBatch::default()
    };
    let mut waiting = Vec::new();
    let mut room = Room {
        checks: 1,
        bytes: usize::MAX,
    };
    assert!(service.batch(batch, &mut waiting, &mut room).verdicts.is_empty());
    swap(&service, policy_with(|policy| policy.revision.counter = 6));
    let answer = service.wait_for(waiting.pop().unwrap());
    // Well below the bound: nothing else comes that could wake it.
    let (answer, _) = timeout(Duration::from_secs(1), answer).await.unwrap();
    assert_eq!(status(&CheckResponse::decode(answer.response).unwrap()), 200);
}
