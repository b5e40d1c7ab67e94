//! Keys that are signed tokens, whichever they are.

use std::sync::Arc;

use crate::credential::issuer::Signer;
use crate::credential::jwt::{MAX_TOKEN, TokenType, Unverified};
use crate::credential::tokens::{Token, TokenCache};
use crate::verdict::Reason;

/// The key with a good signature of the one who signs such keys; its header's key id means nothing.
pub(super) fn verified(
    cache: &TokenCache,
    signer: &Signer,
    text: &str,
    now: u64,
) -> Result<Arc<Token>, Reason> {
    if text.len() > MAX_TOKEN {
        return Err(Reason::ApiKeyInvalid);
    }
    if let Some(token) = cache.get(text, now) {
        return Ok(token);
    }
    let unverified = Unverified::parse(text).map_err(|_| Reason::ApiKeyInvalid)?;
    // An access token that says so isn't a key, though one certificate may sign both.
    if !unverified.acceptable(&[TokenType::Jwt]) {
        if let Some(algorithm) = &unverified.unsupported {
            signer.unsupported.tell(algorithm);
        }
        return Err(Reason::ApiKeyInvalid);
    }
    let claims = unverified.verify(&signer.key).ok_or(Reason::ApiKeyInvalid)?;
    let token = Token::new(claims, None, now, 0).map_err(|_| Reason::ApiKeyInvalid)?;
    let token = Arc::new(token);
    cache.insert(text, &token, None);
    Ok(token)
}
