//! Logging, metrics and the access log.
