//! Shutdown: nobody who had a connection loses a request.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::{BOUND, Reply, Setup, Upstream, direct, eventually, one, send2, system};

/// Must show 6: keep-alive callers under load while the router is told to stop. Every request that is sent on a connection
/// is answered; a connection ends only after an answer that said so; new connections are served or refused, never reset.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn draining_under_load_loses_no_request() {
    let upstream = Upstream::echo().await;
    let mut gateway = Setup::to(upstream.address).start().await;
    let address = gateway.http();
    let served = Arc::new(AtomicUsize::new(0));
    let told = Arc::new(AtomicUsize::new(0));
    let load: Vec<_> = (0..16)
        .map(|caller| {
            let (served, told) = (Arc::clone(&served), Arc::clone(&told));
            tokio::spawn(async move {
                loop {
                    // Refused, or a SYN that is tried again and refused: the end.
                    let Ok(Ok(mut stream)) = timeout(BOUND, TcpStream::connect(address)).await else {
                        return Ok(());
                    };
                    loop {
                        let reply = one(&mut stream)
                            .await
                            .map_err(|error| format!("caller {caller}: {error}"))?;
                        assert_eq!((reply.status, reply.body.as_str()), (200, "GET /x"));
                        served.fetch_add(1, Ordering::Relaxed);
                        if reply.header("connection") == Some("close") {
                            told.fetch_add(1, Ordering::Relaxed);
                            break;
                        }
                    }
                }
            })
        })
        .collect();
    eventually("there is load", async || served.load(Ordering::Relaxed) > 200).await;
    gateway.begin_drain();
    for task in load {
        let outcome: Result<(), String> = timeout(BOUND, task).await.expect("the load ends").unwrap();
        outcome.unwrap();
    }
    assert!(told.load(Ordering::Relaxed) >= 16, "every connection was told");
    gateway.ended().await;
    assert_eq!(served.load(Ordering::Relaxed), upstream.arrived().len());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_under_way_is_finished() {
    let go = Arc::new(AtomicBool::new(false));
    let release = Arc::clone(&go);
    let upstream = Upstream::scripted(move |_, mut stream| {
        let release = Arc::clone(&release);
        async move {
            let mut buffer = [0; 4096];
            assert_ne!(stream.read(&mut buffer).await.unwrap(), 0);
            while !release.load(Ordering::Relaxed) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nlate")
                .await
                .unwrap();
            stream.read_u8().await.ok();
        }
    })
    .await;
    let mut setup = Setup::to(upstream.address);
    setup.fragments.push(system(vec![direct("/ready", "ready")]));
    let mut gateway = setup.start().await;
    let address = gateway.http();
    let http1 = tokio::spawn(async move { crate::support::get(address, "/api/x").await });
    let mut sender = crate::support::http2(address).await;
    let mut second = sender.clone();
    let request = || {
        http::Request::get("http://gw.test/api/x")
            .body(http_body_util::Full::default())
            .unwrap()
    };
    let http2 = tokio::spawn(async move { send2(&mut sender, request()).await });
    eventually("both are with the upstream", async || upstream.connections() == 2).await;
    let mut idle = TcpStream::connect(address).await.unwrap();
    idle.write_all(b"GET /ready HTTP/1.1\r\nhost: gw.test\r\n\r\n")
        .await
        .unwrap();
    let mut buffer = [0; 4096];
    assert!(idle.read(&mut buffer).await.unwrap() > 0);

    gateway.begin_drain();
    eventually("it is not ready", async || {
        gateway.admin("/ready").await.status == 503
    })
    .await;
    assert_eq!(gateway.admin("/ready").await.body, "not ready: draining\n");
    // A connection that was open serves what its caller sends next, and says that it ends.
    idle.write_all(b"GET /ready HTTP/1.1\r\nhost: gw.test\r\n\r\n")
        .await
        .unwrap();
    let mut rest = Vec::new();
    timeout(BOUND, idle.read_to_end(&mut rest))
        .await
        .unwrap()
        .expect("no reset");
    let reply = Reply::parse(&rest);
    assert_eq!((reply.status, reply.header("connection")), (503, Some("close")));
    eventually("new connections are refused", async || {
        TcpStream::connect(address).await.is_err()
    })
    .await;
    eventually("an HTTP/2 caller is told to go away", async || {
        timeout(Duration::from_millis(200), second.send_request(request()))
            .await
            .is_ok_and(|sent| sent.is_err())
    })
    .await;
    go.store(true, Ordering::Relaxed);
    let reply = http1.await.unwrap();
    assert_eq!((reply.status, reply.body.as_str()), (200, "late"));
    let (status, _, body, _) = http2.await.unwrap();
    assert_eq!((status, body.as_ref()), (200, &b"late"[..]));
    gateway.ended().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_drain_time_is_a_bound() {
    let upstream = Upstream::scripted(|_, mut stream| async move {
        stream.read_u8().await.ok();
        std::future::pending::<()>().await;
    })
    .await;
    let mut setup = Setup::to(upstream.address);
    setup.edge.drain_time = Duration::from_millis(500);
    let mut gateway = setup.start().await;
    let address = gateway.http();
    let mut held = TcpStream::connect(address).await.unwrap();
    held.write_all(b"GET /api/x HTTP/1.1\r\nhost: gw.test\r\n\r\n")
        .await
        .unwrap();
    let _idle = TcpStream::connect(address).await.unwrap();
    eventually("it is with the upstream", async || upstream.connections() == 1).await;
    gateway.begin_drain();
    let started = tokio::time::Instant::now();
    gateway.ended().await;
    assert!(
        started.elapsed() < Duration::from_secs(5),
        "{:?}",
        started.elapsed()
    );
}

/// Neither that their cluster is replaced nor that the router stops is a loss to requests that wait for a connection.
#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_a_connection_is_served_by_the_cluster_that_was() {
    let go = Arc::new(AtomicBool::new(false));
    let release = Arc::clone(&go);
    let upstream = Upstream::scripted(move |_, mut stream| {
        let release = Arc::clone(&release);
        async move {
            let mut buffer = [0; 4096];
            while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {
                while !release.load(Ordering::Relaxed) {
                    tokio::task::yield_now().await;
                }
                let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nGET /x";
                stream.write_all(answer).await.unwrap();
            }
        }
    })
    .await;
    for stops in [false, true] {
        go.store(false, Ordering::Relaxed);
        let mut setup = Setup::to(upstream.address);
        setup.workers = 1;
        setup.clusters[0].limits.max_connections = Some(1);
        let mut changed = setup.clusters[0].clone();
        changed.connect_timeout = Duration::from_secs(6);
        let mut gateway = setup.start().await;
        let address = gateway.http();
        let calls: Vec<_> = (0..10)
            .map(|_| {
                tokio::spawn(async move {
                    let mut stream = TcpStream::connect(address).await.unwrap();
                    one(&mut stream).await
                })
            })
            .collect();
        eventually("all are checked", async || gateway.enforcer.seen().len() == 10).await;
        let body = trireme_routing::encode::cluster(&changed).value;
        gateway
            .publish_raw(trireme_proto::names::type_url::CLUSTER, "up", body)
            .await;
        if stops {
            gateway.begin_drain();
        }
        go.store(true, Ordering::Relaxed);
        for call in calls {
            let reply = timeout(BOUND, call).await.expect("nobody is forgotten").unwrap();
            assert_eq!(reply.map(|reply| reply.status), Ok(200), "{stops}");
        }
        gateway.begin_drain();
        gateway.ended().await;
    }
}
