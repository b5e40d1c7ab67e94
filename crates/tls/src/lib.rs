//! Certificates and mutual TLS between the processes.
