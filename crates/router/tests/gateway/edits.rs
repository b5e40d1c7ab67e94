//! Changes of headers, by a route and by the enforcer's answer.

use std::sync::Arc;

use http::{HeaderName, HeaderValue};
use trireme_proto::envoy::config::core::v3::{HeaderValue as Value, HeaderValueOption};
use trireme_proto::envoy::service::auth::v3::CheckResponse;
use trireme_proto::envoy::service::auth::v3::check_response::HttpResponse;
use trireme_proto::google::protobuf::BoolValue;
use trireme_routing::snapshot::{Action, Change, Changes, Headers, Mode as How};

use crate::support::{Reply, Setup, Upstream, allow, api, cluster, deny, full, get, refused, request};

fn change(name: &'static str, value: &'static str, mode: How) -> Change {
    Change {
        name: HeaderName::from_static(name),
        value: HeaderValue::from_static(value).into(),
        mode,
    }
}

/// Every kind of change, of `x-a` to `x-e`.
fn all(value: &'static str) -> Changes {
    Changes {
        remove: vec![HeaderName::from_static("x-a")],
        set: vec![
            change("x-b", value, How::Append),
            change("x-c", value, How::AddIfAbsent),
            change("x-d", value, How::Overwrite),
            change("x-e", value, How::OverwriteIfPresent),
        ],
    }
}

/// The lines of the headers `x-…`, sorted by name.
fn lines(reply: &Reply) -> Vec<&str> {
    let mut lines: Vec<_> = reply.head.lines().filter(|line| line.starts_with("x-")).collect();
    lines.sort_by_key(|line| line.split(':').next());
    lines
}

async fn echoing() -> Upstream {
    Upstream::answering(|arrived| {
        let mut response = http::Response::new(full(""));
        // What came in goes out, so that one call shows both directions.
        for (name, value) in &arrived.headers {
            if name.as_str().len() == 3 {
                response.headers_mut().append(name, value.clone());
            }
        }
        response
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_route() {
    let upstream = echoing().await;
    let mut both = api("/api", "^/api(/.*)*", r"\1");
    both.filters.headers = Some(Arc::new(Headers {
        request: all("in"),
        response: all("out"),
    }));
    let setup = Setup::to(upstream.address).routes(vec![both]).answering(|seen| {
        Some(Ok(match seen.path.as_str() {
            "/api/denied" => deny(401, "", &[("x-d", "denied")]),
            "/api/down" => allow("down"),
            _ => allow("up"),
        }))
    });
    let down = refused().await;
    let mut setup = setup;
    setup.clusters.push(cluster("down", "127.0.0.1", down.port()));
    let gateway = setup.start().await;
    let sent = "x-a: 1\r\nx-b: 1\r\nx-c: 1\r\nx-d: 1\r\nx-d: 2\r\nx-e: 1\r\n";
    let reply = request(gateway.http(), "GET /api/x", sent, "").await;
    assert_eq!(
        lines(&reply),
        ["x-b: 1", "x-b: in", "x-b: out", "x-c: 1", "x-d: out", "x-e: out"]
    );
    let seen = &gateway.enforcer.seen()[0];
    assert_eq!(
        seen.headers["x-a"], "1",
        "the enforcer is asked about what the caller sent"
    );
    let reply = get(gateway.http(), "/api/x").await;
    assert_eq!(lines(&reply), ["x-b: in", "x-b: out", "x-c: in", "x-d: out"]);
    let reply = get(gateway.http(), "/api/down").await;
    assert_eq!(
        (reply.status, lines(&reply)),
        (503, vec!["x-b: out", "x-c: out", "x-d: out"]),
        "an answer of our own for a request that came so far"
    );
    let reply = get(gateway.http(), "/api/denied").await;
    assert_eq!(
        (reply.status, lines(&reply)),
        (401, vec!["x-b: out", "x-c: out", "x-d: out"]),
        "a refusal, too"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_route_that_answers_itself() {
    let upstream = Upstream::echo().await;
    let mut direct = api("/api", "^/api(/.*)*", r"\1");
    direct.action = Action::Direct {
        status: 200,
        body: "here".to_owned(),
    };
    direct.filters.headers = Some(Arc::new(Headers {
        request: Changes::default(),
        response: all("out"),
    }));
    let gateway = Setup::to(upstream.address)
        .routes(vec![direct])
        .answering(|seen| {
            Some(Ok(match seen.path.as_str() {
                "/api/denied" => deny(401, "", &[]),
                _ => allow("up"),
            }))
        })
        .start()
        .await;
    let reply = get(gateway.http(), "/api/x").await;
    assert_eq!(
        (reply.body.as_str(), lines(&reply)),
        ("here", vec!["x-b: out", "x-c: out", "x-d: out"])
    );
    let reply = get(gateway.http(), "/api/denied").await;
    assert_eq!((reply.status, lines(&reply).len()), (401, 0), "{reply:?}");
}

fn option(name: &str, value: &str, append: Option<bool>, action: i32) -> HeaderValueOption {
    #[allow(deprecated, reason = "Envoy's filter goes by it")]
    HeaderValueOption {
        header: Some(Value {
            key: name.to_owned(),
            value: value.to_owned(),
            ..Value::default()
        }),
        append: append.map(|value| BoolValue { value }),
        append_action: action,
        ..HeaderValueOption::default()
    }
}

fn answer(request: &[HeaderValueOption], response: &[HeaderValueOption], cluster: &str) -> CheckResponse {
    let mut allowed = allow(cluster);
    let Some(HttpResponse::OkResponse(ok)) = &mut allowed.http_response else {
        unreachable!("a yes")
    };
    ok.headers.extend_from_slice(request);
    ok.response_headers_to_add.extend_from_slice(response);
    allowed
}

/// `behaviours`: of requests only `append` counts, and extends the first line; of responses the action does.
#[tokio::test(flavor = "multi_thread")]
async fn of_the_enforcer() {
    let upstream = echoing().await;
    let down = refused().await;
    let mut setup = Setup::to(upstream.address).answering(|seen| {
        let of_request = [
            option("x-a", "9", None, 1),
            option("x-b", "9", Some(true), 0),
            option("x-c", "9", None, 3),
            option("x-d", "9", Some(true), 0),
        ];
        let of_response = [
            option(":status", "203", None, 0),
            option("x-f", "0", None, 0),
            option("x-g", "1", None, 1),
            option("x-h", "2", None, 2),
            option("x-i", "3", None, 3),
        ];
        Some(Ok(match seen.path.as_str() {
            "/api/request" => answer(&of_request, &[], "up"),
            "/api/down" => answer(&[], &of_response, "down"),
            _ => answer(&[], &of_response, "up"),
        }))
    });
    setup.clusters.push(cluster("down", "127.0.0.1", down.port()));
    let gateway = setup.start().await;
    let sent = "x-a: 1\r\nx-b: 1\r\nx-b: 2\r\n";
    let reply = request(gateway.http(), "GET /api/request", sent, "").await;
    assert_eq!(
        lines(&reply),
        ["x-a: 9", "x-b: 1,9", "x-b: 2", "x-c: 9"],
        "replaced whatever the action says; extended; set though not there; dropped where not there"
    );
    let sent = "x-f: 1\r\nx-g: 1\r\nx-h: 1\r\n";
    let reply = request(gateway.http(), "GET /api/x", sent, "").await;
    assert_eq!(
        (reply.status, lines(&reply)),
        (203, vec!["x-f: 1", "x-f: 0", "x-g: 1", "x-h: 2"])
    );
    let reply = get(gateway.http(), "/api/down").await;
    assert_eq!(
        (reply.status, lines(&reply)),
        (203, vec!["x-f: 0", "x-g: 1", "x-h: 2"]),
        "errors of our own are changed, too"
    );
    assert!(reply.body.contains("102503"), "{reply:?}");
}
