//! Access tokens: JWTs of a configured issuer (spec/enforcer.md §3.6, §4.2, §5).

use std::sync::Arc;

use tokio::time::Instant;

use super::Identity;
use crate::credential::issuer::Issuer;
use crate::credential::jwks::Lookup;
use crate::credential::jwt::{Claims, MAX_TOKEN, TokenType, Unverified, has_three_parts};
use crate::credential::tokens::{Kind, Token};
use crate::need::{Need, Question, Stop};
use crate::verdict::{Reason, Scheme};

/// Types of access tokens: what the original's issuers write, and RFC 9068.
const TYPES: [TokenType; 2] = [TokenType::AccessToken, TokenType::Jwt];

/// The token of the request, when its header has the shape of one.
fn recognize<'a>(question: &Question<'a>) -> Option<&'a str> {
    let name = question
        .api
        .authorization
        .as_deref()
        .unwrap_or(&question.security.authorization);
    let value = question.attributes.header(name)?;
    let (scheme, token) = value
        .trim_ascii()
        .split_once(|text: char| text.is_ascii_whitespace())?;
    let token = token.trim_ascii_start();
    let bearer = scheme.eq_ignore_ascii_case("bearer");
    // Not one by one until the first: a token has none, and is a kilobyte to go through with every request.
    let spaces = token
        .bytes()
        .fold(false, |found, byte| found | byte.is_ascii_whitespace());
    (bearer && !spaces && has_three_parts(value)).then_some(token)
}

/// The holder of the request's access token; `None` when no header has the shape of one.
pub(crate) fn authenticate(question: &Question<'_>) -> Option<Result<Identity, Stop>> {
    let text = recognize(question)?;
    Some(holder(question, text))
}

fn holder(question: &Question<'_>, text: &str) -> Result<Identity, Stop> {
    let (token, issuer) = verified(question, text)?;
    // Taken for an access token, an API key would be good without the addresses and subscriptions that it is bound to.
    if matches!(token.kind, Kind::ApiKey | Kind::InternalKey) {
        return Err(Reason::TokenInvalid.into());
    }
    token
        .validity
        .check(question.now.unix)
        .map_err(|_| Reason::TokenInvalid)?;
    // A token without an end would outlive every change of mind.
    if token.validity.expires.is_none() {
        return Err(Reason::TokenInvalid.into());
    }
    Ok(Identity {
        scheme: Scheme::AccessToken,
        key_type: token.key_type,
        token: Some(token),
        issuer: Some(issuer),
        certificate: None,
    })
}

/// The token with a good signature, from the cache or checked now.
fn verified(question: &Question<'_>, text: &str) -> Result<(Arc<Token>, Arc<Issuer>), Stop> {
    let Question { security, now, .. } = *question;
    if text.len() > MAX_TOKEN {
        return Err(Reason::TokenInvalid.into());
    }
    if let Some(found) = security.tokens.get_with_issuer(text, now.unix) {
        if let Some(set) = &found.1.key_set {
            set.refresh(now.instant);
        }
        return Ok(found);
    }
    let unverified = Unverified::parse(text).map_err(|_| Reason::NotAToken)?;
    // The issuer first, then its keys: a key id never reaches beyond the issuer that the token states.
    let issuer = unverified
        .issuer()
        .and_then(|name| security.issuers.access.get(name))
        .ok_or(Reason::TokenInvalid)?;
    if !unverified.acceptable(&TYPES) {
        if let Some(algorithm) = &unverified.unsupported {
            issuer.unsupported.tell(algorithm);
        }
        return Err(Reason::TokenInvalid.into());
    }
    let (claims, generation) = signed(&unverified, issuer, now.instant)?;
    let token = Token::new(claims, Some(issuer), now.unix, generation).map_err(|_| Reason::TokenInvalid)?;
    let token = Arc::new(token);
    security.tokens.insert(text, &token, Some(issuer));
    Ok((token, Arc::clone(issuer)))
}

/// The claims, when the issuer signed them, and the generation of its keys.
fn signed(token: &Unverified<'_>, issuer: &Issuer, now: Instant) -> Result<(Claims, u64), Stop> {
    let certificate = match (&token.kid, &issuer.key_set) {
        (Some(_), Some(_)) => None,
        (Some(_), None) => issuer.certificate.as_ref(),
        (None, _) => issuer.alias.as_ref(),
    };
    if let Some(claims) = certificate.and_then(|key| token.verify(key)) {
        return Ok((claims, issuer.generation()));
    }
    let set = issuer.key_set.as_ref().ok_or(Reason::TokenInvalid)?;
    match set.find(token, now) {
        Lookup::Signed(claims, generation) => Ok((claims, generation)),
        Lookup::Unknown if token.kid.is_some() => Err(Reason::UnknownKey.into()),
        Lookup::Forged | Lookup::Unknown => Err(Reason::TokenInvalid.into()),
        Lookup::Unavailable => Err(Reason::KeysUnavailable.into()),
        Lookup::Fetching(ended, bound) => Err(Stop::Need(Need::Keys(ended, bound))),
    }
}
