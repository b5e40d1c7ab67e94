//! The client of the check: nothing is forwarded without the enforcer's yes. `filters/check.rs` asks it.

mod link;
mod metadata;
mod pending;
mod request;
mod slots;
mod steering;
mod verdict;
mod wire;

pub(crate) use link::{Client, Enforcer};
pub(crate) use metadata::Metadata;
pub(crate) use request::{Facts, Source};
pub(crate) use steering::{Retry, Steering};
pub(crate) use verdict::{Admission, Changes, Denial, Verdict};
