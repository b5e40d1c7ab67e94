//! Routes, clusters and listeners: domain types, wire conversion and the route index.

pub mod snapshot;
