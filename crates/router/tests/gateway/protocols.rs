//! HTTP/1.1, HTTP/2 plain and over TLS, trailers, 100-continue, streaming, upgrades.

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, HeaderValue, Request, Response, Version};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use trireme_routing::snapshot::UpstreamProtocol;

use crate::support::{BOUND, Setup, Upstream, full, http2, http2_tls, request, send2};

fn post(uri: &str, body: &'static str) -> Request<Full<Bytes>> {
    Request::post(uri)
        .body(Full::new(Bytes::from_static(body.as_bytes())))
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn http2_with_prior_knowledge_and_over_tls() {
    let upstream = Upstream::answering(|arrived| Response::new(full(arrived.body.clone()))).await;
    let gateway = Setup::to(upstream.address).start().await;
    let mut plain = http2(gateway.http()).await;
    let (status, headers, body, _) = send2(&mut plain, post("http://gw.test/api/a", "one")).await;
    assert_eq!(
        (status, body.as_ref(), headers["server"].to_str().unwrap()),
        (200, &b"one"[..], "envoy")
    );
    let mut tls = http2_tls(gateway.https()).await;
    let (status, _, body, _) = send2(&mut tls, post("https://gw.test/api/b", "two")).await;
    assert_eq!((status, body.as_ref()), (200, &b"two"[..]));
    let seen = gateway.enforcer.seen();
    assert_eq!(seen[0].headers[":scheme"], "http");
    assert_eq!(
        (
            seen[1].headers[":scheme"].as_str(),
            seen[1].headers["x-forwarded-proto"].as_str()
        ),
        ("https", "https")
    );
    assert!(
        seen[1]
            .certificate
            .starts_with("-----BEGIN%20CERTIFICATE-----%0A"),
        "{}",
        seen[1].certificate
    );
    assert!(seen[1].certificate.ends_with("-----END%20CERTIFICATE-----%0A"));
    let arrived = upstream.arrived();
    assert!(arrived.iter().all(|arrived| arrived.version == Version::HTTP_11));
    // Many at once on one connection.
    let all = (0..50).map(|_| {
        let mut sender = tls.clone();
        async move { send2(&mut sender, post("https://gw.test/api/c", "x")).await.0 }
    });
    let statuses = futures_util::future::join_all(all).await;
    assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
    assert!(
        gateway.enforcer.batches() < 52,
        "checks of one tick travel together"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn http1_over_tls_keeps_its_connection() {
    let upstream = Upstream::echo().await;
    let gateway = Setup::to(upstream.address).start().await;
    let connector = crate::support::material("adapter").connector(&[b"http/1.1"]);
    let tcp = TcpStream::connect(gateway.https()).await.unwrap();
    let mut stream = connector.connect("router", tcp).await.unwrap();
    for n in 0..3 {
        let text = format!("GET /api/{n} HTTP/1.1\r\nhost: gw.test\r\n\r\n");
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut answer = [0; 4096];
        let read = timeout(BOUND, stream.read(&mut answer)).await.unwrap().unwrap();
        assert!(String::from_utf8_lossy(&answer[..read]).ends_with(&format!("GET /{n}")));
    }
    assert_eq!(upstream.connections(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn trailers_pass_both_ways() {
    let upstream = Upstream::answering(|arrived| {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        if let Some(sent) = &arrived.trailers {
            trailers.extend(sent.clone());
        }
        let frames = [
            Ok(Frame::data(Bytes::from_static(b"data"))),
            Ok(Frame::trailers(trailers)),
        ];
        Response::new(StreamBody::new(stream::iter(frames)).boxed_unsync())
    })
    .await;
    let mut setup = Setup::to(upstream.address);
    setup.clusters[0].protocol = UpstreamProtocol::Http2 {
        header_table_size: None,
        max_streams: None,
    };
    let gateway = setup.start().await;
    let mut sender = http2(gateway.http()).await;
    let mut trailers = HeaderMap::new();
    trailers.insert("x-checksum", HeaderValue::from_static("7"));
    let frames = [
        Ok::<_, std::io::Error>(Frame::data(Bytes::from_static(b"up"))),
        Ok(Frame::trailers(trailers)),
    ];
    let request = Request::post("http://gw.test/api/t")
        .header("te", "trailers")
        .body(StreamBody::new(stream::iter(frames)).boxed_unsync())
        .unwrap();
    let response = timeout(BOUND, sender.send_request(request))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(response.status(), 200);
    let collected = timeout(BOUND, response.into_body().collect())
        .await
        .unwrap()
        .unwrap();
    let got = collected.trailers().unwrap().clone();
    assert_eq!(
        (got["grpc-status"].as_bytes(), got["x-checksum"].as_bytes()),
        (&b"0"[..], &b"7"[..])
    );
    assert_eq!(collected.to_bytes(), "data");
    assert_eq!(upstream.arrived()[0].headers["te"], "trailers");
    assert_eq!(upstream.arrived()[0].version, Version::HTTP_2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_is_asked_for_only_after_the_check() {
    let upstream = Upstream::answering(|arrived| Response::new(full(arrived.body.clone()))).await;
    let gateway = Setup::to(upstream.address)
        .answering(|seen| {
            Some(Ok(match seen.path.as_str() {
                "/api/no" => crate::support::deny(401, "no", &[]),
                _ => crate::support::allow("up"),
            }))
        })
        .start()
        .await;
    let head = |path: &str| {
        format!("POST {path} HTTP/1.1\r\nhost: gw.test\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n")
    };
    let mut stream = TcpStream::connect(gateway.http()).await.unwrap();
    stream.write_all(head("/api/yes").as_bytes()).await.unwrap();
    let mut answer = [0; 4096];
    let read = timeout(BOUND, stream.read(&mut answer)).await.unwrap().unwrap();
    assert_eq!(&answer[..read], b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"body").await.unwrap();
    let read = timeout(BOUND, stream.read(&mut answer)).await.unwrap().unwrap();
    let text = String::from_utf8_lossy(&answer[..read]).into_owned();
    assert!(
        text.starts_with("HTTP/1.1 200") && text.ends_with("body"),
        "{text}"
    );
    assert!(!upstream.arrived()[0].headers.contains_key("expect"));

    let mut stream = TcpStream::connect(gateway.http()).await.unwrap();
    stream.write_all(head("/api/no").as_bytes()).await.unwrap();
    let read = timeout(BOUND, stream.read(&mut answer)).await.unwrap().unwrap();
    assert!(
        answer[..read].starts_with(b"HTTP/1.1 401"),
        "no 100 before the refusal"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_reaches_a_caller_that_is_still_sending() {
    let upstream = Upstream::echo().await;
    let gateway = Setup::to(upstream.address)
        .answering(|_| Some(Ok(crate::support::deny(401, "no", &[]))))
        .start()
        .await;
    let body = "x".repeat(1 << 20);
    for _ in 0..5 {
        let reply = request(gateway.http(), "POST /api/x", "", &body).await;
        assert_eq!((reply.status, reply.body.as_str()), (401, "no"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_stream_without_being_collected() {
    // The upstream answers with what it was sent, byte by byte, before the request is complete.
    let upstream = Upstream::scripted(|_, mut stream| async move {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).await.unwrap();
            head.push(byte[0]);
        }
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\n")
            .await
            .unwrap();
        let mut buffer = [0; 1024];
        for want in ["6\r\nping-0\r\n", "6\r\nping-1\r\n"] {
            let mut got = Vec::new();
            while got.len() < want.len() {
                let read = stream.read(&mut buffer).await.unwrap();
                got.extend_from_slice(&buffer[..read]);
            }
            assert_eq!(String::from_utf8_lossy(&got), want);
            stream.write_all(b"pong").await.unwrap();
        }
        stream.read_u8().await.ok();
    })
    .await;
    let gateway = Setup::to(upstream.address).start().await;
    let mut stream = TcpStream::connect(gateway.http()).await.unwrap();
    let head = "POST /api/x HTTP/1.1\r\nhost: gw.test\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut got = String::new();
    let mut buffer = [0; 1024];
    for n in 0..2 {
        stream
            .write_all(format!("6\r\nping-{n}\r\n").as_bytes())
            .await
            .unwrap();
        while !got.ends_with(&"pong".repeat(n + 1)) {
            let read = timeout(BOUND, stream.read(&mut buffer))
                .await
                .expect("streamed")
                .unwrap();
            assert_ne!(read, 0, "{got}");
            got.push_str(&String::from_utf8_lossy(&buffer[..read]));
        }
    }
    assert!(got.starts_with("HTTP/1.1 200"), "{got}");
}

#[tokio::test(flavor = "multi_thread")]
async fn large_bodies_pass_whole_in_both_directions() {
    let upstream = Upstream::answering(|arrived| Response::new(full(arrived.body.clone()))).await;
    let gateway = Setup::to(upstream.address).start().await;
    let body = Bytes::from(vec![b'z'; 3 << 20]);
    let mut sender = http2_tls(gateway.https()).await;
    let request = Request::post("https://gw.test/api/big")
        .body(Full::new(body.clone()))
        .unwrap();
    let (status, _, got, _) = send2(&mut sender, request).await;
    assert_eq!((status, got.len()), (200, body.len()));
}

#[tokio::test(flavor = "multi_thread")]
async fn upgrades_and_hop_by_hop_headers_end_here() {
    let upstream = Upstream::answering(|_| {
        let mut response = Response::new(full("ok"));
        for (name, value) in [
            ("connection", "x-secret"),
            ("x-secret", "1"),
            ("keep-alive", "timeout=5"),
            ("x-envoy-upstream-service-time", "3"),
            ("server", "nginx"),
            ("x-kept", "1"),
        ] {
            response
                .headers_mut()
                .insert(name, HeaderValue::from_static(value));
        }
        response
    })
    .await;
    let gateway = Setup::to(upstream.address).start().await;
    let upgrade = "upgrade: websocket\r\nsec-websocket-key: x\r\n";
    let text = format!("GET /api/x HTTP/1.1\r\nhost: gw.test\r\nconnection: upgrade, close\r\n{upgrade}\r\n");
    let reply = crate::support::raw(gateway.http(), text.as_bytes()).await;
    assert_eq!((reply.status, reply.body.as_str()), (403, ""));
    let reply = request(
        gateway.http(),
        "GET /api/x",
        "keep-alive: 5\r\nproxy-connection: x\r\nte: gzip\r\n",
        "",
    )
    .await;
    assert_eq!(
        (reply.status, reply.header("server"), reply.header("x-kept")),
        (200, Some("envoy"), Some("1"))
    );
    for name in ["x-secret", "keep-alive", "x-envoy-upstream-service-time"] {
        assert_eq!(reply.header(name), None, "{name}");
    }
    let arrived = &upstream.arrived()[0];
    for name in ["connection", "keep-alive", "proxy-connection", "te"] {
        assert!(!arrived.headers.contains_key(name), "{name}");
    }
    assert_eq!(upstream.arrived().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn head_requests_have_the_length_and_no_body() {
    let upstream = Upstream::answering(|_| Response::new(full("twelve bytes"))).await;
    let gateway = Setup::to(upstream.address).start().await;
    let reply = request(gateway.http(), "HEAD /api/x", "", "").await;
    assert_eq!(
        (reply.status, reply.header("content-length"), reply.body.as_str()),
        (200, Some("12"), "")
    );
    let reply = request(gateway.http(), "HEAD /nowhere", "", "").await;
    assert_eq!((reply.status, reply.body.as_str()), (404, ""));
    assert_ne!(reply.header("content-length"), Some("0"));
}
