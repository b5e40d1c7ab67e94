//! What is around each of the three processes, so that they start, tell of themselves and end alike.
//!
//! A process says what it is with [`Process`] and hands itself to [`run`]; while it builds itself, it takes from here what it
//! needs: sockets that its workers share, the file of bound addresses, the admin port, the list of what its readiness waits
//! for.
//!
//! ```text
//! main ─▶ run ─▶ arguments ─▶ Process::read ─┬─▶ --check, health
//!  probe ◀─┘ by its names                    └─▶ log ─▶ runtime ─▶ signals ─▶ Process::serve
//!                                                                               ├─▶ listen   sockets on one port
//!                                                                               ├─▶ bound    where they are
//!                                                                               ├─▶ ready    Conditions ─▶ Readiness
//!                                                                               ├─▶ state    whether anything outlives it
//!                                                                               └─▶ admin    /live /ready /metrics and its own
//! ```
//!
//! Whoever links it allocates by the allocator of `memory.rs`.
//!
//! It knows nothing of configuration files and variables (a process reads them and says what follows) and none of the data
//! that a process holds; TLS it needs for the probes that the original's manifests run (`probe`). Start with `process.rs`; `ready.rs` says what readiness is.

pub mod admin;
mod arguments;
pub mod bound;
mod guesses;
pub mod listen;
mod memory;
mod probe;
mod process;
pub mod ready;
mod signals;
pub mod state;
mod termination;

pub use guesses::Guesses;
pub use process::{Process, Settings, Threads, run};
pub use ready::{Condition, Readiness};

/// For whoever called the program.
fn say(line: &str) {
    use std::io::Write as _;
    // Nobody is left to tell when this fails.
    writeln!(std::io::stdout(), "{line}").unwrap_or_default();
}
