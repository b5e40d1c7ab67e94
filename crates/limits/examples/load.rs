//! Figures of the counters under load, too long for a test.
//!
//! ```text
//! cargo run -p trireme-limits --example load -- count      # two minutes at most: 10/s and 10,000/min, 200 callers
//! cargo run -p trireme-limits --example load -- away       # Redis killed, stopped and started again under load
//! cargo run -p trireme-limits --example load -- million    # 1,000,000 callers: memory, longest stall
//! ```

#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a measurement, printed")]

#[path = "../tests/redis/server.rs"]
#[expect(dead_code, reason = "the tests need more of it")]
mod server;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use trireme_limits::{Counters, MemorySettings, Mode, OnFailure, Outcome, SharedSettings, WhenFull, Window};
use trireme_telemetry::Metrics;

use self::server::{Redis, connected, limit, metric, now, take};

const CALLERS: usize = 200;

#[tokio::main]
async fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("count") => count().await,
        Some("away") => away().await,
        Some("million") => million(),
        _ => println!("count, away or million"),
    }
}

/// Admitted, by set-up, limit and end of the window.
type Admitted = BTreeMap<(&'static str, &'static str, u64), u64>;

/// All set-ups through one whole minute.
async fn count() {
    let Some(redis) = Redis::start(&[]) else { return };
    let minute = Window::MINUTE.as_millis();
    let begin = (now().0 / minute + 1) * minute;
    let end = begin + minute;
    let memory = MemorySettings {
        capacity: 10_000,
        when_full: WhenFull::Evict,
    };
    let mut set_ups = vec![(
        "memory",
        vec![Counters::memory(&memory, [1; 16], &Metrics::new())],
    )];
    for (name, mode) in [("ask", Mode::Ask), ("lease", Mode::Lease)] {
        let mut enforcers = Vec::new();
        for _ in 0..3 {
            let settings = SharedSettings {
                prefix: format!("{name}:"),
                ..redis.settings(mode)
            };
            enforcers.push(connected(settings).await.0);
        }
        set_ups.push((name, enforcers));
    }
    println!("from the next full minute, in {} s", (begin - now().0) / 1_000);
    sleep(Duration::from_millis(begin.saturating_sub(now().0 + 500))).await;

    let mut callers = JoinSet::new();
    for (name, enforcers) in set_ups {
        for caller in 0..CALLERS {
            let counters = enforcers[caller % enforcers.len()].clone();
            callers.spawn(async move { call(name, &counters, end + 500).await });
        }
    }
    let (mut admitted, mut asked) = (Admitted::new(), BTreeMap::<&str, u64>::new());
    while let Some(outcome) = callers.join_next().await {
        let (name, calls, own) = outcome.expect("callers do not panic");
        *asked.entry(name).or_default() += calls;
        for (key, count) in own {
            *admitted.entry(key).or_default() += count;
        }
    }
    for name in ["memory", "ask", "lease"] {
        let of = |limit| -> Vec<u64> {
            let whole = admitted.iter().filter(|((set_up, other, ends), _)| {
                *set_up == name && *other == limit && *ends > begin && *ends <= end
            });
            whole.map(|(_, count)| *count).collect()
        };
        let (seconds, minutes) = (of("10/s"), of("10,000/min"));
        let lost = admitted
            .iter()
            .filter(|((set_up, _, ends), _)| *set_up == name && *ends == 0);
        let unanswered: u64 = lost.map(|(_, count)| *count).sum();
        println!(
            "{name}: {} checks, {unanswered} without an answer; 10/s: {} windows, {} to {} each, {} in all of 600; 10,000/min: {minutes:?}; both: {}",
            asked[name],
            seconds.len(),
            seconds.iter().min().unwrap_or(&0),
            seconds.iter().max().unwrap_or(&0),
            seconds.iter().sum::<u64>(),
            of("both").iter().sum::<u64>(),
        );
    }
}

/// One caller: each limit alone, and both in one check.
async fn call(name: &'static str, counters: &Counters, until: u64) -> (&'static str, u64, Admitted) {
    let (mut admitted, mut calls) = (Admitted::new(), 0);
    while now().0 < until {
        let second = limit(b"second", 10, Window::SECOND);
        let minute = limit(b"minute", 10_000, Window::MINUTE);
        let both = [
            limit(b"both", 10, Window::SECOND),
            limit(b"both", 10_000, Window::MINUTE),
        ];
        for (what, limits) in [
            ("10/s", &[second][..]),
            ("10,000/min", &[minute]),
            ("both", &both),
        ] {
            let decision = take(counters, limits).await;
            let ends = decision.standings().first().map_or(0, |standing| standing.ends.0);
            let counts = decision.admitted() || ends == 0;
            *admitted.entry((name, what, ends)).or_default() += u64::from(counts);
            calls += 1;
        }
        // 600 callers on two cores: enough to exhaust every limit at once.
        sleep(Duration::from_millis(200)).await;
    }
    (name, calls, admitted)
}

/// What the callers saw.
#[derive(Default)]
struct Seen {
    longest: AtomicU64,
    /// How late a plain timer of the same length came: what the machine adds.
    late: AtomicU64,
    calls: AtomicU64,
    unanswered: AtomicU64,
    wrong: AtomicU64,
    stop: AtomicBool,
    /// Milliseconds since 1970 of the last answer that Redis gave.
    answered: AtomicU64,
}

async fn away() {
    let wait = Duration::from_millis(100);
    for (on_failure, mode) in [
        (OnFailure::Open, Mode::Ask),
        (OnFailure::Closed, Mode::Ask),
        (OnFailure::Closed, Mode::Lease),
    ] {
        let Some(mut redis) = Redis::start(&[]) else {
            return;
        };
        let settings = SharedSettings {
            on_failure,
            wait,
            ..redis.settings(mode)
        };
        let (counters, metrics) = connected(settings).await;
        let seen = Arc::new(Seen::default());
        let mut callers = JoinSet::new();
        for _ in 0..CALLERS {
            callers.spawn(press(
                counters.clone(),
                on_failure == OnFailure::Open,
                Arc::clone(&seen),
            ));
        }
        let timer = Arc::clone(&seen);
        callers.spawn(async move {
            while !timer.stop.load(Ordering::Relaxed) {
                let begun = Instant::now();
                sleep(wait).await;
                let late = u64::try_from((begun.elapsed() - wait).as_micros()).unwrap_or(u64::MAX);
                timer.late.fetch_max(late, Ordering::Relaxed);
            }
        });
        let mut back = Vec::new();
        for round in 0..3 {
            sleep(Duration::from_secs(1)).await;
            redis.kill();
            sleep(Duration::from_millis(1_300 + round * 170)).await;
            redis.restart();
            back.push(recovered(&seen).await);
            sleep(Duration::from_secs(1)).await;
            redis.pause();
            sleep(Duration::from_millis(1_300 + round * 170)).await;
            redis.go_on();
            back.push(recovered(&seen).await);
        }
        seen.stop.store(true, Ordering::Relaxed);
        callers.join_all().await;
        println!(
            "{mode:?}, {on_failure:?}: {} calls, {} without an answer, {} not as configured; longest {:.1} ms of {} ms, a plain timer was late by {:.1} ms; back after {back:?} ms; connected {}",
            seen.calls.load(Ordering::Relaxed),
            seen.unanswered.load(Ordering::Relaxed),
            seen.wrong.load(Ordering::Relaxed),
            Duration::from_micros(seen.longest.load(Ordering::Relaxed)).as_secs_f64() * 1e3,
            wait.as_millis(),
            Duration::from_micros(seen.late.load(Ordering::Relaxed)).as_secs_f64() * 1e3,
            metric(&metrics, "trireme_limit_redis_connected"),
        );
    }
}

async fn recovered(seen: &Seen) -> u64 {
    let since = now().0;
    while seen.answered.load(Ordering::Relaxed) <= since {
        sleep(Duration::from_millis(1)).await;
    }
    now().0 - since
}

async fn press(counters: Counters, open: bool, seen: Arc<Seen>) {
    while !seen.stop.load(Ordering::Relaxed) {
        let asked = Instant::now();
        // Exhausted at once with slices: they would serve on without Redis.
        let decision = take(&counters, &[limit(b"a", 1_000, Window::SECOND)]).await;
        let took = u64::try_from(asked.elapsed().as_micros()).unwrap_or(u64::MAX);
        seen.longest.fetch_max(took, Ordering::Relaxed);
        seen.calls.fetch_add(1, Ordering::Relaxed);
        match decision.outcome {
            Outcome::Admitted => seen.answered.store(now().0, Ordering::Relaxed),
            Outcome::Exhausted(_) => {}
            Outcome::Unavailable { admit } if admit == open => {
                seen.unanswered.fetch_add(1, Ordering::Relaxed);
            }
            _ => {
                seen.wrong.fetch_add(1, Ordering::Relaxed);
            }
        }
        sleep(Duration::from_millis(20)).await;
    }
}

fn million() {
    for capacity in [100_000, 1_000_000, 1_200_000] {
        let before = resident();
        let metrics = Metrics::new();
        let settings = MemorySettings {
            capacity,
            when_full: WhenFull::Evict,
        };
        let counters = Counters::memory(&settings, [1; 16], &metrics);
        let (mut longest, mut busiest) = (Duration::ZERO, Duration::ZERO);
        let begun = Instant::now();
        for caller in 0..1_000_000_u32 {
            let key = caller.to_le_bytes();
            let limits = [
                limit(b"the API", 1 << 40, Window::DAY),
                limit(&key, 10, Window::MINUTE),
            ];
            let (asked, busy) = (Instant::now(), processor());
            let decided = counters.take(&limits, now());
            busiest = busiest.max(processor().saturating_sub(busy));
            longest = longest.max(asked.elapsed());
            drop(decided);
        }
        let whole = begun.elapsed();
        println!(
            "capacity {capacity}: {} held, {} evicted, {:.1} MiB more resident, {:.0} ns a check, longest {:.3} ms, the most processor time {:.3} ms",
            metric(&metrics, "trireme_limit_counters"),
            metric(&metrics, "trireme_limit_evictions_total"),
            (resident().saturating_sub(before)) as f64 / f64::from(1 << 20),
            whole.as_nanos() as f64 / 1e6,
            longest.as_secs_f64() * 1e3,
            busiest.as_secs_f64() * 1e3,
        );
    }
}

/// Processor time of this thread: what others on the machine do is no stall of ours.
fn processor() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

/// Resident memory in bytes.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages: u64 = text
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse().ok())
        .expect("a number");
    pages * 4096
}
