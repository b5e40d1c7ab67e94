//! The callers' side: sockets, connections, the threads that own them, and the bodies that go back.

pub(crate) mod body;
pub(crate) mod connection;
pub(crate) mod gate;
pub(crate) mod handover;
mod heads;
mod io;
pub(crate) mod listener;
pub(crate) mod ports;
mod proxy;
pub(crate) mod streams;
pub(crate) mod worker;
