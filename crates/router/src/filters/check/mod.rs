//! The check filter: nothing is forwarded without the enforcer's yes.

mod client;
mod pending;
mod request;
mod slots;
mod verdict;
mod wire;

pub(crate) use client::{Client, Enforcer};
pub(crate) use request::{Facts, Source};
pub(crate) use verdict::{Admission, Denial, Edit, Field, Metadata, Mode, Verdict};
