//! Counters of one process.

mod dump;
mod table;

#[cfg(test)]
mod tests;

pub use self::dump::RestoreError;
pub use self::table::WhenFull;
pub(crate) use self::table::{Full, Id, Place, Table, Value};
use crate::decision::{Decision, Outcome, Standing};
use crate::limit::{Limit, MAX_LIMITS, Time, Window};
use crate::metrics::Figures;

/// How far a counter may be ahead of a clock before it is believed that the clock was set back, in milliseconds, where its
/// window is shorter. Threads that read the clock and are then held up stay below it.
const AHEAD: u64 = 10_000;

/// How counters are kept in this process.
#[derive(Clone, Debug)]
pub struct MemorySettings {
    /// How many counters at most; at least 32. One takes 48 bytes or less.
    pub capacity: usize,
    /// What happens to a new caller when all of them are in use.
    pub when_full: WhenFull,
}

/// One counter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    used: u64,
    ends: Time,
}

impl Value for Count {
    fn until(&self) -> Time {
        self.ends
    }

    fn weight(&self) -> u64 {
        self.used
    }
}

impl Count {
    /// What it holds for the window of `now`. A counter that is a little ahead was used by a thread whose clock was: the
    /// request belongs to that window.
    fn at(self, window: Window, now: Time) -> Self {
        let ends = window.end(now);
        let ahead = self.ends.0.checked_sub(ends.0);
        if ahead.is_some_and(|ahead| ahead <= window.as_millis().max(AHEAD)) {
            self
        } else {
            Self { used: 0, ends }
        }
    }
}

/// The counters of one process.
pub(crate) struct Memory {
    table: Table<Count>,
    capacity: usize,
}

impl Memory {
    pub(crate) fn new(settings: &MemorySettings, seed: [u8; 16], figures: Figures) -> Self {
        Self {
            table: Table::new(settings.capacity, settings.when_full, seed, figures),
            capacity: settings.capacity,
        }
    }

    /// Decides first and charges then, all under the locks of the shards concerned.
    pub(crate) fn take(&self, limits: &[Limit<'_>], now: Time) -> Decision {
        if limits.len() > MAX_LIMITS {
            return Decision::new(Outcome::TooMany, now);
        }
        let mut ids = [Id::default(); MAX_LIMITS];
        for (id, limit) in ids.iter_mut().zip(limits) {
            *id = self.table.id(limit.key, limit.window);
        }
        let ids = &ids[..limits.len()];
        let mut table = self.table.lock(ids);

        let mut decision = Decision::new(Outcome::Admitted, now);
        let mut places = [None; MAX_LIMITS];
        // Whether a counter stands more than once in the check.
        let mut twice = false;
        for (index, limit) in limits.iter().enumerate() {
            places[index] = table.find(index, ids[index]);
            let count = places[index].map(|place| table.value(place)).unwrap_or_default();
            let count = count.at(limit.window, now);
            decision.push(Standing {
                quota: limit.quota,
                used: count.used,
                ends: count.ends,
            });
            let mut taken = count.used;
            for other in (0..index).filter(|other| ids[*other] == ids[index]) {
                taken = taken.saturating_add(limits[other].cost);
                twice = true;
            }
            if decision.outcome == Outcome::Admitted && !fits(taken, limit) {
                decision.outcome = Outcome::Exhausted(index);
            }
        }
        if decision.outcome != Outcome::Admitted {
            return decision;
        }

        for (index, limit) in limits.iter().enumerate() {
            if places[index].is_none() && limit.cost > 0 {
                let place = match table.find(index, ids[index]) {
                    Some(place) => Ok(place),
                    None => table.make(index, ids[index], now, &places),
                };
                match place {
                    Ok(place) => places[index] = Some(place),
                    Err(Full) => {
                        decision.outcome = Outcome::Full(index);
                        return decision;
                    }
                }
            }
        }
        for (index, limit) in limits.iter().enumerate() {
            if let Some(place) = places[index].filter(|_| limit.cost > 0) {
                let count = charge(&mut table, place, limit.window, limit.cost, now);
                decision.charge(index, count.used);
            }
        }
        if twice {
            for (index, limit) in limits.iter().enumerate() {
                let place = table.find(index, ids[index]);
                let count = place.map(|place| table.value(place)).unwrap_or_default();
                decision.charge(index, count.at(limit.window, now).used);
            }
        }
        decision
    }

    pub(crate) fn add(&self, key: &[u8], window: Window, amount: u64, now: Time) {
        if amount == 0 {
            return;
        }
        let id = self.table.id(key, window);
        let mut table = self.table.lock(&[id]);
        let place = match table.find(0, id) {
            Some(place) => Ok(place),
            None => table.make(0, id, now, &[]),
        };
        // Without room nothing is counted; the figures tell.
        if let Ok(place) = place {
            charge(&mut table, place, window, amount, now);
        }
    }
}

/// Whether the quota has room for the request on top of what is used; one that costs nothing yet needs something left.
pub(crate) fn fits(used: u64, limit: &Limit<'_>) -> bool {
    used.checked_add(limit.cost.max(1))
        .is_some_and(|used| used <= limit.quota)
}

fn charge(
    table: &mut table::Locked<'_, Count>,
    place: Place,
    window: Window,
    amount: u64,
    now: Time,
) -> Count {
    let mut count = table.value(place).at(window, now);
    count.used = count.used.saturating_add(amount);
    table.set(place, count);
    count
}
