//! Who is at the other end of a downstream connection, as far as the connection tells.

use std::net::SocketAddr;

use crate::enforcer::Source;
use crate::places::canonical;

/// The caller, as far as the connection tells.
#[derive(Debug)]
pub(crate) struct Peer {
    /// Its address.
    pub(crate) address: SocketAddr,
    /// Ours.
    pub(crate) local: Option<SocketAddr>,
    /// The connection is encrypted.
    tls: bool,
    /// As the enforcer is told.
    pub(crate) source: Source,
}

impl Peer {
    /// A caller at `address`; `certificate` is URL-encoded PEM or empty.
    pub(crate) fn new(address: SocketAddr, local: Option<SocketAddr>, tls: bool, certificate: &str) -> Self {
        let address = SocketAddr::new(canonical(address.ip()), address.port());
        Self {
            address,
            local,
            tls,
            source: Source::new(address, certificate),
        }
    }

    /// Whether the connection is encrypted.
    pub(crate) const fn is_tls(&self) -> bool {
        self.tls
    }

    /// `http` or `https`.
    pub(crate) const fn scheme(&self) -> &'static str {
        if self.tls { "https" } else { "http" }
    }
}

/// PEM as Envoy writes it into headers and checks.
pub(crate) fn url_encoded(pem: &str) -> String {
    let mut encoded = String::with_capacity(pem.len() + 64);
    for char in pem.chars() {
        match char {
            '\n' => encoded.push_str("%0A"),
            ' ' => encoded.push_str("%20"),
            '+' => encoded.push_str("%2B"),
            '/' => encoded.push_str("%2F"),
            '=' => encoded.push_str("%3D"),
            other => encoded.push(other),
        }
    }
    encoded
}
