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

/// hyper answers these itself; they are logged and counted like all others.
#[tokio::test(flavor = "multi_thread")]
async fn heads_that_cannot_be_read_have_a_line_in_the_log() {
    let upstream = Upstream::echo().await;
    let mut setup = Setup::to(upstream.address);
    setup.access_log =
        Some("%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %REQ(:METHOD)%\n".to_owned());
    let gateway = setup.start().await;
    let many = format!(
        "GET /api/x HTTP/1.1\r\nhost: gw.test\r\n{}\r\n",
        "a: b\r\n".repeat(101)
    );
    let long = format!(
        "GET /api/x HTTP/1.1\r\nhost: gw.test\r\na: {}\r\n\r\n",
        "b".repeat(61 << 10)
    );
    let cases = [
        (
            "GET /api/x?<b> HTTP/1.1\r\nhost: gw.test\r\n\r\n",
            400,
            "http1.codec_error",
        ),
        (
            "GET /api/x HTTP/1.1\r\nhost: gw.test\r\nb\x00ad: 1\r\n\r\n",
            400,
            "http1.codec_error",
        ),
        (
            "GET /api/x HTTP/1.2\r\nhost: gw.test\r\n\r\n",
            400,
            "http1.codec_error",
        ),
        (&many, 431, "http1.too_many_headers"),
        (&long, 431, "http1.too_many_headers"),
    ];
    for (number, (text, status, details)) in cases.into_iter().enumerate() {
        assert_eq!(
            raw(gateway.http(), text.as_bytes()).await.status,
            status,
            "{details}"
        );
        let lines = gateway.log(number + 1).await;
        assert_eq!(lines[number], format!("{status} DPE {details} -"));
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
