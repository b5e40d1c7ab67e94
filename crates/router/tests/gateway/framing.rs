//! What frames a message and what belongs to one connection: lengths, codings, `Connection`, trailers, interim answers.

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use trireme_routing::snapshot::UpstreamProtocol;

use crate::support::{BOUND, Setup, Upstream, allow_with, deny, full, get, http2, raw, request, send2};

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
