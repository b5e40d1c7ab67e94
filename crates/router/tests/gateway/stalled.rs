//! Callers that do not take their answers.

use std::time::Duration;

use http::Response;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use trireme_routing::snapshot::ClusterLimits;

use crate::support::{BOUND, Setup, Upstream, eventually, full, get};

/// A frame of HTTP/2 (RFC 9113 section 4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A connection whose streams have no window, with that many requests.
async fn stall(gateway: std::net::SocketAddr, streams: u32) -> TcpStream {
    let mut stream = TcpStream::connect(gateway).await.unwrap();
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    // SETTINGS_INITIAL_WINDOW_SIZE 0.
    bytes.extend(frame(4, 0, 0, &[0, 4, 0, 0, 0, 0]));
    // GET, http, /api/x, gw.test, without a table (RFC 7541).
    let head = [b"\x82\x86\x04\x06/api/x\x01\x07".as_slice(), b"gw.test"].concat();
    for number in 0..streams {
        bytes.extend(frame(1, 5, 2 * number + 1, &head));
    }
    stream.write_all(&bytes).await.unwrap();
    stream
}

async fn big() -> Upstream {
    Upstream::answering(|_| Response::new(full(vec![b'x'; 200 << 10]))).await
}

/// Streams that were reset on a connection, until `count` were.
async fn resets(stream: &mut TcpStream, count: usize) -> Vec<u32> {
    let mut reset = Vec::new();
    let read = async {
        while reset.len() < count {
            let mut head = [0; 9];
            stream.read_exact(&mut head).await.unwrap();
            let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
            stream.read_exact(&mut vec![0; length]).await.unwrap();
            match head[3] {
                3 => reset.push(u32::from_be_bytes([head[5], head[6], head[7], head[8]])),
                7 => panic!("the connection goes away"),
                // A PING keeps the connection busy.
                _ => stream.write_all(&frame(6, 0, 0, &[0; 8])).await.unwrap(),
            }
        }
    };
    timeout(BOUND, read).await.expect("streams end");
    reset
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_stream_ends_though_its_connection_is_busy() {
    let upstream = big().await;
    let mut setup = Setup::to(upstream.address);
    setup.http.stream_idle_timeout = Duration::from_secs(1);
    setup.access_log = Some("%RESPONSE_CODE% %RESPONSE_FLAGS%\n".to_owned());
    let gateway = setup.start().await;
    let started = Instant::now();
    let mut stalled = stall(gateway.http(), 3).await;
    stalled.write_all(&frame(6, 0, 0, &[0; 8])).await.unwrap();
    let mut reset = resets(&mut stalled, 3).await;
    reset.sort_unstable();
    assert_eq!(reset, [1, 3, 5]);
    // By a clock that is a tenth of a second late at most.
    assert!(started.elapsed() >= Duration::from_millis(800));
    assert_eq!(gateway.log(3).await, ["200 SI"; 3]);
    // The connection goes on.
    stalled.write_all(&frame(6, 0, 0, &[7; 8])).await.unwrap();
    let answer = async {
        let mut seen = Vec::new();
        while !seen.windows(8).any(|window| window == [7; 8]) {
            let mut bytes = [0; 1024];
            let read = stalled.read(&mut bytes).await.unwrap();
            assert_ne!(read, 0, "closed");
            seen.extend_from_slice(&bytes[..read]);
        }
    };
    timeout(BOUND, answer).await.expect("a PING is answered");
}

/// One address holds every connection of a cluster; another caller waits for a moment and is served.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_address_does_not_switch_an_api_off() {
    let upstream = big().await;
    let mut setup = Setup::to(upstream.address);
    // The connection that a second worker may always have has no place among the requests of a full cluster.
    setup.workers = 1;
    setup.clusters[0].limits = ClusterLimits {
        max_connections: Some(64),
        max_pending: Some(1024),
        max_requests: Some(64),
        max_retries: None,
    };
    let gateway = setup.start().await;
    let mut stalled = Vec::new();
    for _ in 0..2 {
        stalled.push(stall(gateway.http(), 90).await);
    }
    eventually("the cluster is full", async || upstream.arrived().len() >= 64).await;
    for _ in 0..20 {
        let reply = get(gateway.http(), "/api/x").await;
        assert_eq!((reply.status, reply.body.len()), (200, 200 << 10));
    }
    drop(stalled);
}
