//! Keys that are signed tokens: API keys and the internal key of the try-out console (spec/enforcer.md §3.7, §3.8).

use std::borrow::Cow;
use std::sync::Arc;

use percent_encoding::percent_decode_str;

use super::{Identity, Question};
use crate::api::KeyPlace;
use crate::attributes::Attributes;
use crate::credential::jwt::{MAX_TOKEN, Unverified, has_three_parts};
use crate::credential::keys::PublicKey;
use crate::credential::tokens::{Kind, Token, TokenCache};
use crate::verdict::{Reason, Scheme};

/// The key of the request at one place.
pub(crate) fn find<'a>(attributes: &Attributes<'a>, place: &KeyPlace) -> Option<Cow<'a, str>> {
    let key = match place {
        KeyPlace::Header(name) => Cow::Borrowed(attributes.header(name)?),
        KeyPlace::Query(name) => parameter(attributes.query()?, name)?,
    };
    has_three_parts(&key).then_some(key)
}

/// First parameter of that name, decoded.
fn parameter<'a>(query: &'a str, name: &str) -> Option<Cow<'a, str>> {
    query.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        let key = percent_decode_str(key).decode_utf8().ok()?;
        (key == name)
            .then(|| percent_decode_str(value).decode_utf8().ok())
            .flatten()
    })
}

/// Whether the API key is good for this API and caller.
pub(crate) fn application<'a>(question: &Question<'a>, key: &str) -> Result<Identity, Reason<'a>> {
    let Question {
        attributes,
        api,
        security,
        now,
        ..
    } = *question;
    let signer = security.issuers.api_keys.as_ref().ok_or(Reason::SignerMissing)?;
    let token = verified(&security.application_keys, &signer.key, key, now.unix)?;
    // Taken for an API key, an access token would be good without the scopes that it lacks.
    if matches!(token.kind, Kind::Access | Kind::InternalKey) {
        return Err(Reason::TokenInvalid);
    }
    token.validity.check(now.unix).map_err(|_| Reason::TokenInvalid)?;
    if !token.permits(attributes.peer, attributes.header("referer")) {
        return Err(Reason::Forbidden);
    }
    let policy = &api.policy;
    let named = || {
        token.subscribed.as_ref().is_some_and(|list| {
            list.iter()
                .any(|entry| *entry.name == *policy.title && *entry.version == *policy.version)
        })
    };
    // Under API Manager subscriptions come from its store, which isn't here.
    if security.settings.control_plane || signer.validate_subscription && !named() {
        return Err(Reason::Subscription);
    }
    Ok(Identity {
        scheme: Scheme::ApiKey,
        key_type: token.key_type,
    })
}

/// Whether the internal key of the request is good for this API; `None` when there is none.
pub(crate) fn internal<'a>(question: &Question<'a>) -> Option<Result<Identity, Reason<'a>>> {
    let Question {
        attributes,
        api,
        security,
        now,
        ..
    } = *question;
    let key = attributes
        .header(&security.internal_key)
        .filter(|key| has_three_parts(key))?;
    let check = || {
        let signer = security.issuers.publisher.as_ref().ok_or(Reason::TokenInvalid)?;
        let token = verified(&security.internal_keys, signer, key, now.unix)?;
        if token.kind != Kind::InternalKey {
            return Err(Reason::TokenInvalid);
        }
        token.validity.check(now.unix).map_err(|_| Reason::TokenInvalid)?;
        let policy = &api.policy;
        let named = token.subscribed.as_ref().is_some_and(|list| {
            list.iter()
                .any(|entry| *entry.context == *policy.base_path && *entry.version == *policy.version)
        });
        if !named {
            return Err(Reason::Forbidden);
        }
        Ok(Identity {
            scheme: Scheme::InternalKey,
            key_type: token.key_type,
        })
    };
    Some(check())
}

/// The key with a good signature of the one who signs such keys; its header's key id means nothing.
fn verified(
    cache: &TokenCache,
    signer: &PublicKey,
    text: &str,
    now: u64,
) -> Result<Arc<Token>, Reason<'static>> {
    if text.len() > MAX_TOKEN {
        return Err(Reason::ApiKeyInvalid);
    }
    if let Some(token) = cache.get(text, now) {
        return Ok(token);
    }
    let unverified = Unverified::parse(text).map_err(|_| Reason::ApiKeyInvalid)?;
    let claims = unverified.verify(signer).ok_or(Reason::ApiKeyInvalid)?;
    let token = Token::new(&claims, None, now, 0).map_err(|_| Reason::ApiKeyInvalid)?;
    let token = Arc::new(token);
    cache.insert(text, &token, None);
    Ok(token)
}
