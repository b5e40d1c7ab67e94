//! What is admitted while Redis answers.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;
use trireme_limits::{Limit, Mode, Outcome, Window};

use crate::server::{Redis, connected, limit, metric, take};

#[tokio::test]
async fn a_check_takes_from_all_limits_or_from_none() {
    let Some(redis) = Redis::start(&[]) else { return };
    for mode in [Mode::Ask, Mode::Lease] {
        redis.command(&["FLUSHALL"]).await;
        let (counters, _) = connected(redis.settings(mode)).await;
        let limits = [
            limit(b"api", 100, Window::DAY),
            limit(b"app", 2, Window::DAY),
            limit(b"user", 1, Window::DAY),
        ];
        let decision = take(&counters, &limits[..2]).await;
        assert_eq!(decision.outcome, Outcome::Admitted, "{mode:?}");
        assert_eq!(
            take(&counters, &limits).await.outcome,
            Outcome::Admitted,
            "{mode:?}"
        );
        for _ in 0..5 {
            let decision = take(&counters, &limits).await;
            assert_eq!(decision.outcome, Outcome::Exhausted(1), "{mode:?}");
            assert_eq!(decision.standings().len(), 3);
            let left = decision.retry_after().unwrap();
            assert!(left <= Duration::from_secs(86_400), "{left:?}");
            assert_eq!(decision.standings()[1].remaining(), 0);
        }
        // The refused ones took nothing of the first limit.
        for _ in 0..98 {
            assert!(take(&counters, &limits[..1]).await.admitted(), "{mode:?}");
        }
        let decision = take(&counters, &limits[..1]).await;
        assert_eq!(decision.outcome, Outcome::Exhausted(0), "{mode:?}");
    }
}

#[tokio::test]
async fn costs_late_bytes_doubles_and_long_keys_count() {
    let Some(redis) = Redis::start(&[]) else { return };
    for mode in [Mode::Ask, Mode::Lease] {
        redis.command(&["FLUSHALL"]).await;
        let (counters, _) = connected(redis.settings(mode)).await;
        let key = [b'k'; 5_000];
        let bytes = |cost| Limit {
            cost,
            ..limit(&key, 1_000, Window::DAY)
        };
        assert!(take(&counters, &[bytes(600)]).await.admitted(), "{mode:?}");
        assert!(!take(&counters, &[bytes(401)]).await.admitted(), "{mode:?}");
        assert!(take(&counters, &[bytes(0)]).await.admitted(), "{mode:?}");
        counters.add(&key, Window::DAY, 5_000, crate::server::now());
        // What is added goes before the next call; slices hear of it when asked again, the last bytes being gone here.
        let decision = take(&counters, &[bytes(0)]).await;
        assert_eq!(decision.outcome, Outcome::Exhausted(0), "{mode:?}");
        assert!(!take(&counters, &[bytes(u64::MAX)]).await.admitted());

        let twice = [limit(b"twice", 3, Window::DAY); 2];
        assert!(take(&counters, &twice).await.admitted(), "{mode:?}");
        assert_eq!(
            take(&counters, &twice).await.outcome,
            Outcome::Exhausted(1),
            "{mode:?}"
        );
        assert!(take(&counters, &twice[..1]).await.admitted(), "{mode:?}");
        assert!(!take(&counters, &twice[..1]).await.admitted(), "{mode:?}");
        let many = [limit(b"many", 100, Window::DAY); trireme_limits::MAX_LIMITS + 1];
        assert_eq!(take(&counters, &many).await.outcome, Outcome::TooMany);
        assert!(take(&counters, &[]).await.admitted());
    }
}

/// Checks of the same moment are one call.
#[tokio::test]
async fn neighbours_share_a_call() {
    let Some(redis) = Redis::start(&[]) else { return };
    let (counters, metrics) = connected(redis.settings(Mode::Ask)).await;
    let mut checks = JoinSet::new();
    for _ in 0..100 {
        let counters = counters.clone();
        checks.spawn(async move { take(&counters, &[limit(b"a", 60, Window::DAY)]).await.admitted() });
    }
    let admitted = checks
        .join_all()
        .await
        .into_iter()
        .filter(|admitted| *admitted)
        .count();
    assert_eq!(admitted, 60);
    let calls = metric(&metrics, "trireme_limit_redis_duration_seconds_count");
    assert!(
        calls <= 3.0,
        "{calls} calls: {}",
        metrics.encode(trireme_telemetry::Format::Text)
    );
    assert!(metric(&metrics, "trireme_limit_redis_batch_size_sum") >= 100.0);
}

/// A script that Redis has forgotten is sent again, and the check does not notice.
#[tokio::test]
async fn the_script_is_loaded_again() {
    let Some(redis) = Redis::start(&[]) else { return };
    let (counters, metrics) = connected(redis.settings(Mode::Ask)).await;
    assert!(take(&counters, &[limit(b"a", 2, Window::DAY)]).await.admitted());
    redis.command(&["SCRIPT", "FLUSH"]).await;
    assert!(take(&counters, &[limit(b"a", 2, Window::DAY)]).await.admitted());
    assert!(!take(&counters, &[limit(b"a", 2, Window::DAY)]).await.admitted());
    assert!(
        !metrics
            .encode(trireme_telemetry::Format::Text)
            .contains("failures_total{"),
        "{}",
        metrics.encode(trireme_telemetry::Format::Text)
    );
}

/// What others wrote under the same name is not a counter.
#[tokio::test]
async fn values_that_are_no_counters_are_replaced() {
    let Some(redis) = Redis::start(&[]) else { return };
    let (counters, _) = connected(redis.settings(Mode::Ask)).await;
    for value in [
        "",
        "x",
        "1",
        "-1 5",
        "1e9 99",
        "9999999999999999999999 1",
        "5 99999999999999999999",
    ] {
        redis.command(&["SET", "test:86400000:a", value]).await;
        let decision = take(&counters, &[limit(b"a", 1, Window::DAY)]).await;
        assert_eq!(decision.outcome, Outcome::Admitted, "{value}");
        assert!(
            !take(&counters, &[limit(b"a", 1, Window::DAY)]).await.admitted(),
            "{value}"
        );
    }
    redis.command(&["DEL", "test:86400000:a"]).await;
    redis.command(&["LPUSH", "test:86400000:a", "x"]).await;
    assert!(take(&counters, &[limit(b"a", 1, Window::DAY)]).await.admitted());
    let redis::Value::Int(expiry) = redis.command(&["PTTL", "test:86400000:a"]).await else {
        panic!("no number");
    };
    assert!((1..=86_400_000).contains(&expiry), "{expiry}");
}

/// What came of one window.
#[derive(Default)]
struct Seen {
    admitted: u64,
    refused: u64,
}

/// Three processes' counters, many callers each; by window of a second.
async fn saturate(redis: &Redis, mode: Mode, quota: u64, length: Duration) -> BTreeMap<u64, Seen> {
    let mut callers = JoinSet::new();
    for _ in 0..3 {
        let (counters, _) = connected(redis.settings(mode)).await;
        for _ in 0..20 {
            let counters = counters.clone();
            callers.spawn(async move {
                let until = Instant::now() + length;
                let mut windows: BTreeMap<u64, Seen> = BTreeMap::new();
                while Instant::now() < until {
                    let limits = [
                        limit(b"shared", quota, Window::SECOND),
                        limit(b"wide", 1 << 40, Window::DAY),
                    ];
                    let decision = take(&counters, &limits).await;
                    let seen = windows.entry(decision.standings()[0].ends.0).or_default();
                    seen.admitted += u64::from(decision.admitted());
                    seen.refused += u64::from(!decision.admitted());
                    tokio::task::yield_now().await;
                }
                windows
            });
        }
    }
    let mut windows: BTreeMap<u64, Seen> = BTreeMap::new();
    while let Some(own) = callers.join_next().await {
        for (window, seen) in own.unwrap() {
            let all = windows.entry(window).or_default();
            all.admitted += seen.admitted;
            all.refused += seen.refused;
        }
    }
    windows
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_that_ask_admit_exactly_the_limit() {
    let Some(redis) = Redis::start(&[]) else { return };
    let windows = saturate(&redis, Mode::Ask, 100, Duration::from_millis(2_500)).await;
    let exhausted: Vec<u64> = windows
        .values()
        .filter(|seen| seen.refused > 0)
        .map(|seen| seen.admitted)
        .collect();
    assert!(!exhausted.is_empty());
    assert!(exhausted.iter().all(|admitted| *admitted == 100), "{exhausted:?}");
    assert!(windows.values().all(|seen| seen.admitted <= 100));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_that_lease_admit_never_more() {
    let Some(redis) = Redis::start(&[]) else { return };
    let mut windows = saturate(&redis, Mode::Lease, 1_000, Duration::from_millis(3_500)).await;
    assert!(windows.values().all(|seen| seen.admitted <= 1_000));
    // The last one ended after the callers did. In the others all ask until nothing is left: what lies unused in slices at
    // the end is next to nothing.
    windows.pop_last();
    let exhausted: Vec<u64> = windows
        .values()
        .filter(|seen| seen.refused > 0)
        .map(|seen| seen.admitted)
        .collect();
    assert!(!exhausted.is_empty());
    assert!(exhausted.iter().all(|admitted| *admitted >= 980), "{exhausted:?}");
}
