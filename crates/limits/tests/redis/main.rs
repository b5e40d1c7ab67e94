//! Shared counters against a real Redis: exact, leased, away, secured, and against servers that are none.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

mod away;
mod counting;
mod nonsense;
mod secure;
mod server;
