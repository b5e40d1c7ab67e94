use std::collections::{HashMap, HashSet};
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;

use proptest::prelude::*;
use trireme_telemetry::Metrics;

use super::*;

const SEED: [u8; 16] = [7; 16];
/// A moment in the middle of a minute.
const NOON: Time = Time(1_800_000_030_000);

fn memory(capacity: usize, when_full: WhenFull) -> (Memory, Metrics) {
    let metrics = Metrics::new();
    let settings = MemorySettings { capacity, when_full };
    (Memory::new(&settings, SEED, Figures::new(&metrics)), metrics)
}

fn limit(key: &[u8], quota: u64) -> Limit<'_> {
    Limit {
        key,
        quota,
        window: Window::MINUTE,
        cost: 1,
    }
}

fn metric(metrics: &Metrics, name: &str) -> u64 {
    let text = metrics.encode(trireme_telemetry::Format::Text);
    let line = text.lines().find(|line| line.split(' ').next() == Some(name));
    let value = line.and_then(|line| line.split(' ').nth(1));
    value.unwrap_or_else(|| panic!("{name}: {text}")).parse().unwrap()
}

#[test]
fn a_window_admits_its_quota_and_the_next_one_begins_anew() {
    let (memory, _) = memory(100, WhenFull::Evict);
    for used in 1..=3 {
        let decision = memory.take(&[limit(b"a", 3)], NOON);
        assert_eq!(decision.outcome, Outcome::Admitted);
        let ends = Time(1_800_000_060_000);
        assert_eq!(decision.standings(), [Standing { quota: 3, used, ends }]);
    }
    let decision = memory.take(&[limit(b"a", 3)], NOON);
    assert_eq!(decision.outcome, Outcome::Exhausted(0));
    assert_eq!(decision.retry_after(), Some(std::time::Duration::from_secs(30)));
    let last = Time(1_800_000_059_999);
    assert!(!memory.take(&[limit(b"a", 3)], last).admitted());
    assert!(memory.take(&[limit(b"a", 3)], Time(last.0 + 1)).admitted());
}

#[test]
fn a_refused_request_is_charged_nowhere_and_the_first_exhausted_limit_is_named() {
    let (memory, _) = memory(100, WhenFull::Evict);
    let limits = [limit(b"api", 100), limit(b"app", 1), limit(b"user", 1)];
    assert_eq!(memory.take(&limits, NOON).outcome, Outcome::Admitted);
    for _ in 0..10 {
        let decision = memory.take(&limits, NOON);
        assert_eq!(decision.outcome, Outcome::Exhausted(1));
        let used: Vec<u64> = decision
            .standings()
            .iter()
            .map(|standing| standing.used)
            .collect();
        assert_eq!(used, [1, 1, 1]);
    }
}

#[test]
fn key_and_window_make_a_counter_and_the_quota_does_not() {
    let (memory, _) = memory(100, WhenFull::Evict);
    let burst = Limit {
        window: Window::SECOND,
        ..limit(b"a", 2)
    };
    let limits = [limit(b"a", 3), burst];
    assert!(memory.take(&limits, NOON).admitted());
    assert!(memory.take(&limits, NOON).admitted());
    assert_eq!(memory.take(&limits, NOON).outcome, Outcome::Exhausted(1));
    let later = Time(NOON.0 + 1_000);
    assert!(memory.take(&limits, later).admitted());
    assert_eq!(memory.take(&limits, later).outcome, Outcome::Exhausted(0));
    assert!(
        memory.take(&[limit(b"a", 4)], later).admitted(),
        "the quota was raised"
    );
    assert!(
        !memory.take(&[limit(b"a", 2)], later).admitted(),
        "the quota was lowered"
    );
}

#[test]
fn bytes_are_taken_beforehand_or_added_later() {
    let (memory, _) = memory(100, WhenFull::Evict);
    let bytes = |cost| Limit {
        cost,
        ..limit(b"a", 1_000)
    };
    assert!(memory.take(&[bytes(600)], NOON).admitted());
    assert!(!memory.take(&[bytes(401)], NOON).admitted());
    assert!(memory.take(&[bytes(0)], NOON).admitted());
    memory.add(b"a", Window::MINUTE, 5_000, NOON);
    let decision = memory.take(&[bytes(0)], NOON);
    assert_eq!(decision.outcome, Outcome::Exhausted(0));
    assert_eq!(decision.standings()[0].used, 5_600);
    memory.add(b"a", Window::MINUTE, u64::MAX, NOON);
    assert!(!memory.take(&[bytes(u64::MAX)], NOON).admitted());
    assert!(memory.take(&[bytes(1)], Time(NOON.0 + 60_000)).admitted());
}

#[test]
fn a_counter_may_stand_twice_in_a_check() {
    let (memory, _) = memory(100, WhenFull::Evict);
    let twice = [limit(b"a", 3), limit(b"a", 3)];
    assert_eq!(memory.take(&twice, NOON).outcome, Outcome::Admitted);
    assert_eq!(memory.take(&twice, NOON).outcome, Outcome::Exhausted(1));
    assert!(memory.take(&twice[..1], NOON).admitted());
    assert!(!memory.take(&twice[..1], NOON).admitted());
}

#[test]
fn odd_limits_do_not_break_anything() {
    let (memory, _) = memory(0, WhenFull::Refuse);
    assert!(memory.take(&[], NOON).admitted());
    assert!(!memory.take(&[limit(b"", 0)], NOON).admitted());
    let many = [limit(b"a", 100); MAX_LIMITS + 1];
    assert_eq!(memory.take(&many, NOON).outcome, Outcome::TooMany);
    assert!(memory.take(&many[..MAX_LIMITS], NOON).admitted());
    for now in [Time(0), Time(u64::MAX)] {
        assert!(memory.take(&[limit(b"b", u64::MAX)], now).admitted());
    }
    assert_eq!(Window::of(std::time::Duration::ZERO), None);
    assert_eq!(Window::of(std::time::Duration::MAX), None);
    assert_eq!(Window::millis(NonZeroU64::MAX), Window::LONGEST);
}

/// Threads read the clock before they take: one that is late counts in the window that others have begun.
#[test]
fn a_clock_that_is_a_little_behind_counts_on_and_one_that_was_set_back_begins_anew() {
    let (memory, _) = memory(100, WhenFull::Evict);
    let burst = Limit {
        window: Window::SECOND,
        ..limit(b"a", 1)
    };
    assert!(memory.take(&[burst], NOON).admitted());
    let decision = memory.take(&[burst], Time(NOON.0 - 1));
    assert_eq!(decision.outcome, Outcome::Exhausted(0));
    assert_eq!(decision.standings()[0].ends, Time(NOON.0 + 1_000));
    assert!(!memory.take(&[burst], Time(NOON.0 - 9_000)).admitted());
    assert!(memory.take(&[burst], Time(NOON.0 - 3_600_000)).admitted());
}

#[test]
fn windows_that_have_ended_make_room_first() {
    let (memory, metrics) = memory(64, WhenFull::Refuse);
    let keys: Vec<[u8; 2]> = (0..2_000_u16).map(u16::to_le_bytes).collect();
    let take = |key: &[u8; 2], now| memory.take(&[limit(key, 5)], now).outcome;
    let mut admitted = 0;
    for key in &keys[..1_000] {
        match take(key, NOON) {
            Outcome::Admitted => admitted += 1,
            other => assert_eq!(other, Outcome::Full(0)),
        }
    }
    assert_eq!(admitted, 64);
    assert_eq!(metric(&metrics, "trireme_limit_counters"), 64);
    assert_eq!(metric(&metrics, "trireme_limit_full_total"), 936);

    let later = Time(NOON.0 + 60_000);
    let outcomes: HashSet<bool> = keys[1_000..]
        .iter()
        .map(|key| take(key, later) == Outcome::Admitted)
        .collect();
    assert_eq!(outcomes, HashSet::from([true, false]));
    assert_eq!(metric(&metrics, "trireme_limit_counters"), 64);
    assert_eq!(metric(&metrics, "trireme_limit_full_total"), 936 * 2);
    assert_eq!(metric(&metrics, "trireme_limit_evictions_total"), 0);
}

#[test]
fn a_flood_of_new_callers_evicts_its_own_counters() {
    let (memory, metrics) = memory(64, WhenFull::Evict);
    let busy = limit(b"busy", 50);
    for _ in 0..50 {
        assert!(memory.take(&[busy], NOON).admitted());
    }
    for key in 0..10_000_u32 {
        assert!(memory.take(&[limit(&key.to_le_bytes(), 5)], NOON).admitted());
    }
    assert!(!memory.take(&[busy], NOON).admitted());
    assert_eq!(metric(&metrics, "trireme_limit_counters"), 64);
    assert_eq!(metric(&metrics, "trireme_limit_evictions_total"), 10_001 - 64);
}

/// A full shard gives nothing of what the check itself counts.
#[test]
fn a_check_never_evicts_its_own_counters() {
    let (memory, _) = memory(32, WhenFull::Evict);
    for round in 0..200_u32 {
        let keys: Vec<[u8; 5]> = (0..16_u8)
            .map(|index| {
                let [a, b, c, d] = round.to_le_bytes();
                [a, b, c, d, index]
            })
            .collect();
        let limits: Vec<Limit<'_>> = keys.iter().map(|key| limit(key, 2)).collect();
        for used in 1..=2 {
            let decision = memory.take(&limits, NOON);
            assert_eq!(decision.outcome, Outcome::Admitted);
            assert!(
                decision.standings().iter().all(|standing| standing.used == used),
                "{round}"
            );
        }
        assert_eq!(
            memory.take(&limits, NOON).outcome,
            Outcome::Exhausted(0),
            "{round}"
        );
    }
}

#[test]
fn a_successor_takes_the_counters_over() {
    let (first, _) = memory(1_000, WhenFull::Evict);
    for key in (0..100_u32).map(u32::to_le_bytes) {
        assert!(first.take(&[limit(&key, 1)], NOON).admitted());
        let over = Limit {
            window: Window::SECOND,
            ..limit(&key, 1)
        };
        assert!(first.take(&[over], NOON).admitted());
    }
    let later = Time(NOON.0 + 2_000);
    let dump = first.dump(later);
    let metrics = Metrics::new();
    let settings = MemorySettings {
        capacity: 1_000,
        when_full: WhenFull::Evict,
    };
    let second = Memory::new(&settings, [9; 16], Figures::new(&metrics));
    assert_eq!(
        second.restore(&dump, later),
        Ok(100),
        "windows of a second have ended"
    );
    for key in 0..100_u32 {
        assert!(!second.take(&[limit(&key.to_le_bytes(), 1)], later).admitted());
    }
    assert_eq!(second.restore(&dump, later), Err(RestoreError::InUse));
    let (small, _) = memory(32, WhenFull::Evict);
    assert_eq!(small.restore(&dump, later), Ok(32));
    let (late, _) = memory(1_000, WhenFull::Evict);
    assert_eq!(late.restore(&dump, Time(NOON.0 + 60_000)), Ok(0));
}

#[test]
fn a_damaged_dump_is_refused_whole() {
    let (memory, _) = memory(100, WhenFull::Evict);
    assert!(memory.take(&[limit(b"a", 1), limit(b"b", 1)], NOON).admitted());
    let dump = memory.dump(NOON);
    let empty = || self::memory(100, WhenFull::Evict).0;
    for length in 0..dump.len() {
        assert!(empty().restore(&dump[..length], NOON).is_err(), "{length}");
    }
    for index in 0..dump.len() {
        let mut damaged = dump.clone();
        damaged[index] ^= 1;
        let (memory, _) = self::memory(100, WhenFull::Evict);
        assert!(memory.restore(&damaged, NOON).is_err(), "{index}");
        assert!(memory.take(&[limit(b"a", 1)], NOON).admitted());
    }
    assert_eq!(empty().restore(b"", NOON), Err(RestoreError::Version));
    assert_eq!(
        empty().restore(&[&dump[..], b"x"].concat(), NOON),
        Err(RestoreError::Length)
    );
    let short = [&dump[..dump.len() - 1]].concat();
    assert_eq!(empty().restore(&short, NOON), Err(RestoreError::Length));
    assert_eq!(empty().restore(&dump, NOON), Ok(2));
}

/// Threads on limits that overlap: exactly the quota passes, and what is refused for one limit never makes another limit
/// refuse, not even for a moment.
#[test]
fn threads_take_exactly_what_there_is() {
    const THREADS: u64 = 8;
    const ROUNDS: u64 = 3_000;
    let (memory, _) = memory(10_000, WhenFull::Evict);
    let memory = Arc::new(memory);
    let narrow = AtomicU64::new(0);
    let own = ROUNDS * THREADS / 2;
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (memory, narrow) = (Arc::clone(&memory), &narrow);
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    let key = (round % 50).to_le_bytes();
                    if thread % 2 == 0 {
                        let limits = [
                            limit(b"wide", own + 100),
                            limit(b"narrow", 100),
                            limit(&key, u64::MAX),
                        ];
                        if memory.take(&limits, NOON).admitted() {
                            narrow.fetch_add(1, Ordering::Relaxed);
                        }
                    } else {
                        // In the other order.
                        let limits = [limit(&key, u64::MAX), limit(b"wide", own + 100)];
                        assert!(
                            memory.take(&limits, NOON).admitted(),
                            "refused for the sake of another check"
                        );
                    }
                }
            });
        }
    });
    assert_eq!(narrow.into_inner(), 100);
    let decision = memory.take(&[limit(b"wide", own + 100)], NOON);
    assert_eq!(decision.standings()[0].used, own + 100);
    let mut sum = 0;
    for key in 0..50_u64 {
        let key = key.to_le_bytes();
        sum += memory.take(&[limit(&key, 0)], NOON).standings()[0].used;
    }
    assert_eq!(sum, own + 100);
}

/// Checks of many limits in any order, in too little room, none waiting for another for ever.
#[test]
fn threads_that_evict_each_other_go_on() {
    for when_full in [WhenFull::Evict, WhenFull::Refuse] {
        let (memory, metrics) = memory(64, when_full);
        thread::scope(|scope| {
            for thread in 0..6_u32 {
                let memory = &memory;
                scope.spawn(move || {
                    for round in 0..1_500_u32 {
                        let number = |index: u32| (round * 31 + thread * 17 + index * index * 7) % 300;
                        let keys: Vec<[u8; 4]> = (0..8).map(|index| number(index).to_le_bytes()).collect();
                        let limits: Vec<Limit<'_>> = keys.iter().map(|key| limit(key, 1_000_000)).collect();
                        let outcome = memory
                            .take(&limits, Time(NOON.0 + u64::from(round) * 100))
                            .outcome;
                        let full = matches!(outcome, Outcome::Full(_)) && when_full == WhenFull::Refuse;
                        assert!(full || outcome == Outcome::Admitted, "{outcome:?}");
                    }
                });
            }
        });
        assert!(metric(&metrics, "trireme_limit_counters") <= 64);
    }
}

/// The moment moves on under the threads' feet, a little differently for each.
#[test]
fn threads_whose_clocks_differ_admit_the_quota_of_every_window() {
    let (memory, _) = memory(1_000, WhenFull::Evict);
    let admitted: Vec<AtomicUsize> = (0..12).map(|_| AtomicUsize::new(0)).collect();
    let clock = AtomicU64::new(NOON.0);
    thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                loop {
                    let now = clock.fetch_add(1, Ordering::Relaxed);
                    if now >= NOON.0 + 10_000 {
                        return;
                    }
                    thread::yield_now();
                    let burst = Limit {
                        window: Window::SECOND,
                        ..limit(b"a", 50)
                    };
                    let decision = memory.take(&[burst], Time(now));
                    if decision.admitted() {
                        let window = (decision.standings()[0].ends.0 - NOON.0) / 1_000;
                        admitted[usize::try_from(window).unwrap()].fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let admitted: Vec<usize> = admitted.into_iter().map(AtomicUsize::into_inner).collect();
    assert_eq!(admitted, [0, 50, 50, 50, 50, 50, 50, 50, 50, 50, 50, 0]);
}

/// The same in one thread, without shards, hashes or eviction.
#[derive(Default)]
struct Model {
    used: HashMap<(u8, u64, u64), u64>,
}

#[derive(Clone, Debug)]
struct Wish {
    key: u8,
    quota: u64,
    window: u64,
    cost: u64,
}

impl Model {
    fn used(&self, key: u8, window: u64, now: u64) -> u64 {
        *self.used.get(&(key, window, now / window)).unwrap_or(&0)
    }

    fn take(&mut self, wishes: &[Wish], now: u64) -> Outcome {
        let mut after = self.used.clone();
        for (index, wish) in wishes.iter().enumerate() {
            let used = after
                .entry((wish.key, wish.window, now / wish.window))
                .or_default();
            if *used + wish.cost.max(1) > wish.quota {
                return Outcome::Exhausted(index);
            }
            *used += wish.cost;
        }
        self.used = after;
        Outcome::Admitted
    }
}

fn wish() -> impl Strategy<Value = Wish> {
    let window = prop_oneof![Just(100), Just(1_000), Just(7_000)];
    (0..4_u8, 0..12_u64, window, 0..4_u64).prop_map(|(key, quota, window, cost)| Wish {
        key,
        quota,
        window,
        cost,
    })
}

proptest! {
    #[test]
    fn decisions_are_those_of_the_model(
        steps in prop::collection::vec((0..400_u64, prop::collection::vec(wish(), 0..6), 0..3_u64), 1..120)
    ) {
        let (memory, _) = memory(1_000, WhenFull::Evict);
        let mut model = Model::default();
        let mut now = NOON.0;
        for (passed, wishes, late) in steps {
            now += passed;
            let keys: Vec<[u8; 1]> = wishes.iter().map(|wish| [wish.key]).collect();
            let limits: Vec<Limit<'_>> = wishes.iter().zip(&keys).map(|(wish, key)| Limit {
                key,
                quota: wish.quota,
                window: Window::millis(NonZeroU64::new(wish.window).unwrap()),
                cost: wish.cost,
            }).collect();
            let decision = memory.take(&limits, Time(now));
            prop_assert_eq!(decision.outcome, model.take(&wishes, now));
            for (wish, standing) in wishes.iter().zip(decision.standings()) {
                let ends = Time((now / wish.window + 1) * wish.window);
                prop_assert_eq!(standing.ends, ends);
                prop_assert_eq!(standing.quota, wish.quota);
                prop_assert_eq!(standing.used, model.used(wish.key, wish.window, now));
            }
            if let Some(wish) = wishes.first().filter(|_| late > 0) {
                let window = Window::millis(NonZeroU64::new(wish.window).unwrap());
                memory.add(&[wish.key], window, late, Time(now));
                *model.used.entry((wish.key, wish.window, now / wish.window)).or_default() += late;
            }
        }
    }

    #[test]
    fn no_bytes_break_restoring(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let (memory, _) = memory(100, WhenFull::Evict);
        prop_assert!(memory.restore(&bytes, NOON).is_err());
        prop_assert!(memory.restore(&[b"TRILIMS1", &bytes[..]].concat(), NOON).is_err());
    }
}
