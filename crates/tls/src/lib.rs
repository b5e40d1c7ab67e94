//! Certificates and mutual TLS between the processes.
//!
//! A [`Material`] is one key pair plus the certificates that are trusted, read from PEM files (or given as text) and
//! replaced as a whole when the files change. [`Acceptor`] and [`Connector`] look at the newest material at every
//! handshake; connections that are open keep what they were made with.
//!
//! ```text
//! Settings ─▶ Material ─┬─▶ Acceptor  ─▶ serve::incoming  ─▶ tonic server, axum
//!     files ─▶ Watch ───┘└─▶ Connector ─▶ channel::channel ─▶ tonic client
//! ```
//!
//! It does not decide who may do what with a verified certificate, and it opens no listening sockets.
//! Start with `material/mod.rs`; `material/verify.rs` holds the rules by which a peer is accepted.

pub mod authority;
pub mod channel;
mod error;
mod facts;
pub mod generated;
mod material;
mod pem;
mod protocols;
pub mod serve;
mod session;

pub use error::TlsError;
pub use facts::{Facts, out_of_date};
pub use material::{Acceptor, ClientAuth, Connector, Material, Pem, ServerCheck, Settings, Watch};
pub use pem::{certificate_pem, certificates_of};
pub use protocols::{GRPC_ALPN, Protocols, Version};
pub use session::Session;
