//! Redis killed, paused, read-only: nobody waits longer than configured, and it is used again soon after it is back.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use trireme_limits::{Counters, Mode, OnFailure, Outcome, SharedSettings, Window};

use crate::server::{Redis, connected, free_port, limit, metric, settings, take};

const WAIT: Duration = Duration::from_millis(100);
/// What a loaded machine may add to a wait.
const SLOWNESS: Duration = Duration::from_millis(300);

/// Asks until the answer is `outcome`; every answer comes in time. Says how long it took.
async fn until(counters: &Counters, wanted: impl Fn(Outcome) -> bool) -> Duration {
    let begun = Instant::now();
    loop {
        let asked = Instant::now();
        let decision = take(counters, &[limit(b"a", 1 << 40, Window::DAY)]).await;
        assert!(
            asked.elapsed() <= WAIT + SLOWNESS,
            "{:?}: {decision:?}",
            asked.elapsed()
        );
        if wanted(decision.outcome) {
            return begun.elapsed();
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "{decision:?}");
        sleep(Duration::from_millis(5)).await;
    }
}

fn away(admit: bool) -> impl Fn(Outcome) -> bool {
    move |outcome| outcome == Outcome::Unavailable { admit }
}

fn quick(settings: SharedSettings) -> SharedSettings {
    SharedSettings {
        wait: WAIT,
        ..settings
    }
}

#[tokio::test]
async fn killed_and_started_again() {
    let Some(mut redis) = Redis::start(&[]) else {
        return;
    };
    for (on_failure, mode) in [(OnFailure::Open, Mode::Ask), (OnFailure::Closed, Mode::Lease)] {
        let admit = on_failure == OnFailure::Open;
        let (counters, metrics) = connected(SharedSettings {
            on_failure,
            ..quick(redis.settings(mode))
        })
        .await;
        until(&counters, |outcome| outcome == Outcome::Admitted).await;
        redis.kill();
        until(&counters, away(admit)).await;
        assert_eq!(metric(&metrics, "trireme_limit_redis_connected"), 0.0);
        // Nobody waits while it is known to be away.
        let begun = Instant::now();
        for _ in 0..1_000 {
            let decision = take(&counters, &[limit(b"b", 1, Window::DAY)]).await;
            assert_eq!(decision.admitted(), admit);
        }
        assert!(begun.elapsed() < SLOWNESS, "{:?}", begun.elapsed());
        redis.restart();
        let back = until(&counters, |outcome| outcome == Outcome::Admitted).await;
        assert!(back < Duration::from_secs(1), "{back:?}");
        assert_eq!(metric(&metrics, "trireme_limit_redis_connected"), 1.0);
        assert!(metric(&metrics, "trireme_limit_unanswered_total") >= 1_000.0);
    }
}

#[tokio::test]
async fn stopped_and_gone_on() {
    let Some(redis) = Redis::start(&[]) else { return };
    let (counters, metrics) = connected(quick(redis.settings(Mode::Ask))).await;
    until(&counters, |outcome| outcome == Outcome::Admitted).await;
    redis.pause();
    let noticed = until(&counters, away(false)).await;
    assert!(noticed <= WAIT + SLOWNESS, "{noticed:?}");
    let begun = Instant::now();
    for _ in 0..1_000 {
        until(&counters, away(false)).await;
    }
    assert!(begun.elapsed() < SLOWNESS, "{:?}", begun.elapsed());
    let timeouts = metric(&metrics, "trireme_limit_redis_failures_total{kind=\"timeout\"}");
    assert!(timeouts >= 1.0);
    // Longer than an attempt to connect.
    sleep(Duration::from_millis(700)).await;
    redis.go_on();
    let back = until(&counters, |outcome| outcome == Outcome::Admitted).await;
    assert!(back < Duration::from_secs(1), "{back:?}");
}

/// What a process holds serves on without Redis, and no further.
#[tokio::test]
async fn slices_outlast_redis() {
    let Some(mut redis) = Redis::start(&[]) else {
        return;
    };
    let (counters, _) = connected(quick(redis.settings(Mode::Lease))).await;
    let limits = [limit(b"a", 1_000_000, Window::DAY)];
    for _ in 0..20 {
        assert!(take(&counters, &limits).await.admitted());
    }
    redis.kill();
    let mut admitted = 0;
    while take(&counters, &limits).await.admitted() {
        admitted += 1;
        assert!(admitted < 1_000, "more than a slice");
    }
    assert!(admitted > 0);
    assert_eq!(
        take(&counters, &limits).await.outcome,
        Outcome::Unavailable { admit: false }
    );
}

#[tokio::test]
async fn a_server_that_does_not_write_is_away() {
    let Some(redis) = Redis::start(&[]) else { return };
    let (counters, metrics) = connected(quick(redis.settings(Mode::Ask))).await;
    let nowhere = free_port().to_string();
    let cases: [(&[&str], &[&str]); 3] = [
        (&["REPLICAOF", "127.0.0.1", &nowhere], &["REPLICAOF", "NO", "ONE"]),
        (
            &["CONFIG", "SET", "min-replicas-to-write", "3"],
            &["CONFIG", "SET", "min-replicas-to-write", "0"],
        ),
        (
            &["CONFIG", "SET", "maxmemory", "1"],
            &["CONFIG", "SET", "maxmemory", "0"],
        ),
    ];
    for (break_it, mend_it) in cases {
        until(&counters, |outcome| outcome == Outcome::Admitted).await;
        let failures = metric(&metrics, "trireme_limit_redis_failures_total{kind=\"server\"}");
        redis.command(break_it).await;
        until(&counters, away(false)).await;
        assert!(metric(&metrics, "trireme_limit_redis_failures_total{kind=\"server\"}") > failures);
        redis.command(mend_it).await;
        let back = until(&counters, |outcome| outcome == Outcome::Admitted).await;
        assert!(back < Duration::from_secs(1), "{break_it:?}: {back:?}");
    }
}

#[tokio::test]
async fn away_from_the_beginning() {
    let Some(mut redis) = Redis::start(&[]) else {
        return;
    };
    let settings = quick(redis.settings(Mode::Ask));
    redis.kill();
    let metrics = trireme_telemetry::Metrics::new();
    let counters = Counters::shared(settings, [0; 16], &metrics);
    assert!(!counters.started().await);
    until(&counters, away(false)).await;
    redis.restart();
    let back = until(&counters, |outcome| outcome == Outcome::Admitted).await;
    assert!(back < Duration::from_secs(1), "{back:?}");
}

/// The last handle ends the task and its connection.
#[tokio::test]
async fn dropped_counters_hang_up() {
    let Some(redis) = Redis::start(&[]) else { return };
    let (counters, _) = connected(redis.settings(Mode::Ask)).await;
    let connections = async || {
        let redis::Value::BulkString(text) = redis.command(&["CLIENT", "LIST", "TYPE", "NORMAL"]).await
        else {
            panic!("no text");
        };
        String::from_utf8(text)
            .unwrap()
            .lines()
            .filter(|line| line.contains("cmd=eval"))
            .count()
    };
    assert_eq!(connections().await, 1);
    drop(counters);
    let begun = Instant::now();
    while connections().await > 0 {
        assert!(begun.elapsed() < Duration::from_secs(5));
    }
}

#[tokio::test]
async fn nothing_listens() {
    let settings = SharedSettings {
        on_failure: OnFailure::Open,
        ..quick(settings(Mode::Ask))
    };
    let metrics = trireme_telemetry::Metrics::new();
    let counters = Counters::shared(settings, [0; 16], &metrics);
    assert!(!counters.started().await);
    let decision = take(&counters, &[limit(b"a", 0, Window::DAY)]).await;
    assert_eq!(decision.outcome, Outcome::Unavailable { admit: true });
    assert!(metric(&metrics, "trireme_limit_redis_failures_total{kind=\"connect\"}") >= 1.0);
}
