//! Mutual TLS as the processes use it: who gets in, reload, the private CA, gRPC over it.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

mod authority;
mod grpc;
mod loading;
mod mutual;
mod pki;
mod reload;
