//! API keys (spec/enforcer.md §3.7).

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use super::Identity;
use super::signed_key::verified;
use crate::api::KeyPlace;
use crate::attributes::Attributes;
use crate::credential::jwt::has_three_parts;
use crate::credential::tokens::Kind;
use crate::need::Question;
use crate::verdict::{Reason, Scheme};

/// The holder of the API key at this place; `None` when there is none.
pub(crate) fn authenticate(question: &Question<'_>, place: &KeyPlace) -> Option<Result<Identity, Reason>> {
    let key = find(question.attributes, place)?;
    Some(holder(question, &key))
}

fn holder(question: &Question<'_>, key: &str) -> Result<Identity, Reason> {
    let Question { security, now, .. } = *question;
    let signer = security.issuers.api_keys.as_ref().ok_or(Reason::SignerMissing)?;
    let token = verified(&security.application_keys, signer, key, now.unix)?;
    // Taken for an API key, an access token would be good without the scopes that it lacks.
    if matches!(token.kind, Kind::Access | Kind::InternalKey) {
        return Err(Reason::TokenInvalid);
    }
    token.validity.check(now.unix).map_err(|_| Reason::TokenInvalid)?;
    Ok(Identity::of_key(Scheme::ApiKey, token))
}

/// The key of the request at one place.
fn find<'a>(attributes: &Attributes<'a>, place: &KeyPlace) -> Option<Cow<'a, str>> {
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
