//! `[enforcer.throttling]` as what enforcers are told, and which tiers there are.

use trireme_config::{
    ConditionGroup, DataUnit, DeniedCaller, DenyKind, LimitCondition, LimitConditionKind, LimitStore,
    LimitStoreKind, LimitStoreMode, LimitTier, QuotaKind, StoreFailure, Throttling, TimeUnit, WhenFull,
};
use trireme_policy::throttle::{
    Addresses, Condition, Denial, Group, Limits, Quota, Redis, Store, Template, Tier, Unit, What, built_in,
};

/// Why an address that is written there has to be one: the configuration is refused where it isn't.
const CHECKED: &str = "addresses are looked at when the configuration is read";

/// All limits.
#[must_use]
pub(crate) fn limits(throttling: &Throttling) -> Limits {
    Limits {
        fields: throttling.rate_limit_fields,
        store: store(&throttling.store),
        tiers: tiers(throttling),
        templates: throttling
            .key_template
            .iter()
            .map(|template| Template {
                template: template.template.clone(),
                quota: quota(
                    template.quota_kind,
                    (template.quota, template.data_unit),
                    (template.unit_time, template.time_unit),
                ),
            })
            .collect(),
        denials: throttling.deny.iter().map(denial).collect(),
    }
}

/// The tiers that are always there, each unless one of its name is written, and those that are written.
#[must_use]
pub(crate) fn tiers(throttling: &Throttling) -> Vec<Tier> {
    let written = &throttling.policy;
    let mut tiers = built_in();
    tiers.retain(|tier| written.iter().all(|own| own.name != tier.name));
    tiers.extend(written.iter().map(tier));
    tiers
}

fn tier(written: &LimitTier) -> Tier {
    Tier {
        name: written.name.clone(),
        quota: Some(quota(
            written.quota_kind,
            (written.quota, written.data_unit),
            (written.unit_time, written.time_unit),
        )),
        burst: (written.burst > 0).then(|| {
            quota(
                QuotaKind::Requests,
                (written.burst, DataUnit::Bytes),
                (1, written.burst_unit),
            )
        }),
        stop_on_quota_reach: written.stop_on_quota_reach,
        groups: written.group.iter().map(group).collect(),
    }
}

fn group(written: &ConditionGroup) -> Group {
    Group {
        quota: quota(
            written.quota_kind,
            (written.quota, written.data_unit),
            (written.unit_time, written.time_unit),
        ),
        conditions: written.condition.iter().map(condition).collect(),
    }
}

fn quota(
    kind: QuotaKind,
    (amount, data_unit): (u32, DataUnit),
    (unit_time, time_unit): (u32, TimeUnit),
) -> Quota {
    let (unit, factor) = match kind {
        QuotaKind::Bandwidth => (Unit::Bytes, data_unit.bytes()),
        QuotaKind::Requests => (Unit::Requests, 1),
    };
    Quota {
        unit,
        // Neither can overflow: four thousand million gigabytes are 2^62 bytes.
        amount: u64::from(amount) * factor,
        window_secs: u64::from(unit_time) * time_unit.seconds(),
    }
}

fn condition(written: &LimitCondition) -> Condition {
    let (name, pattern) = (written.name.clone(), written.value.clone());
    let what = match written.kind {
        LimitConditionKind::Address => {
            let range = written.addresses().ok();
            What::Addresses(
                range
                    .and_then(|(first, last)| Addresses::new(first, last))
                    .expect(CHECKED),
            )
        }
        LimitConditionKind::Claim => What::Claim { name, pattern },
        LimitConditionKind::Header => What::Header {
            name: name.to_ascii_lowercase(),
            pattern,
        },
        LimitConditionKind::Query => What::Query { name, pattern },
    };
    Condition {
        what,
        invert: written.invert,
    }
}

fn denial(written: &DeniedCaller) -> Denial {
    let text = written.value.clone();
    match written.kind {
        DenyKind::Address => {
            let range = written.addresses().ok();
            Denial::Addresses {
                addresses: range
                    .and_then(|(first, last)| Addresses::new(first, last))
                    .expect(CHECKED),
                invert: written.invert,
                tenant: written.tenant.clone(),
            }
        }
        DenyKind::Api => Denial::Api(text),
        DenyKind::Application => Denial::Application(text),
        DenyKind::Subscription => Denial::Subscription(text),
        DenyKind::User => Denial::User(text),
    }
}

fn store(written: &LimitStore) -> Store {
    Store {
        capacity: written.capacity,
        refuse_when_full: written.when_full == WhenFull::Refuse,
        redis: (written.kind == LimitStoreKind::Redis).then(|| Redis {
            url: written.url.clone(),
            username: written.username.clone(),
            // As it is written: the enforcer gives it the value.
            password: written.password.reveal().to_owned(),
            key_prefix: written.key_prefix.clone(),
            timeout: written.timeout,
            connect_timeout: written.connect_timeout,
            lease: written.mode == LimitStoreMode::Lease,
            closed: written.on_failure == StoreFailure::Closed,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tier_that_is_written_takes_the_place_of_one_that_is_always_there() {
        let mut throttling = Throttling::default();
        let named = |tiers: &[Tier], name: &str| {
            let mut found = tiers.iter().filter(|tier| tier.name == name);
            let first = found.next().and_then(|tier| tier.quota);
            assert!(found.next().is_none(), "{name} is there twice");
            first.map(|quota| (quota.amount, quota.window_secs))
        };
        let plain = tiers(&throttling);
        let want = [
            ("Gold", 5000),
            ("Silver", 2000),
            ("Bronze", 1000),
            ("Unauthenticated", 500),
            ("50PerMin", 50),
            ("20PerMin", 20),
            ("10PerMin", 10),
            ("50KPerMin", 50_000),
            ("20KPerMin", 20_000),
            ("10KPerMin", 10_000),
        ];
        for (name, amount) in want {
            assert_eq!(named(&plain, name), Some((amount, 60)), "{name}");
        }
        assert_eq!(named(&plain, "Unlimited"), None);
        assert_eq!(plain.len(), want.len() + 1);
        throttling.policy = vec![
            LimitTier {
                name: "Gold".to_owned(),
                quota: 7,
                time_unit: TimeUnit::Hour,
                unit_time: 2,
                ..LimitTier::default()
            },
            LimitTier {
                name: "Data".to_owned(),
                quota_kind: QuotaKind::Bandwidth,
                quota: u32::MAX,
                data_unit: DataUnit::Gigabytes,
                burst: 3,
                ..LimitTier::default()
            },
        ];
        let written = tiers(&throttling);
        assert_eq!(written.len(), want.len() + 2);
        assert_eq!(named(&written, "Gold"), Some((7, 7200)));
        assert_eq!(named(&written, "Data"), Some((u64::from(u32::MAX) << 30, 60)));
        let burst = written.last().unwrap().burst.unwrap();
        assert_eq!(
            (burst.unit, burst.amount, burst.window_secs),
            (Unit::Requests, 3, 1)
        );
    }
}
