//! The decision. Plain values in, a plain value out: no I/O, no clock, no lock.

mod forward;
mod operation;

use tokio::sync::watch;
use trireme_policy::api::MutualTls;

use crate::api::Api;
use crate::attributes::Attributes;
use crate::authn::{Failure, Now, Question, identify};
use crate::security::Security;
use crate::snapshot::Snapshot;
use crate::verdict::{Challenge, Denial, Reason, Verdict};

/// What a check has to wait for.
#[derive(Debug)]
pub(crate) enum Wait {
    /// The policy that the route belongs to (design D5).
    Revision,
    /// The end of a fetch of keys.
    Keys(watch::Receiver<u64>),
}

impl Wait {
    /// The verdict when the wait was in vain.
    #[must_use]
    pub(crate) fn in_vain(&self) -> Verdict<'static> {
        denied(match self {
            Self::Revision => Reason::Behind,
            Self::Keys(_) => Reason::KeysUnavailable,
        })
    }
}

/// Decides one check.
///
/// # Errors
/// When something that may arrive is missing; the caller waits for it, for a bounded time, and asks again.
pub(crate) fn check<'a>(
    attributes: &'a Attributes<'a>,
    snapshot: &'a Snapshot,
    security: &'a Security,
    now: Now,
) -> Result<Verdict<'a>, Wait> {
    let route = &attributes.route;
    let Some(api) = operation::find_api(route, snapshot) else {
        return Ok(denied(Reason::Unknown));
    };
    if route.revision > api.policy.revision {
        return Err(Wait::Revision);
    }
    // The address may have gone to another API, whose policy says nothing about this route's upstream.
    if !route.name.is_empty() && route.name != api.policy.title {
        return Ok(denied(Reason::Unknown));
    }
    let operation = match operation::find_operation(attributes, api) {
        Ok(operation) => operation,
        Err(reason) => return Ok(denied(reason)),
    };
    if api.prototyped {
        return Ok(Verdict::Admitted(forward::prototyped(
            attributes, api, operation, security,
        )));
    }
    let question = Question {
        attributes,
        api,
        operation,
        security,
        now,
    };
    let verdict = match identify(question) {
        Ok(identity) => forward::authorized(&question, identity),
        Err(Failure::Refused(reason)) => Err(reason),
        Err(Failure::Wait(ended)) => return Err(Wait::Keys(ended)),
    };
    Ok(verdict.map_or_else(|reason| Verdict::Denied(refusal(reason, api)), Verdict::Admitted))
}

fn refusal<'a>(reason: Reason<'a>, api: &Api) -> Denial<'a> {
    let challenge = match api.mutual_tls {
        MutualTls::Absent => Challenge::Bearer,
        MutualTls::Mandatory | MutualTls::Optional => Challenge::MutualTls,
    };
    Denial { reason, challenge }
}

fn denied(reason: Reason<'_>) -> Verdict<'_> {
    Verdict::Denied(Denial {
        reason,
        challenge: Challenge::Bearer,
    })
}
