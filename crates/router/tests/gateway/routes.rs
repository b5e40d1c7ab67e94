//! Matching, the one canonical request, CORS, and discovery while requests run.

use http::Request;
use http_body_util::Full;
use trireme_proto::names::{context, type_url};
use trireme_routing::Permitted;
use trireme_routing::snapshot::{Check, Cors, Guard, Revision, Route};
use trireme_xds::server::Settled;

use crate::support::{
    Mode, Setup, Upstream, allow, allow_with, api, deny, fragment, get, http2, raw, request, send2,
};

const NOT_FOUND: &str =
    r#"{"code":"404","message":"Not Found","description":"The requested resource is not available."}"#;

#[tokio::test(flavor = "multi_thread")]
async fn what_no_route_serves_is_not_found() {
    let upstream = Upstream::echo().await;
    let gateway = Setup::to(upstream.address).start().await;
    let cases = [
        ("unknown path", "GET /other HTTP/1.1\r\nhost: gw.test\r\n"),
        ("unknown host", "GET /api/x HTTP/1.1\r\nhost: other.test\r\n"),
        ("undefined method", "PATCH /api/x HTTP/1.1\r\nhost: gw.test\r\n"),
    ];
    for (name, head) in cases {
        let reply = raw(
            gateway.http(),
            format!("{head}connection: close\r\n\r\n").as_bytes(),
        )
        .await;
        assert_eq!((reply.status, reply.body.as_str()), (404, NOT_FOUND), "{name}");
        assert_eq!(reply.header("content-type"), Some("application/json"), "{name}");
    }
    for host in ["gw.test:9090", "GW.Test", "gw.test"] {
        let text = format!("GET /api/x HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        assert_eq!(raw(gateway.http(), text.as_bytes()).await.status, 200, "{host}");
    }
    assert!(gateway.enforcer.seen().iter().all(|seen| seen.path == "/api/x"));
}

#[tokio::test(flavor = "multi_thread")]
async fn soap_calls_get_faults_where_the_listener_says_so() {
    let upstream = Upstream::echo().await;
    let call = ["content-type: text/xml; charset=utf-8\r\nsoapaction: a\r\n", ""];
    for (soap_errors, want) in [(false, ["{", "{"]), (true, ["<?xml", "{"])] {
        let mut setup = Setup::to(upstream.address);
        setup.http.soap_errors = soap_errors;
        let gateway = setup.start().await;
        for (headers, want) in call.iter().zip(want) {
            let reply = request(gateway.http(), "POST /other", headers, "<a/>").await;
            assert_eq!(reply.status, 404);
            assert!(reply.body.starts_with(want), "{reply:?}");
        }
    }
}

/// Design D15: what has two readings is refused with its reason, before anybody acts on one of them.
#[tokio::test(flavor = "multi_thread")]
async fn targets_with_two_readings_are_refused() {
    let upstream = Upstream::echo().await;
    let gateway = Setup::to(upstream.address).start().await;
    let cases = [
        ("/api/a%2Fb", "encoded_slash"),
        ("/api/a%2fb", "encoded_slash"),
        ("/api/a%5Cb", "encoded_backslash"),
        ("/api/../admin", "dot_segment"),
        ("/api/%2e%2e/admin", "dot_segment"),
        ("/api/./x", "dot_segment"),
        ("/api//x", "empty_segment"),
        ("//api/x", "empty_segment"),
        ("/api/%00", "encoded_control"),
        ("/api/%0d%0aX:y", "encoded_control"),
        ("/api/%252e%252e/x", "double_encoding"),
        ("/api/%c0%afx", "overlong_utf8"),
        ("/api/%zz", "invalid_escape"),
        ("*", "not_a_path"),
    ];
    for (target, reason) in cases {
        let reply = get(gateway.http(), target).await;
        let body = format!(
            r#"{{"code":"102517","message":"Ambiguous request target","description":"The request target is refused: {reason}."}}"#
        );
        assert_eq!(
            (reply.status, reply.body.as_str()),
            (400, body.as_str()),
            "{target}"
        );
        assert_eq!(reply.header("content-type"), Some("application/json"), "{target}");
    }
    // Bytes that no target may hold end in the parser.
    for target in ["/api/\0x", "/api/\u{7f}x"] {
        let reply = get(gateway.http(), target).await;
        assert_eq!(
            (reply.status, reply.body.as_str()),
            (400, "Bad Request"),
            "{target:?}"
        );
    }
    assert_eq!(gateway.enforcer.seen().len(), 0);
    assert_eq!(upstream.arrived().len(), 0);
    // A query is nobody's path.
    assert_eq!(
        get(gateway.http(), "/api/x?u=http://a//b/../c%2Fd").await.body,
        "GET /x?u=http://a//b/../c%2Fd"
    );
}

/// Fault E5: what an API permits is matched, checked and forwarded in the one form that it was sent in; it opens nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn targets_with_two_readings_pass_where_their_api_permits_them() {
    let upstream = Upstream::echo().await;
    let permitting = |template: &str, pattern: &str, guard| Route {
        ambiguous_paths: Permitted::ENCODED_SLASH | Permitted::EMPTY_SEGMENT,
        guard,
        ..operation(template, pattern)
    };
    let routes = vec![
        permitting("/r/{a}", "^/api(/r/[^/]+)[/]{0,1}", Guard::Demand(2)),
        permitting("/r/{a}/{b}", "^/api(/r/[^/]+/[^/]+)[/]{0,1}", Guard::Demand(2)),
        permitting("/admin", "^/api(/admin)[/]{0,1}", Guard::Demand(3)),
        permitting("/*", "^/api(/.*)*", Guard::Open),
    ];
    let mut setup = Setup::to(upstream.address).routes(routes);
    let mut strict = api("/api/strict", "^/api/strict(/.*)*", r"\1");
    if let Check::Required { context, .. } = &mut strict.filters.check {
        context.insert(context::BASE_PATH.to_owned(), "/api/strict".to_owned());
    }
    setup.fragments.push(fragment("strict", vec![strict]));
    let gateway = setup.start().await;
    let mut http2 = http2(gateway.http()).await;
    for (sent, want) in [
        ("/api/r/a%2Fb", Ok(("/r/{a}", "/r/a%2Fb"))),
        ("/api/r/a%2fb/?q=%2f", Ok(("/r/{a}", "/r/a%2Fb?q=%2f"))),
        ("/api/r/a%2Fb/c", Ok(("/r/{a}/{b}", "/r/a%2Fb/c"))),
        ("/api//x///y", Ok(("/*", "//x///y"))),
        ("/api/http:%2F%2Fa%2Fb//", Ok(("/*", "/http:%2F%2Fa%2Fb//"))),
        ("/api//admin", Err("empty_segment")),
        ("/api//r/a", Err("empty_segment")),
        ("/api/%2Fadmin", Err("encoded_slash")),
        ("/api/x%2F..%2Fadmin", Err("dot_segment")),
        ("/api/x//..", Err("dot_segment")),
        ("/api/x%5C%2Fy", Err("encoded_backslash")),
        ("/api/x%252Fy", Err("double_encoding")),
        ("/api/x//%00", Err("encoded_control")),
        ("/api//strict/x", Err("empty_segment")),
        ("/api/strict%2Fx", Err("encoded_slash")),
        ("/api/strict/a//x", Err("empty_segment")),
        ("//api/x", Err("empty_segment")),
    ] {
        let (checked, arrived) = (gateway.enforcer.seen().len(), upstream.arrived().len());
        let reply = get(gateway.http(), sent).await;
        let request = Request::get(format!("http://gw.test{sent}")).body(Full::default());
        let (status, _, body, _) = send2(&mut http2, request.unwrap()).await;
        assert_eq!((reply.status, reply.body.as_bytes()), (status, &*body), "{sent}");
        let seen = gateway.enforcer.seen().split_off(checked);
        match want {
            Ok((template, path)) => {
                assert_eq!((reply.status, reply.body), (200, format!("GET {path}")), "{sent}");
                let form = sent.replacen("%2f", "%2F", 1);
                assert_eq!(seen.len(), 2, "{sent}");
                for seen in seen {
                    assert_eq!(
                        (seen.context[context::PATH].as_str(), seen.path),
                        (template, form.clone())
                    );
                }
            }
            Err(reason) => {
                assert_eq!(reply.status, 400, "{sent}: {reply:?}");
                assert!(
                    reply.body.contains(&format!("refused: {reason}.")),
                    "{sent}: {reply:?}"
                );
                assert_eq!((seen.len(), upstream.arrived().len()), (0, arrived), "{sent}");
            }
        }
    }
}

/// An operation of the API at `/api`, which the enforcer knows by its template.
fn operation(template: &str, pattern: &str) -> Route {
    let mut route = api("/api", pattern, r"\1");
    if let Check::Required { context, .. } = &mut route.filters.check {
        context.insert(context::PATH.to_owned(), template.to_owned());
    }
    route
}

/// Faults H1 and D-M1: however it is spelled, a path is the operation that the upstream takes it for.
#[tokio::test(flavor = "multi_thread")]
async fn a_path_is_matched_checked_and_forwarded_in_one_form() {
    let upstream = Upstream::echo().await;
    let guarded = operation("/me", "^/api(/me)[/]{0,1}");
    let mut setup = Setup::to(upstream.address)
        .routes(vec![guarded, operation("/*", "^/api(/.*)*")])
        .answering(|seen| {
            Some(Ok(match seen.context[context::PATH].as_str() {
                "/me" => deny(401, "", &[]),
                _ => allow("up"),
            }))
        });
    setup.access_log = Some("%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %RESPONSE_CODE%\n".to_owned());
    let gateway = setup.start().await;
    let cases = [
        ("/api/%6de", "/api/me", Ok("")),
        ("/%61pi/m%65?%6d=%6d", "/api/me?%6d=%6d", Ok("")),
        ("/api/%6D%65/", "/api/me/", Ok("")),
        ("/api/me;v=1", "", Err("path_parameter")),
        ("/api/m%65%3bv", "", Err("path_parameter")),
        (
            "/api/you;v=1/a%2cb",
            "/api/you;v=1/a%2Cb",
            Ok("GET /you;v=1/a%2Cb"),
        ),
        (
            "/api/%40%3a~|{x}?{y}",
            "/api/@:~%7C%7Bx%7D?{y}",
            Ok("GET /@:~%7C%7Bx%7D?{y}"),
        ),
        ("/api/a%7cb?", "/api/a%7Cb?", Ok("GET /a%7Cb?")),
    ];
    let mut http2 = http2(gateway.http()).await;
    for (sent, normal, want) in cases {
        let before = gateway.enforcer.seen().len();
        let reply = get(gateway.http(), sent).await;
        let request = Request::get(format!("http://gw.test{sent}")).body(Full::default());
        let (status, _, body, _) = send2(&mut http2, request.unwrap()).await;
        assert_eq!((reply.status, reply.body.as_bytes()), (status, &*body), "{sent}");
        match want {
            Ok(want) => {
                let status = if want.is_empty() { 401 } else { 200 };
                assert_eq!((reply.status, reply.body.as_str()), (status, want), "{sent}");
                let seen = gateway.enforcer.seen().split_off(before);
                assert!(
                    seen.len() == 2 && seen.iter().all(|seen| seen.path == normal),
                    "{seen:?}"
                );
                assert_eq!(seen[0].headers[":path"], normal);
            }
            Err(reason) => {
                assert_eq!(reply.status, 400, "{sent}");
                assert!(reply.body.contains(&format!("refused: {reason}.")), "{reply:?}");
                assert_eq!(gateway.enforcer.seen().len(), before);
            }
        }
    }
    let lines = gateway.log(2 * cases.len()).await;
    for (sent, ..) in cases {
        let logged = lines
            .iter()
            .filter(|line| line.rsplit_once(' ').unwrap().0 == sent);
        assert_eq!(logged.count(), 2, "{sent}: the log says what was sent: {lines:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_of_the_enforcer_is_read_like_a_callers_and_stays_in_the_operation() {
    let cases = [
        ("another path", "/api/%79ou?%79", 200, "GET /you?%79"),
        ("the same", "/api/x", 200, "GET /x"),
        ("another operation", "/api/me", 404, ""),
        ("another operation, spelled", "/api/%6de", 404, ""),
        ("another operation to some", "/api/me;v=1", 400, "path_parameter"),
        ("two readings", "/api/a%2fb", 400, "encoded_slash"),
        ("another API", "/other", 404, ""),
        ("no path", "x", 500, ""),
    ];
    for mode in [Mode::Stream, Mode::StreamOfHeaders, Mode::UnaryOnly] {
        let upstream = Upstream::echo().await;
        let mut setup = Setup::to(upstream.address)
            .routes(vec![
                operation("/me", "^/api(/me)[/]{0,1}"),
                operation("/*", "^/api(/.*)*"),
            ])
            .answering(|seen| {
                let path = seen.headers.get("x-path").map_or("", String::as_str);
                Some(Ok(allow_with(
                    &[("x-wso2-cluster-header", "up"), (":path", path)],
                    &[],
                )))
            });
        setup.mode = mode;
        let gateway = setup.start().await;
        for (name, path, status, body) in cases {
            let reply = request(gateway.http(), "GET /api/x", &format!("x-path: {path}\r\n"), "").await;
            assert_eq!(reply.status, status, "{mode:?}, {name}: {reply:?}");
            assert!(reply.body.contains(body), "{mode:?}, {name}: {reply:?}");
        }
        assert_eq!(upstream.arrived().len(), 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cors() {
    let upstream = Upstream::echo().await;
    let mut route = api("/api", "^/api(/.*)*", r"\1");
    route.filters.cors = Some(std::sync::Arc::new(Cors {
        allow_origins: vec!["https://*.good.test".to_owned()],
        allow_methods: vec!["GET".to_owned(), "POST".to_owned()],
        allow_headers: vec!["authorization".to_owned(), "x-a".to_owned()],
        expose_headers: vec!["x-b".to_owned()],
        allow_credentials: true,
    }));
    let gateway = Setup::to(upstream.address)
        .routes(vec![route])
        .answering(|seen| {
            Some(Ok(match seen.path.as_str() {
                "/api/denied" => crate::support::deny(401, "", &[]),
                _ => crate::support::allow("up"),
            }))
        })
        .start()
        .await;
    let preflight = "origin: https://a.good.test\r\naccess-control-request-method: GET\r\n";
    let reply = request(gateway.http(), "OPTIONS /api/x", preflight, "").await;
    assert_eq!((reply.status, reply.body.as_str()), (200, ""));
    assert_eq!(
        reply.header("access-control-allow-origin"),
        Some("https://a.good.test")
    );
    assert_eq!(reply.header("access-control-allow-methods"), Some("GET, POST"));
    assert_eq!(
        reply.header("access-control-allow-headers"),
        Some("authorization, x-a")
    );
    assert_eq!(reply.header("access-control-allow-credentials"), Some("true"));
    assert_eq!(gateway.enforcer.seen().len(), 0, "a preflight is answered here");

    let stranger = "origin: https://evil.test\r\naccess-control-request-method: GET\r\n";
    let reply = request(gateway.http(), "OPTIONS /api/x", stranger, "").await;
    assert_eq!(
        gateway.enforcer.seen().len(),
        1,
        "another preflight is the enforcer's"
    );
    assert_eq!(reply.header("access-control-allow-origin"), None);

    let reply = request(
        gateway.http(),
        "GET /api/x",
        "origin: https://a.good.test\r\n",
        "",
    )
    .await;
    assert_eq!(
        reply.header("access-control-allow-origin"),
        Some("https://a.good.test")
    );
    assert_eq!(reply.header("access-control-expose-headers"), Some("x-b"));
    let reply = request(
        gateway.http(),
        "GET /api/denied",
        "origin: https://a.good.test\r\n",
        "",
    )
    .await;
    assert_eq!(
        (reply.status, reply.header("access-control-allow-origin")),
        (401, Some("https://a.good.test"))
    );
    let reply = request(gateway.http(), "GET /api/x", "origin: https://evil.test\r\n", "").await;
    assert_eq!(
        (reply.status, reply.header("access-control-allow-origin")),
        (200, None)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_resource_keeps_its_last_good_version_and_others_apply() {
    let upstream = Upstream::echo().await;
    let gateway = Setup::to(upstream.address).start().await;
    let settled = gateway
        .publish_raw(type_url::ROUTE, "api", b"\x0a\x03api\xff".to_vec())
        .await;
    assert!(settled.rejection_of("api").is_some(), "{settled:?}");
    assert_eq!(get(gateway.http(), "/api/x").await.status, 200);
    let settled = gateway
        .publish_raw(type_url::CLUSTER, "bad", b"\xff".to_vec())
        .await;
    assert!(settled.rejection_of("bad").is_some(), "{settled:?}");

    let mut new = fragment("new", vec![api("/new", "^/new(/.*)*", r"/n\1")]);
    new.revision = Revision { epoch: 1, counter: 7 };
    let version = gateway.cache.apply(
        "test",
        type_url::ROUTE,
        vec![trireme_xds::Resource::new(
            "new",
            "1",
            trireme_routing::encode::fragment(&new).value,
        )],
        vec![],
    );
    let settled = gateway
        .cache
        .settled(
            "test",
            type_url::ROUTE,
            version,
            std::time::Duration::from_secs(10),
        )
        .await;
    assert!(
        matches!(settled, Settled::Rejected(_)),
        "the bad one still stands: {settled:?}"
    );
    assert_eq!(get(gateway.http(), "/new/x").await.body, "GET /n/x");
    let status = gateway.admin("/snapshot").await;
    assert!(status.body.contains(r#""resource":"api""#), "{}", status.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn routes_change_under_load_without_a_failed_request() {
    let upstream = Upstream::echo().await;
    let gateway = Setup::to(upstream.address).start().await;
    let address = gateway.http();
    let load: Vec<_> = (0..4)
        .map(|_| {
            tokio::spawn(async move {
                for _ in 0..40 {
                    let reply = get(address, "/api/x").await;
                    assert!(reply.status == 200 && reply.body.ends_with("/x"), "{reply:?}");
                }
            })
        })
        .collect();
    for counter in 2..20 {
        let mut changed = fragment(
            "api",
            vec![api("/api", "^/api(/.*)*", &format!("/v{counter}\\1"))],
        );
        changed.revision.counter = counter;
        gateway.publish(&changed, &counter.to_string()).await;
    }
    for task in load {
        task.await.unwrap();
    }
    assert_eq!(get(address, "/api/x").await.body, "GET /v19/x");
}
