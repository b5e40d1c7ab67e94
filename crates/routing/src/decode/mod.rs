//! Envoy's messages to domain types: the documented subset and nothing else. Whatever is outside it is refused with the
//! path of the field, so that a setting is never silently without effect.

use crate::Invalid;
use crate::snapshot::{Cluster, Fragment, Listener};
use crate::wire::read::read;

mod cluster;
mod listener;
mod route;
#[cfg(test)]
mod tests;
mod tls;

/// Reads a `Listener` message (the value of the `Any`).
///
/// # Errors
/// Names the first field that is outside the subset.
pub fn listener(message: &[u8]) -> Result<Listener, Invalid> {
    listener::listener(read(message)?)
}

/// Reads a `RouteConfiguration` message that holds one fragment.
///
/// # Errors
/// Names the first field that is outside the subset. Patterns are compiled by [`crate::RouteTable::update`] only.
pub fn fragment(message: &[u8]) -> Result<Fragment, Invalid> {
    route::fragment(read(message)?)
}

/// Reads a `Cluster` message.
///
/// # Errors
/// Names the first field that is outside the subset.
pub fn cluster(message: &[u8]) -> Result<Cluster, Invalid> {
    cluster::cluster(read(message)?)
}
