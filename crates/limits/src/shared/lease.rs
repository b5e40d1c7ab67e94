//! Slices of shared limits: what this process may admit without asking.
//!
//! Redis counts a slice as used when it is granted, so that all slices together never exceed a limit. A slice belongs to one
//! window of Redis's clock; it is used no longer than it surely lasts: the time left of the window, told by Redis, counts
//! from before Redis was asked. Nothing is given back.

#[cfg(test)]
mod tests;

use crate::decision::{Decision, Outcome, Standing};
use crate::limit::{MAX_LIMITS, Time, Window};
use crate::memory::{Id, Table, Value, WhenFull};
use crate::metrics::Figures;

/// A slice that lasted less than this many milliseconds is followed by one of twice its size.
const QUICK: u64 = 100;
/// One that lasted longer than this, by one of half its size, and so on for each further such time.
const SLOW: u64 = 400;
/// How old what is known of a limit may be, in milliseconds, for requests that cost nothing yet.
const FRESH: u64 = 200;
/// The largest slice.
const LARGEST: u64 = 1 << 40;

/// One limit of a check, its key hashed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    pub(crate) id: Id,
    pub(crate) quota: u64,
    pub(crate) window: Window,
    pub(crate) cost: u64,
}

/// What is held of one limit.
#[derive(Clone, Copy, Debug, Default)]
struct Lease {
    /// Held here and not used.
    available: u64,
    /// Left in Redis when it was last asked; it can only have become less.
    left: u64,
    /// The quota that was asked with.
    quota: u64,
    /// The end of the window by Redis's clock.
    ends: Time,
    /// The end of the window by the clock here, at the earliest.
    until: Time,
    /// When it was asked for.
    since: Time,
    /// The size of the last slice.
    size: u64,
}

impl Value for Lease {
    fn until(&self) -> Time {
        self.until
    }

    fn weight(&self) -> u64 {
        self.available
    }
}

impl Lease {
    fn holds(&self, terms: &Terms, now: Time) -> bool {
        self.since <= now && now < self.until && self.quota == terms.quota
    }

    /// The moment by Redis's clock.
    fn moment(&self, now: Time) -> Time {
        Time(self.ends.0.saturating_sub(self.until.0.saturating_sub(now.0)))
    }
}

/// What Redis granted for the checks that wait, and what was put aside for them before it was asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slice {
    pub(crate) terms: Terms,
    /// What all waiting checks need.
    pub(crate) need: u64,
    /// What they have.
    pub(crate) have: u64,
    /// What more is wanted.
    pub(crate) want: u64,
    /// Left in Redis.
    pub(crate) left: u64,
    /// The end of the window by Redis's clock.
    pub(crate) ends: Time,
}

/// The slices held here.
pub(crate) struct Leases {
    table: Table<Lease>,
}

impl Leases {
    pub(crate) fn new(capacity: usize, seed: [u8; 16], figures: Figures) -> Self {
        Self {
            table: Table::new(capacity, WhenFull::Evict, seed, figures),
        }
    }

    pub(crate) fn id(&self, key: &[u8], window: Window) -> Id {
        self.table.id(key, window)
    }

    /// Decides with what is held here; none where Redis has to be asked. At most [`MAX_LIMITS`].
    pub(crate) fn take(&self, limits: &[Terms], now: Time) -> Option<Decision> {
        let mut ids = [Id::default(); MAX_LIMITS];
        for (id, terms) in ids.iter_mut().zip(limits) {
            *id = terms.id;
        }
        let ids = &ids[..limits.len()];
        let mut table = self.table.lock(ids);
        let mut places = [None; MAX_LIMITS];
        let mut decision = Decision::new(Outcome::Admitted, now);
        let mut lacking = false;
        for (index, terms) in limits.iter().enumerate() {
            places[index] = table.find(index, terms.id);
            let lease = places[index].map(|place| table.value(place)).unwrap_or_default();
            if !lease.holds(terms, now) {
                lacking = true;
                let (quota, ends) = (terms.quota, terms.window.end(now));
                decision.push(Standing { quota, used: 0, ends });
                continue;
            }
            let before = limits[..index].iter().filter(|other| other.id == terms.id);
            let before = before.fold(0_u64, |sum, other| sum.saturating_add(other.cost));
            let rest = lease.available.saturating_add(lease.left).saturating_sub(before);
            decision.now = lease.moment(now);
            decision.push(Standing {
                quota: terms.quota,
                used: terms.quota.saturating_sub(rest),
                ends: lease.ends,
            });
            // Nothing that is not here can help, whatever is lacking.
            if rest < terms.cost.max(1) && decision.outcome == Outcome::Admitted {
                decision.outcome = Outcome::Exhausted(index);
            }
            lacking |= match terms.cost {
                0 => now.0.saturating_sub(lease.since.0) >= FRESH,
                cost => lease.available.saturating_sub(before) < cost,
            };
        }
        if decision.outcome != Outcome::Admitted {
            return Some(decision);
        }
        if lacking {
            return None;
        }
        for (terms, place) in limits.iter().zip(places) {
            if let Some(place) = place {
                let mut lease = table.value(place);
                lease.available = lease.available.saturating_sub(terms.cost);
                table.set(place, lease);
            }
        }
        for (index, terms) in limits.iter().enumerate() {
            if let Some(place) = places[index] {
                let lease = table.value(place);
                let rest = lease.available.saturating_add(lease.left);
                decision.charge(index, terms.quota.saturating_sub(rest));
            }
        }
        Some(decision)
    }

    /// Puts aside what is held of what the waiting checks need, and says what to ask for.
    pub(crate) fn put_aside(&self, terms: &Terms, need: u64, now: Time) -> Slice {
        let mut table = self.table.lock(&[terms.id]);
        let mut slice = Slice {
            terms: *terms,
            need,
            have: 0,
            want: need,
            left: 0,
            ends: Time(0),
        };
        let Some(place) = table.find(0, terms.id) else {
            return slice;
        };
        let mut lease = table.value(place);
        slice.want = match now.0.saturating_sub(lease.since.0) {
            quick if quick < QUICK => lease.size.saturating_mul(2).min(LARGEST),
            slow if slow > SLOW => lease
                .size
                .checked_shr(u32::try_from(slow / SLOW).unwrap_or(u32::MAX))
                .unwrap_or(0),
            _ => lease.size,
        };
        if lease.holds(terms, now) {
            // With a cost of 0 something must be left, here or there.
            slice.have = lease.available.min(need.max(1));
            lease.available -= slice.have;
            table.set(place, lease);
        }
        slice
    }

    /// Keeps what is over when all waiting checks are decided. `sent` is a moment before Redis was asked, `answered` the
    /// time by Redis's clock when it answered.
    pub(crate) fn keep(&self, slice: &Slice, sent: Time, answered: Time) {
        let mut table = self.table.lock(&[slice.terms.id]);
        let place = match table.find(0, slice.terms.id) {
            Some(place) => Ok(place),
            None => table.make(0, slice.terms.id, sent, &[]),
        };
        // There is always room by evicting.
        let Ok(place) = place else { return };
        let old = table.value(place);
        let same = old.ends == slice.ends && old.quota == slice.terms.quota;
        let rest = slice.ends.0.saturating_sub(answered.0);
        table.set(
            place,
            Lease {
                available: slice.have.saturating_add(if same { old.available } else { 0 }),
                left: slice.left,
                quota: slice.terms.quota,
                ends: slice.ends,
                until: Time(sent.0.saturating_add(rest)),
                since: sent,
                size: slice.want.max(slice.need),
            },
        );
    }

    /// Bytes seen late, which Redis is told of as well.
    pub(crate) fn spend(&self, id: Id, amount: u64) {
        let mut table = self.table.lock(&[id]);
        if let Some(place) = table.find(0, id) {
            let mut lease = table.value(place);
            lease.left = lease.left.saturating_sub(amount);
            table.set(place, lease);
        }
    }
}

/// Decides a check that waited, with the slices of its limits.
pub(crate) fn settle(limits: &[Terms], slices: &mut [Slice], places: &[usize], now: Time) -> Decision {
    let mut decision = Decision::new(Outcome::Admitted, now);
    for (index, (terms, place)) in limits.iter().zip(places).enumerate() {
        let slice = &slices[*place];
        let before = limits[..index].iter().filter(|other| other.id == terms.id);
        let have = before.fold(slice.have, |have, other| have.saturating_sub(other.cost));
        let rest = have.saturating_add(slice.left);
        decision.push(Standing {
            quota: terms.quota,
            used: terms.quota.saturating_sub(rest),
            ends: slice.ends,
        });
        let short = match terms.cost {
            0 => rest == 0,
            cost => have < cost,
        };
        if short && decision.outcome == Outcome::Admitted {
            decision.outcome = Outcome::Exhausted(index);
        }
    }
    if decision.outcome == Outcome::Admitted {
        for (terms, place) in limits.iter().zip(places) {
            let slice = &mut slices[*place];
            slice.have = slice.have.saturating_sub(terms.cost);
        }
        for (index, (terms, place)) in limits.iter().zip(places).enumerate() {
            let slice = &slices[*place];
            let rest = slice.have.saturating_add(slice.left);
            decision.charge(index, terms.quota.saturating_sub(rest));
        }
    }
    decision
}
