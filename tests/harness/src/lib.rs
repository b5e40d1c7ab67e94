//! Starts the real binaries and the servers tests need.
