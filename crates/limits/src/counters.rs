//! The one entry: counters of this process, or shared ones.

use std::fmt;
use std::sync::Arc;

use trireme_telemetry::Metrics;

use crate::decision::Decision;
use crate::limit::{Limit, Time, Window};
use crate::memory::{Memory, MemorySettings, RestoreError};
use crate::metrics::Figures;
use crate::shared::{Pending, Shared, SharedSettings};

/// All counters. Clones share them; the last one dropped ends the connection to Redis.
#[derive(Clone)]
pub struct Counters {
    place: Arc<Place>,
}

enum Place {
    Memory(Memory),
    Shared(Shared),
}

/// What came of a check.
#[derive(Debug)]
#[must_use]
#[expect(
    clippy::large_enum_variant,
    reason = "in memory every check is decided: no allocation for the sake of the others"
)]
pub enum Take {
    /// Decided here.
    Decided(Decision),
    /// Redis has to be asked; the answer comes within the configured wait. Dropping it may charge the limits or not.
    Wait(Pending),
}

impl Counters {
    /// Counters of this process. `seed` keys the hashes by which counters are found: random bytes, for nobody else to know.
    pub fn memory(settings: &MemorySettings, seed: [u8; 16], metrics: &Metrics) -> Self {
        let figures = Figures::new(metrics);
        Self {
            place: Arc::new(Place::Memory(Memory::new(settings, seed, figures))),
        }
    }

    /// Counters that several processes share in Redis. Starts the task that keeps the connection, on the runtime it is
    /// called from (panics outside of one); waits for nothing, as Redis may be away.
    pub fn shared(settings: SharedSettings, seed: [u8; 16], metrics: &Metrics) -> Self {
        let figures = Figures::new(metrics);
        Self {
            place: Arc::new(Place::Shared(Shared::start(settings, seed, figures))),
        }
    }

    /// Waits until the first attempt to reach Redis is over, as long as that may take; says whether there is something to
    /// count with. At once for counters of this process.
    pub async fn started(&self) -> bool {
        match &*self.place {
            Place::Memory(_) => true,
            Place::Shared(shared) => shared.started().await,
        }
    }

    /// Takes from all `limits` or from none. The first that has not enough left is named in the answer. At most
    /// [`MAX_LIMITS`](crate::MAX_LIMITS) limits.
    pub fn take(&self, limits: &[Limit<'_>], now: Time) -> Take {
        match &*self.place {
            Place::Memory(memory) => Take::Decided(memory.take(limits, now)),
            Place::Shared(shared) => match shared.take(limits, now) {
                Ok(decision) => Take::Decided(decision),
                Err(pending) => Take::Wait(pending),
            },
        }
    }

    /// Counts what became known after the check, such as bytes of a body, whatever is left. In Redis within about the
    /// configured wait, and not at all while that is away.
    pub fn add(&self, key: &[u8], window: Window, amount: u64, now: Time) {
        match &*self.place {
            Place::Memory(memory) => memory.add(key, window, amount, now),
            Place::Shared(shared) => shared.add(key, window, amount),
        }
    }

    /// Everything counted in windows that have not ended, for [`Counters::restore`] in the successor of this process. At
    /// most [`Counters::most_bytes`] long. Holds the seed: readable by nobody else. None for shared counters, which need
    /// none.
    pub fn dump(&self, now: Time) -> Option<Vec<u8>> {
        match &*self.place {
            Place::Memory(memory) => Some(memory.dump(now)),
            Place::Shared(_) => None,
        }
    }

    /// Greatest length of a [`Counters::dump`] of this capacity.
    #[must_use]
    pub fn most_bytes(capacity: usize) -> u64 {
        Memory::most_bytes(capacity)
    }

    /// Takes over a [`Counters::dump`], before anything is counted here; says how many counters came. On failure the
    /// counters are as empty as before.
    pub fn restore(&self, dump: &[u8], now: Time) -> Result<usize, RestoreError> {
        match &*self.place {
            Place::Memory(memory) => memory.restore(dump, now),
            Place::Shared(_) => Ok(0),
        }
    }
}

impl fmt::Debug for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = match &*self.place {
            Place::Memory(_) => "memory",
            Place::Shared(_) => "shared",
        };
        f.debug_struct("Counters")
            .field("place", &place)
            .finish_non_exhaustive()
    }
}
