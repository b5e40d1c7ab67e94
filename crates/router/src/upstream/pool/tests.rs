use futures_util::FutureExt as _;
use hyper_util::rt::TokioIo;
use trireme_routing::snapshot::{self, ClusterLimits, Endpoint};

use super::*;
use crate::cluster::transport::Builder;
use crate::exec::LocalExec;

fn cluster(protocol: UpstreamProtocol, max_connections: u32, port: u16) -> Arc<Cluster> {
    let config = snapshot::Cluster {
        name: "c".to_owned(),
        endpoints: vec![Endpoint {
            host: "127.0.0.1".to_owned(),
            port,
            priority: 0,
            tls: None,
        }],
        connect_timeout: Duration::ZERO,
        dns_refresh: Duration::ZERO,
        respect_dns_ttl: false,
        protocol,
        health: None,
        limits: ClusterLimits {
            max_connections: Some(max_connections),
            ..ClusterLimits::default()
        },
    };
    Cluster::new(config, 0, Arc::default(), &mut Builder::default()).unwrap()
}

fn from(host: u8) -> Origin {
    Origin {
        network: [192, 0, 2, host].into(),
        connection: host.into(),
    }
}

/// A connection that is idle, and the upstream's end of it.
async fn idle(pool: &Rc<HostPool>) -> tokio::io::DuplexStream {
    let (io, upstream) = tokio::io::duplex(1024);
    let held = (pool.limits.force(Resource::Connection), Open::new(pool));
    let (mut sender, connection) = http1::handshake(TokioIo::new(io)).await.unwrap();
    tokio::task::spawn_local(async move {
        drop(connection.await);
        drop(held);
    });
    sender.ready().await.unwrap();
    pool.idle.borrow_mut().push(Idle {
        sender,
        local: None,
        since: Instant::now(),
    });
    upstream
}

/// Lets the tasks of connections run.
async fn settle() {
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn addresses_that_nobody_is_connected_to_are_forgotten() {
    let cluster = cluster(UpstreamProtocol::Http1, 1024, 80);
    let hosts = cluster.hosts();
    let pools = Pools::default();
    let count = || {
        pools.sweep(Instant::now(), |_| true);
        pools.of(&cluster).hosts.borrow().len()
    };
    let used = pools.of(&cluster).host(&hosts[0]);
    assert_eq!(count(), 1, "somebody holds it");
    let open = Open::new(&used);
    drop(used);
    assert_eq!(count(), 1, "a connection is open");
    drop(open);
    assert_eq!(count(), 0);
}

/// Who comes while a connection is handed over does not get it before those who wait, or they would wait as long as others come.
#[tokio::test]
async fn who_comes_later_does_not_go_first() {
    let tasks = tokio::task::LocalSet::new();
    let test = async {
        let cluster = cluster(UpstreamProtocol::Http1, 1, 80);
        let host = Arc::clone(&cluster.hosts()[0]);
        let pool = Pools::default().of(&cluster).host(&host);
        let tally = Tally::default();
        let _upstream = idle(&pool).await;
        let acquire = |from| Box::pin(pool.acquire(&cluster, &host, from, &tally));
        let lease = acquire(from(1)).await.unwrap();
        let mut waiting = acquire(from(2));
        assert!((&mut waiting).now_or_never().is_none());
        lease.give_back();
        let mut later = acquire(from(1));
        assert!((&mut later).now_or_never().is_none(), "another one waits");
        let lease = waiting.now_or_never().expect("its turn").unwrap();
        assert!((&mut later).now_or_never().is_none());
        lease.give_back();
        assert!(later.now_or_never().expect("nobody else waits").is_ok());
    };
    tasks.run_until(test).await;
}

/// What comes back while somebody is called is for those who came meanwhile.
#[tokio::test]
async fn all_that_is_there_is_handed_out() {
    let tasks = tokio::task::LocalSet::new();
    let test = async {
        let cluster = cluster(UpstreamProtocol::Http1, 3, 80);
        let host = Arc::clone(&cluster.hosts()[0]);
        let pool = Pools::default().of(&cluster).host(&host);
        let tally = Tally::default();
        let _upstreams = [idle(&pool).await, idle(&pool).await, idle(&pool).await];
        let acquire = |from| Box::pin(pool.acquire(&cluster, &host, from, &tally));
        let leases = [
            acquire(from(1)).await,
            acquire(from(1)).await,
            acquire(from(1)).await,
        ];
        let mut first = acquire(from(2));
        assert!((&mut first).now_or_never().is_none());
        let [one, two, three] = leases.map(Result::unwrap);
        one.give_back();
        two.give_back();
        three.give_back();
        let mut later = [acquire(from(3)), acquire(from(3))];
        for later in &mut later {
            assert!(later.now_or_never().is_none());
        }
        let _first = first.now_or_never().expect("called").unwrap();
        for later in later {
            assert!(later.now_or_never().is_some());
        }
    };
    tasks.run_until(test).await;
}

/// Connections that nobody uses are not kept from requests of other workers, which would wait until they are swept.
#[tokio::test]
async fn what_is_idle_makes_room_for_other_workers() {
    let tasks = tokio::task::LocalSet::new();
    let test = async {
        let cluster = cluster(UpstreamProtocol::Http1, 3, 80);
        let host = Arc::clone(&cluster.hosts()[0]);
        let (own, other) = (Pools::default(), Pools::default());
        let full = own.of(&cluster).host(&host);
        let _upstreams = [idle(&full).await, idle(&full).await];
        let busy = other.of(&cluster).host(&host);
        let _upstream = idle(&busy).await;
        let tally = Tally::default();
        let acquire = || Box::pin(busy.acquire(&cluster, &host, from(1), &tally));
        let _lease = acquire().await.unwrap();
        let mut waiting = acquire();
        assert!((&mut waiting).now_or_never().is_none());
        own.call();
        settle().await;
        assert_eq!((full.open.get(), cluster.limits.has_room()), (1, true));
        own.call();
        settle().await;
        assert_eq!(full.open.get(), 1, "there is room");
    };
    tasks.run_until(test).await;
}

/// The same of HTTP/2, whose connections are not swept.
#[tokio::test]
async fn connections_without_a_stream_make_room_for_other_workers() {
    let tasks = tokio::task::LocalSet::new();
    let test = async {
        let http2 = UpstreamProtocol::Http2 {
            max_streams: Some(1),
            header_table_size: None,
        };
        let cluster = cluster(http2, 3, 80);
        let host = Arc::clone(&cluster.hosts()[0]);
        let (own, other) = (Pools::default(), Pools::default());
        let full = own.of(&cluster).host(&host);
        let (_one, _two) = (unused(&full).await, unused(&full).await);
        let busy = other.of(&cluster).host(&host);
        let _upstream = unused(&busy).await;
        let tally = Tally::default();
        let acquire = || Box::pin(busy.acquire(&cluster, &host, from(1), &tally));
        let _lease = acquire().await.unwrap();
        let mut waiting = acquire();
        assert!((&mut waiting).now_or_never().is_none());
        let _used = full.reuse(1).unwrap();
        own.call();
        settle().await;
        assert_eq!((full.open.get(), cluster.limits.has_room()), (1, true));
    };
    tasks.run_until(test).await;
}

/// A connection of HTTP/2 without a stream, and the upstream's end of it.
async fn unused(pool: &Rc<HostPool>) -> tokio::io::DuplexStream {
    let (io, upstream) = tokio::io::duplex(1024);
    let held = (pool.limits.force(Resource::Connection), Open::new(pool));
    let (sender, connection) = http2::handshake(LocalExec, TokioIo::new(io)).await.unwrap();
    tokio::task::spawn_local(async move {
        drop(connection.await);
        drop(held);
    });
    pool.shared.borrow_mut().push(Rc::new(Shared {
        sender,
        local: None,
        streams: Cell::new(0),
    }));
    upstream
}

/// The time for a handshake begins when there is one to wait for.
#[tokio::test(start_paused = true)]
async fn a_long_wait_in_the_queue_is_no_slow_handshake() {
    let http2 = UpstreamProtocol::Http2 {
        max_streams: None,
        header_table_size: None,
    };
    let cluster = cluster(http2, 1, 80);
    let host = Arc::clone(&cluster.hosts()[0]);
    let pool = Pools::default().of(&cluster).host(&host);
    let tally = Tally::default();
    let _full = (pool.limits.force(Resource::Connection), Open::new(&pool));
    let mut waiting = Box::pin(pool.acquire(&cluster, &host, from(1), &tally));
    assert!((&mut waiting).now_or_never().is_none());
    tokio::time::advance(Duration::from_secs(10)).await;
    let _connecting = Connecting::start(&pool);
    pool.queue.call_one();
    assert!((&mut waiting).now_or_never().is_none(), "it has only just begun");
    tokio::time::advance(Duration::from_secs(10)).await;
    assert!(matches!(waiting.now_or_never(), Some(Err(Unleased::Connect(_)))));
}

/// A port whose connections end now and then.
async fn unsteady(seed: u64) -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::task::spawn_local(async move {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut open = Vec::new();
        while let Ok((connection, _)) = listener.accept().await {
            open.push(connection);
            if open.len() > 1 && random.u8(..3) == 0 {
                open.swap_remove(random.usize(..open.len()));
            }
        }
    });
    port
}

/// Requests come, are served, fail and are given up in any order, on one worker or on `two`: none waits for ever, and nothing stays
/// counted. One worker alone needs no ticks for that. The cluster may be replaced meanwhile.
async fn crowd(protocol: UpstreamProtocol, two: bool, seed: u64) {
    let cluster = cluster(protocol, 3, unsteady(seed).await);
    let host = Arc::clone(&cluster.hosts()[0]);
    let workers = [Pools::default(), Pools::default()];
    let pools = [0, 1].map(|at: usize| workers[at].of(&cluster).host(&host));
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..200_u64 {
        let (cluster, host) = (Arc::clone(&cluster), Arc::clone(&host));
        let pool = workers[usize::from(two && number % 3 == 0)]
            .of(&cluster)
            .host(&host);
        let mut random = fastrand::Rng::with_seed(seed * 1000 + number);
        tasks.spawn_local(async move {
            let tally = Tally::default();
            for _ in 0..random.u8(..50) {
                tokio::task::yield_now().await;
            }
            let origin = from(random.u8(1..5));
            let mut acquiring = Box::pin(pool.acquire(&cluster, &host, origin, &tally));
            if random.u8(..4) == 0 {
                // Gives up, perhaps in the moment in which it is called.
                drop((&mut acquiring).now_or_never());
                for _ in 0..random.u8(..20) {
                    tokio::task::yield_now().await;
                }
                return;
            }
            let Ok(lease) = acquiring.await else { return };
            for _ in 0..random.u8(..9) {
                tokio::task::yield_now().await;
            }
            match random.u8(..4) {
                0 => drop(lease),
                _ => lease.give_back(),
            }
        });
    }
    let mut ticks = tokio::time::interval(Duration::from_millis(1));
    let all = async {
        while !tasks.is_empty() {
            if tasks.len() == 60 && seed.is_multiple_of(3) {
                for pools in &workers {
                    pools.sweep(Instant::now(), |_| false);
                }
            }
            tokio::select! {
                _ = tasks.join_next() => {}
                _ = ticks.tick(), if two => workers.iter().for_each(|pools| pools.call()),
            }
        }
    };
    let all = tokio::time::timeout(Duration::from_secs(20), all).await;
    assert!(all.is_ok(), "{seed}: {} wait for ever", tasks.len());
    for pool in &pools {
        assert!(pool.queue.is_over(), "{seed}");
        assert!(!pool.connecting.get(), "{seed}");
        let shared = pool.shared.borrow();
        assert!(
            shared.iter().all(|connection| connection.streams.get() == 0),
            "{seed}"
        );
    }
    assert!(
        !cluster.limits.has_room() && !cluster.limits.is_short(),
        "{seed}: nobody waits"
    );
    for pools in &workers {
        pools.sweep(Instant::now(), |_| false);
    }
    // What is gone is kept by nobody else.
    drop(pools);
    let closed = async {
        while cluster.limits.connections() > 0 {
            tokio::task::yield_now().await;
        }
    };
    let closed = tokio::time::timeout(Duration::from_secs(20), closed).await;
    assert!(
        closed.is_ok(),
        "{seed}: {} connections",
        cluster.limits.connections()
    );
}

#[tokio::test]
async fn in_a_crowd_nobody_waits_for_ever() {
    let http2 = |max_streams| UpstreamProtocol::Http2 {
        max_streams: Some(max_streams),
        header_table_size: None,
    };
    let tasks = tokio::task::LocalSet::new();
    let test = async {
        for seed in 0..8 {
            for protocol in [UpstreamProtocol::Http1, http2(1), http2(4)] {
                crowd(protocol, seed % 2 == 0, seed).await;
            }
        }
    };
    tasks.run_until(test).await;
}
