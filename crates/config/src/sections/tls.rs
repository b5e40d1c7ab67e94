//! Key pairs and protocol versions.

use std::path::PathBuf;

use crate::schema::{keyword, section};

pub(super) const KEY: &str = "/home/wso2/security/keystore/mg.key";
pub(super) const CERTIFICATE: &str = "/home/wso2/security/keystore/mg.pem";
pub(super) const TRUSTSTORE: &str = "/home/wso2/security/truststore";
pub(super) const OWN_TRUSTED_CERTIFICATE: &str = "/home/wso2/security/truststore/mg.pem";
pub(super) const SYSTEM_BUNDLE: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Cipher suites of both sides of the router, OpenSSL names, in order of preference.
pub(super) fn ciphers() -> Vec<String> {
    [
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "ECDHE-RSA-AES128-GCM-SHA256",
        "ECDHE-ECDSA-AES128-SHA",
        "ECDHE-RSA-AES128-SHA",
        "AES128-GCM-SHA256",
        "AES128-SHA",
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "ECDHE-RSA-AES256-GCM-SHA384",
        "ECDHE-ECDSA-AES256-SHA",
        "ECDHE-RSA-AES256-SHA",
        "AES256-GCM-SHA384",
        "AES256-SHA",
    ]
    .map(str::to_owned)
    .into()
}

section! {
    /// The key pair of a process.
    pub struct Keystore {
        /// Private key, a PEM file.
        key_path["keyPath"]: PathBuf = KEY.into(),
        /// Certificate with its chain, a PEM file.
        cert_path["certPath"]: PathBuf = CERTIFICATE.into(),
    }
}

keyword! {
    /// A TLS protocol version. The file may name versions below 1.2; nothing below 1.2 is ever spoken.
    pub enum TlsVersion else Auto {
        /// The library's default.
        Auto = "TLS_AUTO",
        /// TLS 1.0.
        V1_0 = "TLS1_0",
        /// TLS 1.1.
        V1_1 = "TLS1_1",
        /// TLS 1.2.
        V1_2 = "TLS1_2",
        /// TLS 1.3.
        V1_3 = "TLS1_3",
    }
}
