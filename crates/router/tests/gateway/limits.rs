//! Bounds on what callers may send.

use std::time::Duration;

use http::Request;
use http_body_util::Full;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::{BOUND, Setup, Upstream, get, http2, raw, request};

#[tokio::test(flavor = "multi_thread")]
async fn heads_beyond_the_limits_are_refused_with_431() {
    let upstream = Upstream::echo().await;
    let gateway = Setup::to(upstream.address).start().await;
    let many: String = (0..1000).map(|n| format!("x-{n}: y\r\n")).collect();
    let token = format!("authorization: Bearer {}\r\n", "t".repeat(64 << 10));
    for (name, extra) in [("1,000 fields", many), ("a token of 64 KB", token)] {
        let reply = request(gateway.http(), "GET /api/x", &extra, "").await;
        assert_eq!((reply.status, reply.body.as_str()), (431, ""), "{name}");
    }
    let fits = format!("authorization: Bearer {}\r\n", "t".repeat(59 << 10));
    assert_eq!(request(gateway.http(), "GET /api/x", &fits, "").await.status, 200);
    assert_eq!(gateway.enforcer.seen().len(), 1);

    let mut sender = http2(gateway.http()).await;
    let mut many = Request::get("http://gw.test/api/x")
        .body(Full::default())
        .unwrap();
    for n in 0..101 {
        many.headers_mut().append("x", n.into());
    }
    let (status, ..) = crate::support::send2(&mut sender, many).await;
    assert_eq!(status, 431, "fields on HTTP/2");
    // The other streams of the connection are not affected.
    let fine = Request::get("http://gw.test/api/x")
        .body(Full::default())
        .unwrap();
    assert_eq!(crate::support::send2(&mut sender, fine).await.0, 200);
    let sized = |bytes: usize| {
        let request = Request::get("http://gw.test/api/x").header("authorization", "t".repeat(bytes));
        request.body(Full::default()).unwrap()
    };
    assert_eq!(
        crate::support::send2(&mut sender, sized(80 << 10)).await.0,
        431,
        "size on HTTP/2"
    );
    // Far beyond the limit decoding itself is the cost, so the connection ends; that one, no other.
    let mut other = http2(gateway.http()).await;
    let error = timeout(BOUND, sender.send_request(sized(240 << 10)))
        .await
        .unwrap()
        .unwrap_err();
    assert!(format!("{error:?}").contains("ENHANCE_YOUR_CALM"), "{error:?}");
    assert_eq!(crate::support::send2(&mut other, sized(10)).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_greatest_head_is_the_listeners() {
    let upstream = Upstream::echo().await;
    let mut setup = Setup::to(upstream.address);
    setup.http.max_head_kib = 200;
    let gateway = setup.start().await;
    let mut sender = http2(gateway.http()).await;
    for (kib, status) in [(190, 200), (210, 431)] {
        let value = "t".repeat(kib << 10);
        let line = format!("authorization: Bearer {value}\r\n");
        let reply = request(gateway.http(), "GET /api/x", &line, "").await;
        assert_eq!(reply.status, status, "{kib} KiB");
        let request = Request::get("http://gw.test/api/x").header("authorization", value);
        let request = request.body(Full::default()).unwrap();
        assert_eq!(
            crate::support::send2(&mut sender, request).await.0,
            status,
            "{kib} KiB, HTTP/2"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_heads_are_refused() {
    let upstream = Upstream::echo().await;
    let gateway = Setup::to(upstream.address).start().await;
    let cases = [
        ("not HTTP", "\x01\x02\x03\r\n\r\n", 400),
        ("no host", "GET /api/x HTTP/1.1\r\nconnection: close\r\n\r\n", 400),
        (
            "two hosts",
            "GET /api/x HTTP/1.1\r\nhost: gw.test\r\nhost: gw.test\r\n\r\n",
            400,
        ),
        (
            "two lengths",
            "POST /api/x HTTP/1.1\r\nhost: gw.test\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
            400,
        ),
        (
            "bad coding",
            "POST /api/x HTTP/1.1\r\nhost: gw.test\r\ntransfer-encoding: gzip\r\n\r\nab",
            400,
        ),
        ("HTTP/1.0", "GET /api/x HTTP/1.0\r\nhost: gw.test\r\n\r\n", 426),
        (
            "CONNECT",
            "CONNECT gw.test:80 HTTP/1.1\r\nhost: gw.test:80\r\nconnection: close\r\n\r\n",
            404,
        ),
    ];
    for (name, text, want) in cases {
        let reply = raw(gateway.http(), text.as_bytes()).await;
        assert_eq!(reply.status, want, "{name}: {reply:?}");
    }
    assert_eq!(gateway.enforcer.seen().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_does_not_come_and_a_connection_too_many_are_closed() {
    let upstream = Upstream::echo().await;
    let mut setup = Setup::to(upstream.address);
    setup.edge.header_time = Duration::from_millis(300);
    setup.edge.max_connections = 3;
    setup.workers = 1;
    let gateway = setup.start().await;
    let mut slow = TcpStream::connect(gateway.http()).await.unwrap();
    slow.write_all(b"GET /api/x HTTP/1.1\r\nhost: gw").await.unwrap();
    let mut rest = Vec::new();
    timeout(BOUND, slow.read_to_end(&mut rest))
        .await
        .expect("closed in time")
        .ok();
    assert!(rest.is_empty(), "{rest:?}");

    crate::support::eventually("the slow one is gone", async || {
        gateway
            .admin("/metrics")
            .await
            .body
            .contains("trireme_router_connections_active 0")
    })
    .await;
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(TcpStream::connect(gateway.http()).await.unwrap());
    }
    crate::support::eventually("they are accepted", async || {
        gateway
            .admin("/metrics")
            .await
            .body
            .contains("trireme_router_connections_active 3")
    })
    .await;
    let mut fourth = TcpStream::connect(gateway.http()).await.unwrap();
    let mut rest = Vec::new();
    let closed = timeout(BOUND, fourth.read_to_end(&mut rest))
        .await
        .expect("closed in time");
    assert!(rest.is_empty(), "{closed:?}");
    drop(held);
    crate::support::eventually("there is room again", async || {
        let mut stream = TcpStream::connect(gateway.http()).await.unwrap();
        let text = b"GET /api/x HTTP/1.1\r\nhost: gw.test\r\nconnection: close\r\n\r\n";
        let mut answer = Vec::new();
        stream.write_all(text).await.is_ok()
            && stream.read_to_end(&mut answer).await.is_ok()
            && !answer.is_empty()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_are_closed_and_busy_ones_are_not() {
    let upstream = Upstream::echo().await;
    let mut setup = Setup::to(upstream.address);
    setup.http.idle_timeout = Duration::from_millis(400);
    setup.edge.header_time = Duration::from_millis(200);
    let gateway = setup.start().await;
    let mut stream = TcpStream::connect(gateway.http()).await.unwrap();
    let started = tokio::time::Instant::now();
    let mut answer = [0; 4096];
    // Idle for longer than a head may take, for less than a connection may be idle.
    for _ in 0..2 {
        tokio::time::sleep(Duration::from_millis(250)).await;
        stream
            .write_all(b"GET /api/x HTTP/1.1\r\nhost: gw.test\r\n\r\n")
            .await
            .unwrap();
        let read = timeout(BOUND, stream.read(&mut answer)).await.unwrap().unwrap();
        assert!(
            answer[..read].starts_with(b"HTTP/1.1 200"),
            "{:?}",
            String::from_utf8_lossy(&answer[..read])
        );
    }
    assert!(started.elapsed() >= Duration::from_millis(500));
    assert_eq!(
        timeout(BOUND, stream.read(&mut answer))
            .await
            .expect("closed")
            .unwrap(),
        0
    );
    assert_eq!(get(gateway.http(), "/api/x").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_has_so_many_connections_and_no_more() {
    let upstream = Upstream::echo().await;
    let mut setup = Setup::to(upstream.address);
    setup.caps.connections = 2;
    let gateway = setup.start().await;
    let mut held = Vec::new();
    for _ in 0..2 {
        held.push(TcpStream::connect(gateway.http()).await.unwrap());
    }
    crate::support::eventually("they are accepted", async || {
        let metrics = gateway.admin("/metrics").await.body;
        metrics.contains("trireme_router_connections_active 2")
    })
    .await;
    let mut third = TcpStream::connect(gateway.http()).await.unwrap();
    let mut rest = Vec::new();
    let closed = timeout(BOUND, third.read_to_end(&mut rest))
        .await
        .expect("closed in time");
    assert!(rest.is_empty(), "{closed:?}");
    let metrics = gateway.admin("/metrics").await.body;
    let line = r#"trireme_router_connections_refused_total{reason="address"} 1"#;
    assert!(metrics.contains(line), "{line} not in\n{metrics}");
    // Another address is not affected.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let mut other = socket.connect(gateway.http()).await.unwrap();
    other
        .write_all(b"GET /api/x HTTP/1.1\r\nhost: gw.test\r\nconnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    timeout(BOUND, other.read_to_end(&mut answer))
        .await
        .unwrap()
        .unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_takes_nothing_of_its_answer_is_cut() {
    let upstream =
        Upstream::answering(|_| http::Response::new(crate::support::full(vec![b'x'; 1 << 20]))).await;
    let mut setup = Setup::to(upstream.address);
    setup.http.stream_idle_timeout = Duration::from_millis(300);
    let trireme_routing::snapshot::Action::Forward(forward) =
        &mut setup.fragments[0].virtual_hosts[0].routes[0].action
    else {
        panic!("forwards")
    };
    forward.idle_timeout = Duration::from_millis(300);
    setup.access_log = Some("%RESPONSE_FLAGS%\n".to_owned());
    let gateway = setup.start().await;
    let stream = TcpStream::connect(gateway.http()).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::Builder::new(hyper_util::rt::TokioExecutor::new())
            .initial_stream_window_size(1000)
            .handshake(hyper_util::rt::TokioIo::new(stream))
            .await
            .unwrap();
    tokio::spawn(connection);
    let request = Request::get("http://gw.test/api/x")
        .body(Full::<bytes::Bytes>::default())
        .unwrap();
    let response = timeout(BOUND, sender.send_request(request))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(gateway.log(1).await, ["SI"]);
    let body = http_body_util::BodyExt::collect(response.into_body());
    timeout(BOUND, body).await.expect("cut in time").unwrap_err();
    assert!(!sender.is_closed());
}
