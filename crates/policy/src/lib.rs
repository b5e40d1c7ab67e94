//! API policies and enforcer settings: what they mean, how they travel, how they are found.
//!
//! The adapter makes [`ApiPolicy`] and [`Settings`] and [`encode`]s them; the enforcer [`decode`]s them and keeps the
//! policies in a [`PolicyTable`]. Generated `wso2.discovery.*` types appear only inside `encode` and `decode`, so a value
//! of this crate is valid wherever it is met. No I/O, no clock, no knowledge of routes.
//!
//! ```text
//! adapter: ApiPolicy ── encode::api ──▶ wso2.discovery.api.Api ── decode::api ──▶ ApiPolicy ──▶ PolicyTable: enforcer
//! ```
//!
//! Read `api.rs` first.

pub mod api;
pub mod decode;
pub mod encode;
mod invalid;
pub mod settings;
mod table;
pub mod throttle;

pub use api::ApiPolicy;
pub use decode::Invalid;
pub use settings::Settings;
pub use table::{PolicyTable, Update};

#[cfg(test)]
mod tests;
