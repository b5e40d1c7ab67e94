//! Start and succession: when a port takes connections, and how it goes from one process to the next.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout};
use trireme_router::News;
use trireme_router::app::{self, Running};
use trireme_router::settings::Settings;

use crate::support::{BOUND, Gateway, Reply, Setup, Upstream, allow, eventually, get, http2, one};

/// A port that nobody has.
async fn free() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}

/// A router beside a gateway's own, with nothing of it but its peers.
async fn beside(gateway: &Gateway, change: impl FnOnce(&mut Settings)) -> (Running, SocketAddr) {
    let http = free().await;
    let mut settings = Settings {
        state_dir: None,
        bound_file: None,
        http_bind: Some(http),
        ..gateway.settings.clone()
    };
    change(&mut settings);
    (app::build(settings).await.unwrap(), http)
}

async fn end(router: Running) {
    router.drain_token().cancel();
    timeout(BOUND, router.run()).await.expect("the router ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_router_without_a_snapshot_takes_nobody_in() {
    let upstream = Upstream::echo().await;
    let gateway = Setup::to(upstream.address).start().await;
    gateway.lose_adapter();
    let (alone, http) = beside(&gateway, |_| {}).await;
    assert_eq!(alone.bound().http, Some(http));
    let refused = TcpStream::connect(http).await.unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    end(alone).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ports_open_when_the_enforcer_is_reached() {
    let upstream = Upstream::echo().await;
    let mut gateway = Setup::to(upstream.address).start().await;
    gateway.enforcer.stop().await;
    let (late, http) = beside(&gateway, |settings| settings.edge.enforcer_grace = BOUND).await;
    let admin = late.bound().admin.expect("bound");
    eventually("the snapshot is there", async || {
        get(admin, "/ready").await.body == "not ready: enforcer, ports\n"
    })
    .await;
    let refused = TcpStream::connect(http).await.unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    gateway.enforcer.restart().await;
    let mut stream = timeout(BOUND, async {
        loop {
            if let Ok(stream) = TcpStream::connect(http).await {
                return stream;
            }
        }
    })
    .await
    .expect("the port opens");
    // The very first request, and whichever worker others land on.
    assert_eq!(one(&mut stream).await.unwrap().status, 200);
    for _ in 0..20 {
        assert_eq!(get(http, "/api/x").await.status, 200);
    }
    end(late).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ports_open_without_an_enforcer_after_the_grace() {
    let upstream = Upstream::echo().await;
    let mut gateway = Setup::to(upstream.address).start().await;
    gateway.enforcer.stop().await;
    let grace = Duration::from_millis(200);
    let started = Instant::now();
    let (without, http) = beside(&gateway, |settings| settings.edge.enforcer_grace = grace).await;
    timeout(BOUND, without.serving()).await.expect("it serves");
    assert!(started.elapsed() >= grace);
    let reply = get(http, "/api/x").await;
    assert_eq!(reply.status, 500);
    assert!(reply.body.contains("102500"), "{}", reply.body);
    assert!(upstream.arrived().is_empty());
    end(without).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn checks_wait_while_the_enforcer_restarts() {
    let upstream = Upstream::echo().await;
    let held = Arc::new(AtomicBool::new(true));
    let (holding, asked) = (Arc::clone(&held), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&asked);
    let mut gateway = Setup::to(upstream.address)
        .answering(move |_| {
            count.fetch_add(1, Ordering::SeqCst);
            (!holding.load(Ordering::SeqCst)).then(|| Ok(allow("up")))
        })
        .start()
        .await;
    let http = gateway.http();
    // One that is asked already when the enforcer dies, and several that come while it is away.
    let asking = tokio::spawn(async move { get(http, "/api/asked").await });
    eventually("the check is there", async || asked.load(Ordering::SeqCst) == 1).await;
    gateway.enforcer.stop().await;
    held.store(false, Ordering::SeqCst);
    let coming: Vec<_> = (0..8)
        .map(|_| tokio::spawn(async move { get(http, "/api/coming").await }))
        .collect();
    gateway.enforcer.restart().await;
    for call in coming.into_iter().chain([asking]) {
        let reply = timeout(BOUND, call).await.unwrap().unwrap();
        assert_eq!(reply.status, 200, "{}", reply.body);
    }
    assert_eq!(upstream.arrived().len(), 9);
}

/// Callers of all kinds while one router takes over from another, several times: nobody notices but by being told to
/// connect again.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_successor_takes_the_sockets_over() {
    let upstream = Upstream::echo().await;
    let mut gateway = Setup::to(upstream.address).start().await;
    let folder = tempfile::tempdir().unwrap();
    // An address of such a socket has no room for the whole path.
    let inside = folder.path().join("long-".repeat(40));
    std::fs::create_dir(&inside).unwrap();
    let door = inside.join("router.sock");
    let (mut router, http) = beside(&gateway, |settings| settings.handover = Some(door.clone())).await;
    let bound = timeout(BOUND, router.serving()).await.unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let served = Arc::new(AtomicUsize::new(0));
    let load = calls(http, &stop, &served);
    for round in 0..4 {
        let before = served.load(Ordering::Relaxed);
        eventually("there is load", async || {
            served.load(Ordering::Relaxed) > before + 100
        })
        .await;
        let drained = tokio::spawn(router.run());
        let settings = Settings {
            state_dir: None,
            bound_file: None,
            http_bind: bound.http,
            https_bind: bound.https,
            admin_bind: bound.admin.expect("bound"),
            handover: Some(door.clone()),
            // Another number of workers than before, both ways.
            workers: 1 + (round + 1) % 3,
            ..gateway.settings.clone()
        };
        router = app::build(settings).await.unwrap();
        timeout(BOUND, router.serving()).await.expect("it serves");
        timeout(BOUND, drained)
            .await
            .expect("the one before ends by itself")
            .unwrap();
        assert_eq!(router.bound(), timeout(BOUND, router.serving()).await.unwrap());
        let ready = get(bound.admin.expect("bound"), "/ready").await;
        assert_eq!((ready.status, ready.body.as_str()), (200, "ready\n"));
    }
    stop.store(true, Ordering::Relaxed);
    for task in load {
        timeout(BOUND, task).await.expect("the load ends").unwrap();
    }
    end(router).await;
    assert!(!door.exists());
    gateway.begin_drain();
    gateway.ended().await;
}

/// Callers that keep their connection, that do not, and one over HTTP/2.
fn calls(
    http: SocketAddr,
    stop: &Arc<AtomicBool>,
    served: &Arc<AtomicUsize>,
) -> Vec<tokio::task::JoinHandle<()>> {
    let mut load = Vec::new();
    for caller in 0..8 {
        let (stop, served) = (Arc::clone(stop), Arc::clone(served));
        load.push(tokio::spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let mut stream = TcpStream::connect(http).await.expect("never refused");
                let mut told = false;
                while !told && !stop.load(Ordering::Relaxed) {
                    let reply = one(&mut stream).await.expect("never reset");
                    assert_eq!((reply.status, reply.body.as_str()), (200, "GET /x"));
                    served.fetch_add(1, Ordering::Relaxed);
                    told = caller < 2 || reply.header("connection") == Some("close");
                }
            }
        }));
    }
    let (stop, served) = (Arc::clone(stop), Arc::clone(served));
    load.push(tokio::spawn(async move {
        while !stop.load(Ordering::Relaxed) {
            let mut connection = http2(http).await;
            while connection.ready().await.is_ok() && !stop.load(Ordering::Relaxed) {
                let request = http::Request::get("http://gw.test/api/x")
                    .body(Full::<Bytes>::default())
                    .unwrap();
                let response = match connection.try_send_request(request).await {
                    Ok(response) => response,
                    Err(mut error) => {
                        // Told to go away before it was sent.
                        assert!(error.take_message().is_some(), "{error:?}");
                        break;
                    }
                };
                assert_eq!(response.status(), 200);
                assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "GET /x");
                served.fetch_add(1, Ordering::Relaxed);
            }
        }
    }));
    load
}

#[tokio::test(flavor = "multi_thread")]
async fn a_successor_that_fails_changes_nothing() {
    let upstream = Upstream::echo().await;
    let gateway = Setup::to(upstream.address).start().await;
    let folder = tempfile::tempdir().unwrap();
    let door = folder.path().join("router.sock");
    let (router, http) = beside(&gateway, |settings| settings.handover = Some(door.clone())).await;
    let bound = timeout(BOUND, router.serving()).await.unwrap();
    let running = tokio::spawn(router.run());
    let same = |change: fn(&mut Settings)| {
        let mut settings = Settings {
            state_dir: None,
            bound_file: None,
            http_bind: bound.http,
            https_bind: bound.https,
            admin_bind: bound.admin.expect("bound"),
            handover: Some(door.clone()),
            ..gateway.settings.clone()
        };
        change(&mut settings);
        app::build(settings)
    };
    // One that never gets a snapshot: the first goes on, whatever it waits for.
    let stuck = same(|settings| settings.adapter.port = 1).await.unwrap();
    for _ in 0..20 {
        assert_eq!(get(http, "/api/x").await.status, 200);
    }
    let third = same(|_| {}).await.unwrap_err();
    assert_eq!(third.to_string(), "another successor is taking over");
    end(stuck).await;
    assert_eq!(get(http, "/api/x").await.status, 200);
    assert!(!running.is_finished());
    // Afterwards there is room for another, which lasts.
    let next = timeout(BOUND, async {
        loop {
            match same(|_| {}).await {
                Ok(next) => return next,
                Err(error) => assert_eq!(error.to_string(), "another successor is taking over"),
            }
        }
    })
    .await
    .unwrap();
    timeout(BOUND, next.serving()).await.unwrap();
    timeout(BOUND, running).await.expect("it is relieved").unwrap();
    assert_eq!(get(http, "/api/x").await.status, 200);
    end(next).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_wants_news_is_told_of_the_drain_and_sockets_stay() {
    for busy in [true, false] {
        sockets_stay(busy).await;
    }
}

/// Also of a router that has nothing left to do, if it is not `busy`.
async fn sockets_stay(busy: bool) {
    let upstream = Upstream::echo().await;
    let gateway = Setup::to(upstream.address).start().await;
    let folder = tempfile::tempdir().unwrap();
    let door = folder.path().join("router.sock");
    let (router, http) = beside(&gateway, |settings| settings.handover = Some(door.clone())).await;
    let bound = timeout(BOUND, router.serving()).await.unwrap();
    let (news, mut told) = tokio::sync::mpsc::channel(1);
    let following = tokio::spawn({
        let door = door.clone();
        async move { trireme_router::follow(&door, news).await }
    });
    let mut open = None;
    if busy {
        // A stream that is open keeps the first one draining.
        let stream = open.insert(TcpStream::connect(http).await.unwrap());
        let head = b"POST /api/x HTTP/1.1\r\nhost: gw.test\r\ncontent-length: 1\r\n\r\n";
        stream.write_all(head).await.unwrap();
    }
    eventually("somebody waits for news", async || router.is_awaited()).await;
    let drain = router.drain_token();
    let running = tokio::spawn(router.run());
    drain.cancel();
    let first = timeout(BOUND, told.recv()).await.expect("told");
    assert_eq!(first, Some(News::Draining));
    let waiting = tokio::spawn(async move { get(http, "/api/waited").await });
    let settings = Settings {
        state_dir: None,
        bound_file: None,
        http_bind: bound.http,
        https_bind: bound.https,
        admin_bind: bound.admin.expect("bound"),
        handover: Some(door.clone()),
        ..gateway.settings.clone()
    };
    let next = app::build(settings).await.unwrap();
    let reply: Reply = timeout(BOUND, waiting).await.expect("served").unwrap();
    assert_eq!(reply.status, 200);
    let second = timeout(BOUND, told.recv()).await.expect("told");
    assert_eq!(second, Some(News::Relieved));
    drop(open);
    timeout(BOUND, running).await.expect("ends").unwrap();
    // Of the next one as well.
    eventually("somebody waits for news", async || next.is_awaited()).await;
    following.abort();
    eventually("nobody does", async || !next.is_awaited()).await;
    end(next).await;
}
