//! Who is at the other end of a downstream connection, as far as the connection tells.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use trireme_tls::{Session, certificate_pem};

use crate::enforcer::Source;
use crate::places::canonical;

/// The caller, as far as the connection tells.
#[derive(Debug)]
pub(crate) struct Peer {
    /// Its address, by the PROXY header where there is one.
    pub(crate) address: SocketAddr,
    /// That of the socket.
    pub(crate) direct: SocketAddr,
    /// Ours, by the PROXY header where there is one.
    pub(crate) local: Option<SocketAddr>,
    /// What the TLS handshake said; absent without TLS.
    pub(crate) tls: Option<Session>,
    /// Number of the connection in this process, from 1.
    pub(crate) connection: u64,
    /// As the enforcer is told.
    pub(crate) source: Source,
}

/// Both ends of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ends {
    /// The caller's.
    pub(crate) peer: SocketAddr,
    /// That of the socket: the caller's, or that of a proxy that has told of the caller.
    pub(crate) direct: SocketAddr,
    /// Ours.
    pub(crate) local: Option<SocketAddr>,
}

impl Ends {
    /// Those of a socket.
    pub(crate) fn of(peer: SocketAddr, local: Option<SocketAddr>) -> Self {
        let peer = SocketAddr::new(canonical(peer.ip()), peer.port());
        Self {
            peer,
            direct: peer,
            local,
        }
    }
}

impl Peer {
    /// The caller at one end of a connection.
    pub(crate) fn new(ends: Ends, tls: Option<Session>) -> Self {
        static CONNECTIONS: AtomicU64 = AtomicU64::new(1);
        let Ends {
            peer: address,
            direct,
            local,
        } = ends;
        let certificate = tls.as_ref().and_then(|session| session.certificate.as_ref());
        let certificate = certificate.map(|certificate| url_encoded(&certificate_pem(certificate)));
        Self {
            address,
            direct,
            local,
            source: Source::new(address, certificate.as_deref().unwrap_or_default()),
            tls,
            connection: CONNECTIONS.fetch_add(1, Ordering::Relaxed),
        }
    }

    /// Whether the connection is encrypted.
    pub(crate) const fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// `http` or `https`.
    pub(crate) const fn scheme(&self) -> &'static str {
        if self.is_tls() { "https" } else { "http" }
    }
}

/// PEM as Envoy writes it into headers and checks.
fn url_encoded(pem: &str) -> String {
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
