//! Configuration files, environment and defaults.
