//! What a request costs router and enforcer.
//!
//! ```text
//! bench --envoy PROGRAM                   envoy.rs   CPU, against Envoy with the same enforcer
//! bench --trireme OLD --against NEW       pair.rs    CPU, two builds in turn
//! bench count                             count/     instructions, against recorded figures or another build
//! ```
//!
//! `gateway.rs` starts `trireme up`, `load.rs` puts load on it and takes the CPU that it cost, `process.rs` has what
//! concerns any process, `program.rs` the one that is measured, `spread.rs` what becomes of repeated measurements.

mod count;
mod envoy;
mod gateway;
mod load;
mod options;
mod pair;
mod process;
mod program;
mod spread;

use std::path::Path;

pub(crate) use options::Options;
use options::Task;
use program::{Scratch, program};

/// Measures what the options say, with `root` as the workspace.
pub(crate) fn run(root: &Path, options: &Options) -> anyhow::Result<()> {
    if let Some(Task::Count(options)) = &options.task {
        return count::run(root, options);
    }
    let trireme = program(root, options.trireme.as_deref())?;
    let scratch = Scratch::create()?;
    match &options.against {
        Some(other) => pair::run(options, &trireme, other, scratch.path()),
        None => envoy::run(options, &trireme, scratch.path()),
    }
}
