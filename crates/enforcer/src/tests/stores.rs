//! Where requests are counted: what survives new settings, and what becomes of a check while shared counters are away.

use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::time::{Duration, timeout};
use tonic::Request;
use trireme_policy::Update;
use trireme_policy::api::*;
use trireme_policy::settings::Settings;
use trireme_policy::throttle::{Redis, Store};
use trireme_proto::envoy::service::auth::v3::CheckResponse;
use trireme_proto::envoy::service::auth::v3::authorization_server::Authorization;
use trireme_proto::envoy::service::auth::v3::check_response::HttpResponse;
use trireme_telemetry::Metrics;

use super::bench;
use super::fixture::*;
use super::limits::limited;
use crate::api::Api;
use crate::check::stages;
use crate::event::Counters;
use crate::limits::{Handover, Limits, Places};
use crate::security::Security;
use crate::service::Service;
use crate::snapshot::Snapshot;

#[tokio::test]
async fn counters_survive_new_settings_that_leave_them_where_they_are() {
    let mut places = Places::new(Metrics::new(), [7; 16], None, Arc::new(Handover::new(None)));
    let authorization = format!("Bearer {}", good_token());
    let headers = [("authorization", authorization.as_str())];
    let request = get(&headers);
    let mut ask = |settings: Settings| {
        let policy = policy_with(|policy| policy.tier = "Two".to_owned());
        let mut world = World::new(policy, settings.clone());
        let limits = Limits::new(&settings, &mut places).unwrap();
        let security = Security::new(settings, limits, &fetcher(), None);
        world.snapshot.security = Some(Arc::new(security));
        world.label(&request)
    };
    assert_eq!(ask(limited(|_| {})), "admitted");
    assert_eq!(ask(limited(|limits| limits.fields = true)), "admitted");
    assert_eq!(ask(limited(|_| {})), "api_limit");
    // More of the same tier: what is counted stays, and there is one more.
    let more = |amount| {
        limited(|limits| {
            let two = limits.tiers.iter_mut().find(|tier| tier.name == "Two").unwrap();
            two.quota.as_mut().unwrap().amount = amount;
        })
    };
    assert_eq!(ask(more(3)), "admitted");
    assert_eq!(ask(more(3)), "api_limit");
    // Elsewhere nothing is counted yet.
    assert_eq!(ask(limited(|limits| limits.store.capacity = 10)), "admitted");
}

#[tokio::test]
async fn settings_that_cannot_be_applied_are_refused_by_path() {
    let mut places = Places::new(Metrics::new(), [7; 16], None, Arc::new(Handover::new(None)));
    let settings = limited(|limits| {
        limits.store.redis = Some(redis("http://x".to_owned(), true));
    });
    let error = Limits::new(&settings, &mut places).unwrap_err().to_string();
    assert!(error.starts_with("limits.store.redis.url: "), "{error}");
    let settings = limited(|limits| {
        let what = trireme_policy::throttle::What::Header {
            name: "x".to_owned(),
            pattern: "(".to_owned(),
        };
        limits.tiers[0].groups.push(trireme_policy::throttle::Group {
            quota: super::limits::quota(1, 60),
            conditions: vec![trireme_policy::throttle::Condition { what, invert: false }],
        });
    });
    let error = Limits::new(&settings, &mut places).unwrap_err().to_string();
    assert!(
        error.starts_with("limits.tiers[0].groups[0].conditions[0].pattern: "),
        "{error}"
    );
}

fn redis(url: String, closed: bool) -> Redis {
    Redis {
        url,
        username: String::new(),
        password: String::new(),
        key_prefix: "test:".to_owned(),
        timeout: Duration::from_millis(200),
        connect_timeout: Duration::from_secs(1),
        lease: false,
        closed,
    }
}

/// A service whose API has two requests a minute, counted at this address.
fn service(address: std::net::SocketAddr, closed: bool) -> Service {
    let service = Service {
        current: Arc::default(),
        counters: Counters::new(&Metrics::new()),
        stages,
        drain: tokio_util::sync::CancellationToken::new(),
    };
    let settings = limited(|limits| {
        limits.store = Store {
            redis: Some(redis(format!("redis://{address}"), closed)),
            ..Store::default()
        };
    });
    let policy = policy_with(|policy| policy.tier = "Two".to_owned());
    service.current.store(World::new(policy, settings).snapshot);
    service
}

/// Status and body of the answer to a good request.
async fn ask(service: &Service) -> (i32, String) {
    let request = Request::new(bench::request(&lasting_token()));
    let answer: CheckResponse = timeout(BOUND, service.check(request))
        .await
        .unwrap()
        .unwrap()
        .into_inner();
    match answer.http_response.unwrap() {
        HttpResponse::OkResponse(_) => (200, String::new()),
        HttpResponse::DeniedResponse(denied) => (denied.status.unwrap().code, denied.body),
        HttpResponse::ErrorResponse(_) => panic!("no check is answered so"),
    }
}

#[tokio::test]
async fn a_store_that_is_away_refuses_or_admits_as_configured() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    // It takes connections and says nothing; then it takes none.
    let mut listener = Some(listener);
    for away in ["silent", "gone"] {
        let closed = service(address, true);
        let open = service(address, false);
        for _ in 0..3 {
            let (status, body) = ask(&closed).await;
            assert_eq!(status, 503, "{away}: {body}");
            assert!(body.contains(r#""code":"900808""#), "{away}: {body}");
            assert_eq!(ask(&open).await, (200, String::new()), "{away}");
        }
        drop(listener.take());
    }
}

#[tokio::test]
async fn a_check_that_was_counted_is_not_begun_anew() {
    // A server that takes the connection and says nothing: the check waits for it, and another snapshot comes meanwhile.
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let service = service(listener.local_addr().unwrap(), true);
    let swap = async {
        tokio::task::yield_now().await;
        let held = service.current.load_full();
        let policy = policy_with(|policy| policy.lifecycle = Lifecycle::Blocked);
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
    };
    let ((status, body), ()) = tokio::join!(ask(&service), swap);
    // That of the limits, not that of the API which is blocked by now.
    assert_eq!(status, 503);
    assert!(body.contains(r#""code":"900808""#), "{body}");
    assert!(ask(&service).await.1.contains(r#""code":"700700""#));
}
