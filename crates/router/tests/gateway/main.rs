//! The router as a whole: real sockets and real mutual TLS, discovery, enforcer and upstreams played by the tests.

#![allow(clippy::unwrap_used, reason = "a test may fail by panic")]

mod caller;
mod certificates;
mod checks;
mod drain;
mod edits;
mod framing;
mod limits;
mod log;
mod messages;
mod protocols;
mod routes;
mod stalled;
mod start;
mod support;
mod system;
mod unread;
mod upstreams;
