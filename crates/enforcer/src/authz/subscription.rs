//! Subscriptions, as the tokens themselves tell them: each kind names its APIs in its own way. A store of subscriptions isn't
//! here, so where only that could tell, the request is refused.

use serde_json::Value;

use crate::api::Api;
use crate::authn::Identity;
use crate::credential::tokens::Token;
use crate::need::Question;
use crate::verdict::Reason;

/// An access token names the API by title and version, where its issuer is one whose subscriptions count.
pub(super) fn access_token(
    question: &Question<'_>,
    identity: &Identity,
    token: &Token,
) -> Result<(), Reason> {
    let counts = identity
        .issuer
        .as_ref()
        .is_none_or(|issuer| issuer.validate_subscription);
    if counts && !subscribed(token, question.api) {
        return Err(Reason::Subscription);
    }
    Ok(())
}

/// An API key likewise. Under API Manager its subscriptions are in the store.
pub(super) fn api_key(question: &Question<'_>, token: &Token) -> Result<(), Reason> {
    let Question { api, security, .. } = *question;
    let signer = security.issuers.api_keys.as_ref();
    let counts = signer.is_none_or(|signer| signer.validate_subscription);
    if security.settings.control_plane || counts && !subscribed(token, api) {
        return Err(Reason::Subscription);
    }
    Ok(())
}

/// An internal key always names its API, by base path and version.
pub(super) fn internal_key(question: &Question<'_>, token: &Token) -> Result<(), Reason> {
    let policy = &question.api.policy;
    let list = token.claim("subscribedAPIs");
    let entries = list.as_ref().and_then(Value::as_array);
    let says =
        |entry: &Value, key, text: &str| entry.get(key).and_then(Value::as_str).unwrap_or_default() == text;
    let names =
        |entry: &Value| says(entry, "context", &policy.base_path) && says(entry, "version", &policy.version);
    if entries.is_some_and(|entries| entries.iter().any(names)) {
        Ok(())
    } else {
        Err(Reason::Forbidden)
    }
}

fn subscribed(token: &Token, api: &Api) -> bool {
    let policy = &api.policy;
    token.subscribed.as_ref().is_some_and(|list| {
        list.iter()
            .any(|entry| *entry.name == *policy.title && *entry.version == *policy.version)
    })
}
