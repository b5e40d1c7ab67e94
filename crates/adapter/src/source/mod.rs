//! Where projects come from beside the management API.

pub mod dir;
