//! The authorization service: every request is decided here.
