//! Requests that are answered before they were read, or could not be read at all.

use http::Response;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::{BOUND, Reply, Setup, Upstream, deny, full, raw};

/// The heads of the answers to what is sent, piece by piece, until the gateway closes or all are there.
async fn answers(address: std::net::SocketAddr, pieces: &[Vec<u8>], count: usize) -> Vec<Reply> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut seen = Vec::new();
    let read = async {
        for piece in pieces {
            stream.write_all(piece).await.unwrap();
        }
        let mut bytes = [0; 4096];
        loop {
            let heads = seen.windows(9).filter(|window| *window == b"HTTP/1.1 ").count();
            if heads == count && seen.ends_with(b"}") {
                return;
            }
            match stream.read(&mut bytes).await {
                Ok(read) if read > 0 => seen.extend_from_slice(&bytes[..read]),
                _ => return,
            }
        }
    };
    timeout(BOUND, read).await.expect("answers in time");
    let text = String::from_utf8(seen).unwrap();
    text.split("HTTP/1.1 ")
        .skip(1)
        .map(|answer| Reply::parse(format!("HTTP/1.1 {answer}").as_bytes()))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_ends_says_so_and_a_small_body_does_not_end_it() {
    let upstream = Upstream::answering(|_| Response::new(full("ok"))).await;
    let gateway = Setup::to(upstream.address)
        .answering(|_| Some(Ok(deny(401, "{}", &[]))))
        .start()
        .await;
    let post = |length: usize, body: usize| {
        let head = format!("POST /api/x HTTP/1.1\r\nhost: gw.test\r\ncontent-length: {length}\r\n\r\n");
        [head.into_bytes(), vec![b'x'; body]].concat()
    };
    let get = b"GET /api/x HTTP/1.1\r\nhost: gw.test\r\n\r\n".to_vec();
    let chunked =
        b"POST /nowhere HTTP/1.1\r\nhost: gw.test\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    let expects =
        b"POST /api/x HTTP/1.1\r\nhost: gw.test\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\n"
            .to_vec();
    let cases = [
        ("small", post(40_000, 40_000), false),
        ("chunked", chunked.to_vec(), false),
        ("great", post(1_000_000, 10), true),
        ("not there", post(3, 0), true),
        ("waits to be told", expects, true),
    ];
    for (name, request, closes) in cases {
        // What is sent after a body that is not there would be that body.
        let pieces = if closes {
            vec![request]
        } else {
            vec![request, get.clone()]
        };
        let seen = answers(gateway.http(), &pieces, 2).await;
        let first = &seen[0];
        assert!(matches!(first.status, 401 | 404), "{name}: {}", first.head);
        assert_eq!(
            first.header("connection") == Some("close"),
            closes,
            "{name}: {}",
            first.head
        );
        assert_eq!(seen.len(), if closes { 1 } else { 2 }, "{name}");
    }
}

/// hyper cannot read these, and would answer them by itself.
#[tokio::test(flavor = "multi_thread")]
async fn heads_that_cannot_be_read_are_answered_and_logged_like_all_others() {
    let upstream = Upstream::echo().await;
    let mut setup = Setup::to(upstream.address);
    setup.access_log = Some(
        "%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %BYTES_SENT% %REQ(:METHOD)% %REQ(:PATH)%\n"
            .to_owned(),
    );
    let gateway = setup.start().await;
    let head = |line: &str, fields: &str| format!("{line}\r\nhost: gw.test\r\n{fields}\r\n");
    let codec = "DPE http1.codec_error 11";
    let many = "DPE http1.too_many_headers 0";
    let cases = [
        (head("GET /a b HTTP/1.1", ""), 400, codec, "GET /a"),
        (head("GET /a\x7fb HTTP/1.1", ""), 400, codec, "GET /a%7Fb"),
        (head("G<T /a HTTP/1.1", ""), 400, codec, "- /a"),
        (head("GET /a HTTP/x", ""), 400, codec, "GET /a"),
        (head("GET /a HTTP/1.1", "b\x00ad: 1\r\n"), 400, codec, "GET /a"),
        (head("GET /a HTTP/1.1", "bad : 1\r\n"), 400, codec, "GET /a"),
        (head("GET /a HTTP/1.1", "a: b\r\n c\r\n"), 400, codec, "GET /a"),
        (
            head("POST /a HTTP/1.1", "content-length: x\r\n"),
            400,
            codec,
            "POST /a",
        ),
        (
            head("HEAD /a HTTP/1.1", "b\x00: 1\r\n"),
            400,
            "DPE http1.codec_error 0",
            "HEAD /a",
        ),
        (head("GET /a HTTP/1.2", ""), 426, "DPE low_version 16", "GET /a"),
        (head("GET /a HTTP/2.0", ""), 426, "DPE low_version 16", "GET /a"),
        (
            head("GET /a HTTP/1.1", &"a: b\r\n".repeat(101)),
            431,
            many,
            "GET /a",
        ),
        (
            head("GET /a HTTP/1.1", &format!("a: {}\r\n", "b".repeat(61 << 10))),
            431,
            many,
            "GET /a",
        ),
        // More than is read: it must not be lost behind a reset.
        (
            head("GET /a HTTP/1.1", &format!("a: {}\r\n", "b".repeat(1 << 20))),
            431,
            many,
            "GET /a",
        ),
    ];
    for (number, (text, status, recorded, named)) in cases.into_iter().enumerate() {
        let begin: String = text.chars().take(40).collect();
        let reply = raw(gateway.http(), text.as_bytes()).await;
        assert_eq!(reply.status, status, "{begin:?}");
        assert_eq!(reply.header("server"), Some("envoy"), "{begin:?}: {}", reply.head);
        assert_eq!(
            reply.header("connection"),
            Some("close"),
            "{begin:?}: {}",
            reply.head
        );
        assert!(reply.header("date").is_some(), "{begin:?}: {}", reply.head);
        let lines = gateway.log(number + 1).await;
        assert_eq!(lines[number], format!("{status} {recorded} {named}"), "{begin:?}");
    }
    // What the original takes is taken.
    let cookie = "c".repeat(50 << 10);
    let text =
        format!("GET /api/x HTTP/1.1\r\nhost: gw.test\r\ncookie: {cookie}\r\nconnection: close\r\n\r\n");
    assert_eq!(raw(gateway.http(), text.as_bytes()).await.status, 200);
    assert_eq!(upstream.arrived()[0].headers["cookie"].len(), 50 << 10);
    let metrics = gateway.admin("/metrics").await.body;
    assert!(metrics.contains("DPE"), "{metrics}");
}

/// The answer comes in its turn, and what an upstream says is never taken for it.
#[tokio::test(flavor = "multi_thread")]
async fn the_answer_to_an_unreadable_head_comes_behind_all_others() {
    let imitation = "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n";
    let upstream = Upstream::answering(move |_| Response::new(full(imitation))).await;
    let mut setup = Setup::to(upstream.address);
    setup.access_log = Some("%RESPONSE_CODE% %REQ(:PATH)%\n".to_owned());
    let gateway = setup.start().await;
    let get = "GET /api/x HTTP/1.1\r\nhost: gw.test\r\n\r\n";
    let text = format!("{get}{get}{}", get.replace("/api/x", "/api/\x01"));
    let mut stream = TcpStream::connect(gateway.http()).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut seen = String::new();
    timeout(BOUND, stream.read_to_string(&mut seen))
        .await
        .expect("answers in time")
        .unwrap();
    assert_eq!(seen.matches("HTTP/1.1 200 OK\r\n").count(), 2, "{seen}");
    assert_eq!(seen.matches(imitation).count(), 2, "{seen}");
    let (_, last) = seen.rsplit_once(imitation).unwrap();
    assert!(last.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{seen}");
    assert!(last.ends_with("\r\n\r\nBad Request"), "{seen}");
    assert_eq!(gateway.log(3).await, ["200 /x", "200 /x", "400 /api/%01"]);
}

/// What `http` has no place for in a target is percent-encoded, wherever a read ends; the rest stays as it is.
#[tokio::test(flavor = "multi_thread")]
async fn characters_that_clients_leave_as_they_are_are_encoded() {
    let upstream = Upstream::answering(|_| Response::new(full("ok"))).await;
    let gateway = Setup::to(upstream.address).start().await;
    let cases = [
        ("/api/x?f={\"a\":1}", "/x?f={%22a%22:1}"),
        ("/api/x?q=<b>&`", "/x?q=%3Cb%3E&`"),
        ("/api/<b>", "/%3Cb%3E"),
        ("/api/a`b?\"", "/a%60b?%22"),
    ];
    for (sent, _) in cases {
        let text = format!("GET {sent} HTTP/1.1\r\nhost: gw.test\r\nx-a: <\"`>\r\nconnection: close\r\n\r\n");
        assert_eq!(raw(gateway.http(), text.as_bytes()).await.status, 200, "{sent}");
        // Byte by byte, behind another request.
        let text = format!("GET /api/y HTTP/1.1\r\nhost: gw.test\r\n\r\n{text}");
        let mut stream = TcpStream::connect(gateway.http()).await.unwrap();
        stream.set_nodelay(true).unwrap();
        for byte in text.as_bytes() {
            stream.write_all(&[*byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
        let mut seen = String::new();
        timeout(BOUND, stream.read_to_string(&mut seen))
            .await
            .expect("answers in time")
            .unwrap();
        assert_eq!(seen.matches("HTTP/1.1 200 OK\r\n").count(), 2, "{sent}: {seen}");
    }
    let arrived = upstream.arrived();
    let paths: Vec<&str> = arrived.iter().map(|seen| seen.uri.as_str()).collect();
    let want: Vec<&str> = cases.iter().flat_map(|(_, want)| [*want, "/y", *want]).collect();
    assert_eq!(paths, want);
    assert_eq!(arrived[0].headers["x-a"], "<\"`>");
}

/// hyper ends trailers at CR LF only: the request behind a bare line feed would vanish in them.
#[tokio::test(flavor = "multi_thread")]
async fn trailers_without_an_end_break_their_request_off() {
    let upstream = Upstream::echo().await;
    let gateway = Setup::to(upstream.address).start().await;
    let text = "POST /api/x HTTP/1.1\r\nhost: gw.test\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\nx: 1\n\n\
                GET /api/y HTTP/1.1\r\nhost: gw.test\r\n\r\n";
    let reply = raw(gateway.http(), text.as_bytes()).await;
    assert_eq!(reply.status, 400, "{}", reply.head);
    assert_eq!(reply.header("connection"), Some("close"));
    assert!(upstream.arrived().is_empty());
}
