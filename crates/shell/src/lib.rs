//! What is around each of the three processes.

pub mod probe;
pub mod signals;
