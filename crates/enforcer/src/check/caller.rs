//! The first stage: whose request it is (spec/enforcer.md §3.2).
//!
//! `authn` says who showed a credential and `authz` whether that credential is enough, one credential after the other: an
//! operation may take several, and a token that lacks a scope or a subscription must not keep an API key that lacks nothing
//! from being looked at. So the two can't be stages after one another over the whole request; they are here, over each
//! candidate. Of several that aren't enough the first gives the reason, unless one couldn't be looked at.

use trireme_policy::api::MutualTls;

use super::known::{Known, Search};
use crate::authn::{Identity, access_token, api_key, internal_key, mutual_tls};
use crate::authz;
use crate::need::{Question, Stop};
use crate::verdict::{KeyType, Reason, Scheme};

/// Looks at one kind of credential: gives the caller when that settles it, and nothing when the next one has to be asked.
type Candidate = fn(&Question<'_>, &mut Search) -> Result<Option<Identity>, Stop>;

/// In the order they are asked. What is needed comes first: a certificate that must be there ends the search when it isn't.
const CANDIDATES: [Candidate; 5] = [open, certificate, internal, token, keys];

/// Finds out who is calling.
pub(super) fn find(question: &Question<'_>, known: &mut Known) -> Result<(), Stop> {
    let search = &mut known.search;
    while let Some(candidate) = CANDIDATES.get(search.next) {
        if let Some(identity) = candidate(question, search)? {
            // A certificate of one environment is none in the other.
            let fits = |environment| search.certified.is_none_or(|good| good.has(environment));
            if !identity.key_type.is_none_or(fits) {
                return Err(Reason::NoCredentials.into());
            }
            known.identity = Some(identity);
            return Ok(());
        }
        search.next += 1;
    }
    // Where no application credential was shown at all, what an optional certificate lacked isn't the reason.
    let refused = search.refused.take().filter(|_| search.shown);
    Err(refused.unwrap_or(Reason::NoCredentials).into())
}

/// An operation that is open to all.
fn open(question: &Question<'_>, _: &mut Search) -> Result<Option<Identity>, Stop> {
    let open = question.operation.open;
    Ok(open.then(|| Identity::bare(Scheme::Unsecured, environment(question))))
}

fn certificate(question: &Question<'_>, search: &mut Search) -> Result<Option<Identity>, Stop> {
    let api = question.api;
    if api.mutual_tls == MutualTls::Absent {
        return Ok(None);
    }
    match (mutual_tls::authenticate(question), api.mutual_tls) {
        (Ok(good), MutualTls::Mandatory) if !api.application => {
            let environment = match environment(question) {
                default if good.has(default) => default,
                KeyType::Production => KeyType::Sandbox,
                KeyType::Sandbox => KeyType::Production,
            };
            return Ok(Some(Identity {
                certificate: good.entry(environment),
                ..Identity::bare(Scheme::MutualTls, environment)
            }));
        }
        (Ok(good), MutualTls::Mandatory) => search.certified = Some(good),
        // Whatever is wrong with a certificate that is needed, nothing else may make up for it.
        (Err(reason), MutualTls::Mandatory) => return Err(reason.into()),
        (Ok(_) | Err(Reason::NoCredentials), _) => {}
        (Err(reason), _) => search.refused = Some(reason),
    }
    Ok(None)
}

fn internal(question: &Question<'_>, search: &mut Search) -> Result<Option<Identity>, Stop> {
    let Some(holder) = internal_key::authenticate(question) else {
        return Ok(None);
    };
    search.shown = true;
    match holder.and_then(|identity| judged(question, identity)) {
        Ok(identity) => Ok(Some(identity)),
        Err(reason) => {
            search.refuse(reason);
            Ok(None)
        }
    }
}

fn token(question: &Question<'_>, search: &mut Search) -> Result<Option<Identity>, Stop> {
    let operation = question.operation;
    let holder = operation
        .takes_token
        .then(|| access_token::authenticate(question))
        .flatten();
    let Some(holder) = holder else {
        return Ok(None);
    };
    search.shown = true;
    match holder.and_then(|identity| Ok(judged(question, identity)?)) {
        Ok(identity) if operation.satisfied(true, &search.held) => return Ok(Some(identity)),
        Ok(identity) => search.token = Some(identity),
        // The fault of a key server isn't the caller's, whatever else the caller showed (design D18).
        Err(Stop::Refuse(Reason::KeysUnavailable)) => search.refused = Some(Reason::KeysUnavailable),
        Err(Stop::Refuse(reason)) => search.refuse(reason),
        Err(need) => return Err(need),
    }
    Ok(None)
}

fn keys(question: &Question<'_>, search: &mut Search) -> Result<Option<Identity>, Stop> {
    let operation = question.operation;
    for (index, place) in operation.keys.iter().enumerate() {
        let Some(holder) = api_key::authenticate(question, place) else {
            continue;
        };
        search.shown = true;
        match holder.and_then(|identity| judged(question, identity)) {
            Ok(identity) => {
                search.held.push(index);
                if operation.satisfied(search.token.is_some(), &search.held) {
                    return Ok(Some(search.token.take().unwrap_or(identity)));
                }
            }
            Err(reason) => search.refuse(reason),
        }
        // The first key that is there decides, except where several are needed together.
        if !operation.conjunctive {
            break;
        }
    }
    Ok(None)
}

/// The candidate, when what it showed is good for the operation.
fn judged(question: &Question<'_>, identity: Identity) -> Result<Identity, Reason> {
    authz::credential(question, &identity)?;
    Ok(identity)
}

/// The environment of a caller whose credential names none.
fn environment(question: &Question<'_>) -> KeyType {
    if question.attributes.route.production.is_empty() {
        KeyType::Sandbox
    } else {
        KeyType::Production
    }
}
