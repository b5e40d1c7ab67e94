//! Why the enforcer doesn't start.

use std::io;
use std::net::SocketAddr;

/// Why the enforcer doesn't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A port can't be had.
    #[error("cannot listen on {address}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The file that tells the bound addresses can't be written.
    #[error("cannot write the bound addresses")]
    BoundFile(#[source] io::Error),
    /// The system gives no random bytes.
    #[error("no random bytes can be had")]
    Random,
    /// Key, certificate or trusted certificates can't be used.
    #[error("key material cannot be used")]
    Tls(#[source] trireme_tls::TlsError),
    /// A thread or runtime can't be made.
    #[error("cannot start a worker")]
    Worker(#[source] io::Error),
    /// Asked to stop before the settings had come.
    #[error("stopped before the settings arrived")]
    Stopped,
}
