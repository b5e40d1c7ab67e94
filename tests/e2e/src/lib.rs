//! Scenarios against the real programs; see `tests/`.
