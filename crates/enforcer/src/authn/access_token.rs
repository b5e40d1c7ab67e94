//! Access tokens: JWTs of a configured issuer (spec/enforcer.md §3.6, §4.2, §5).

use std::sync::Arc;

use super::{Failure, Identity, Question};
use crate::api::Api;
use crate::credential::issuer::Issuer;
use crate::credential::jwks::Lookup;
use crate::credential::jwt::{MAX_TOKEN, Unverified, has_three_parts};
use crate::credential::tokens::{Kind, Token};
use crate::verdict::{Reason, Scheme};

/// The token of the request, when its header has the shape of one.
pub(crate) fn recognize<'a>(question: &Question<'a>) -> Option<&'a str> {
    let name = question
        .api
        .authorization
        .as_deref()
        .unwrap_or(&question.security.authorization);
    let value = question.attributes.header(name)?;
    let mut parts = value.split_ascii_whitespace();
    let (scheme, token) = (parts.next()?, parts.next()?);
    let bearer = scheme
        .get(..6)
        .is_some_and(|prefix| prefix.eq_ignore_ascii_case("bearer"));
    (bearer && parts.next().is_none() && has_three_parts(value)).then_some(token)
}

/// Whether the token is good, names this API when it must, and has a scope that the operation takes.
pub(crate) fn authenticate<'a>(question: &Question<'a>, text: &str) -> Result<Identity, Failure<'a>> {
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
    if issuer.validate_subscription && !subscribed(&token, question.api) {
        return Err(Reason::Subscription.into());
    }
    let wanted = &question.operation.scopes;
    if !wanted.is_empty()
        && !wanted
            .iter()
            .any(|scope| token.scopes.iter().any(|held| **held == **scope))
    {
        return Err(Reason::Scope(question.attributes.route.template).into());
    }
    Ok(Identity {
        scheme: Scheme::AccessToken,
        key_type: token.key_type,
    })
}

/// A token that doesn't name its APIs needs a subscription store, and there is none: it is refused.
fn subscribed(token: &Token, api: &Api) -> bool {
    let policy = &api.policy;
    token.subscribed.as_ref().is_some_and(|list| {
        list.iter()
            .any(|entry| *entry.name == *policy.title && *entry.version == *policy.version)
    })
}

/// The token with a good signature, from the cache or checked now.
fn verified<'a>(question: &Question<'a>, text: &str) -> Result<(Arc<Token>, Arc<Issuer>), Failure<'a>> {
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
    if !unverified.acceptable() {
        return Err(Reason::TokenInvalid.into());
    }
    // The issuer first, then its keys: a key id never reaches beyond the issuer that the token states.
    let issuer = unverified
        .issuer()
        .and_then(|name| security.issuers.access.get(name));
    let issuer = Arc::clone(issuer.ok_or(Reason::TokenInvalid)?);
    let (key, generation) = match (&unverified.kid, &issuer.key_set) {
        (Some(kid), Some(set)) => match set.key(kid, now.instant) {
            Lookup::Key(key, generation) => (key, generation),
            Lookup::Unknown => return Err(Reason::UnknownKey.into()),
            Lookup::Unavailable => return Err(Reason::KeysUnavailable.into()),
            Lookup::Fetching(ended) => return Err(Failure::Wait(ended)),
        },
        (Some(_), None) => (
            issuer.certificate.clone().ok_or(Reason::TokenInvalid)?,
            issuer.generation(),
        ),
        (None, _) => (
            issuer.alias.clone().ok_or(Reason::TokenInvalid)?,
            issuer.generation(),
        ),
    };
    let claims = unverified.verify(&key).ok_or(Reason::TokenInvalid)?;
    let token = Token::new(&claims, Some(&issuer), now.unix, generation).map_err(|_| Reason::TokenInvalid)?;
    let token = Arc::new(token);
    security.tokens.insert(text, &token, Some(&issuer));
    Ok((token, issuer))
}
