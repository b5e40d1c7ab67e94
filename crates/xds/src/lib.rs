//! Delta discovery protocol, both ends.
//!
//! A server ([`server`]) holds named, versioned resources in a [`server::Cache`] and streams what changes to every
//! subscriber over Envoy's `AggregatedDiscoveryService/DeltaAggregatedResources`; a client ([`client`]) keeps one such
//! stream open, hands every change to an [`client::Apply`] and answers with ACK or NACK.
//!
//! ```text
//! publisher ─apply─▶ server::Cache ─session─▶ tonic stream ─▶ client::run ─Update─▶ Apply
//!                        ▲  settled ◀── ACK / NACK ◀──────────────┘   └─▶ last-good file
//! ```
//!
//! The crate does not know what a resource means: bodies are opaque bytes, groups are opaque strings. It does not open
//! sockets either; it is given a listener's service slot and a channel.
//!
//! # What differs from a plain delta server
//!
//! - The first answer to a subscription may be split over several messages. Every one of them but the last carries
//!   [`PARTIAL`] at the end of `system_version_info`; a client takes the first message without it as the end of the initial
//!   content, so servers that never split (or know nothing of this) work as they are.
//! - A NACK names every refused resource in `error_detail.details` as `envoy.service.discovery.v3.ResourceError`, beside
//!   the readable `name: reason` list in `message`.
//!
//! Read `protocol` first: it holds both state machines, without I/O or clock.

mod cache;
pub mod client;
mod keeper;
mod protocol;
mod report;
mod resource;
pub mod server;
mod set;
mod state_file;
mod update;

pub use protocol::PARTIAL;
pub use resource::{Rejection, Resource};
