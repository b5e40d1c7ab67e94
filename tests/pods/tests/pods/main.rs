//! Manifests on a real engine: ours, our chart's, and such as the original's.

#![expect(
    clippy::print_stdout,
    reason = "a green run tells what it found, and what it does not show"
)]

mod bad;
mod common;
mod ready;
mod roll;
