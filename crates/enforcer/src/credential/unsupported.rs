//! Algorithms that tokens and published keys name and nothing here checks: told by name, each once, however many come.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::event::{AlgorithmUnsupported, NamedBy};

/// Names that are told apart: those of RFC 7518 §3.1, RFC 8037, RFC 8812 and RFC 9864. All others together are told once, by the
/// first that comes, because callers can make up any number of them.
const NAMES: [&str; 14] = [
    "none", "HS256", "HS384", "HS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "ES256K",
    "EdDSA", "Ed25519", "Ed448",
];
/// Characters of a name that are told.
const MAX_NAME: usize = 32;

/// What was told of the tokens or the keys of one issuer.
#[derive(Debug)]
pub(crate) struct Unsupported {
    issuer: String,
    by: NamedBy,
    /// A bit for each of the names, and one more for all others.
    told: AtomicU32,
}

impl Unsupported {
    pub(crate) fn new(issuer: &str, by: NamedBy) -> Self {
        Self {
            issuer: issuer.to_owned(),
            by,
            told: AtomicU32::new(0),
        }
    }

    /// Whose it is.
    pub(crate) fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Tells that this algorithm isn't supported, unless it was told before.
    pub(crate) fn tell(&self, algorithm: &str) {
        let place = NAMES.iter().position(|name| *name == algorithm);
        let bit = 1 << place.unwrap_or(NAMES.len());
        // Read first: what everybody may send must not make every thread write.
        if self.told.load(Ordering::Relaxed) & bit != 0
            || self.told.fetch_or(bit, Ordering::Relaxed) & bit != 0
        {
            return;
        }
        let end = algorithm.char_indices().nth(MAX_NAME).map(|(at, _)| at);
        AlgorithmUnsupported {
            issuer: &self.issuer,
            algorithm: end.and_then(|end| algorithm.get(..end)).unwrap_or(algorithm),
            by: self.by,
        }
        .emit();
    }
}
