//! Access tokens of the management API: RS256 JWTs with `username`, `scope` and `exp`, nothing kept.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::rsa::KeyPair;
use aws_lc_rs::signature::KeyPair as _;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject as _;
use serde::{Deserialize, Serialize};

/// The only scope there is.
const SCOPE: &str = "admin";
/// Greatest token that is looked at.
const MAX_TOKEN_BYTES: usize = 16 << 10;
/// Greatest life of a token.
const MAX_TTL: Duration = Duration::from_secs(24 * 3600);

/// Signs and verifies tokens.
pub(crate) struct Tokens {
    signing: EncodingKey,
    verifying: DecodingKey,
    ttl: Duration,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokens")
            .field("ttl", &self.ttl)
            .finish_non_exhaustive()
    }
}

/// Why there is no key to sign with.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyError {
    #[error("token key isn't PEM")]
    Pem(#[source] rustls_pki_types::pem::Error),
    #[error("token key isn't an RSA key")]
    Kind,
    #[error("token key isn't usable")]
    Rejected(#[source] aws_lc_rs::error::KeyRejected),
    #[error("token key can't be read")]
    Unreadable(#[source] std::io::Error),
    #[error("token key can't sign")]
    Unusable(#[source] jsonwebtoken::errors::Error),
}

#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    username: String,
    scope: String,
    exp: u64,
}

impl Tokens {
    /// Reads the key, an RSA key as PEM.
    pub(crate) fn load(key: &Path, ttl: Duration) -> Result<Self, KeyError> {
        let pem = std::fs::read(key).map_err(KeyError::Unreadable)?;
        let der = PrivateKeyDer::from_pem_slice(&pem).map_err(KeyError::Pem)?;
        let pair = match &der {
            PrivateKeyDer::Pkcs1(der) => KeyPair::from_der(der.secret_pkcs1_der()),
            PrivateKeyDer::Pkcs8(der) => KeyPair::from_pkcs8(der.secret_pkcs8_der()),
            _ => return Err(KeyError::Kind),
        }
        .map_err(KeyError::Rejected)?;
        Ok(Self {
            // It wants the inner, PKCS#1 form, and finds it in both kinds of PEM.
            signing: EncodingKey::from_rsa_pem(&pem).map_err(KeyError::Unusable)?,
            verifying: DecodingKey::from_rsa_der(pair.public_key().as_ref()),
            ttl: ttl.min(MAX_TTL),
        })
    }

    /// A token for `username`; `None` when signing fails.
    pub(crate) fn issue(&self, username: &str) -> Option<String> {
        let claims = Claims {
            username: username.to_owned(),
            scope: SCOPE.to_owned(),
            exp: now().saturating_add(self.ttl.as_secs()),
        };
        jsonwebtoken::encode(&Header::new(Algorithm::RS256), &claims, &self.signing).ok()
    }

    /// The user of a token that holds.
    pub(crate) fn verify(&self, token: &str) -> Option<String> {
        if token.len() > MAX_TOKEN_BYTES {
            return None;
        }
        let mut rules = Validation::new(Algorithm::RS256);
        rules.leeway = 0;
        // "On or after" its time a token is expired (RFC 7519 4.1.4); the library means after.
        rules.reject_tokens_expiring_in_less_than = 1;
        let claims = jsonwebtoken::decode::<Claims>(token, &self.verifying, &rules)
            .ok()?
            .claims;
        (claims.scope == SCOPE).then_some(claims.username)
    }
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}
