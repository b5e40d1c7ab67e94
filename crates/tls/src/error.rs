//! Why key material could not be used.

use std::io;

/// Why key material could not be loaded, watched or made. Every variant names the file it is about (or says
/// `inline …` for text that came without one).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The private CA or a certificate could not be made.
    #[error("cannot issue a certificate for {subject}")]
    Authority {
        /// Common name asked for.
        subject: String,
        /// What the generator said.
        #[source]
        source: rcgen::Error,
    },
    /// A certificate is not usable.
    #[error("{file}: certificate {number} is not usable: {reason}")]
    Certificate {
        /// File that holds it.
        file: String,
        /// Position in the file, from 1.
        number: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// The private key is not of a kind that can sign a handshake.
    #[error("{file}: private key is not usable")]
    Key {
        /// File that holds it.
        file: String,
        /// What the cryptography library said.
        #[source]
        source: rustls::Error,
    },
    /// Key and certificate belong to different pairs.
    #[error("{certificate}: the certificate does not belong to the key in {key}")]
    Mismatch {
        /// File of the certificate.
        certificate: String,
        /// File of the key.
        key: String,
    },
    /// A file that must hold a certificate holds none.
    #[error("{file}: holds no PEM certificate")]
    NoCertificate {
        /// The file.
        file: String,
    },
    /// A file that must hold a private key holds none that is unencrypted.
    #[error("{file}: holds no unencrypted private key (PKCS#8, PKCS#1 or SEC1 PEM)")]
    NoKey {
        /// The file.
        file: String,
    },
    /// The file is not well-formed PEM.
    #[error("{file}: malformed PEM")]
    Pem {
        /// The file.
        file: String,
        /// Where reading stopped.
        #[source]
        source: rustls_pki_types::pem::Error,
    },
    /// The file or folder could not be read.
    #[error("{file}: cannot be read")]
    Read {
        /// The file or folder.
        file: String,
        /// The operating system's reason.
        #[source]
        source: io::Error,
    },
    /// Bounds on what is read were exceeded.
    #[error("{file}: {what} exceeds the limit of {limit}")]
    TooLarge {
        /// The file or folder.
        file: String,
        /// What was counted.
        what: &'static str,
        /// How many are allowed.
        limit: usize,
    },
    /// The watcher thread could not be started.
    #[error("cannot watch the certificate files")]
    Watch(#[source] io::Error),
    /// A file could not be written.
    #[error("{file}: cannot be written")]
    Write {
        /// The file.
        file: String,
        /// The operating system's reason.
        #[source]
        source: io::Error,
    },
}
