//! Routes, clusters and listeners: domain types, wire conversion, the route index and the canonical request target.
//!
//! What it does not do: no I/O, no clock, no knowledge of policies. A route carries an opaque check context which the
//! enforcer alone understands.
//!
//! ```text
//! adapter:  snapshot::Fragment ──encode::fragment──▶ Any ─── xDS ──▶ router: decode::fragment ──▶ RouteTable::update
//!                              └─encode::assembled─▶ Any ─── xDS ──▶ stock Envoy
//!
//! router:   request line ──Target::parse──▶ RouteTable::find, admit ──▶ Matched ──▶ steered, rewrite_path ──▶ upstream
//! ```
//!
//! Read [`snapshot`] first, then [`table`]; for a filter `filter`, which has each in one file.

mod ambiguity;
mod caller;
pub mod decode;
pub mod encode;
mod filter;
mod invalid;
pub mod order;
mod pattern;
mod replies;
pub mod snapshot;
mod soap;
pub mod table;
pub mod target;
mod wire;

pub use ambiguity::{Ambiguities, Ambiguity, Permitted};
pub use invalid::Invalid;
pub use soap::Soap;
pub use table::{Held, Matched, Rejected, RouteTable, Update};
pub use target::{Host, Refused, Target, normal_path};
