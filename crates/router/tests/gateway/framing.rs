//! What frames a message and what belongs to one connection: lengths, codings, `Connection`, trailers, interim answers.

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, HeaderValue, Request, Response, Version};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use trireme_proto::envoy::service::auth::v3::check_response::HttpResponse;
use trireme_proto::google::protobuf::BoolValue;
use trireme_routing::snapshot::{Check, UpstreamProtocol};

use crate::support::{
    Arrived, BOUND, Setup, Upstream, allow_with, api, deny, fragment, full, get, http2, raw, request, send2,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_cannot_have_the_gateways_headers_taken_out() {
    let upstream = Upstream::echo().await;
    let gateway = Setup::to(upstream.address)
        .answering(|_| {
            let set = [("x-wso2-cluster-header", "up"), ("x-jwt-assertion", "signed")];
            Some(Ok(allow_with(&set, &[])))
        })
        .start()
        .await;
    let named = "connection: x-jwt-assertion, x-request-id, x-own\r\nx-own: 1\r\nx-other: 2\r\n";
    assert_eq!(request(gateway.http(), "GET /api/x", named, "").await.status, 200);
    let headers = upstream.arrived()[0].headers.clone();
    assert_eq!(headers["x-jwt-assertion"], "signed");
    assert_eq!(headers["x-other"], "2");
    assert!(headers.contains_key("x-request-id") && headers.contains_key("x-forwarded-proto"));
    assert!(!headers.contains_key("x-own") && !headers.contains_key("connection"));
    let seen = gateway.enforcer.seen();
    assert!(
        !seen[0].headers.contains_key("x-own"),
        "the enforcer sees what the upstream gets"
    );

    let reply = request(
        gateway.http(),
        "GET /api/x",
        "connection: X-Forwarded-For\r\n",
        "",
    )
    .await;
    assert_eq!(reply.status, 400);
    assert!(reply.body.contains("102512"), "{reply:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_has_one_length() {
    let upstream = Upstream::answering(|arrived| Response::new(full(arrived.body.clone()))).await;
    let gateway = Setup::to(upstream.address).start().await;
    let cases = [
        (
            "another coding first",
            "transfer-encoding: gzip, chunked\r\n",
            501,
        ),
        (
            "two fields",
            "transfer-encoding: gzip\r\ntransfer-encoding: chunked\r\n",
            501,
        ),
        (
            "as it should be",
            "connection: close\r\ntransfer-encoding: Chunked\r\n",
            200,
        ),
    ];
    for (name, lines, want) in cases {
        let text = format!("POST /api/x HTTP/1.1\r\nhost: gw.test\r\n{lines}\r\n4\r\nbody\r\n0\r\n\r\n");
        let reply = raw(gateway.http(), text.as_bytes()).await;
        assert_eq!(reply.status, want, "{name}: {reply:?}");
    }
    assert_eq!(upstream.arrived().len(), 1);
    // hyper would drop the length.
    let (coding, length) = ("transfer-encoding: chunked\r\n", "content-length: 2\r\n");
    for lines in [format!("{coding}{length}"), format!("{length}{coding}")] {
        let text = format!("POST /api/x HTTP/1.1\r\nhost: gw.test\r\n{lines}\r\n4\r\nbody\r\n0\r\n\r\n");
        let reply = raw(gateway.http(), text.as_bytes()).await;
        assert_eq!((reply.status, reply.body.as_str()), (400, "Bad Request"));
        assert_eq!(reply.header("connection"), Some("close"));
    }
    assert_eq!(upstream.arrived().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn readings_are_told_apart_behind_bodies_of_one_connection() {
    let upstream = Upstream::answering(|arrived| Response::new(full(arrived.body.clone()))).await;
    let gateway = Setup::to(upstream.address).start().await;
    let head = |line: &str, fields: &str| format!("{line} HTTP/1.1\r\nhost: gw.test\r\n{fields}\r\n");
    // Each body looks like a request that would be refused.
    let bait = "GET /a#b HTTP/1.1\r\ntransfer-encoding: chunked\r\ncontent-length: 1\r\n\r\n";
    let counted = head("POST /api/1", &format!("content-length: {}\r\n", bait.len()));
    let chunked = head("POST /api/2", "transfer-encoding: chunked\r\n");
    let fragment = head("GET /api/3#x", "") + &head("GET /api/4", "");
    let text = format!(
        "{counted}{bait}{chunked}{:x}\r\n{bait}\r\n0\r\n\r\n{fragment}",
        bait.len()
    );
    for pieces in [1, 7, text.len()] {
        let before = upstream.arrived().len();
        let mut stream = TcpStream::connect(gateway.http()).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut answer = Vec::new();
        for piece in text.as_bytes().chunks(text.len().div_ceil(pieces)) {
            stream.write_all(piece).await.unwrap();
        }
        timeout(BOUND, stream.read_to_end(&mut answer))
            .await
            .unwrap()
            .unwrap();
        let answer = String::from_utf8(answer).unwrap();
        let statuses: Vec<_> = answer
            .match_indices("HTTP/1.1 ")
            .filter_map(|(at, _)| answer.get(at + 9..at + 12))
            .filter(|status| status.starts_with(|first: char| first.is_ascii_digit()))
            .collect();
        assert_eq!(statuses, ["200", "200", "400"], "{answer}");
        assert!(answer.contains("refused: fragment."), "{answer}");
        let bodies: Vec<_> = upstream.arrived().split_off(before);
        assert!(bodies.len() == 2 && bodies.iter().all(|arrived| arrived.body == bait));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn trailers_cannot_say_what_the_check_was_about() {
    let upstream = Upstream::answering(|_| {
        let mut trailers = HeaderMap::new();
        trailers.insert("x-envoy-decorator", HeaderValue::from_static("1"));
        trailers.insert("x-checksum", HeaderValue::from_static("7"));
        let frames = [
            Ok(Frame::data(Bytes::from_static(b"data"))),
            Ok(Frame::trailers(trailers)),
        ];
        Response::new(StreamBody::new(stream::iter(frames)).boxed_unsync())
    })
    .await;
    let mut setup = Setup::to(upstream.address).answering(|_| {
        let set = [("x-wso2-cluster-header", "up"), ("x-jwt-assertion", "signed")];
        Some(Ok(allow_with(&set, &[])))
    });
    setup.clusters[0].protocol = UpstreamProtocol::Http2 {
        header_table_size: None,
        max_streams: None,
    };
    let gateway = setup.start().await;
    let mut sender = http2(gateway.http()).await;
    let mut trailers = HeaderMap::new();
    for name in [
        "authorization",
        "x-envoy-max-retries",
        "x-forwarded-for",
        "x-jwt-assertion",
        "x-wso2-cluster-header",
        "x-checksum",
    ] {
        trailers.insert(name, HeaderValue::from_static("forged"));
    }
    let frames = [
        Ok::<_, std::io::Error>(Frame::data(Bytes::from_static(b"up"))),
        Ok(Frame::trailers(trailers)),
    ];
    let request = Request::post("http://gw.test/api/t")
        .body(StreamBody::new(stream::iter(frames)).boxed_unsync())
        .unwrap();
    let response = timeout(BOUND, sender.send_request(request))
        .await
        .unwrap()
        .unwrap();
    let collected = timeout(BOUND, response.into_body().collect())
        .await
        .unwrap()
        .unwrap();
    let names = |map: &HeaderMap| map.keys().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(names(collected.trailers().unwrap()), ["x-checksum"]);
    assert_eq!(
        names(upstream.arrived()[0].trailers.as_ref().unwrap()),
        ["x-checksum"]
    );
}

/// Fault H9: a name that the verdict, `Connection` or the gateway takes out of the headers or sets in them is in no
/// trailers, though no header had it. Over both protocols on both sides, streamed and shown to the enforcer.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_touched_in_the_headers_does_not_come_in_trailers() {
    let seed = fastrand::u64(..);
    println!("seed {seed:#x}");
    let mut random = fastrand::Rng::with_seed(seed);
    let names: Vec<String> = (0..12).map(|_| format!("x-{:x}", random.u64(..))).collect();
    let (changed, removed) = names.split_at(4);
    let (changed, removed) = (changed.to_vec(), removed.to_vec());
    let upstream = Upstream::echo().await;
    let mut body = api("/body", "^/body(/.*)*", r"\1");
    if let Check::Required { with_body, .. } = &mut body.filters.check {
        *with_body = true;
    }
    let mut setup = Setup::to(upstream.address).answering(move |seen| {
        let cluster = if seen.path.ends_with("1") { "up" } else { "up2" };
        let mut set = vec![("x-wso2-cluster-header", cluster)];
        set.extend(changed.iter().map(|name| (name.as_str(), "enforcer")));
        let mut remove: Vec<&str> = removed.iter().map(String::as_str).collect();
        remove.extend([
            "x-jwt-assertion",
            "x-api-key",
            "internal-key",
            "x-wso2-client-certificate",
        ]);
        let mut allowed = allow_with(&set, &remove);
        if let Some(HttpResponse::OkResponse(ok)) = &mut allowed.http_response {
            for (option, action) in ok.headers.iter_mut().skip(1).zip([0, 1, 2, 3]) {
                option.append_action = action;
                #[allow(deprecated, reason = "Envoy's filter goes by it")]
                let append = &mut option.append;
                *append = Some(BoolValue { value: action == 0 });
            }
        }
        Some(Ok(allowed))
    });
    setup.fragments.push(fragment("body", vec![body]));
    let mut second = setup.clusters[0].clone();
    second.name = "up2".to_owned();
    second.protocol = UpstreamProtocol::Http2 {
        header_table_size: None,
        max_streams: None,
    };
    setup.clusters.push(second);
    let gateway = setup.start().await;
    let mut trailers = names.clone();
    trailers.extend(
        [
            "authorization",
            "internal-key",
            "x-api-key",
            "x-checksum",
            "x-envoy-original-path",
            "x-forwarded-for",
            "x-jwt-assertion",
            "x-own",
            "x-request-id",
            "x-wso2-client-certificate",
            "x-wso2-cluster-header",
        ]
        .map(str::to_owned),
    );
    let announced = trailers.join(", ");
    let mut calls = 0;
    let mut arrived_with = |version: Version, path: &str, named: &str| {
        let arrived = upstream.arrived();
        assert_eq!(arrived.len(), calls + 1, "{path}");
        calls += 1;
        let Some(Arrived {
            body,
            trailers,
            version: got,
            ..
        }) = arrived.last()
        else {
            panic!("just counted")
        };
        assert_eq!((body.as_ref(), *got), (&b"up"[..], version), "{path}");
        let mut left: Vec<&str> = trailers
            .iter()
            .flat_map(HeaderMap::keys)
            .map(|name| name.as_str())
            .collect();
        left.sort_unstable();
        let mut want = vec!["x-checksum"];
        want.extend(Some("x-own").filter(|own| *own != named));
        assert_eq!(left, want, "{path}, named {named:?}, seed {seed:#x}");
    };
    let mut sender = http2(gateway.http()).await;
    for path in ["/api/1", "/api/2", "/body/1", "/body/2"] {
        let upstream_version = if path.ends_with('1') {
            Version::HTTP_11
        } else {
            Version::HTTP_2
        };
        for named in ["", "x-own"] {
            let mut text = format!(
                "POST {path} HTTP/1.1\r\nhost: gw.test\r\nconnection: close, {named}\r\n\
                 transfer-encoding: chunked\r\ntrailer: {announced}\r\n\r\n2\r\nup\r\n0\r\n"
            );
            text.extend(trailers.iter().map(|name| format!("{name}: forged\r\n")));
            let reply = raw(gateway.http(), format!("{text}\r\n").as_bytes()).await;
            assert_eq!(reply.status, 200, "{path} {reply:?}");
            arrived_with(upstream_version, path, named);
        }
        for length in [None, Some(2)] {
            let map = trailers
                .iter()
                .map(|name| (name.parse().unwrap(), HeaderValue::from_static("forged")));
            let frames = [
                Ok::<_, std::io::Error>(Frame::data(Bytes::from_static(b"up"))),
                Ok(Frame::trailers(HeaderMap::from_iter(map))),
            ];
            let mut request = Request::post(format!("http://gw.test{path}")).header("trailer", &announced);
            if let Some(length) = length.filter(|_| upstream_version == Version::HTTP_2) {
                request = request.header("content-length", length);
            }
            let body = StreamBody::new(stream::iter(frames)).boxed_unsync();
            let response = timeout(BOUND, sender.send_request(request.body(body).unwrap()));
            assert_eq!(response.await.unwrap().unwrap().status(), 200, "{path}");
            arrived_with(upstream_version, path, "");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_has_one_length() {
    let cases = [
        ("as it should be", "transfer-encoding: Chunked\r\n", 200),
        (
            "length first",
            "content-length: 2\r\ntransfer-encoding: chunked\r\n",
            500,
        ),
        (
            "coding first",
            "transfer-encoding: chunked\r\ncontent-length: 4\r\n",
            500,
        ),
        (
            "same length twice",
            "content-length: 14\r\ncontent-length: 14\r\n",
            500,
        ),
        ("two lengths", "content-length: 4\r\ncontent-length: 5\r\n", 500),
        ("another coding", "transfer-encoding: gzip, chunked\r\n", 500),
        (
            "two codings",
            "transfer-encoding: gzip\r\ntransfer-encoding: chunked\r\n",
            500,
        ),
    ];
    let upstream = Upstream::scripted(move |call, mut stream| async move {
        let mut head = [0; 4096];
        assert!(stream.read(&mut head).await.unwrap() > 0);
        let fields = cases.get(call - 1).map_or("", |case| case.1);
        let text = format!("HTTP/1.1 200 OK\r\nconnection: close\r\n{fields}\r\n4\r\nbody\r\n0\r\n\r\n");
        stream.write_all(text.as_bytes()).await.unwrap();
    })
    .await;
    let gateway = Setup::to(upstream.address).start().await;
    for (name, _, want) in cases {
        let reply = get(gateway.http(), "/api/x").await;
        assert_eq!(reply.status, want, "{name}: {reply:?}");
        assert!(want == 200 || reply.body.contains("102515"), "{name}: {reply:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_switch_of_protocols_nobody_asked_for_is_an_error() {
    let upstream = Upstream::scripted(|_, mut stream| async move {
        let mut head = [0; 4096];
        assert!(stream.read(&mut head).await.unwrap() > 0);
        let answer = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n";
        stream.write_all(answer).await.unwrap();
        // Open until the gateway gives it up.
        while stream.read(&mut head).await.is_ok_and(|read| read > 0) {}
    })
    .await;
    let gateway = Setup::to(upstream.address).start().await;
    let reply = get(gateway.http(), "/api/x").await;
    assert_eq!(reply.status, 500, "{reply:?}");
    assert!(reply.body.contains("102515"), "{reply:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_without_content_has_none() {
    let upstream = Upstream::echo().await;
    let gateway = Setup::to(upstream.address)
        .answering(|_| Some(Ok(deny(204, "content", &[]))))
        .start()
        .await;
    let mut sender = http2(gateway.http()).await;
    let request = Request::get("http://gw.test/api/x").body(http_body_util::Full::default());
    let (status, headers, body, _) = send2(&mut sender, request.unwrap()).await;
    assert_eq!((status, body.len()), (204, 0));
    assert!(!headers.contains_key("content-length"));
}
