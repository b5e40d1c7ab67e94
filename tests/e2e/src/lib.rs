//! Scenarios against the real processes.
