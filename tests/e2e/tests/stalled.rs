//! Callers that do not take their answers: eleven connections of HTTP/2 with a hundred streams each.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::timeout;
use trireme_harness::{Gateway, Role, eventually, is_dist};

const BOUND: Duration = Duration::from_secs(30);
const CONNECTIONS: usize = 11;
const STREAMS: u32 = 100;
/// Bytes of an answer.
const ANSWER: usize = 200 << 10;
/// What may stay of the router's memory, bytes: of programs as they ship, and of others, whose objects are larger.
const MORE: (u64, u64) = (8 << 20, 16 << 20);

/// A service with one large answer.
async fn upstream() -> anyhow::Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let port = listener.local_addr()?.port();
    tokio::spawn(async move {
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {ANSWER}\r\n\r\n{}",
            "x".repeat(ANSWER)
        );
        while let Ok((mut stream, _)) = listener.accept().await {
            let answer = answer.clone();
            tokio::spawn(async move {
                let mut head = Vec::new();
                while stream.read_buf(&mut head).await.is_ok_and(|read| read > 0) {
                    // One request at a time is on the way.
                    if head.ends_with(b"\r\n\r\n") {
                        head.clear();
                        if stream.write_all(answer.as_bytes()).await.is_err() {
                            return;
                        }
                    }
                }
            });
        }
    });
    Ok(port)
}

/// A frame of HTTP/2 (RFC 9113 section 4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or_default().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A connection whose streams have no window.
async fn stall(gateway: std::net::SocketAddr) -> anyhow::Result<TcpStream> {
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    // SETTINGS_INITIAL_WINDOW_SIZE 0.
    bytes.extend(frame(4, 0, 0, &[0, 4, 0, 0, 0, 0]));
    // GET, http, /s/a, localhost, without a table (RFC 7541).
    let head = [b"\x82\x86\x04\x04/s/a\x01\x09".as_slice(), b"localhost"].concat();
    for number in 0..STREAMS {
        bytes.extend(frame(1, 5, 2 * number + 1, &head));
    }
    let mut stream = TcpStream::connect(gateway).await?;
    stream.write_all(&bytes).await?;
    Ok(stream)
}

/// Status and length of an answer to another caller, who comes from another address.
async fn call(gateway: std::net::SocketAddr) -> anyhow::Result<(String, usize)> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(([127, 0, 0, 2], 0).into())?;
    let mut stream = socket.connect(gateway).await?;
    let head = b"GET /s/a HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    stream.write_all(head).await?;
    let mut answer = Vec::new();
    timeout(BOUND, stream.read_to_end(&mut answer)).await??;
    let text = String::from_utf8_lossy(&answer);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_default();
    Ok((head.lines().next().unwrap_or_default().to_owned(), body.len()))
}

#[tokio::test(flavor = "multi_thread")]
async fn stalled_streams_leave_others_their_answers_and_the_router_its_memory() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let api = folder.path().join("api.yaml");
    let port = upstream().await?;
    std::fs::write(
        &api,
        format!(
            "openapi: 3.0.3\ninfo: {{ title: S, version: '1' }}\nx-wso2-basePath: /s\n\
             servers: [ {{ url: 'http://127.0.0.1:{port}' }} ]\n\
             paths: {{ /a: {{ get: {{ x-wso2-disable-security: true, responses: {{}} }} }} }}\n"
        ),
    )?;
    let gateway = Gateway::builder().api(api).start().await?;
    let address = gateway.address(Role::Router, "http");
    let good = ("HTTP/1.1 200 OK".to_owned(), ANSWER);
    for _ in 0..20 {
        assert_eq!(call(address).await?, good);
    }
    let before = gateway.resident(Role::Router)?;
    let mut stalled = Vec::new();
    for _ in 0..CONNECTIONS {
        stalled.push(stall(address).await?);
    }
    let mut most = before;
    for _ in 0..40 {
        assert_eq!(call(address).await?, good);
        most = most.max(gateway.resident(Role::Router)?);
    }
    assert!(most > before + (8 << 20), "nothing was held: {before} -> {most}");
    drop(stalled);
    let more = if is_dist() { MORE.0 } else { MORE.1 };
    let after = eventually("memory is given back", async || {
        let now = gateway.resident(Role::Router).ok()?;
        (now < before + more).then_some(now)
    })
    .await;
    let mebibytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    println!(
        "router {:.1} MiB, {:.1} at most, {:.1} afterwards",
        mebibytes(before),
        mebibytes(most),
        mebibytes(after)
    );
    gateway.stop().await?;
    Ok(())
}
