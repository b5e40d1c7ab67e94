//! Upstreams that are away, slow, broken, busy, or reached in other ways than plain HTTP/1.1.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::Response;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use trireme_routing::snapshot::{
    ClusterLimits, Endpoint, HealthCheck, Pem, TlsVersion, Trust, UpstreamProtocol, UpstreamTls,
};
use trireme_tls::ClientAuth;

use crate::support::{
    BOUND, Pki, Setup, Upstream, allow_with, api, cluster, eventually, forwarding, full, get, refused,
    request,
};

fn reply(code: &str, message: &str, description: &str) -> String {
    format!(r#"{{"code":"{code}","message":"{message}","description":"{description}"}}"#)
}

const RESET: &str = "upstream connect error or disconnect/reset before headers. reset reason: ";

async fn read_head(stream: &mut TcpStream) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if stream.read(&mut byte).await.unwrap_or(0) == 0 {
            return;
        }
        head.push(byte[0]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn local_replies_of_failing_upstreams() {
    let silent = Upstream::scripted(|_, mut stream| async move {
        read_head(&mut stream).await;
        std::future::pending::<()>().await;
    })
    .await;
    let closing = Upstream::scripted(|_, mut stream| async move { read_head(&mut stream).await }).await;
    let garbage = Upstream::scripted(|_, mut stream| async move {
        read_head(&mut stream).await;
        stream.write_all(b"this is not HTTP\r\n\r\n").await.unwrap();
        std::future::pending::<()>().await;
    })
    .await;
    let quick = |name: &str| {
        let pattern = format!("^/{name}(/.*)*");
        forwarding(api(&format!("/{name}"), &pattern, r"\1"), |forward| {
            forward.timeout = Duration::from_millis(300);
        })
    };
    let names = [
        "silent", "closing", "garbage", "refused", "nowhere", "absent", "idle",
    ];
    let mut setup = Setup::to(refused().await).routes(names.iter().map(|name| quick(name)).collect());
    if let Some(route) = setup.fragments[0].virtual_hosts[0].routes.last_mut() {
        *route = forwarding(route.clone(), |forward| {
            forward.timeout = Duration::ZERO;
            forward.idle_timeout = Duration::from_millis(300);
        });
    }
    setup.clusters = vec![
        cluster("silent", "127.0.0.1", silent.address.port()),
        cluster("idle", "127.0.0.1", silent.address.port()),
        cluster("closing", "127.0.0.1", closing.address.port()),
        cluster("garbage", "127.0.0.1", garbage.address.port()),
        cluster("refused", "127.0.0.1", refused().await.port()),
        cluster("nowhere", "no-such-name.invalid", 80),
    ];
    let gateway = setup
        .answering(|seen| {
            let name = seen.path.split('/').nth(1).unwrap_or_default();
            Some(Ok(allow_with(&[("x-wso2-cluster-header", name)], &[])))
        })
        .start()
        .await;
    let cases = [
        (
            "silent",
            504,
            reply(
                "102504",
                "Upstream connection timeout",
                "upstream request timeout",
            ),
        ),
        (
            "closing",
            503,
            reply(
                "102510",
                "Upstream connection termination",
                &format!("{RESET}connection termination"),
            ),
        ),
        (
            "garbage",
            500,
            reply(
                "102515",
                "HTTP protocol error in upstream request",
                &format!("{RESET}protocol error"),
            ),
        ),
        (
            "refused",
            503,
            reply(
                "102503",
                "Upstream connection failed",
                &format!("{RESET}connection failure"),
            ),
        ),
        (
            "absent",
            500,
            reply("102507", "Upstream not configured for the resource", ""),
        ),
        (
            "idle",
            500,
            reply("102513", "Stream idle timeout", "stream timeout"),
        ),
        (
            "nowhere",
            503,
            reply("102508", "No healthy upstream", "no healthy upstream"),
        ),
    ];
    for (name, status, body) in cases {
        let got = get(gateway.http(), &format!("/{name}/x")).await;
        assert_eq!((got.status, got.body.as_str()), (status, body.as_str()), "{name}");
        assert_eq!(got.header("content-type"), Some("application/json"), "{name}");
    }
    assert_eq!(
        closing.connections(),
        1,
        "nothing is repeated on a new connection"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_breaks_off_is_not_passed_as_whole() {
    let upstream = Upstream::scripted(|number, mut stream| async move {
        read_head(&mut stream).await;
        let head: &[u8] = if number % 2 == 1 {
            b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\npart"
        } else {
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\npart\r\n"
        };
        stream.write_all(head).await.unwrap();
        stream.flush().await.unwrap();
    })
    .await;
    let mut setup = Setup::to(upstream.address);
    setup.access_log = Some("%RESPONSE_CODE% %RESPONSE_FLAGS% %BYTES_SENT%\n".to_owned());
    let gateway = setup.start().await;
    for kind in ["length", "chunked"] {
        let mut stream = TcpStream::connect(gateway.http()).await.unwrap();
        stream
            .write_all(b"GET /api/x HTTP/1.1\r\nhost: gw.test\r\n\r\n")
            .await
            .unwrap();
        let mut got = Vec::new();
        timeout(BOUND, stream.read_to_end(&mut got))
            .await
            .expect("ended")
            .ok();
        let text = String::from_utf8_lossy(&got);
        assert!(text.starts_with("HTTP/1.1 200"), "{kind}: {text}");
        assert!(!text.contains("\r\n0\r\n"), "{kind}: no regular end: {text}");
        assert!(text.matches("part").count() <= 1, "{kind}: {text}");
    }
    let mut sender = crate::support::http2(gateway.http()).await;
    let request = http::Request::get("http://gw.test/api/x")
        .body(http_body_util::Full::default())
        .unwrap();
    let response = sender.send_request(request).await.unwrap();
    let error = timeout(BOUND, http_body_util::BodyExt::collect(response.into_body()))
        .await
        .unwrap();
    assert!(error.is_err(), "the stream is reset");
    assert_eq!(gateway.log(3).await, ["200 UC 4"; 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn retries_by_status_and_their_headers_come_from_the_enforcer_only() {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let upstream = Upstream::answering(move |arrived| {
        let n = counted.fetch_add(1, Ordering::SeqCst);
        let status = if n % 3 == 2 { 200 } else { 503 };
        Response::builder()
            .status(status)
            .body(full(arrived.body.clone()))
            .unwrap()
    })
    .await;
    let gateway = Setup::to(upstream.address)
        .answering(|seen| {
            let mut headers = vec![("x-wso2-cluster-header", "up")];
            if seen.path.contains("retry") {
                headers.extend([
                    ("x-envoy-retry-on", "retriable-status-codes"),
                    ("x-envoy-max-retries", "3"),
                    ("x-envoy-retriable-status-codes", "503,504"),
                ]);
            }
            Some(Ok(allow_with(&headers, &[])))
        })
        .start()
        .await;
    assert_eq!(get(gateway.http(), "/api/retry").await.status, 200);
    assert_eq!(count.load(Ordering::SeqCst), 3);
    let answer = request(gateway.http(), "POST /api/retry", "", "with a body").await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "with a body"));
    assert_eq!(count.load(Ordering::SeqCst), 6);
    let forged = "x-envoy-retry-on: retriable-status-codes\r\nx-envoy-max-retries: 3\r\nx-envoy-retriable-status-codes: 503\r\n";
    assert_eq!(
        request(gateway.http(), "GET /api/x", forged, "").await.status,
        503
    );
    assert_eq!(count.load(Ordering::SeqCst), 7);
    // Used up: the last answer stands.
    count.store(0, Ordering::SeqCst);
    let always = Upstream::answering(|_| Response::builder().status(504).body(full("slow")).unwrap()).await;
    let gateway = Setup::to(always.address)
        .answering(|_| {
            Some(Ok(allow_with(
                &[
                    ("x-wso2-cluster-header", "up"),
                    ("x-envoy-retry-on", "retriable-status-codes"),
                    ("x-envoy-max-retries", "2"),
                    ("x-envoy-retriable-status-codes", "504"),
                ],
                &[],
            )))
        })
        .start()
        .await;
    let answer = get(gateway.http(), "/api/x").await;
    assert_eq!(
        (answer.status, answer.body.as_str(), always.arrived().len()),
        (504, "slow", 3)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_timeout_of_the_verdict_replaces_that_of_the_route() {
    let upstream = Upstream::scripted(|_, mut stream| async move {
        read_head(&mut stream).await;
        std::future::pending::<()>().await;
    })
    .await;
    let gateway = Setup::to(upstream.address)
        .answering(|_| {
            Some(Ok(allow_with(
                &[
                    ("x-wso2-cluster-header", "up"),
                    ("x-envoy-upstream-rq-timeout-ms", "200"),
                ],
                &[],
            )))
        })
        .start()
        .await;
    let started = tokio::time::Instant::now();
    assert_eq!(get(gateway.http(), "/api/x").await.status, 504);
    assert!(started.elapsed() < Duration::from_secs(10));
}

/// A connection that its peer closes while it is idle costs no request, whatever the method; one on which the request was
/// written is repeated when that is safe.
#[tokio::test(flavor = "multi_thread")]
async fn stale_connections_cost_no_request() {
    let upstream = Upstream::scripted(|_, mut stream| async move {
        read_head(&mut stream).await;
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
            .await
            .unwrap();
        // Closes after the next request has begun to arrive, without an answer.
        stream.read_u8().await.ok();
    })
    .await;
    let mut setup = Setup::to(upstream.address);
    setup.workers = 1;
    let gateway = setup.start().await;
    for n in 0..6 {
        let answer = get(gateway.http(), "/api/x").await;
        assert_eq!((answer.status, answer.body.as_str()), (200, "ok"), "request {n}");
    }
    // Such a POST may have been carried out, so it is not repeated.
    let statuses = [
        request(gateway.http(), "POST /api/x", "", "").await.status,
        request(gateway.http(), "POST /api/x", "", "").await.status,
    ];
    assert!(statuses.contains(&503), "{statuses:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_kept_and_reused() {
    let upstream = Upstream::echo().await;
    let mut setup = Setup::to(upstream.address);
    setup.workers = 1;
    let gateway = setup.start().await;
    for _ in 0..10 {
        assert_eq!(get(gateway.http(), "/api/x").await.status, 200);
    }
    assert_eq!(upstream.connections(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_resolved_and_endpoints_take_turns_and_turns_over() {
    let upstream = Upstream::echo().await;
    let other = Upstream::echo().await;
    let mut setup = Setup::to(upstream.address);
    setup.clusters = vec![cluster("up", "localhost", upstream.address.port())];
    let endpoint = |address: SocketAddr, priority| Endpoint {
        host: "localhost".to_owned(),
        port: address.port(),
        priority,
        tls: None,
    };
    let mut two = cluster("two", "localhost", 1);
    two.endpoints = vec![endpoint(upstream.address, 0), endpoint(other.address, 0)];
    let mut failover = cluster("failover", "localhost", 1);
    failover.endpoints = vec![endpoint(refused().await, 0), endpoint(other.address, 1)];
    failover.health = Some(HealthCheck {
        timeout: Duration::from_secs(1),
        interval: Duration::from_millis(100),
        unhealthy: 1,
        healthy: 1,
    });
    setup.clusters.extend([two, failover]);
    setup.workers = 1;
    let gateway = setup
        .answering(|seen| {
            let name = seen.path.rsplit('/').next().unwrap_or_default();
            Some(Ok(allow_with(&[("x-wso2-cluster-header", name)], &[])))
        })
        .start()
        .await;
    assert_eq!(get(gateway.http(), "/api/up").await.status, 200);
    assert_eq!(upstream.arrived()[0].headers["host"], "localhost");
    for _ in 0..10 {
        assert_eq!(get(gateway.http(), "/api/two").await.status, 200);
    }
    assert_eq!((upstream.arrived().len(), other.arrived().len()), (6, 5));
    for _ in 0..4 {
        assert_eq!(
            get(gateway.http(), "/api/failover").await.status,
            200,
            "the next endpoint serves"
        );
    }
    assert_eq!(other.arrived().len(), 9);
}

#[tokio::test(flavor = "multi_thread")]
async fn circuit_breakers() {
    let upstream = Upstream::scripted(|_, mut stream| async move {
        read_head(&mut stream).await;
        std::future::pending::<()>().await;
    })
    .await;
    let mut setup = Setup::to(upstream.address);
    // Each may have one request under way whatever the others have.
    setup.workers = 1;
    setup.clusters[0].limits = ClusterLimits {
        max_requests: Some(2),
        ..ClusterLimits::default()
    };
    let gateway = setup.start().await;
    let address = gateway.http();
    let held: Vec<_> = (0..2)
        .map(|_| tokio::spawn(async move { get(address, "/api/x").await }))
        .collect();
    eventually("both are with the upstream", async || upstream.connections() == 2).await;
    let answer = get(address, "/api/x").await;
    assert_eq!(
        (answer.status, answer.body),
        (
            503,
            reply("102505", "Upstream overflow", &format!("{RESET}overflow"))
        )
    );
    for task in held {
        task.abort();
    }
    // A caller that goes away frees its place.
    eventually("the places are free", async || {
        let probe = tokio::spawn(async move { get(address, "/api/x").await });
        let outcome = timeout(Duration::from_millis(200), probe).await;
        outcome.is_err()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_upstreams_are_verified_as_configured() {
    let upstream = Upstream::secure(
        Pki::get()
            .material("enforcer")
            .acceptor(ClientAuth::Optional, &[b"h2", b"http/1.1"]),
        |arrived| Response::new(full(format!("{:?} {}", arrived.version, arrived.uri))),
    )
    .await;
    let ca = Pem::File(Pki::get().ca().display().to_string());
    let own = Pem::File(Pki::get().certificate("router").display().to_string());
    let foreign = {
        let dir = tempfile::tempdir().unwrap();
        let authority = trireme_tls::authority::Authority::open_or_create(dir.path()).unwrap();
        Pem::Inline(authority.certificate().to_owned())
    };
    let tls = |trust, verify: Option<&str>| UpstreamTls {
        sni: Some(verify.unwrap_or("other.test").to_owned()),
        trust,
        verify_host: verify.map(str::to_owned),
        client_certificate: Some((
            own.clone(),
            Pem::File(Pki::get().key("router").display().to_string()),
        )),
        min_version: TlsVersion::V1_2,
        max_version: TlsVersion::V1_3,
        ciphers: Vec::new(),
    };
    let made = |name: &str, tls: UpstreamTls, protocol| {
        let mut cluster = cluster(name, "127.0.0.1", upstream.address.port());
        cluster.endpoints[0].tls = Some(tls);
        cluster.protocol = protocol;
        cluster
    };
    let http2 = UpstreamProtocol::Http2 {
        header_table_size: Some(4096),
        max_streams: Some(100),
    };
    let mut setup = Setup::to(upstream.address);
    setup.clusters = vec![
        made(
            "verified",
            tls(Trust::Anchors(ca.clone()), Some("enforcer")),
            UpstreamProtocol::Http1,
        ),
        made("http2", tls(Trust::Anchors(ca.clone()), Some("enforcer")), http2),
        made(
            "chain",
            tls(Trust::Anchors(ca.clone()), None),
            UpstreamProtocol::Http1,
        ),
        made(
            "name",
            tls(Trust::Anchors(ca), Some("other.test")),
            UpstreamProtocol::Http1,
        ),
        made(
            "foreign",
            tls(Trust::Anchors(foreign), Some("enforcer")),
            UpstreamProtocol::Http1,
        ),
        made("any", tls(Trust::None, None), UpstreamProtocol::Http1),
    ];
    let gateway = setup
        .answering(|seen| {
            let name = seen.path.rsplit('/').next().unwrap_or_default();
            Some(Ok(allow_with(&[("x-wso2-cluster-header", name)], &[])))
        })
        .start()
        .await;
    let cases = [
        ("verified", 200, "HTTP/1.1 /verified"),
        ("http2", 200, "HTTP/2.0 /http2"),
        ("chain", 200, "HTTP/1.1 /chain"),
        ("any", 200, "HTTP/1.1 /any"),
        ("name", 503, "102503"),
        ("foreign", 503, "102503"),
    ];
    for (name, status, text) in cases {
        let answer = get(gateway.http(), &format!("/api/{name}")).await;
        assert_eq!(answer.status, status, "{name}: {answer:?}");
        assert!(answer.body.contains(text), "{name}: {answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_waits_for_a_connection_that_is_never_made_is_told_so() {
    // Takes connections and says nothing, so no TLS handshake ends.
    let upstream = Upstream::scripted(|_, mut stream| async move {
        let mut waste = [0; 4096];
        while stream.read(&mut waste).await.is_ok_and(|read| read > 0) {}
    })
    .await;
    let mut setup = Setup::to(upstream.address);
    setup.workers = 1;
    let cluster = &mut setup.clusters[0];
    cluster.connect_timeout = Duration::from_millis(200);
    cluster.protocol = UpstreamProtocol::Http2 {
        header_table_size: None,
        max_streams: None,
    };
    cluster.endpoints[0].tls = Some(UpstreamTls {
        sni: Some("enforcer".to_owned()),
        trust: Trust::None,
        verify_host: None,
        client_certificate: None,
        min_version: TlsVersion::V1_2,
        max_version: TlsVersion::V1_3,
        ciphers: Vec::new(),
    });
    let gateway = setup.start().await;
    let calls = (0..6).map(|_| get(gateway.http(), "/api/x"));
    for answer in futures_util::future::join_all(calls).await {
        assert_eq!(answer.status, 503);
        assert!(answer.body.contains("102503"), "{answer:?}");
    }
}
