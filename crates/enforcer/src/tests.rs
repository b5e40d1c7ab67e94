//! Checks as a whole, without and with the network.

mod bench;
mod combinations;
mod credentials;
pub(crate) mod fixture;
mod heads;
mod jwks;
mod model;
mod operations;
mod process;
mod stages;
mod tokens;
