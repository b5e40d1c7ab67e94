//! What a caller may. Whoever `authn` found is judged here by what its credential says and by the state of the API.

mod subscription;

use trireme_policy::api::Lifecycle;

use crate::authn::Identity;
use crate::credential::tokens::Token;
use crate::need::Question;
use crate::verdict::{KeyType, Reason, Scheme};

/// Whether this credential is good for the operation.
///
/// # Errors
/// What it lacks: of several things, the first.
pub(crate) fn credential(question: &Question<'_>, identity: &Identity) -> Result<(), Reason> {
    let token = identity.token.as_deref();
    match (identity.scheme, token) {
        (Scheme::AccessToken, Some(token)) => {
            subscription::access_token(question, identity, token)?;
            scopes(question, token)
        }
        (Scheme::ApiKey, Some(token)) => {
            let attributes = question.attributes;
            if !token.permits(attributes.peer, attributes.header("referer")) {
                return Err(Reason::Forbidden);
            }
            subscription::api_key(question, token)
        }
        (Scheme::InternalKey, Some(token)) => subscription::internal_key(question, token),
        (Scheme::MutualTls | Scheme::Unsecured, _) => Ok(()),
        // A token that isn't there can't be looked at.
        (Scheme::AccessToken | Scheme::ApiKey | Scheme::InternalKey, None) => Err(Reason::TokenInvalid),
    }
}

/// Whether the API answers anybody.
///
/// # Errors
/// It is blocked.
pub(crate) fn lifecycle(question: &Question<'_>) -> Result<(), Reason> {
    match question.api.policy.lifecycle {
        Lifecycle::Blocked => Err(Reason::ApiBlocked),
        Lifecycle::Created | Lifecycle::Other(_) | Lifecycle::Prototyped | Lifecycle::Published => Ok(()),
    }
}

/// The environment that the caller is served by.
///
/// # Errors
/// The credential names none, or one that the API doesn't have.
pub(crate) fn environment(question: &Question<'_>, identity: &Identity) -> Result<KeyType, Reason> {
    let environment = identity.key_type.ok_or(Reason::KeyTypeUnknown)?;
    match environment {
        _ if !question.attributes.route.cluster(environment).is_empty() => Ok(environment),
        KeyType::Production => Err(Reason::NoProduction),
        KeyType::Sandbox => Err(Reason::NoSandbox),
    }
}

/// One of the scopes that the operation takes is enough.
fn scopes(question: &Question<'_>, token: &Token) -> Result<(), Reason> {
    let wanted = &question.operation.scopes;
    let held = |scope: &String| token.scopes.iter().any(|held| **held == **scope);
    if wanted.is_empty() || wanted.iter().any(held) {
        Ok(())
    } else {
        Err(Reason::Scope)
    }
}
