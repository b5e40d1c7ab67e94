//! What a request is held to: denials first, then every limit that the API or operation, the subscription, the application
//! and key templates name, all of them in one step (spec/enforcer.md §7.3). A request that one of them refuses is counted by
//! none.

mod caller;
mod keys;
mod told;

use trireme_limits::{Decision, Outcome, Take, Time};
use trireme_policy::throttle::Unit;

use self::keys::{Asked, Asking};
use crate::authn::Identity;
use crate::limits::{Caller, Limits, Named, Quota, Tier};
use crate::need::{Need, Question, Stop};
use crate::verdict::{Exceeded, KeyType, Level, LimitFields, Reason};

/// Takes the request from all limits of its caller, unless `answered` says what came of that. Gives what is left, where
/// callers are told.
///
/// # Errors
/// The caller is turned away, a limit is used up, or nobody can tell; or shared counters have to be waited for.
pub(crate) fn take(
    question: &Question<'_>,
    held: Option<(&Identity, KeyType)>,
    answered: Option<&Decision>,
) -> Result<Option<Box<LimitFields>>, Stop> {
    let Some(limits) = &question.security.limits else {
        return Ok(None);
    };
    let caller = caller::of(question, held);
    let policy = &question.api.policy;
    if limits.denials.hit(&caller, &policy.base_path, &policy.version) {
        return Err(Reason::Blocked.into());
    }
    let mut asking = Asking::new();
    all(question, limits, &caller, &mut asking)?;
    let asked = asking.asked();
    if asked.is_empty() {
        return Ok(None);
    }
    let now = Time(question.now.unix.saturating_mul(1000));
    let taken;
    let decision = match answered {
        Some(decision) => decision,
        None => match asking.limits(|all| limits.counters.take(all, now)) {
            Take::Decided(decision) => {
                taken = decision;
                &taken
            }
            Take::Wait(pending) => return Err(Stop::Need(Need::Limits(pending))),
        },
    };
    judge(limits, asked, decision)
}

/// Everything that the request is held to, in the order of the levels.
fn all(
    question: &Question<'_>,
    limits: &Limits,
    caller: &Caller<'_>,
    asking: &mut Asking,
) -> Result<(), Stop> {
    let policy = &question.api.policy;
    let (base, version) = (policy.base_path.as_str(), policy.version.as_str());
    // A tier of the API takes the place of those of its operations, whatever it says (K8).
    let (level, tier) = match policy.tier.as_str() {
        "" => (Level::Resource, &*question.operation.tier),
        tier => (Level::Api, tier),
    };
    let resource = |out: &mut Vec<u8>| keys::resource(question, out);
    match limits.tier(tier) {
        Named::Limited(tier) => {
            let key = |out: &mut Vec<u8>| match level {
                Level::Resource => resource(out),
                _ => keys::api(base, version, out),
            };
            held(question, caller, level, tier, &key, asking)?;
        }
        Named::Undefined if !limits.lenient => return Err(Reason::LimitsUnavailable.into()),
        Named::Undefined => limits.tell_undefined(tier),
        Named::Unlimited => {}
    }
    // What a token names and nobody defined has no limit, as an unknown policy of a subscription (spec/enforcer.md §4.2).
    match limits.tier(caller.subscription_tier) {
        Named::Limited(tier) if caller.stop_on_quota_reach.unwrap_or(tier.stop_on_quota_reach) => {
            let key = |out: &mut Vec<u8>| keys::subscription(caller, base, version, out);
            held(question, caller, Level::Subscription, tier, &key, asking)?;
        }
        Named::Undefined => limits.tell_undefined(caller.subscription_tier),
        Named::Limited(_) | Named::Unlimited => {}
    }
    match limits.tier(caller.application_tier) {
        Named::Limited(tier) => {
            let key = |out: &mut Vec<u8>| keys::application(caller, base, out);
            held(question, caller, Level::Application, tier, &key, asking)?;
        }
        Named::Undefined => limits.tell_undefined(caller.application_tier),
        Named::Unlimited => {}
    }
    for (index, template) in limits.templates.iter().enumerate() {
        let cost = cost(question, template.quota)?;
        let key = |out: &mut Vec<u8>| template.write(caller, (base, version), &resource, out);
        asking.push(Level::Custom, template.quota, cost, false, |out| {
            out.extend_from_slice(index.to_string().as_bytes());
            out.push(b':');
            key(out);
        });
    }
    Ok(())
}

/// The limits of one tier for one key: the quotas of the groups that the request is of, or else that of the tier; and bursts.
fn held(
    question: &Question<'_>,
    caller: &Caller<'_>,
    level: Level,
    tier: &Tier,
    key: &dyn Fn(&mut Vec<u8>),
    asking: &mut Asking,
) -> Result<(), Stop> {
    // Counted for each tier, as the original's Traffic Manager does.
    let begin = |out: &mut Vec<u8>| {
        out.extend_from_slice(tier.name.as_bytes());
        out.push(b':');
        key(out);
    };
    let mut grouped = false;
    for (index, group) in tier.groups.iter().enumerate() {
        let mut conditions = group.conditions.iter();
        if conditions.all(|condition| condition.holds(question.attributes, caller)) {
            grouped = true;
            asking.push(level, group.quota, cost(question, group.quota)?, false, |out| {
                begin(out);
                out.extend_from_slice(b"_condition_");
                out.extend_from_slice(index.to_string().as_bytes());
            });
        }
    }
    if let Some(quota) = tier.quota.filter(|_| !grouped) {
        asking.push(level, quota, cost(question, quota)?, false, |out| {
            begin(out);
            if !tier.groups.is_empty() {
                out.extend_from_slice(b"_default");
            }
        });
    }
    if let Some(quota) = tier.burst {
        asking.push(level, quota, cost(question, quota)?, true, begin);
    }
    Ok(())
}

/// What the request takes of a quota. Of bytes, what its body says that it has: one of unknown length could take any.
fn cost(question: &Question<'_>, quota: Quota) -> Result<u64, Reason> {
    if quota.unit == Unit::Requests {
        return Ok(1);
    }
    let attributes = question.attributes;
    match attributes.header("content-length") {
        Some(length) => length.trim().parse().map_err(|_| Reason::LengthMissing),
        // Methods whose requests have no body, unless they say that they have one (RFC 9110 §9.3).
        None if attributes.header("transfer-encoding").is_none()
            && ["GET", "HEAD", "DELETE", "OPTIONS", "TRACE"].contains(&attributes.method) =>
        {
            Ok(0)
        }
        None => Err(Reason::LengthMissing),
    }
}

fn judge(limits: &Limits, asked: &[Asked], decision: &Decision) -> Result<Option<Box<LimitFields>>, Stop> {
    match decision.outcome {
        Outcome::Admitted => {
            let fields = limits.fields.then(|| told::fields(asked, decision));
            Ok(fields.map(Box::new))
        }
        Outcome::Exhausted(index) => {
            let first = asked.get(index).ok_or(Reason::LimitsUnavailable)?;
            // Of several windows of one level, the one that ends last keeps the caller out longest.
            let all = asked.iter().zip(decision.standings()).enumerate();
            let ends = all.filter(|(place, (asked, standing))| {
                asked.level == first.level && (*place == index || standing.remaining() < asked.cost.max(1))
            });
            let until = ends
                .map(|(_, (_, standing))| standing.ends.0.div_ceil(1000))
                .max();
            Err(Reason::Limit(Box::new(Exceeded {
                level: first.level,
                until: until.ok_or(Reason::LimitsUnavailable)?,
                fields: limits.fields.then(|| told::fields(asked, decision)),
            }))
            .into())
        }
        Outcome::Unavailable { admit: true } => Ok(None),
        Outcome::Full(_) | Outcome::TooMany | Outcome::Unavailable { admit: false } => {
            Err(Reason::LimitsUnavailable.into())
        }
    }
}
