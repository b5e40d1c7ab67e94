//! Limits: what is written has to limit something, and every condition has to be able to hold.

use std::collections::BTreeMap;
use std::net::IpAddr;

use regex::Regex;

use crate::error::Broken;
use crate::overlay::nearest;
use crate::sections::{
    Config, DataUnit, DeniedCaller, DenyKind, KeyTemplate, LimitCondition, LimitConditionKind, LimitStore,
    LimitStoreKind, LimitTier, QuotaKind, TimeUnit,
};

/// The tier that limits nothing, at every level (spec/enforcer.md §7.3).
const UNLIMITED: &str = "Unlimited";
/// Longest window in seconds: 400 days.
const LONGEST: u64 = 400 * 86_400;
/// How many limits one request can have.
const MOST: usize = 16;
/// Levels with a tier of their own: API or operation, subscription, application.
const LEVELS: usize = 3;
/// Longest text of a pattern; compiled, it takes many times that.
const PATTERN: usize = 4096;
/// What key templates know (spec/enforcer.md §7.6).
const VARIABLES: [&str; 8] = [
    "$apiContext",
    "$apiTenant",
    "$apiVersion",
    "$appId",
    "$appTenant",
    "$clientIp",
    "$resourceKey",
    "$userId",
];

const ROOT: &str = "enforcer.throttling";

pub(crate) fn check(config: &Config, broken: &mut Broken) {
    let throttling = &config.enforcer.throttling;
    if !throttling.enabled {
        return;
    }
    store(&throttling.store, broken);
    let mut names = BTreeMap::new();
    for (index, policy) in throttling.policy.iter().enumerate() {
        let at = format!("{ROOT}.policy[{index}]");
        if let Some(first) = names.insert(policy.name.as_str(), index) {
            let reason = format!("{:?} is also the name of policy[{first}]", policy.name);
            broken.push((format!("{at}.name"), reason));
        }
        tier(&at, policy, broken);
    }
    let widest = throttling
        .policy
        .iter()
        .map(|policy| policy.group.len().max(1) + usize::from(policy.burst > 0));
    let most = widest.max().unwrap_or(1) * LEVELS + throttling.key_template.len();
    if most > MOST {
        let reason =
            format!("with the groups of policies, a request could have {most} limits; {MOST} are possible");
        let key = if throttling.key_template.is_empty() {
            "policy"
        } else {
            "keyTemplate"
        };
        broken.push((format!("{ROOT}.{key}"), reason));
    }
    for (index, template) in throttling.key_template.iter().enumerate() {
        key_template(&format!("{ROOT}.keyTemplate[{index}]"), template, broken);
    }
    for (index, denied) in throttling.deny.iter().enumerate() {
        deny(&format!("{ROOT}.deny[{index}]"), denied, broken);
    }
}

fn store(store: &LimitStore, broken: &mut Broken) {
    let mut tell = |key: &str, reason: &str| broken.push((format!("{ROOT}.store.{key}"), reason.to_owned()));
    if store.capacity == 0 {
        tell("capacity", "must be at least 1");
    }
    if store.kind == LimitStoreKind::Memory {
        return;
    }
    let host = ["redis://", "rediss://"]
        .iter()
        .find_map(|scheme| store.url.strip_prefix(scheme));
    if host.is_none_or(str::is_empty) {
        tell("url", "must begin with redis:// or rediss:// and name a host");
    } else if host.is_some_and(|host| host.contains('@')) {
        tell(
            "url",
            "must not hold a name and a password: there are keys of their own for them",
        );
    }
    if store.timeout.is_zero() {
        tell("timeoutInMillis", "must not be 0");
    }
    if store.connect_timeout.is_zero() {
        tell("connectTimeoutInMillis", "must not be 0");
    }
}

/// The members that every quota has.
struct Quota {
    kind: QuotaKind,
    quota: u32,
    data_unit: DataUnit,
    unit_time: u32,
    time_unit: TimeUnit,
}

fn quota(at: &str, quota: &Quota, broken: &mut Broken) {
    if quota.quota == 0 {
        let reason = "must be at least 1; the tier without a limit is named Unlimited";
        broken.push((format!("{at}.quota"), reason.to_owned()));
    }
    if quota.unit_time == 0 {
        broken.push((format!("{at}.unitTime"), "must be at least 1".to_owned()));
    } else if u64::from(quota.unit_time) * quota.time_unit.seconds() > LONGEST {
        let reason = "with its timeUnit, makes a window of more than 400 days".to_owned();
        broken.push((format!("{at}.unitTime"), reason));
    }
    if quota.kind == QuotaKind::Requests && quota.data_unit != DataUnit::Kilobytes {
        let reason = "requests have no unit of data; quotaType is requestCount".to_owned();
        broken.push((format!("{at}.dataUnit"), reason));
    }
}

fn tier(at: &str, tier: &LimitTier, broken: &mut Broken) {
    if tier.name.trim().is_empty() {
        broken.push((format!("{at}.name"), "must not be empty".to_owned()));
    } else if tier.name.trim() != tier.name {
        let reason = "must not begin or end with a blank: no project could name it".to_owned();
        broken.push((format!("{at}.name"), reason));
    } else if tier.name.eq_ignore_ascii_case(UNLIMITED) {
        let reason = "Unlimited has no limit, and cannot be given one".to_owned();
        broken.push((format!("{at}.name"), reason));
    }
    let members = Quota {
        kind: tier.quota_kind,
        quota: tier.quota,
        data_unit: tier.data_unit,
        unit_time: tier.unit_time,
        time_unit: tier.time_unit,
    };
    quota(at, &members, broken);
    let window = u64::from(tier.unit_time) * tier.time_unit.seconds();
    if tier.burst > 0 && tier.burst_unit.seconds() >= window {
        let reason = "must be shorter than the window of the quota".to_owned();
        broken.push((format!("{at}.burstUnit"), reason));
    }
    for (index, group) in tier.group.iter().enumerate() {
        let at = format!("{at}.group[{index}]");
        let members = Quota {
            kind: group.quota_kind,
            quota: group.quota,
            data_unit: group.data_unit,
            unit_time: group.unit_time,
            time_unit: group.time_unit,
        };
        quota(&at, &members, broken);
        conditions(&at, &group.condition, broken);
    }
}

fn conditions(at: &str, conditions: &[LimitCondition], broken: &mut Broken) {
    if conditions.is_empty() {
        let reason = "is missing: without one, the group would be every request".to_owned();
        broken.push((format!("{at}.condition"), reason));
    }
    let mut common: Option<(IpAddr, IpAddr)> = None;
    for (index, condition) in conditions.iter().enumerate() {
        let at = format!("{at}.condition[{index}]");
        if let Err((key, reason)) = self::condition(condition) {
            broken.push((format!("{at}.{key}"), reason));
            continue;
        }
        let opposite = LimitCondition {
            invert: !condition.invert,
            ..condition.clone()
        };
        if conditions.iter().take(index).any(|before| *before == opposite) {
            broken.push((
                at,
                "is the opposite of another one: the group cannot match".to_owned(),
            ));
            continue;
        }
        let range = condition.addresses().ok();
        let range = range.filter(|_| condition.kind == LimitConditionKind::Address && !condition.invert);
        let Some((first, last)) = range else { continue };
        let (least, greatest) = common.unwrap_or((first, last));
        let both = (first.max(least), last.min(greatest));
        if first.is_ipv4() != least.is_ipv4() || both.0 > both.1 {
            let reason = "has no address in common with another one: the group cannot match".to_owned();
            broken.push((format!("{at}.value"), reason));
        } else {
            common = Some(both);
        }
    }
}

fn condition(condition: &LimitCondition) -> Result<(), (&'static str, String)> {
    let name = condition.name.as_str();
    match condition.kind {
        LimitConditionKind::Address => {
            if !name.is_empty() {
                return Err(("name", "an ip condition has none".to_owned()));
            }
            return condition
                .addresses()
                .map(|_| ())
                .map_err(|reason| ("value", reason));
        }
        LimitConditionKind::Claim | LimitConditionKind::Query if name.is_empty() => {
            return Err(("name", "must not be empty".to_owned()));
        }
        LimitConditionKind::Header if name.is_empty() || !name.bytes().all(token) => {
            return Err((
                "name",
                format!("{name:?} is not the name of a header, and cannot match"),
            ));
        }
        LimitConditionKind::Claim | LimitConditionKind::Header | LimitConditionKind::Query => {}
    }
    if condition.value.len() > PATTERN {
        return Err(("value", format!("is longer than {PATTERN} bytes")));
    }
    match Regex::new(&condition.value) {
        Ok(_) => Ok(()),
        // The error spans lines, and draws arrows.
        Err(error) => {
            let text = error.to_string();
            let last = text.lines().last().unwrap_or_default().trim();
            Err(("value", format!("is not a regular expression: {last}")))
        }
    }
}

/// A character of a header's name (RFC 9110 §5.6.2).
fn token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn key_template(at: &str, template: &KeyTemplate, broken: &mut Broken) {
    let members = Quota {
        kind: template.quota_kind,
        quota: template.quota,
        data_unit: template.data_unit,
        unit_time: template.unit_time,
        time_unit: template.time_unit,
    };
    quota(at, &members, broken);
    let at = format!("{at}.template");
    if template.template.is_empty() {
        broken.push((at, "must not be empty".to_owned()));
        return;
    }
    let mut pieces = template.template.split('$');
    // What stands before the first one.
    pieces.next();
    for piece in pieces {
        let end = piece
            .find(|c: char| !c.is_ascii_alphanumeric())
            .unwrap_or(piece.len());
        let name = format!("${}", piece.get(..end).unwrap_or_default());
        let known = VARIABLES.map(str::to_owned);
        if name == "$customProperty" {
            let reason = "$customProperty is set by filters of one's own, which are not run yet".to_owned();
            broken.push((at.clone(), reason));
        } else if !known.contains(&name) {
            let hint =
                nearest(&name, &known).map_or_else(String::new, |near| format!("; did you mean {near}?"));
            broken.push((at.clone(), format!("{name} is not known{hint}")));
        }
    }
}

fn deny(at: &str, denied: &DeniedCaller, broken: &mut Broken) {
    let value = denied.value.as_str();
    let mut tell = |key: &str, reason: String| broken.push((format!("{at}.{key}"), reason));
    let never = match denied.kind {
        DenyKind::Address => denied.addresses().err(),
        DenyKind::Api => (!value.starts_with('/')).then(|| "must begin with /, as base paths do".to_owned()),
        DenyKind::Application => {
            (!value.contains(':')).then(|| "must be subscriber:name of the application".to_owned())
        }
        DenyKind::Subscription => {
            let key_type = value.ends_with(":PRODUCTION") || value.ends_with(":SANDBOX");
            (!key_type || !value.starts_with('/')).then(|| {
                "must be basePath:version:subscriber-application:PRODUCTION, or SANDBOX at its end".to_owned()
            })
        }
        DenyKind::User => value.is_empty().then(|| "must not be empty".to_owned()),
    };
    if let Some(reason) = never {
        tell("value", reason);
    }
    if denied.kind != DenyKind::Address {
        if denied.invert {
            tell("invert", "only denials of type ip can be inverted".to_owned());
        }
        if !denied.tenant.is_empty() {
            tell("tenant", "only denials of type ip are for one tenant".to_owned());
        }
    }
}

#[cfg(test)]
mod tests;
