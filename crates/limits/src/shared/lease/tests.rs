use trireme_telemetry::Metrics;

use super::*;

/// Here; Redis's clock is an hour ahead.
const NOW: Time = Time(1_800_000_030_000);
const ANSWERED: Time = Time(NOW.0 + 3_600_000);
const ENDS: Time = Time(ANSWERED.0 + 30_000);

fn leases() -> Leases {
    Leases::new(100, [5; 16], Figures::new(&Metrics::new()))
}

fn terms(leases: &Leases, key: &[u8], quota: u64, cost: u64) -> Terms {
    let window = Window::MINUTE;
    Terms {
        id: leases.id(key, window),
        quota,
        window,
        cost,
    }
}

/// As if Redis had granted `have` and had `left` after it.
fn grant(leases: &Leases, terms: &Terms, have: u64, left: u64) {
    let mut slice = leases.put_aside(terms, terms.cost, NOW);
    slice.have += have;
    slice.left = left;
    slice.ends = ENDS;
    leases.keep(&slice, NOW, ANSWERED);
}

fn after(millis: u64) -> Time {
    Time(NOW.0 + millis)
}

#[test]
fn a_slice_admits_as_much_as_it_holds_and_then_asks() {
    let leases = leases();
    let a = terms(&leases, b"a", 100, 1);
    assert!(leases.take(&[a], NOW).is_none());
    grant(&leases, &a, 3, 50);
    for left in [52, 51, 50] {
        let decision = leases.take(&[a], after(10)).unwrap();
        assert_eq!(decision.outcome, Outcome::Admitted);
        assert_eq!(decision.standings()[0].remaining(), left);
        assert_eq!(decision.standings()[0].ends, ENDS);
        assert_eq!(decision.now, Time(ANSWERED.0 + 10), "Redis's clock");
    }
    assert!(leases.take(&[a], after(10)).is_none());
}

#[test]
fn what_is_nowhere_is_refused_without_asking() {
    let leases = leases();
    let [a, b, unknown] = [b"a", b"b", b"c"].map(|key| terms(&leases, key, 100, 1));
    grant(&leases, &a, 5, 0);
    grant(&leases, &b, 0, 0);
    let decision = leases.take(&[unknown, a, b], after(10)).unwrap();
    assert_eq!(decision.outcome, Outcome::Exhausted(2));
    assert_eq!(decision.retry_after().unwrap().as_millis(), 29_990);
    let remaining: Vec<u64> = decision.standings().iter().map(Standing::remaining).collect();
    assert_eq!(remaining, [100, 5, 0]);
    // What was refused took nothing of the other slice.
    for _ in 0..5 {
        assert!(leases.take(&[a], after(10)).unwrap().admitted());
    }
    assert_eq!(
        leases.take(&[a], after(10)).unwrap().outcome,
        Outcome::Exhausted(0)
    );
    // More than is left anywhere is refused as well, and less is not.
    let large = terms(&leases, b"large", 100, 10);
    grant(&leases, &large, 4, 5);
    assert_eq!(
        leases.take(&[large], after(10)).unwrap().outcome,
        Outcome::Exhausted(0)
    );
    assert!(leases.take(&[Terms { cost: 9, ..large }], after(10)).is_none());
    assert!(
        leases
            .take(&[Terms { cost: 4, ..large }], after(10))
            .unwrap()
            .admitted()
    );
}

#[test]
fn a_slice_ends_with_its_window_with_another_quota_and_where_the_clock_was_set_back() {
    let leases = leases();
    let a = terms(&leases, b"a", 100, 1);
    grant(&leases, &a, 10, 50);
    assert!(leases.take(&[a], after(29_999)).is_some());
    assert!(leases.take(&[a], after(30_000)).is_none());
    assert!(leases.take(&[a], Time(NOW.0 - 1)).is_none());
    assert!(leases.take(&[Terms { quota: 99, ..a }], after(10)).is_none());
}

#[test]
fn checks_that_wait_get_what_they_need_first() {
    let leases = leases();
    let a = terms(&leases, b"a", 100, 1);
    grant(&leases, &a, 2, 50);
    let mut slices = [leases.put_aside(&a, 5, after(10))];
    assert_eq!(slices[0].have, 2);
    assert!(
        leases.take(&[a], after(10)).is_none(),
        "what is put aside is for those who wait"
    );
    // Redis has no more than two.
    slices[0].have += 2;
    slices[0].ends = ENDS;
    let outcomes = [(); 5].map(|()| settle(&[a], &mut slices, &[0], ANSWERED).outcome);
    let admitted = Outcome::Admitted;
    assert_eq!(
        outcomes,
        [admitted, admitted, admitted, admitted, Outcome::Exhausted(0)]
    );
    leases.keep(&slices[0], after(10), ANSWERED);
    assert_eq!(
        leases.take(&[a], after(10)).unwrap().outcome,
        Outcome::Exhausted(0)
    );
}

#[test]
fn a_check_that_waits_takes_from_all_or_from_none() {
    let leases = leases();
    let [a, b] = [b"a", b"b"].map(|key| terms(&leases, key, 100, 2));
    let mut slices = [a, b].map(|terms| Slice {
        ends: ENDS,
        ..leases.put_aside(&terms, 4, NOW)
    });
    slices[0].have = 4;
    slices[1].have = 3;
    assert!(settle(&[a, b], &mut slices, &[0, 1], ANSWERED).admitted());
    let decision = settle(&[a, b], &mut slices, &[0, 1], ANSWERED);
    assert_eq!(decision.outcome, Outcome::Exhausted(1));
    assert_eq!(slices.map(|slice| slice.have), [2, 1]);
    // The same counter twice.
    assert_eq!(
        settle(&[a, a], &mut slices, &[0, 0], ANSWERED).outcome,
        Outcome::Exhausted(1)
    );
    assert!(settle(&[a], &mut slices, &[0], ANSWERED).admitted());
}

#[test]
fn slices_grow_and_shrink_with_use() {
    let leases = leases();
    let a = terms(&leases, b"a", 1 << 50, 8);
    grant(&leases, &a, 8, 1 << 50);
    for (passed, want) in [
        (0, 16),
        (99, 16),
        (100, 8),
        (400, 8),
        (401, 4),
        (800, 2),
        (1_600, 0),
        (u64::MAX / 2, 0),
    ] {
        assert_eq!(leases.put_aside(&a, 0, after(passed)).want, want, "{passed}");
    }
}

#[test]
fn what_costs_nothing_yet_is_asked_for_now_and_then() {
    let leases = leases();
    let bytes = terms(&leases, b"a", 1_000, 0);
    assert!(leases.take(&[bytes], NOW).is_none());
    grant(&leases, &bytes, 0, 500);
    assert!(leases.take(&[bytes], after(199)).unwrap().admitted());
    assert!(leases.take(&[bytes], after(200)).is_none());
    leases.spend(bytes.id, 499);
    assert!(leases.take(&[bytes], after(100)).unwrap().admitted());
    leases.spend(bytes.id, 2);
    assert_eq!(
        leases.take(&[bytes], after(100)).unwrap().outcome,
        Outcome::Exhausted(0)
    );
}
