//! Logging, metrics and the access log.
//!
//! ```text
//! tracing events ─▶ log.rs      ─▶ stderr, and a file with rotation
//! counters       ─▶ metrics.rs  ─▶ text for /metrics
//! requests       ─▶ access/     ─▶ Format writes a line ─▶ LineWriter (own thread) ─▶ file or standard output
//! ```
//!
//! It holds no metric of a particular process: those are registered where they are counted, under the names of
//! [`names`]. It starts no exporter and speaks no protocol. Start with `log.rs`; `access/format.rs` is the largest part.

pub mod access;
mod chain;
mod escape;
mod log;
mod metrics;
pub mod names;
mod process;
pub mod trace;
mod writer;

pub use chain::chain;
pub use log::{Level, LogError, LogFormat, LogHandle, LogSettings, UnknownLevel, init};
pub use metrics::{Format, Metrics};
pub use writer::{LineWriter, OpenError, Rotation, WriterSettings};
