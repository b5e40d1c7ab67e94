//! Limits of the settings, made ready for checks: quotas by the name of their tier, conditions and templates compiled,
//! denials as sets. What a request is held to, and in what order, is `throttle`'s business.

mod caller;
mod condition;
mod deny;
mod handover;
mod place;
mod quota;
mod template;

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use trireme_limits::Counters;
use trireme_policy::Settings;
use trireme_policy::throttle::{self, UNLIMITED};

pub(crate) use caller::Caller;
pub(crate) use condition::Condition;
pub(crate) use deny::Denials;
pub(crate) use handover::Handover;
pub(crate) use place::Places;
pub(crate) use quota::{Inapplicable, Quota};
pub(crate) use template::Template;

use crate::event;

/// Most undefined tiers that are told.
const MOST_TOLD: usize = 64;

/// All limits, and where requests are counted.
#[derive(Debug)]
pub(crate) struct Limits {
    /// Beside the snapshot, not of it: they go on counting when this is made anew.
    pub(crate) counters: Counters,
    /// Whether callers have the fields `RateLimit` and `RateLimit-Policy`.
    pub(crate) fields: bool,
    /// In the order of their names.
    tiers: Box<[Tier]>,
    pub(crate) templates: Box<[Template]>,
    pub(crate) denials: Denials,
    /// Tiers are API Manager's, and one that isn't here has no limit.
    pub(crate) lenient: bool,
    /// Tiers that nobody defined, as far as they are told.
    undefined: Mutex<HashSet<Box<str>>>,
}

/// The limits of one tier.
#[derive(Debug)]
pub(crate) struct Tier {
    /// Its name.
    pub(crate) name: Box<str>,
    /// The quota; absent for none.
    pub(crate) quota: Option<Quota>,
    /// Most requests in a shorter window.
    pub(crate) burst: Option<Quota>,
    /// Whether callers whose token doesn't say so are refused when a subscription is used up.
    pub(crate) stop_on_quota_reach: bool,
    /// Other quotas for certain requests.
    pub(crate) groups: Box<[Group]>,
}

/// Another quota for the requests that all conditions hold for.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) quota: Quota,
    pub(crate) conditions: Box<[Condition]>,
}

/// What is known of the tier that something names.
#[derive(Debug)]
pub(crate) enum Named<'a> {
    /// It limits something.
    Limited(&'a Tier),
    /// Nothing is named, or what has no limit.
    Unlimited,
    /// Nobody defined it.
    Undefined,
}

impl Limits {
    /// Makes the limits of these settings ready; `None` when they are off.
    ///
    /// # Errors
    /// The first that can't be applied: a limit that is left out would be none.
    pub(crate) fn new(settings: &Settings, places: &mut Places) -> Result<Option<Self>, Inapplicable> {
        let Some(limits) = &settings.limits else {
            return Ok(None);
        };
        let mut tiers = Vec::with_capacity(limits.tiers.len());
        for (index, tier) in limits.tiers.iter().enumerate() {
            tiers.push(Tier::new(&format!("limits.tiers[{index}]"), tier)?);
        }
        tiers.sort_by(|one: &Tier, other| one.name.cmp(&other.name));
        let mut templates = Vec::with_capacity(limits.templates.len());
        for (index, template) in limits.templates.iter().enumerate() {
            templates.push(Template::new(&format!("limits.templates[{index}]"), template)?);
        }
        Ok(Some(Self {
            counters: places.of(&limits.store)?,
            fields: limits.fields,
            tiers: tiers.into_boxed_slice(),
            templates: templates.into_boxed_slice(),
            denials: Denials::new(&limits.denials),
            lenient: settings.control_plane,
            undefined: Mutex::default(),
        }))
    }

    /// The tier of this name.
    pub(crate) fn tier(&self, name: &str) -> Named<'_> {
        if name.is_empty() || name.eq_ignore_ascii_case(UNLIMITED) {
            return Named::Unlimited;
        }
        let place = self.tiers.binary_search_by(|tier| (*tier.name).cmp(name));
        let tier = place.ok().and_then(|place| self.tiers.get(place));
        tier.map_or(Named::Undefined, Named::Limited)
    }

    /// Tells that a tier has no limit because nobody defined it; each once, and not more than somebody would read, as
    /// tokens name what their issuers like.
    pub(crate) fn tell_undefined(&self, name: &str) {
        let mut told = self.undefined.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() < MOST_TOLD && told.insert(name.into()) {
            event::TierUndefined { tier: name }.emit();
        }
    }
}

impl Tier {
    fn new(at: &str, tier: &throttle::Tier) -> Result<Self, Inapplicable> {
        let quota = |name: &str, quota: &Option<throttle::Quota>| {
            let quota = quota
                .as_ref()
                .map(|quota| Quota::new(&format!("{at}.{name}"), quota));
            quota.transpose()
        };
        let mut groups = Vec::with_capacity(tier.groups.len());
        for (index, group) in tier.groups.iter().enumerate() {
            let at = format!("{at}.groups[{index}]");
            let mut conditions = Vec::with_capacity(group.conditions.len());
            for (index, condition) in group.conditions.iter().enumerate() {
                conditions.push(Condition::new(&format!("{at}.conditions[{index}]"), condition)?);
            }
            groups.push(Group {
                quota: Quota::new(&format!("{at}.quota"), &group.quota)?,
                conditions: conditions.into_boxed_slice(),
            });
        }
        Ok(Self {
            name: tier.name.as_str().into(),
            quota: quota("quota", &tier.quota)?,
            burst: quota("burst", &tier.burst)?,
            stop_on_quota_reach: tier.stop_on_quota_reach,
            groups: groups.into_boxed_slice(),
        })
    }
}
