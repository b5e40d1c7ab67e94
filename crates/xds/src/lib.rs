//! Delta discovery protocol, both ends.
