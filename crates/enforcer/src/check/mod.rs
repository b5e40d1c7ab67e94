//! The decision. Plain values in, a plain value out: no I/O, no clock, no lock.

mod caller;
mod forward;
mod known;
mod operation;

use trireme_policy::api::{ApiKind, MutualTls};

pub(crate) use known::Known;

use crate::api::Api;
use crate::attributes::Attributes;
use crate::authz;
use crate::need::{Need, Now, Question, Stop};
use crate::security::Security;
use crate::snapshot::Snapshot;
use crate::throttle;
use crate::verdict::{Admitted, Challenge, Denial, KeyType, Reason, Scheme, Verdict};

/// One step of a check: adds to what is known, or stops.
pub(crate) type Stage = fn(&Question<'_>, &mut Known) -> Result<(), Stop>;

/// The stages of an API's checks.
pub(crate) type Stages = fn(&Api) -> &'static [Stage];

/// HTTP: who is calling and by what right (`authn` and `authz`, one credential at a time: see `caller`), then whether the API
/// answers at all, which only callers with credentials are told, and whether it has an environment for them.
///
/// A stage that stops with a need is asked again when that is fulfilled, and those before it are not. When a new snapshot
/// comes in the meantime, the check begins anew with it: what was found is the old one's, and a verdict is of one snapshot.
/// Therefore a stage that counts stands last, and asks for what it needs before it counts: a check that waits, for whatever
/// and however often, has not counted yet, and one that has counted ends with it. Shared counters count while the check
/// waits for their answer; a check that has it goes on with what it began with.
const HTTP: [Stage; 4] = [caller::find, lifecycle, environment, limits];

/// The stages of an API's checks, by its kind.
pub(crate) fn stages(api: &Api) -> &'static [Stage] {
    match api.policy.kind {
        // A handshake is a request like others; GraphQL APIs are refused when they arrive.
        ApiKind::GraphQl | ApiKind::Http | ApiKind::Other(_) | ApiKind::Soap | ApiKind::WebSocket => &HTTP,
    }
}

fn lifecycle(question: &Question<'_>, _: &mut Known) -> Result<(), Stop> {
    Ok(authz::lifecycle(question)?)
}

fn environment(question: &Question<'_>, known: &mut Known) -> Result<(), Stop> {
    let identity = known.identity.as_ref().ok_or(Reason::NoCredentials)?;
    known.environment = Some(authz::environment(question, identity)?);
    Ok(())
}

/// Whether the caller has anything left of its limits. Counts.
fn limits(question: &Question<'_>, known: &mut Known) -> Result<(), Stop> {
    let held = known.identity.as_ref().zip(known.environment);
    known.limits = throttle::take(question, held, known.decision.as_deref())?;
    Ok(())
}

/// Decides one check, from where `known` has come to; with the API that it is about.
///
/// # Errors
/// When something that may arrive is missing; the caller fulfils that, in bounded time, and asks again with the same
/// snapshot, or with another one and nothing known.
pub(crate) fn check<'a>(
    attributes: &'a Attributes<'a>,
    snapshot: &'a Snapshot,
    security: &'a Security,
    now: Now,
    stages: Stages,
    known: &mut Known,
) -> Result<(&'a Api, Verdict<'a>), Need> {
    let route = &attributes.route;
    let Some(api) = operation::find_api(route, snapshot) else {
        return Err(Need::Api);
    };
    if route.revision > api.policy.revision {
        return Err(Need::Revision);
    }
    // The address may have gone to another API, whose policy says nothing about this route's upstream.
    if !route.name.is_empty() && route.name != api.policy.title {
        return Ok((api, refused(Reason::Unknown)));
    }
    let operation = match operation::find_operation(attributes, api) {
        Ok(operation) => operation,
        Err(reason) => return Ok((api, refused(reason))),
    };
    let question = Question {
        attributes,
        api,
        operation,
        security,
        now,
    };
    let passed = if api.prototyped {
        // Nobody has to be known; what the API itself is held to holds.
        limits(&question, known).map(|()| forward::prototyped(attributes, api, operation, security))
    } else {
        pass(&question, stages(api), known)
            .map(|(scheme, environment)| forward::authorized(&question, scheme, environment))
    };
    let verdict = match passed {
        Ok(admitted) => Verdict::Admitted(Admitted {
            limits: known.limits.take(),
            ..admitted
        }),
        Err(Stop::Refuse(reason)) => denied(reason, api),
        Err(Stop::Need(need)) => return Err(need),
    };
    Ok((api, verdict))
}

/// Asks the stages that are left; gives how the caller was found and its environment when all are passed.
fn pass(question: &Question<'_>, stages: &[Stage], known: &mut Known) -> Result<(Scheme, KeyType), Stop> {
    while let Some(stage) = stages.get(known.passed) {
        stage(question, known)?;
        known.passed += 1;
    }
    // Whoever lists stages that find nobody admits nobody.
    let found = known.identity.take().zip(known.environment);
    let (identity, environment) = found.ok_or(Stop::Refuse(Reason::NoCredentials))?;
    Ok((identity.scheme, environment))
}

/// A refusal that doesn't depend on the API.
pub(crate) fn refused(reason: Reason) -> Verdict<'static> {
    Verdict::Denied(Denial {
        reason,
        challenge: Challenge::Bearer,
    })
}

fn denied(reason: Reason, api: &Api) -> Verdict<'static> {
    let challenge = match api.mutual_tls {
        MutualTls::Absent => Challenge::Bearer,
        MutualTls::Mandatory | MutualTls::Optional => Challenge::MutualTls,
    };
    Verdict::Denied(Denial { reason, challenge })
}
