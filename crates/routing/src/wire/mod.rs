//! Protobuf messages on the wire.

pub(crate) mod write;
