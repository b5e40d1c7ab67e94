//! What a check answers.

use std::time::Duration;

use crate::limit::{MAX_LIMITS, Time};

/// Where one limit stands after a check.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// How much one window admits.
    pub quota: u64,
    /// How much of it is taken, this request included if it was admitted. More than the quota where that was lowered, or
    /// where bytes were counted late.
    pub used: u64,
    /// The first moment of the next window.
    pub ends: Time,
}

impl Standing {
    /// How much is left.
    pub fn remaining(&self) -> u64 {
        self.quota.saturating_sub(self.used)
    }
}

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every limit had enough left, and all were charged.
    Admitted,
    /// The limit at this place of the check, the first of those, has not enough left. None was charged.
    Exhausted(usize),
    /// There is no room for the counter at this place, and the settings say to refuse then. None was charged.
    Full(usize),
    /// More than [`MAX_LIMITS`] limits. None was charged.
    TooMany,
    /// The shared counters gave no answer in time: the settings say whether that admits.
    Unavailable {
        /// What the settings say.
        admit: bool,
    },
}

/// The answer to a check.
#[derive(Clone, Debug)]
pub struct Decision {
    /// How it ended.
    pub outcome: Outcome,
    /// The moment of the decision by the clock that decides about windows: the process's own, or Redis's.
    pub now: Time,
    standings: [Standing; MAX_LIMITS],
    count: usize,
}

impl Decision {
    pub(crate) fn new(outcome: Outcome, now: Time) -> Self {
        Self {
            outcome,
            now,
            standings: [Standing::default(); MAX_LIMITS],
            count: 0,
        }
    }

    pub(crate) fn push(&mut self, standing: Standing) {
        if let Some(place) = self.standings.get_mut(self.count) {
            *place = standing;
            self.count += 1;
        }
    }

    pub(crate) fn charge(&mut self, index: usize, used: u64) {
        self.standings[index].used = used;
    }

    /// Whether the request may pass.
    pub fn admitted(&self) -> bool {
        matches!(
            self.outcome,
            Outcome::Admitted | Outcome::Unavailable { admit: true }
        )
    }

    /// Where the limits stand, in the order of the check; empty where nobody knows.
    pub fn standings(&self) -> &[Standing] {
        &self.standings[..self.count]
    }

    /// How long until the window of the exhausted limit ends.
    pub fn retry_after(&self) -> Option<Duration> {
        let Outcome::Exhausted(index) = self.outcome else {
            return None;
        };
        let standing = self.standings().get(index)?;
        Some(standing.ends.since(self.now))
    }
}
