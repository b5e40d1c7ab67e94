//! Counters of rate limits: exact in memory for one process, in Redis where several share a limit.
//!
//! ```text
//! Counters::take(limits, now) ─┬─ memory/          ─▶ Decision                 no await, no I/O
//!                              └─ shared/ ask      ─▶ Pending ─▶ Decision      one script call, with all that wait
//!                                         lease    ─▶ Decision, or Pending     where the slice held here is used up
//! ```
//!
//! A check names all limits of a request and takes from all or from none; a refused request is charged nowhere. Windows are
//! fixed and begin at multiples of the wall clock. Counters know nothing of policies: what survives a change of those is
//! what keeps its key. Neither keys nor limits are read from anywhere; time and the seed of hashes are arguments.
//!
//! Start with `counters.rs`, the one entry; `memory/table.rs` holds what is counted in this process.

mod counters;
mod decision;
mod limit;
mod memory;
mod metrics;
mod shared;

pub use counters::{Counters, Take};
pub use decision::{Decision, Outcome, Standing};
pub use limit::{Limit, MAX_LIMITS, Time, Window};
pub use memory::{MemorySettings, RestoreError, WhenFull};
pub use shared::{InvalidUrl, Mode, OnFailure, Pending, Server, SharedSettings};
