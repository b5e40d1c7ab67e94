//! System routes, the admin port, the access log, the last-good file.

use std::time::Duration;

use http::Response;
use trireme_proto::names::ENFORCER_REST_CLUSTER;
use trireme_routing::snapshot::{Action, Check, ClusterRef, LocalLimit, PathMatch, Rewrite};
use trireme_tls::ClientAuth;

use crate::support::{
    Setup, Upstream, api, direct, eventually, forwarding, full, get, material, request, system,
};

fn system_routes() -> trireme_routing::snapshot::Fragment {
    let mut jwks = forwarding(api("/.wellknown/jwks", "", ""), |forward| {
        forward.cluster = ClusterRef::Name(ENFORCER_REST_CLUSTER.to_owned());
        forward.rewrite = Some(Rewrite::Path("/jwks".to_owned()));
    });
    jwks.path = PathMatch::Exact("/.wellknown/jwks".to_owned());
    jwks.filters.check = Check::Disabled;
    let mut limited = jwks.clone();
    limited.filters.limit = Some(LocalLimit {
        tokens: 2,
        interval: Duration::from_secs(3600),
    });
    limited.path = PathMatch::Exact("/limited".to_owned());
    let ready = direct("/ready", r#"{"status": "ready"}"#);
    system(vec![
        direct("/health", r#"{"status": "healthy"}"#),
        ready,
        jwks,
        limited,
    ])
}

#[tokio::test(flavor = "multi_thread")]
async fn system_routes_need_no_enforcer_but_ready_does() {
    let upstream = Upstream::echo().await;
    let mut setup = Setup::to(upstream.address);
    setup.fragments.push(system_routes());
    setup.edge.enforcer_grace = Duration::from_millis(300);
    let mut gateway = setup.start().await;
    let reply = get(gateway.http(), "/health").await;
    assert_eq!(
        (reply.status, reply.body.as_str()),
        (200, r#"{"status": "healthy"}"#)
    );
    assert_eq!(reply.header("content-type"), Some("text/plain"));
    assert_eq!(
        request(gateway.http(), "DELETE /health", "", "").await.status,
        200
    );
    let reply = get(gateway.http(), "/ready").await;
    assert_eq!(
        (reply.status, reply.body.as_str()),
        (200, r#"{"status": "ready"}"#)
    );
    gateway.enforcer.stop().await;
    eventually("not ready without the enforcer", async || {
        get(gateway.http(), "/ready").await.status == 503
    })
    .await;
    assert_eq!(gateway.admin("/ready").await.status, 503);
    assert_eq!(get(gateway.http(), "/health").await.status, 200);
    gateway.enforcer.restart().await;
    eventually("ready with the enforcer", async || {
        get(gateway.http(), "/ready").await.status == 200
    })
    .await;
    assert!(gateway.enforcer.seen().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_names_what_is_missing() {
    let upstream = Upstream::echo().await;
    let mut setup = Setup::to(upstream.address);
    setup.edge.enforcer_grace = Duration::from_millis(300);
    let mut gateway = setup.start().await;
    let reply = gateway.admin("/ready").await;
    assert_eq!((reply.status, reply.body.as_str()), (200, "ready\n"));
    assert_eq!(reply.header("content-type"), Some("text/plain"));
    gateway.enforcer.stop().await;
    eventually("the enforcer is missed", async || {
        gateway.admin("/ready").await.body == "not ready: enforcer\n"
    })
    .await;

    // One that never had anything.
    gateway.lose_adapter();
    let settings = trireme_router::settings::Settings {
        state_dir: None,
        bound_file: None,
        ..gateway.settings.clone()
    };
    let alone = trireme_router::app::build(settings).await.unwrap();
    assert!(!alone.is_ready());
    let reply = get(alone.bound().admin.expect("bound"), "/ready").await;
    assert_eq!(
        (reply.status, reply.body.as_str()),
        (503, "not ready: configuration, enforcer, ports\n")
    );
    assert_eq!(reply.header("content-type"), Some("text/plain"));
    alone.drain_token().cancel();
    alone.run().await;
}

/// Fault H3: whatever an API takes, it is not what the gateway says of itself.
#[tokio::test(flavor = "multi_thread")]
async fn no_api_takes_a_system_path() {
    let upstream = Upstream::echo().await;
    let routes = ["/", "/health"].map(|base| api(base, "^(/.*)*", r"\1"));
    let mut setup = Setup::to(upstream.address).routes(routes.to_vec());
    setup.fragments.push(system_routes());
    let mut gateway = setup.start().await;
    drop(gateway.enforcer.rest_listener.take());
    for path in [
        "/health",
        "/he%61lth",
        "/%68%65%61%6C%74%68?q",
        "/ready",
        "/.wellknown/jwk%73",
    ] {
        let reply = get(gateway.http(), path).await;
        let status = if path.ends_with("jwk%73") { 503 } else { 200 };
        assert_eq!(reply.status, status, "{path}");
        assert!(!reply.body.contains("GET"), "{path}: {reply:?}");
    }
    assert_eq!(gateway.enforcer.seen().len() + upstream.arrived().len(), 0);
    assert_eq!(get(gateway.http(), "/healthy").await.body, "GET /healthy");
    assert_eq!(get(gateway.http(), "/health/").await.body, "GET /health/");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_enforcers_utility_server_is_reached_by_mutual_tls() {
    let upstream = Upstream::echo().await;
    let mut setup = Setup::to(upstream.address);
    setup.fragments.push(system_routes());
    let mut gateway = setup.start().await;
    let listener = gateway.enforcer.rest_listener.take().unwrap();
    let acceptor = material("enforcer").acceptor(ClientAuth::Required, &[b"http/1.1"]);
    let rest = Upstream::on(listener, acceptor, |arrived| {
        Response::new(full(format!("keys {}", arrived.uri)))
    });
    assert_eq!(get(gateway.http(), "/.wellknown/jwks").await.body, "keys /jwks");
    let statuses = [
        get(gateway.http(), "/limited").await.status,
        get(gateway.http(), "/limited").await.status,
        get(gateway.http(), "/limited").await.status,
    ];
    assert_eq!(statuses, [200, 200, 429]);
    let reply = get(gateway.http(), "/limited").await;
    assert_eq!((reply.status, reply.body.as_str()), (429, "local_rate_limited"));
    assert_eq!(rest.arrived().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_request_leaves_one_line_and_moves_the_counters() {
    let upstream = Upstream::echo().await;
    let mut setup = Setup::to(upstream.address).answering(|seen| {
        Some(Ok(match seen.path.as_str() {
            "/api/denied" => crate::support::deny(401, "no", &[]),
            _ => crate::support::allow("up"),
        }))
    });
    setup.access_log = Some(
        "%REQ(:METHOD)% %DYNAMIC_METADATA(envoy.filters.http.ext_authz:originalPath)% %REQ(:PATH)% %PROTOCOL% \
         %RESPONSE_CODE% %RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %REQ(USER-AGENT)% %REQ(:AUTHORITY)% \
         %UPSTREAM_CLUSTER% %ROUTE_NAME% %RESP(CONTENT-LENGTH)%\n"
            .to_owned(),
    );
    let gateway = setup.start().await;
    assert_eq!(
        request(gateway.http(), "POST /api/x?q=1", "user-agent: test\r\n", "four")
            .await
            .status,
        200
    );
    assert_eq!(get(gateway.http(), "/api/denied").await.status, 401);
    assert_eq!(get(gateway.http(), "/nowhere").await.status, 404);
    let lines = gateway.log(3).await;
    assert_eq!(
        lines,
        [
            "POST /original /x?q=1 HTTP/1.1 200 - 4 11 test 127.0.0.1 up /api 11",
            "GET - /api/denied HTTP/1.1 401 UAEX 0 2 - gw.test - /api 2",
            "GET - /nowhere HTTP/1.1 404 NR 0 93 - gw.test - - 93",
        ]
    );
    let metrics = gateway.admin("/metrics").await.body;
    for line in [
        r#"trireme_router_requests_total{listener="http",code_class="2xx"} 1"#,
        r#"trireme_router_requests_total{listener="http",code_class="4xx"} 2"#,
        r#"trireme_router_local_replies_total{reason="NR"} 1"#,
        r#"trireme_router_checks_total{outcome="allowed"} 1"#,
        r#"trireme_router_checks_total{outcome="denied"} 1"#,
        r#"trireme_router_received_bytes_total 4"#,
        "trireme_router_routes 1",
        r#"trireme_router_upstream_requests_total{cluster="up",code_class="2xx"} 1"#,
        r#"trireme_router_upstream_connections_active{cluster="up"} 1"#,
    ] {
        assert!(metrics.contains(line), "{line} not in\n{metrics}");
    }
    assert!(
        !metrics.contains(r#"cluster="ext_authz"#),
        "clusters without traffic have no series"
    );
    assert_eq!(gateway.admin("/live").await.status, 200);
    assert!(gateway.admin("/snapshot").await.body.contains(r#""routes":1"#));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_router_without_its_adapter_serves_what_it_served_last() {
    let upstream = Upstream::echo().await;
    let mut gateway = Setup::to(upstream.address).start().await;
    let file = gateway.dir.path().join("router.snapshot");
    eventually("the last good state is on disk", async || file.exists()).await;
    gateway.lose_adapter();
    gateway.begin_drain();
    gateway.ended().await;
    gateway.settings.adapter.port = crate::support::refused().await.port();
    gateway.boot().await;
    gateway.ready().await;
    assert_eq!(get(gateway.http(), "/api/x").await.body, "GET /x");
    let bound: serde_json::Value =
        serde_json::from_slice(&std::fs::read(gateway.dir.path().join("bound.json")).unwrap()).unwrap();
    assert_eq!(bound["http"], gateway.http().to_string());
    assert_eq!(bound["pid"], std::process::id());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_direct_route_of_an_api_is_checked_as_well() {
    let upstream = Upstream::echo().await;
    let mut mock = api("/api", "^/api(/.*)*", r"\1");
    mock.action = Action::Direct {
        status: 201,
        body: "mock".to_owned(),
    };
    let gateway = Setup::to(upstream.address)
        .routes(vec![mock])
        .answering(|seen| {
            Some(Ok(match seen.path.as_str() {
                "/api/denied" => crate::support::deny(403, "no", &[]),
                _ => crate::support::allow_with(&[], &[]),
            }))
        })
        .start()
        .await;
    assert_eq!(get(gateway.http(), "/api/x").await.status, 201);
    assert_eq!(get(gateway.http(), "/api/denied").await.status, 403);
}
