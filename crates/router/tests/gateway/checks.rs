//! The check filter: yes, no, nobody there, too slow, and what a caller must not be able to say.

use std::collections::HashMap;
use std::time::Duration;

use trireme_routing::snapshot::Check;

use crate::support::{Mode, Setup, Upstream, allow, allow_with, api, deny, fragment, get, request};

const UNCLASSIFIED: &str = r#"{"code":"102500","message":"Unclassified Validation Failure","description":"Error during validating the request"}"#;

#[tokio::test(flavor = "multi_thread")]
async fn allowed_requests_are_forwarded() {
    for mode in [Mode::Stream, Mode::StreamOfHeaders, Mode::UnaryOnly] {
        let upstream = Upstream::echo().await;
        let mut setup = Setup::to(upstream.address);
        setup.mode = mode;
        let Check::Required { context, .. } =
            &mut setup.fragments[0].virtual_hosts[0].routes[0].filters.check
        else {
            panic!("checked")
        };
        for (key, value) in [
            ("name", "Pets & \"co\" \u{e9}"),
            ("version", "1.0.0 beta"),
            ("vHost", ""),
        ] {
            context.insert(key.to_owned(), value.to_owned());
        }
        let context: HashMap<_, _> = context.clone().into_iter().collect();
        let gateway = setup.start().await;
        let reply = get(gateway.http(), "/api/pets/1?q=%20x").await;
        assert_eq!(
            (reply.status, reply.body.as_str()),
            (200, "GET /pets/1?q=%20x"),
            "{mode:?}"
        );
        assert_eq!(reply.header("server"), Some("envoy"));
        let seen = gateway.enforcer.seen();
        assert_eq!(seen.len(), 1);
        assert_eq!(
            (seen[0].method.as_str(), seen[0].path.as_str()),
            ("GET", "/api/pets/1?q=%20x")
        );
        assert_eq!(seen[0].headers[":authority"], "gw.test");
        assert_eq!(seen[0].headers[":path"], "/api/pets/1?q=%20x");
        assert_eq!(seen[0].context, context, "to the letter, and nothing else");
        assert_eq!(seen[0].context["trireme.revision"], "1.1");
        assert_eq!(seen[0].context["prodClusterName"], "up");
        assert_eq!(seen[0].headers["x-request-id"].len(), 36);
        assert!(seen[0].source.contains("127.0.0.1"), "{}", seen[0].source);
        assert_eq!(gateway.enforcer.batches(), usize::from(mode != Mode::UnaryOnly));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn denied_requests_are_answered_as_the_enforcer_says() {
    let body = r#"{"error_message":"Invalid Credentials","code":"900901","error_description":"x"}"#;
    let upstream = Upstream::echo().await;
    let gateway = Setup::to(upstream.address)
        .answering(move |seen| {
            Some(Ok(match seen.path.as_str() {
                "/api/cors" => deny(204, "", &[("allow", "GET, OPTIONS")]),
                _ => deny(
                    401,
                    body,
                    &[
                        ("www-authenticate", "Internal API Key"),
                        ("content-type", "application/json"),
                    ],
                ),
            }))
        })
        .start()
        .await;
    let reply = get(gateway.http(), "/api/x").await;
    assert_eq!((reply.status, reply.body.as_str()), (401, body));
    assert_eq!(reply.header("www-authenticate"), Some("Internal API Key"));
    assert_eq!(reply.header("content-type"), Some("application/json"));
    let reply = request(gateway.http(), "HEAD /api/x", "", "").await;
    assert_eq!((reply.status, reply.body.as_str()), (401, ""));
    assert_eq!(
        reply.header("content-length"),
        Some(body.len().to_string().as_str())
    );
    let reply = request(gateway.http(), "OPTIONS /api/cors", "", "").await;
    assert_eq!((reply.status, reply.body.as_str()), (204, ""));
    assert_eq!(reply.header("allow"), Some("GET, OPTIONS"));
    let reply = request(
        gateway.http(),
        "POST /api/x",
        "content-type: application/grpc+proto\r\n",
        "abc",
    )
    .await;
    assert_eq!((reply.status, reply.header("grpc-status")), (200, Some("16")));
    assert_eq!(upstream.arrived().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_verdict_nothing_is_forwarded() {
    for mode in [Mode::Stream, Mode::StreamOfHeaders, Mode::UnaryOnly] {
        let upstream = Upstream::echo().await;
        let mut setup = Setup::to(upstream.address).answering(|seen| match seen.path.as_str() {
            "/api/slow" => None,
            "/api/failed" => Some(Err(13)),
            // Neither status nor verdict: not a yes.
            "/api/empty" => Some(Ok(Default::default())),
            "/api/unmarked" => {
                let mut response = deny(401, "", &[]);
                response.dynamic_metadata = None;
                Some(Ok(response))
            }
            "/api/odd-header" => Some(Ok(allow_with(&[("x y", "z")], &[]))),
            _ => Some(Ok(allow("up"))),
        });
        setup.mode = mode;
        setup.check_timeout = Duration::from_millis(300);
        let mut gateway = setup.start().await;
        for path in [
            "/api/slow",
            "/api/failed",
            "/api/empty",
            "/api/unmarked",
            "/api/odd-header",
        ] {
            let reply = get(gateway.http(), path).await;
            assert_eq!(
                (reply.status, reply.body.as_str()),
                (500, UNCLASSIFIED),
                "{mode:?} {path}"
            );
            assert_eq!(reply.header("content-type"), Some("application/json"));
        }
        assert_eq!(get(gateway.http(), "/api/fine").await.status, 200);
        gateway.enforcer.stop().await;
        crate::support::eventually("requests are refused", async || {
            get(gateway.http(), "/api/fine").await.status == 500
        })
        .await;
        let started = std::time::SystemTime::now();
        let reply = get(gateway.http(), "/api/fine").await;
        assert_eq!(
            (reply.status, reply.body.as_str()),
            (500, UNCLASSIFIED),
            "{mode:?}"
        );
        assert!(
            started.elapsed().unwrap() < Duration::from_secs(2),
            "fails at once"
        );
        let forwarded = upstream
            .arrived()
            .iter()
            .filter(|arrived| arrived.uri != "/fine")
            .count();
        assert_eq!(forwarded, 0);
        gateway.enforcer.restart().await;
        crate::support::eventually("the enforcer is found again", async || {
            get(gateway.http(), "/api/fine").await.status == 200
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_cannot_speak_for_the_enforcer() {
    let upstream = Upstream::echo().await;
    let gateway = Setup::to(upstream.address)
        .answering(|seen| {
            Some(Ok(if seen.path.ends_with("/none") {
                allow_with(&[], &[])
            } else {
                allow("up")
            }))
        })
        .start()
        .await;
    let forged = "x-wso2-cluster-header: other\r\nx-envoy-upstream-rq-timeout-ms: 1\r\nx-envoy-retry-on: 5xx\r\nx-envoy-original-path: /x\r\nx-forwarded-client-cert: By=me\r\n";
    assert_eq!(
        request(gateway.http(), "GET /api/x", forged, "").await.status,
        200
    );
    let seen = &gateway.enforcer.seen()[0];
    assert!(!seen.headers.contains_key("x-wso2-cluster-header"), "{seen:?}");
    let arrived = &upstream.arrived()[0];
    let internal: Vec<_> = arrived
        .headers
        .keys()
        .filter(|name| name.as_str().starts_with("x-envoy") || name.as_str().contains("cluster-header"))
        .collect();
    assert!(internal.is_empty(), "{internal:?}");
    assert!(!arrived.headers.contains_key("x-forwarded-client-cert"));
    // Neither does a forged header name a cluster when the enforcer names none.
    let reply = request(
        gateway.http(),
        "GET /api/none",
        "x-wso2-cluster-header: up\r\n",
        "",
    )
    .await;
    assert_eq!(reply.status, 500);
    assert!(reply.body.contains(r#""code":"102507""#), "{}", reply.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn header_changes_of_the_enforcer_reach_the_upstream() {
    let upstream = Upstream::echo().await;
    let gateway = Setup::to(upstream.address)
        .answering(|_| {
            Some(Ok(allow_with(
                &[
                    ("x-wso2-cluster-header", "up"),
                    ("authorization", "Basic abc"),
                    ("x-jwt-assertion", "j"),
                    (":path", "/api/other?a=1"),
                ],
                &["internal-key", "host"],
            )))
        })
        .start()
        .await;
    let reply = request(
        gateway.http(),
        "GET /api/x?key=1",
        "authorization: Bearer t\r\ninternal-key: k\r\n",
        "",
    )
    .await;
    assert_eq!((reply.status, reply.body.as_str()), (200, "GET /other?a=1"));
    let arrived = &upstream.arrived()[0];
    assert_eq!(arrived.headers["authorization"], "Basic abc");
    assert_eq!(arrived.headers["x-jwt-assertion"], "j");
    assert_eq!(arrived.headers["host"], "127.0.0.1");
    assert!(!arrived.headers.contains_key("internal-key"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_body_goes_to_the_enforcer_only_where_asked_and_within_the_bound() {
    let upstream =
        Upstream::answering(|arrived| http::Response::new(crate::support::full(arrived.body.clone()))).await;
    let mut with_body = api("/body", "^/body(/.*)*", r"\1");
    if let Check::Required { with_body, .. } = &mut with_body.filters.check {
        *with_body = true;
    }
    let mut setup = Setup::to(upstream.address);
    setup.fragments.push(fragment("body", vec![with_body]));
    let gateway = setup.start().await;
    assert_eq!(
        request(gateway.http(), "POST /api/x", "", "plain").await.body,
        "plain"
    );
    assert_eq!(
        request(gateway.http(), "POST /body/x", "", "shown").await.body,
        "shown"
    );
    let bodies: Vec<_> = gateway
        .enforcer
        .seen()
        .into_iter()
        .map(|seen| seen.body)
        .collect();
    assert_eq!(bodies, [&b""[..], b"shown"]);
    let fits = "x".repeat(1024);
    assert_eq!(
        request(gateway.http(), "POST /body/x", "", &fits).await.body,
        fits
    );
    let reply = request(gateway.http(), "POST /body/x", "", &"x".repeat(1025)).await;
    assert_eq!((reply.status, reply.body.as_str()), (413, "Payload Too Large"));
    let chunked = format!("401\r\n{}\r\n0\r\n\r\n", "x".repeat(1025));
    let text = format!(
        "POST /body/x HTTP/1.1\r\nhost: gw.test\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n{chunked}"
    );
    assert_eq!(
        crate::support::raw(gateway.http(), text.as_bytes()).await.status,
        413
    );
    assert_eq!(gateway.enforcer.seen().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sandbox_route_is_taken_when_the_enforcer_chooses_its_cluster() {
    let upstream = Upstream::echo().await;
    let sandbox = Upstream::answering(|arrived| {
        http::Response::new(crate::support::full(format!("sandbox {}", arrived.uri)))
    })
    .await;
    let mut sand = api("/api", "^/api(/.*)*", r"/sand\1");
    sand.headers = vec![("x-wso2-cluster-header".to_owned(), "sand".to_owned())];
    let mut setup = Setup::to(upstream.address)
        .routes(vec![sand, api("/api", "^/api(/.*)*", r"\1")])
        .answering(|seen| {
            Some(Ok(allow(if seen.headers.contains_key("x-sand") {
                "sand"
            } else {
                "up"
            })))
        });
    setup.clusters.push(crate::support::cluster(
        "sand",
        "127.0.0.1",
        sandbox.address.port(),
    ));
    let gateway = setup.start().await;
    assert_eq!(get(gateway.http(), "/api/x").await.body, "GET /x");
    assert_eq!(
        request(gateway.http(), "GET /api/x", "x-sand: 1\r\n", "")
            .await
            .body,
        "sandbox /sand/x"
    );
    // A forged header takes neither the route nor the cluster.
    let reply = request(
        gateway.http(),
        "GET /api/x",
        "x-wso2-cluster-header: sand\r\n",
        "",
    )
    .await;
    assert_eq!(reply.body, "GET /x");
}
