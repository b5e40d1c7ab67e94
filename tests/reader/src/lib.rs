//! A second reading of OpenAPI definitions (2.0, 3.0, 3.1, 3.2; JSON and YAML), to compare the gateway's with.
//!
//! It is made from the specifications and from what README promises for a bare file, and knows no crate of the gateway. YAML is read by
//! `yaml_serde`, a port of libyaml kept by the YAML organization: the gateway's own parser descends from yaml-rust, as
//! `saphyr` and `yaml-rust2` do, so that those could share its faults.
//!
//! ```text
//! text ──node──▶ Node ──definition──▶ Definition { Operation… }
//!                            ├─ address   servers, schemes and host
//!                            ╰─ security  requirements and what they refer to
//! ```
//!
//! It is for tests: it gives no diagnostics, reads no schema, and where a definition is odd it says what the specification says or
//! nothing. Start with `definition.rs`.

mod address;
mod definition;
mod node;
mod security;
mod version;

pub use crate::address::{Address, Level, Source};
pub use crate::definition::{Definition, Operation, read};
pub use crate::node::Unreadable;
pub use crate::security::{Demand, Refusal, Security};
pub use crate::version::Version;
