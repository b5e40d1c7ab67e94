//! Callers that do not take their answers.

use std::time::Duration;

use http::Response;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, timeout};
use trireme_routing::snapshot::{ClusterLimits, UpstreamProtocol};

use crate::support::{BOUND, Reply, Setup, Upstream, api, eventually, forwarding, full, get};

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

/// A caller whose socket takes nothing is no slow one for as long as it likes, whatever it sends meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn who_sends_and_never_reads_is_cut() {
    let upstream = Upstream::answering(|_| Response::new(full(vec![b'x'; 16 << 20]))).await;
    let mut setup = Setup::to(upstream.address);
    setup.fragments[0].virtual_hosts[0].routes =
        vec![forwarding(api("/api", "^/api(/.*)*", r"\1"), |forward| {
            forward.idle_timeout = Duration::from_secs(1)
        })];
    setup.http.stream_idle_timeout = Duration::from_secs(1);
    let gateway = setup.start().await;
    let mut stream = TcpStream::connect(gateway.http()).await.unwrap();
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    // Windows without an end, and GET, http, /api/x, gw.test.
    bytes.extend(frame(4, 0, 0, &[0, 4, 0x7f, 0xff, 0xff, 0xff]));
    bytes.extend(frame(8, 0, 0, &[0x7f, 0, 0, 0]));
    let head = [b"\x82\x86\x04\x06/api/x\x01\x07".as_slice(), b"gw.test"].concat();
    bytes.extend(frame(1, 5, 1, &head));
    stream.write_all(&bytes).await.unwrap();
    let sends = async {
        // Frames of a kind that is unknown are passed over.
        while stream.write_all(&frame(0xee, 0, 0, &[])).await.is_ok() {
            gateway.admin("/ready").await;
        }
    };
    timeout(BOUND, sends).await.expect("the connection is cut");
}

/// Limits of a cluster that is soon full.
fn narrow() -> ClusterLimits {
    ClusterLimits {
        max_connections: Some(64),
        max_pending: Some(64),
        max_requests: Some(64),
        max_retries: None,
    }
}

/// Connections of HTTP/1.1 whose callers ask and never read.
async fn stop_reading(gateway: std::net::SocketAddr, count: usize) -> Vec<TcpStream> {
    let mut stalled = Vec::new();
    for _ in 0..count {
        let mut stream = TcpStream::connect(gateway).await.unwrap();
        let head = b"GET /api/x HTTP/1.1\r\nhost: gw.test\r\n\r\n";
        stream.write_all(head).await.unwrap();
        stalled.push(stream);
    }
    stalled
}

/// GET from another address of this machine gets the whole answer.
async fn served_elsewhere(gateway: std::net::SocketAddr, bytes: usize) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let exchange = async {
        let mut stream = socket.connect(gateway).await.unwrap();
        let head = b"GET /api/x HTTP/1.1\r\nhost: gw.test\r\nconnection: close\r\n\r\n";
        stream.write_all(head).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.expect("no reset");
        Reply::parse(&answer)
    };
    let reply = timeout(BOUND, exchange).await.expect("an answer in time");
    assert_eq!((reply.status, reply.body.len()), (200, bytes), "{}", reply.head);
}

/// One address holds every connection of a cluster and every place in its queue; another caller is served all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_address_does_not_switch_an_api_off() {
    let upstream = big().await;
    let mut setup = Setup::to(upstream.address);
    setup.clusters[0].limits = narrow();
    let gateway = setup.start().await;
    let mut stalled = Vec::new();
    for _ in 0..4 {
        stalled.push(stall(gateway.http(), 90).await);
    }
    eventually("the cluster is full", async || upstream.arrived().len() >= 64).await;
    for _ in 0..20 {
        served_elsewhere(gateway.http(), 200 << 10).await;
    }
    drop(stalled);
}

/// The same by connections of HTTP/1.1, which hold one request each.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn callers_of_http_1_who_stop_reading_do_not_either() {
    // More than the sockets on the way take in.
    let upstream = Upstream::answering(|_| Response::new(full(vec![b'x'; 16 << 20]))).await;
    let mut setup = Setup::to(upstream.address);
    setup.clusters[0].limits = narrow();
    let gateway = setup.start().await;
    let stalled = stop_reading(gateway.http(), 100).await;
    eventually("the cluster is full", async || upstream.arrived().len() >= 64).await;
    for _ in 0..4 {
        served_elsewhere(gateway.http(), 16 << 20).await;
    }
    drop(stalled);
}

/// The same where connections are fewer than the requests that may be under way.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nor_do_they_where_connections_are_few() {
    let upstream = Upstream::answering(|_| Response::new(full(vec![b'x'; 16 << 20]))).await;
    let mut setup = Setup::to(upstream.address);
    setup.clusters[0].limits.max_connections = Some(8);
    let gateway = setup.start().await;
    let stalled = stop_reading(gateway.http(), 20).await;
    eventually("the cluster is full", async || upstream.arrived().len() >= 8).await;
    served_elsewhere(gateway.http(), 16 << 20).await;
    drop(stalled);
}

/// A share that is less than one request is nobody's: the one that is served slowly is not ended for want of others.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_caller_of_a_narrow_api_is_served_to_the_end() {
    let upstream = Upstream::answering(|_| Response::new(full(vec![b'x'; 16 << 20]))).await;
    let mut setup = Setup::to(upstream.address);
    setup.clusters[0].limits.max_requests = Some(3);
    let gateway = setup.start().await;
    let mut stream = TcpStream::connect(gateway.http()).await.unwrap();
    let head = b"GET /api/x HTTP/1.1\r\nhost: gw.test\r\nconnection: close\r\n\r\n";
    stream.write_all(head).await.unwrap();
    eventually("it is sent", async || upstream.arrived().len() == 1).await;
    // Others come and go, for longer than a caller may pause where somebody is in need.
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(2) {
        assert_eq!(get(gateway.http(), "/api/x").await.status, 200);
    }
    let mut answer = Vec::new();
    timeout(BOUND, stream.read_to_end(&mut answer))
        .await
        .unwrap()
        .expect("no reset");
    assert_eq!(Reply::parse(&answer).body.len(), 16 << 20);
}

/// An upstream sends as much as the windows of its streams take; streams that nobody reads leave their connection's to others.
#[tokio::test(flavor = "multi_thread")]
async fn streams_that_nobody_reads_leave_their_upstream_connection_to_others() {
    let upstream = Upstream::answering(|_| Response::new(full(vec![b'x'; 8 << 20]))).await;
    let mut setup = Setup::to(upstream.address);
    setup.workers = 1;
    setup.clusters[0].protocol = UpstreamProtocol::Http2 {
        max_streams: None,
        header_table_size: None,
    };
    let gateway = setup.start().await;
    let stalled = stall(gateway.http(), 50).await;
    eventually("all are sent", async || upstream.arrived().len() >= 50).await;
    let reply = get(gateway.http(), "/api/x").await;
    assert_eq!((reply.status, reply.body.len()), (200, 8 << 20), "{}", reply.head);
    assert_eq!(upstream.connections(), 1);
    drop(stalled);
}
