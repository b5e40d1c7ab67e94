//! Public keys and the signatures made with their private halves.

use std::fmt;

use aws_lc_rs::signature::{
    ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512,
    RsaParameters, RsaPublicKeyComponents,
};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::public_key::PublicKey as Parsed;

/// Signature algorithms that are accepted. Everything else, `none` and the HMAC family first, is refused by name before
/// a key is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Algorithm {
    Rs256,
    Rs384,
    Rs512,
}

impl Algorithm {
    pub(crate) fn parse(name: &str) -> Option<Self> {
        match name {
            "RS256" => Some(Self::Rs256),
            "RS384" => Some(Self::Rs384),
            "RS512" => Some(Self::Rs512),
            _ => None,
        }
    }
}

/// Why a key can't be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidKey {
    /// There is no certificate in the file, or it can't be read.
    #[error("no readable certificate")]
    Certificate,
    /// Only RSA keys sign tokens.
    #[error("the key is not an RSA key")]
    NotRsa,
    /// Outside 2048 to 8192 bits, or not a key.
    #[error("the RSA key is malformed or not between 2048 and 8192 bits")]
    Rsa,
}

/// An RSA public key, parsed once for each algorithm.
pub(crate) struct PublicKey {
    rs256: ParsedPublicKey,
    rs384: ParsedPublicKey,
    rs512: ParsedPublicKey,
    /// Modulus and exponent without leading zeros.
    components: (Vec<u8>, Vec<u8>),
    /// The one algorithm that it is for; any without.
    only: Option<Algorithm>,
}

impl PublicKey {
    /// For one algorithm only (RFC 8725 §3.1).
    pub(crate) fn only(mut self, algorithm: Option<Algorithm>) -> Self {
        self.only = algorithm;
        self
    }

    /// Whether it is the same key, for the same purpose.
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.components == other.components && self.only == other.only
    }

    /// From big-endian modulus and exponent.
    pub(crate) fn rsa(modulus: &[u8], exponent: &[u8]) -> Result<Self, InvalidKey> {
        let (n, e) = (unpadded(modulus), unpadded(exponent));
        if !(256..=1024).contains(&n.len()) || e.is_empty() || e.len() > 8 {
            return Err(InvalidKey::Rsa);
        }
        let components = RsaPublicKeyComponents { n, e };
        let parsed = |parameters: &'static RsaParameters| {
            components
                .to_parsed_public_key(parameters)
                .map_err(|_| InvalidKey::Rsa)
        };
        Ok(Self {
            rs256: parsed(&RSA_PKCS1_2048_8192_SHA256)?,
            rs384: parsed(&RSA_PKCS1_2048_8192_SHA384)?,
            rs512: parsed(&RSA_PKCS1_2048_8192_SHA512)?,
            components: (n.to_vec(), e.to_vec()),
            only: None,
        })
    }

    /// From the first certificate of a PEM text.
    pub(crate) fn certificate(pem: &[u8]) -> Result<Self, InvalidKey> {
        let der = CertificateDer::from_pem_slice(pem).map_err(|_| InvalidKey::Certificate)?;
        let (_, certificate) =
            x509_parser::parse_x509_certificate(&der).map_err(|_| InvalidKey::Certificate)?;
        match certificate.public_key().parsed() {
            Ok(Parsed::RSA(key)) => Self::rsa(key.modulus, key.exponent),
            Ok(_) => Err(InvalidKey::NotRsa),
            Err(_) => Err(InvalidKey::Rsa),
        }
    }

    /// Whether it is for signatures of this algorithm.
    pub(crate) fn fits(&self, algorithm: Algorithm) -> bool {
        self.only.is_none_or(|only| only == algorithm)
    }

    /// Whether the signature is that of the message.
    pub(crate) fn verify(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        if !self.fits(algorithm) {
            return false;
        }
        let key = match algorithm {
            Algorithm::Rs256 => &self.rs256,
            Algorithm::Rs384 => &self.rs384,
            Algorithm::Rs512 => &self.rs512,
        };
        key.verify_sig(message, signature).is_ok()
    }

    /// Big-endian modulus and exponent.
    pub(crate) fn components(&self) -> (&[u8], &[u8]) {
        (&self.components.0, &self.components.1)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey(RSA, {} bytes)", self.components.0.len())
    }
}

fn unpadded(bytes: &[u8]) -> &[u8] {
    let zeros = bytes.iter().take_while(|&&byte| byte == 0).count();
    bytes.get(zeros..).unwrap_or_default()
}
