//! Versions, framing and trailers of the messages to and from upstreams: each hop speaks for itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use trireme_routing::snapshot::{ClusterLimits, Endpoint, HealthCheck, UpstreamProtocol};

use crate::support::{Setup, Upstream, cluster, eventually, full, get, http2, raw, request, send2};

/// Reads the head of a request; empty at the end of the connection.
async fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if stream.read(&mut byte).await.unwrap_or(0) == 0 {
            break;
        }
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_of_http_1_0_is_spoken_to_and_of_in_http_1_1() {
    let upstream = Upstream::scripted(|_, mut stream| async move {
        loop {
            let head = head(&mut stream).await;
            if head.is_empty() {
                return;
            }
            let mut body = String::new();
            if head.contains("transfer-encoding: chunked\r\n") {
                let mut rest = [0; 256];
                while !body.ends_with("0\r\n\r\n") {
                    let read = stream.read(&mut rest).await.unwrap();
                    body.push_str(std::str::from_utf8(&rest[..read]).unwrap());
                }
            }
            let seen = format!("{}{body}", head.lines().next().unwrap());
            let answer = match head.contains("/endless") {
                true => format!("HTTP/1.0 200 OK\r\n\r\n{seen}"),
                false => format!(
                    "HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: {}\r\n\r\n{seen}",
                    seen.len()
                ),
            };
            stream.write_all(answer.as_bytes()).await.unwrap();
            if head.contains("/endless") {
                return;
            }
        }
    })
    .await;
    let gateway = Setup::to(upstream.address).start().await;
    for _ in 0..2 {
        let chunked = "POST /api/x HTTP/1.1\r\nhost: gw.test\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
        let reply = raw(gateway.http(), chunked.as_bytes()).await;
        assert!(reply.head.starts_with("HTTP/1.1 200 "), "{}", reply.head);
        assert_eq!(reply.body, "POST /x HTTP/1.15\r\nhello\r\n0\r\n\r\n");
        let reply = get(gateway.http(), "/api/endless").await;
        assert!(reply.head.starts_with("HTTP/1.1 200 "), "{}", reply.head);
        assert_eq!(reply.header("transfer-encoding"), Some("chunked"));
        assert_eq!(reply.body, "GET /endless HTTP/1.1");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_of_every_method_arrive_framed_as_upstreams_expect() {
    let upstream = Upstream::answering(|arrived| {
        let header = |name| {
            arrived
                .headers
                .get(name)
                .map_or("-", |value| value.to_str().unwrap())
        };
        let (length, coding) = (header("content-length"), header("transfer-encoding"));
        let body = String::from_utf8_lossy(&arrived.body);
        Response::new(full(format!("{} {length} {coding} {body}", arrived.method)))
    })
    .await;
    let gateway = Setup::to(upstream.address).start().await;
    let chunked = "transfer-encoding: chunked\r\n";
    for method in ["GET", "DELETE", "POST", "PUT"] {
        let text = format!(
            "{method} /api/x HTTP/1.1\r\nhost: gw.test\r\nconnection: close\r\n{chunked}\r\n5\r\nhello\r\n0\r\n\r\n"
        );
        let reply = raw(gateway.http(), text.as_bytes()).await;
        assert_eq!(reply.body, format!("{method} - chunked hello"));
        let reply = request(gateway.http(), &format!("{method} /api/x"), "", "hello").await;
        assert_eq!(reply.body, format!("{method} 5 - hello"));
        let reply = request(gateway.http(), &format!("{method} /api/x"), "", "").await;
        let none = if method == "GET" { "-" } else { "0" };
        assert_eq!(reply.body, format!("{method} {none} - "));

        let mut caller = http2(gateway.http()).await;
        let call = |body: Full<Bytes>| {
            let request = Request::builder().method(method).uri("http://gw.test/api/x");
            request.body(body).unwrap()
        };
        let (.., body, _) = send2(&mut caller, call(Full::default())).await;
        assert_eq!(body, format!("{method} {none} - "));
        let mut caller = http2(gateway.http()).await;
        let frames =
            [Bytes::from("hel"), Bytes::from("lo")].map(|data| Ok::<_, std::io::Error>(Frame::data(data)));
        let body = StreamBody::new(tokio_stream::iter(frames));
        let request = Request::builder().method(method).uri("http://gw.test/api/x");
        let response = caller.send_request(request.body(body).unwrap()).await.unwrap();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, format!("{method} - chunked hello"));
    }
    // HEAD tells nothing back.
    let head = format!(
        "HEAD /api/x HTTP/1.1\r\nhost: gw.test\r\nconnection: close\r\n{chunked}\r\n1\r\nh\r\n0\r\n\r\n"
    );
    assert_eq!(raw(gateway.http(), head.as_bytes()).await.status, 200);
    assert_eq!(upstream.arrived().last().unwrap().body, "h");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_lengths_is_not_passed_on() {
    let upstream = Upstream::scripted(|_, mut stream| async move {
        let head = head(&mut stream).await;
        let length = if head.contains("/plus") { "+2" } else { "2, 2" };
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\nok");
        stream.write_all(answer.as_bytes()).await.unwrap();
    })
    .await;
    let gateway = Setup::to(upstream.address).start().await;
    for path in ["/api/list", "/api/plus"] {
        let reply = get(gateway.http(), path).await;
        assert_eq!(reply.status, 500, "{path}");
        assert!(reply.body.contains("102515"), "{path}: {}", reply.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn trailers_end_an_answer_and_leave_the_connection() {
    let upstream = Upstream::scripted(|_, mut stream| async move {
        while !head(&mut stream).await.is_empty() {
            let answer = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n\
                           6\r\nGET /x\r\n0\r\nx-sum: 7\r\n\r\n";
            stream.write_all(answer).await.unwrap();
        }
    })
    .await;
    let mut setup = Setup::to(upstream.address);
    setup.workers = 1;
    setup.access_log = Some("%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS%\n".to_owned());
    let gateway = setup.start().await;
    let mut caller = http2(gateway.http()).await;
    for _ in 0..3 {
        let request = Request::get("http://gw.test/api/x")
            .body(Full::default())
            .unwrap();
        let (status, _, body, trailers) = send2(&mut caller, request).await;
        assert_eq!((status, &*body), (200, &b"GET /x"[..]));
        assert_eq!(trailers.unwrap()["x-sum"], "7");
    }
    for _ in 0..3 {
        let text = "GET /api/x HTTP/1.1\r\nhost: gw.test\r\nte: trailers\r\nconnection: te, close\r\n\r\n";
        assert_eq!(raw(gateway.http(), text.as_bytes()).await.body, "GET /x");
    }
    assert_eq!(gateway.log(6).await, vec!["200 - via_upstream"; 6]);
    assert_eq!(upstream.connections(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_length_of_a_body_that_is_not_sent_passes() {
    let upstream = Upstream::scripted(|_, mut stream| async move {
        while !head(&mut stream).await.is_empty() {
            let answer = b"HTTP/1.1 304 Not Modified\r\netag: \"a\"\r\ncontent-length: 7\r\n\r\n";
            stream.write_all(answer).await.unwrap();
        }
    })
    .await;
    let mut setup = Setup::to(upstream.address);
    setup.access_log = Some("%RESPONSE_CODE% %RESPONSE_FLAGS% %BYTES_SENT%\n".to_owned());
    let gateway = setup.start().await;
    let mut caller = http2(gateway.http()).await;
    let request = Request::get("http://gw.test/api/x")
        .body(Full::default())
        .unwrap();
    let (status, headers, body, _) = send2(&mut caller, request).await;
    assert_eq!((status, body.len()), (304, 0));
    assert_eq!(headers["content-length"], "7");
    // Two on one connection of HTTP/1.1, which goes on.
    let two = "GET /api/x HTTP/1.1\r\nhost: gw.test\r\n\r\nGET /api/x HTTP/1.1\r\nhost: gw.test\r\nconnection: close\r\n\r\n";
    let reply = raw(gateway.http(), two.as_bytes()).await;
    let all = format!("{}\r\n\r\n{}", reply.head, reply.body);
    assert_eq!(all.matches("HTTP/1.1 304 Not Modified\r\n").count(), 2, "{all}");
    assert_eq!(all.matches("content-length: 7\r\n").count(), 2, "{all}");
    assert_eq!(gateway.log(3).await, ["304 - 0"; 3]);
}

/// A PUT on a connection that turns out to be dead is sent again with its body; a POST is not.
#[tokio::test(flavor = "multi_thread")]
async fn idempotent_requests_with_bodies_survive_a_stale_connection() {
    let upstream = Upstream::scripted(|number, mut stream| async move {
        let mut served = 0;
        loop {
            let head = head(&mut stream).await;
            if head.is_empty() {
                return;
            }
            let mut body = [0; 5];
            if head.contains("content-length: 5") {
                stream.read_exact(&mut body).await.unwrap();
            }
            // The second request of each first connection finds nobody.
            if number % 2 == 1 && served == 1 {
                return;
            }
            served += 1;
            let text = String::from_utf8_lossy(&body).into_owned();
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n{text}");
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    })
    .await;
    for (method, want) in [("PUT", 200), ("DELETE", 200), ("POST", 503)] {
        let mut setup = Setup::to(upstream.address);
        setup.workers = 1;
        let gateway = setup.start().await;
        let first = request(gateway.http(), "PUT /api/x", "", "first").await;
        assert_eq!((first.status, first.body.as_str()), (200, "first"));
        let second = request(gateway.http(), &format!("{method} /api/x"), "", "again").await;
        assert_eq!(second.status, want, "{method}: {}", second.body);
        if want == 200 {
            assert_eq!(second.body, "again");
        } else {
            // So that the next gateway's first connection is odd again.
            assert_eq!(
                request(gateway.http(), "PUT /api/x", "", "first").await.status,
                200
            );
        }
    }
}

/// Requests that wait for a connection count as pending, not as requests under way.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_breaker_has_a_queue() {
    let gate = Arc::new(Semaphore::new(0));
    let here = Arc::new(AtomicUsize::new(0));
    let (held, arrived) = (Arc::clone(&gate), Arc::clone(&here));
    let upstream = Upstream::scripted(move |_, mut stream| {
        let (held, arrived) = (Arc::clone(&held), Arc::clone(&arrived));
        async move {
            while !head(&mut stream).await.is_empty() {
                arrived.fetch_add(1, Ordering::SeqCst);
                held.acquire().await.unwrap().forget();
                stream
                    .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
                    .await
                    .unwrap();
            }
        }
    })
    .await;
    let mut setup = Setup::to(upstream.address);
    setup.workers = 1;
    setup.clusters[0].limits = ClusterLimits {
        max_connections: Some(2),
        max_pending: Some(3),
        max_requests: Some(2),
        max_retries: None,
    };
    let gateway = setup.start().await;
    let http = gateway.http();
    let call = || tokio::spawn(async move { get(http, "/api/x").await.status });
    let first: Vec<_> = (0..2).map(|_| call()).collect();
    eventually("both connections are used", async || {
        here.load(Ordering::SeqCst) == 2
    })
    .await;
    let mut waiting: Vec<_> = (0..8).map(|_| call()).collect();
    eventually("all but three are refused", async || {
        waiting.iter().filter(|call| call.is_finished()).count() == 5
    })
    .await;
    gate.add_permits(100);
    let mut statuses = Vec::new();
    for call in first.into_iter().chain(waiting.drain(..)) {
        statuses.push(call.await.unwrap());
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 200, 200, 200, 503, 503, 503, 503, 503]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_was_refused_is_asked_for_once_more() {
    // SETTINGS, its acknowledgement, and then: GOAWAY without a stream, or RST_STREAM REFUSED_STREAM.
    const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
    const ACK: &[u8] = &[0, 0, 0, 4, 1, 0, 0, 0, 0];
    const GOAWAY: &[u8] = &[0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    const REFUSED: u8 = 7;
    for (away, body) in [(true, ""), (true, "hello"), (false, ""), (false, "hello")] {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let upstream = Upstream::scripted(move |_, mut stream| {
            let count = Arc::clone(&count);
            async move {
                let mut preface = [0; 24];
                stream.read_exact(&mut preface).await.unwrap();
                stream.write_all(&[SETTINGS, ACK].concat()).await.unwrap();
                let mut frame = [0; 9];
                while stream.read_exact(&mut frame).await.is_ok() {
                    let length = usize::from(frame[1]) << 8 | usize::from(frame[2]);
                    stream.read_exact(&mut vec![0; length]).await.unwrap();
                    if frame[3] == 1 {
                        count.fetch_add(1, Ordering::SeqCst);
                        if away {
                            stream.write_all(GOAWAY).await.unwrap();
                            // To close with something unread would reset the connection, which can overtake it.
                            drop(stream.read_to_end(&mut Vec::new()).await);
                            return;
                        }
                        let reset = [&[0, 0, 4, 3, 0][..], &frame[5..], &[0, 0, 0, REFUSED]].concat();
                        stream.write_all(&reset).await.unwrap();
                    }
                }
            }
        })
        .await;
        let mut setup = Setup::to(upstream.address);
        setup.workers = 1;
        setup.clusters[0].protocol = UpstreamProtocol::Http2 {
            max_streams: None,
            header_table_size: None,
        };
        setup.access_log = Some("%RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS%\n".to_owned());
        let gateway = setup.start().await;
        let reply = request(gateway.http(), "POST /api/x", "", body).await;
        assert_eq!(reply.status, 503, "{}", reply.body);
        assert!(reply.body.contains("102509"), "{}", reply.body);
        assert!(
            reply.body.contains("remote refused stream reset"),
            "{}",
            reply.body
        );
        assert_eq!(asked.load(Ordering::SeqCst), 2);
        let line = gateway.log(1).await;
        assert_eq!(
            line,
            ["UR upstream_reset_before_response_started{remote_refused_stream_reset}"]
        );
    }
}

/// An endpoint that accepts nothing is never waited for: it is probed before the first request.
#[tokio::test(flavor = "multi_thread")]
async fn new_endpoints_are_probed_before_they_are_used() {
    let upstream = Upstream::echo().await;
    // A queue that is full: connections are neither made nor refused.
    let full = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    full.bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap().into())
        .unwrap();
    full.listen(0).unwrap();
    let silent = full.local_addr().unwrap().as_socket().unwrap();
    let mut taken = Vec::new();
    while let Ok(Ok(stream)) =
        tokio::time::timeout(Duration::from_millis(300), TcpStream::connect(silent)).await
    {
        taken.push(stream);
    }
    let mut setup = Setup::to(upstream.address);
    let up = &mut setup.clusters[0];
    *up = cluster("up", "127.0.0.1", silent.port());
    up.endpoints.push(Endpoint {
        port: upstream.address.port(),
        ..up.endpoints[0].clone()
    });
    up.health = Some(HealthCheck {
        timeout: Duration::from_secs(1),
        interval: Duration::from_secs(3600),
        unhealthy: 2,
        healthy: 2,
    });
    let gateway = setup.start().await;
    for _ in 0..8 {
        let reply = tokio::time::timeout(Duration::from_secs(5), get(gateway.http(), "/api/x")).await;
        assert_eq!(reply.expect("nobody waits for the other one").status, 200);
    }
    assert_eq!(upstream.arrived().len(), 8);
}
