//! The internal key of the try-out console (spec/enforcer.md §3.8).

use super::Identity;
use super::signed_key::verified;
use crate::credential::jwt::has_three_parts;
use crate::credential::tokens::Kind;
use crate::need::Question;
use crate::verdict::{Reason, Scheme};

/// The holder of the request's internal key; `None` when there is none.
pub(crate) fn authenticate(question: &Question<'_>) -> Option<Result<Identity, Reason>> {
    let key = question
        .attributes
        .header(&question.security.internal_key)
        .filter(|key| has_three_parts(key))?;
    Some(holder(question, key))
}

fn holder(question: &Question<'_>, key: &str) -> Result<Identity, Reason> {
    let Question { security, now, .. } = *question;
    let signer = security.issuers.publisher.as_ref().ok_or(Reason::TokenInvalid)?;
    let token = verified(&security.internal_keys, signer, key, now.unix)?;
    if token.kind != Kind::InternalKey {
        return Err(Reason::TokenInvalid);
    }
    token.validity.check(now.unix).map_err(|_| Reason::TokenInvalid)?;
    Ok(Identity::of_key(Scheme::InternalKey, token))
}
