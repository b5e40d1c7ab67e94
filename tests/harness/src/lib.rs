//! Starts the real programs and the servers that end-to-end tests need.
//!
//! Everything listens on free loopback ports, keeps its files in a temporary folder of its own, and ends with the value
//! that stands for it. The programs are those that `cargo xtask test` has built: they are found beside the test's own
//! executable.
//!
//! Read [`Gateway`] first.

mod envoy;
mod gateway;
mod load;
mod program;
mod upstream;
mod wire;

use std::time::Duration;

use tokio::time::Instant;

pub use envoy::{Beside, Envoy, Ports};
pub use gateway::{Answer, Gateway, GatewayBuilder, Ready, Role, Sample};
pub use load::{Load, Outcome, Tally};
pub use program::{is_dist, missing, program, required, rounds, run};
pub use upstream::{Seen, Upstream};
pub use wire::Raw;

/// How long [`eventually`] looks.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Looks again and again until `probe` gives a value.
///
/// # Panics
/// After [`PATIENCE`], naming `what`.
pub async fn eventually<T>(what: &str, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = probe().await {
            return value;
        }
        assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
