//! API projects to what router and enforcer serve: a list of pure steps, the same input gives the same output.
//!
//! ```text
//! files ─read─▶ ApiProject ─targets─▶ Deployed ─┬─ clusters::Plan ──▶ Cluster…, targets of each resource ─▶ routes ─┬─▶ Draft ─at(revision)─▶ Api
//!                                               ╰─ policy ──────────────────────────────────────────────────────────╯
//! ```
//!
//! Everything is found before a revision is needed, so that a project is judged before it is stored, and what is published
//! always has one. One API doesn't know of the others here; that two of them don't claim the same name is the business of
//! whoever keeps them. Nothing is read but through a [`ProjectSource`](trireme_project::ProjectSource), there is no clock, and
//! the configuration is given as [`Settings`].
//!
//! Read `prepare.rs` first, then `draft.rs`. An example of each thing lies in `tests/golden`.

mod accepted;
mod clusters;
mod deployed;
mod draft;
mod findings;
mod guards;
mod headers;
mod limits;
pub mod names;
mod policy;
mod prepare;
mod routes;
mod settings;
pub mod system;
mod targets;
mod template;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod unserved;

pub use crate::deployed::Deployed;
pub use crate::draft::{Api, Draft, draft};
pub use crate::prepare::{Prepared, Refused, Surroundings, validate};
pub use crate::settings::{RetrySettings, Settings, System, Tiers, TlsSettings, Undefined, Upstream};
pub use crate::targets::Target;
