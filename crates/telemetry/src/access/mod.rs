//! The access log: one line per request, laid out by a format string in Envoy's command operators.
//!
//! [`Format::parse`] compiles the string once. For each request the router hands [`AccessLog::record`] something that
//! implements [`Record`]; the line is made on the caller's thread and written by another one.

mod format;
mod grpc;
mod log;
mod record;
mod time;

pub use format::{DEFAULT_FORMAT, Format, InvalidFormat, Reason};
pub use log::AccessLog;
pub use record::{Field, Headers, Record, Value};
