//! Calls to other services: one pooled HTTP client with bounds and timeouts.
//!
//! What the processes ask of others besides the traffic itself (key sets today) goes through a [`Client`]: HTTP/1.1, or
//! HTTP/2 where a server agrees to it in its TLS handshake; connections are kept and used again; nothing that a server
//! does can take more time or memory than the caller's [`Bounds`] and the [`Settings`] say.
//!
//! ```text
//! Client::send ─▶ place ─▶ pool ─┬─▶ kept connection ─────────────▶ head ─▶ body, up to its bound
//!                                └─▶ connect: dial ─▶ TLS ─▶ ALPN ──┘
//!                   └──────────── one timeout over all of it ───────────────┘
//! ```
//!
//! ```no_run
//! # async fn keys(address: http::Uri) -> Result<bytes::Bytes, trireme_fetch::FetchError> {
//! use trireme_fetch::{Bounds, Client, Settings};
//!
//! let client = Client::new(Settings { trust_system: true, ..Settings::default() });
//! client.get(&address, "application/json", Bounds::default()).await
//! # }
//! ```
//!
//! It follows no redirection (an address is configured, so is where it leads), reads no proxy from the environment, keeps no
//! cookies and decodes no content encoding. What an answer means is the caller's business. Requests of API callers do not
//! come here: those have the router's own pools.
//!
//! Start with [`Client`]; `connect.rs` holds whom a connection trusts.

mod client;
mod connect;
mod error;
mod tasks;

use std::path::PathBuf;
use std::time::Duration;

pub use client::Client;
pub use connect::ConnectError;
pub use error::{ExchangeError, FetchError};

/// How connections are made and kept.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Files, or folders with `.pem` and `.crt` files, of the certificates that are trusted. Followed on disk.
    pub trust: Vec<PathBuf>,
    /// Also trust the platform's public roots.
    pub trust_system: bool,
    /// From looking the host up to the end of the TLS handshake.
    pub connect_timeout: Duration,
    /// A connection that nobody used for this long is closed.
    pub idle_timeout: Duration,
    /// Connections that are kept without use, a host.
    pub max_idle: usize,
    /// Calls at once; further ones wait, and their timeout runs meanwhile.
    pub max_calls: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            trust: Vec::new(),
            trust_system: false,
            connect_timeout: Duration::from_secs(5),
            // Shorter than what servers and the gateways on the way commonly grant, so that it is this end that closes.
            idle_timeout: Duration::from_secs(30),
            max_idle: 4,
            max_calls: 64,
        }
    }
}

/// What one call may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// From the call to the last byte of the answer.
    pub timeout: Duration,
    /// Longest body of an answer.
    pub max_body_bytes: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(5),
            // Key sets in use are a few kilobytes.
            max_body_bytes: 256 * 1024,
        }
    }
}
