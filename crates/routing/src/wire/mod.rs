//! Protobuf messages on the wire: written so that equal values give equal bytes, read so that nothing is passed over.

pub(crate) mod names;
pub(crate) mod own;
pub(crate) mod read;
pub(crate) mod write;
