//! Definitions: what routing and policy need of them.
//!
//! ```text
//! openapi ──▶ paths ──▶ mock ─┐
//! asyncapi ───────────────────┼──▶ Defined: hosts, security, extensions, resources in their order
//! graphql (resources alone) ──┘
//! ```

pub(crate) mod asyncapi;
mod defined;
pub(crate) mod extensions;
mod format;
pub(crate) mod graphql;
mod hosts;
mod mock;
pub mod normal;
pub(crate) mod openapi;
pub mod order;
mod paths;
pub(crate) mod security;
pub(crate) mod spelling;

pub(crate) use self::defined::{Circumstances, Defined};
pub(crate) use self::format::Format;
