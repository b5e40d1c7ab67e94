//! Who is calling. One module for each way to prove it; this one asks them in order.

mod access_token;
mod mutual_tls;
mod signed_key;

use tokio::sync::watch;
use tokio::time::Instant;
use trireme_policy::api::MutualTls;

use crate::api::{Api, Operation};
use crate::attributes::Attributes;
use crate::security::Security;
use crate::verdict::{KeyType, Reason, Scheme};

/// What time it is, on both clocks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now {
    /// Unix seconds, for what tokens say.
    pub(crate) unix: u64,
    /// For how long something has been.
    pub(crate) instant: Instant,
}

/// Who is calling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) scheme: Scheme,
    /// Environment; `None` for a claim that means nothing.
    pub(crate) key_type: Option<KeyType>,
}

/// Why a caller isn't known.
#[derive(Debug)]
pub(crate) enum Failure<'a> {
    /// For good.
    Refused(Reason<'a>),
    /// Until a fetch of keys has ended.
    Wait(watch::Receiver<u64>),
}

impl<'a> From<Reason<'a>> for Failure<'a> {
    fn from(reason: Reason<'a>) -> Self {
        Self::Refused(reason)
    }
}

/// One question of who is calling.
#[derive(Clone, Copy)]
pub(crate) struct Question<'a> {
    pub(crate) attributes: &'a Attributes<'a>,
    pub(crate) api: &'a Api,
    pub(crate) operation: &'a Operation,
    pub(crate) security: &'a Security,
    pub(crate) now: Now,
}

/// Finds out who is calling (spec/enforcer.md §3.2).
///
/// A certificate that must be there ends the question when it isn't or isn't known. Then the first application credential
/// that is enough decides; of several that aren't, the first gives the reason, unless one couldn't be looked at.
pub(crate) fn identify<'a>(question: Question<'a>) -> Result<Identity, Failure<'a>> {
    let Question {
        attributes,
        api,
        operation,
        security,
        ..
    } = question;
    let environment = if attributes.route.production.is_empty() {
        KeyType::Sandbox
    } else {
        KeyType::Production
    };
    if operation.open {
        return Ok(Identity {
            scheme: Scheme::Unsecured,
            key_type: Some(environment),
        });
    }
    let mut refused = None;
    if api.mutual_tls != MutualTls::Absent {
        match (
            mutual_tls::authenticate(attributes, api, security, question.now),
            api.mutual_tls,
        ) {
            (Ok(()), MutualTls::Mandatory) if !api.application => {
                return Ok(Identity {
                    scheme: Scheme::MutualTls,
                    key_type: Some(environment),
                });
            }
            (Ok(()), _) => {}
            // Whatever is wrong with a certificate that is needed, nothing else may make up for it.
            (Err(reason), MutualTls::Mandatory) => return Err(reason.into()),
            (Err(Reason::NoCredentials), _) => {}
            (Err(reason), _) => refused = Some(reason),
        }
    }
    let mut tried = false;
    let mut token = None;
    let mut held: Vec<usize> = Vec::new();
    if let Some(key) = signed_key::internal(&question) {
        tried = true;
        match key {
            Ok(identity) => return Ok(identity),
            Err(reason) => refused = refused.or(Some(reason)),
        }
    }
    if operation.takes_token
        && let Some(text) = access_token::recognize(&question)
    {
        tried = true;
        match access_token::authenticate(&question, text) {
            Ok(identity) if operation.satisfied(true, &held) => return Ok(identity),
            Ok(identity) => token = Some(identity),
            // The fault of a key server isn't the caller's, whatever else the caller showed (design D18).
            Err(Failure::Refused(Reason::KeysUnavailable)) => refused = Some(Reason::KeysUnavailable),
            Err(Failure::Refused(reason)) => refused = refused.or(Some(reason)),
            Err(wait) => return Err(wait),
        }
    }
    for (index, place) in operation.keys.iter().enumerate() {
        let Some(key) = signed_key::find(attributes, place) else {
            continue;
        };
        tried = true;
        match signed_key::application(&question, &key) {
            Ok(identity) => {
                held.push(index);
                if operation.satisfied(token.is_some(), &held) {
                    return Ok(token.unwrap_or(identity));
                }
            }
            Err(reason) => refused = refused.or(Some(reason)),
        }
        // The first key that is there decides, except where several are needed together.
        if !operation.conjunctive {
            break;
        }
    }
    // Where no application credential was shown at all, what an optional certificate lacked isn't the reason.
    Err(refused.filter(|_| tried).unwrap_or(Reason::NoCredentials).into())
}
