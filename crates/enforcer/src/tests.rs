//! Checks as a whole, without and with the network.

mod bench;
mod credentials;
pub(crate) mod fixture;
mod jwks;
mod model;
mod operations;
mod process;
mod stages;
mod tokens;
