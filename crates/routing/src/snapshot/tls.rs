//! What both sides of TLS are told by.

/// Where PEM material is. Wire: `envoy.config.core.v3.DataSource`, `filename` or `inline_string`.
#[derive(Clone, PartialEq, Eq)]
pub enum Pem {
    /// A file on the router.
    File(String),
    /// The text itself.
    Inline(String),
}

impl std::fmt::Debug for Pem {
    /// Keys are never printed.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Inline(text) => write!(f, "Inline({} bytes)", text.len()),
        }
    }
}

/// TLS protocol versions that are offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// TLS 1.2.
    V1_2,
    /// TLS 1.3.
    V1_3,
}
