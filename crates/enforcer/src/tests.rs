//! Checks as a whole, without and with the network.

mod bench;
mod combinations;
mod conditions;
mod credentials;
pub(crate) mod fixture;
mod heads;
mod jwks;
mod limits;
mod model;
mod operations;
mod process;
mod stages;
mod stores;
mod tokens;
