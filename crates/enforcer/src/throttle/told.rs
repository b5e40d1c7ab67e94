//! What callers are told of their limits: draft-ietf-httpapi-ratelimit-headers-10. Both fields are lists of strings with
//! parameters (RFC 9651); the names in them say which limit it is, not which tier.

use std::fmt::Write;

use trireme_limits::Decision;
use trireme_policy::throttle::Unit;

use super::keys::Asked;
use crate::verdict::{Level, LimitFields};

pub(super) fn fields(asked: &[Asked], decision: &Decision) -> LimitFields {
    let mut fields = LimitFields::default();
    let LimitFields { policy, left } = &mut fields;
    for (index, (one, standing)) in asked.iter().zip(decision.standings()).enumerate() {
        if index > 0 {
            policy.push_str(", ");
            left.push_str(", ");
        }
        let level = match one.level {
            Level::Api => "api",
            Level::Application => "application",
            Level::Custom => "custom",
            Level::Resource => "resource",
            Level::Subscription => "subscription",
        };
        let burst = if one.burst { "-burst" } else { "" };
        // Groups and templates: several limits of one level.
        let alike = |other: &&Asked| other.level == one.level && other.burst == one.burst;
        let nth = match asked.iter().take(index).filter(alike).count() {
            0 => String::new(),
            before => format!("-{}", before + 1),
        };
        let (quota, seconds) = (one.quota.amount, one.quota.window.as_millis() / 1000);
        let until = standing.ends.since(decision.now).as_millis().div_ceil(1000);
        // Writing to a string can't fail.
        write!(policy, "\"{level}{burst}{nth}\";q={quota};w={seconds}").unwrap_or_default();
        if one.quota.unit == Unit::Bytes {
            policy.push_str(";qu=\"content-bytes\"");
        }
        write!(
            left,
            "\"{level}{burst}{nth}\";r={};t={until}",
            standing.remaining()
        )
        .unwrap_or_default();
    }
    fields
}
