//! Which TLS versions and cipher suites may be negotiated.

use std::sync::{Arc, OnceLock};

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::{CipherSuite, SupportedCipherSuite, SupportedProtocolVersion};

/// What gRPC peers agree on, as an acceptor's or a connector's application protocols.
pub const GRPC_ALPN: &[&[u8]] = &[b"h2"];

/// A TLS version that can be negotiated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// TLS 1.2.
    Tls12,
    /// TLS 1.3.
    Tls13,
}

/// Bounds on the negotiation. The default allows TLS 1.2 and 1.3 with every suite of the provider, all of which give
/// forward secrecy and authenticated encryption.
#[derive(Clone, Debug)]
pub struct Protocols {
    versions: Vec<&'static SupportedProtocolVersion>,
    provider: Arc<CryptoProvider>,
}

impl Default for Protocols {
    fn default() -> Self {
        Self {
            versions: vec![&rustls::version::TLS13, &rustls::version::TLS12],
            provider: provider(),
        }
    }
}

impl Protocols {
    /// Versions from `lowest` to `highest`; the other way round counts as both ends being `lowest`.
    #[must_use]
    pub fn with_versions(mut self, lowest: Version, highest: Version) -> Self {
        let highest = highest.max(lowest);
        self.versions = [
            (Version::Tls13, &rustls::version::TLS13),
            (Version::Tls12, &rustls::version::TLS12),
        ]
        .into_iter()
        .filter(|(version, _)| (lowest..=highest).contains(version))
        .map(|(_, version)| version)
        .collect();
        self
    }

    /// Restricts TLS 1.2 to the suites named as OpenSSL does (`ECDHE-RSA-AES128-GCM-SHA256`), in that order, and
    /// returns the names for which there is no implementation (CBC and static-RSA suites have known weaknesses). TLS
    /// 1.3 suites are always on. When no name is left the provider's own list stays.
    #[must_use]
    pub fn with_ciphers<'a>(mut self, names: impl IntoIterator<Item = &'a str>) -> (Self, Vec<String>) {
        let mut unknown = Vec::new();
        let mut chosen: Vec<SupportedCipherSuite> = Vec::new();
        for name in names {
            match suite(name).and_then(find) {
                Some(suite) if !chosen.contains(&suite) => chosen.push(suite),
                Some(_) => {}
                None => unknown.push(name.to_owned()),
            }
        }
        if !chosen.is_empty() {
            let mut suites: Vec<SupportedCipherSuite> = provider()
                .cipher_suites
                .iter()
                .copied()
                .filter(|suite| suite.tls13().is_some())
                .collect();
            suites.extend(chosen.into_iter().filter(|suite| suite.tls13().is_none()));
            self.provider = Arc::new(CryptoProvider {
                cipher_suites: suites,
                ..(*provider()).clone()
            });
        }
        (self, unknown)
    }

    pub(crate) fn provider(&self) -> Arc<CryptoProvider> {
        Arc::clone(&self.provider)
    }

    /// The versions that the chosen suites can serve; never empty, as TLS 1.3 suites are always there and TLS 1.2
    /// alone falls back to the provider's own list when none of its suites was chosen.
    pub(crate) fn versions(&self) -> &[&'static SupportedProtocolVersion] {
        &self.versions
    }

    /// The provider to use, which holds at least one suite for each version.
    pub(crate) fn checked_provider(&self) -> Arc<CryptoProvider> {
        let usable = self.versions.iter().all(|version| {
            self.provider
                .cipher_suites
                .iter()
                .any(|suite| suite.version().version == version.version)
        });
        if usable { self.provider() } else { provider() }
    }
}

/// The one cryptography provider of all processes.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    Arc::clone(PROVIDER.get_or_init(|| Arc::new(aws_lc_rs::default_provider())))
}

fn find(id: CipherSuite) -> Option<SupportedCipherSuite> {
    provider()
        .cipher_suites
        .iter()
        .copied()
        .find(|suite| suite.suite() == id)
}

/// Suites by OpenSSL's name.
const SUITES: [(&str, CipherSuite); 9] = [
    (
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    ),
    (
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    ),
    (
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
    (
        "ECDHE-RSA-AES128-GCM-SHA256",
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    ),
    (
        "ECDHE-RSA-AES256-GCM-SHA384",
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    ),
    (
        "ECDHE-RSA-CHACHA20-POLY1305",
        CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
    ("TLS_AES_128_GCM_SHA256", CipherSuite::TLS13_AES_128_GCM_SHA256),
    ("TLS_AES_256_GCM_SHA384", CipherSuite::TLS13_AES_256_GCM_SHA384),
    (
        "TLS_CHACHA20_POLY1305_SHA256",
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
    ),
];

fn suite(name: &str) -> Option<CipherSuite> {
    let name = name.trim();
    SUITES
        .iter()
        .find_map(|(known, suite)| (*known == name).then_some(*suite))
}

/// OpenSSL's name of a suite.
pub(crate) fn suite_name(suite: CipherSuite) -> Option<&'static str> {
    SUITES
        .iter()
        .find_map(|(name, known)| (*known == suite).then_some(*name))
}
