//! Limits that the enforcer counts itself: tiers, key templates, denials (spec/enforcer.md §7). Wire: `trireme.limits.v1`.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use trireme_proto::trireme::limits::v1 as wire;

use crate::invalid::{Invalid, indexed};

/// The tier that has no limit, at every level. Its name is compared without regard to case.
pub const UNLIMITED: &str = "Unlimited";

/// Longest window, in seconds: 400 days.
const LONGEST: u64 = 400 * 86_400;

/// API Manager's default tiers but for [`UNLIMITED`]: name, requests, seconds.
const BUILT_IN: [(&str, u64, u64); 10] = [
    ("10KPerMin", 10_000, 60),
    ("10PerMin", 10, 60),
    ("20KPerMin", 20_000, 60),
    ("20PerMin", 20, 60),
    ("50KPerMin", 50_000, 60),
    ("50PerMin", 50, 60),
    ("Bronze", 1000, 60),
    ("Gold", 5000, 60),
    ("Silver", 2000, 60),
    ("Unauthenticated", 500, 60),
];

/// All limits.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Limits {
    /// Whether callers have the fields `RateLimit` and `RateLimit-Policy`.
    pub fields: bool,
    /// Where requests are counted.
    pub store: Store,
    /// Tiers by name, each name once.
    pub tiers: Vec<Tier>,
    /// A limit for each value of a key.
    pub templates: Vec<Template>,
    /// Who is turned away.
    pub denials: Vec<Denial>,
}

/// Where requests are counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Store {
    /// Most counters in the enforcer's memory, at least 1.
    pub capacity: u32,
    /// Whether a new caller is refused when all counters are in use; else the least used makes room.
    pub refuse_when_full: bool,
    /// A server that all enforcers count in; absent for each enforcer's memory.
    pub redis: Option<Redis>,
}

impl Default for Store {
    fn default() -> Self {
        Self {
            capacity: 200_000,
            refuse_when_full: false,
            redis: None,
        }
    }
}

/// A Redis server that all enforcers count in.
#[derive(Clone, PartialEq, Eq)]
pub struct Redis {
    /// `redis://` or `rediss://`, without name and password.
    pub url: String,
    /// Name to log in with; may be empty.
    pub username: String,
    /// Password; empty doesn't log in.
    pub password: String,
    /// Begins every key.
    pub key_prefix: String,
    /// How long an answer may take.
    pub timeout: Duration,
    /// How long opening a connection may take.
    pub connect_timeout: Duration,
    /// Whether enforcers take slices of a limit instead of asking each time.
    pub lease: bool,
    /// Whether a request that has a limit is refused when there is no answer.
    pub closed: bool,
}

impl fmt::Debug for Redis {
    /// The password is never printed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis")
            .field("url", &self.url)
            .field("username", &self.username)
            .field("key_prefix", &self.key_prefix)
            .field("timeout", &self.timeout)
            .field("connect_timeout", &self.connect_timeout)
            .field("lease", &self.lease)
            .field("closed", &self.closed)
            .finish_non_exhaustive()
    }
}

/// A limit with a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tier {
    /// Name, as projects and tokens have it.
    pub name: String,
    /// The limit; absent for none.
    pub quota: Option<Quota>,
    /// Most requests in a window beside the quota.
    pub burst: Option<Quota>,
    /// As the tier of a subscription: whether what is over the limit is refused.
    pub stop_on_quota_reach: bool,
    /// Other quotas for certain requests.
    pub groups: Vec<Group>,
}

/// So much in a window of fixed length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// What is counted.
    pub unit: Unit,
    /// At least 1.
    pub amount: u64,
    /// Seconds, at least 1. Windows begin at multiples of it since 1970.
    pub window_secs: u64,
}

/// What a quota counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Bytes of request bodies.
    Bytes,
    /// Requests.
    Requests,
}

/// Another quota for certain requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// The quota.
    pub quota: Quota,
    /// All of them hold for a request of the group; at least one.
    pub conditions: Vec<Condition>,
}

/// What has to hold for a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// What.
    pub what: What,
    /// Whether it has not to hold.
    pub invert: bool,
}

/// What a condition looks at. Patterns are regular expressions that are found in a value.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "name and pattern are what they are everywhere")]
pub enum What {
    /// The caller's address.
    Addresses(Addresses),
    /// A claim of the caller's token.
    Claim { name: String, pattern: String },
    /// A header, by its lower-case name.
    Header { name: String, pattern: String },
    /// A query parameter.
    Query { name: String, pattern: String },
}

/// Addresses of one kind, from the first to the last, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    first: IpAddr,
    last: IpAddr,
}

/// A limit for each value of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    /// The key, with variables (spec/enforcer.md §7.6).
    pub template: String,
    /// The limit.
    pub quota: Quota,
}

/// Who is turned away (spec/enforcer.md §7.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Denial {
    /// Callers by their address.
    Addresses {
        /// These.
        addresses: Addresses,
        /// All others instead.
        invert: bool,
        /// At APIs of this tenant only; empty for all.
        tenant: String,
    },
    /// Base path.
    Api(String),
    /// `subscriber:name`.
    Application(String),
    /// `basePath:version:subscriber-application:keyType`.
    Subscription(String),
    /// Name, with its tenant.
    User(String),
}

impl Limits {
    /// Nothing but the tiers that are always there.
    #[must_use]
    pub fn built_in() -> Self {
        Self {
            tiers: built_in(),
            ..Self::default()
        }
    }
}

/// API Manager's default tiers, in order of their names.
#[must_use]
pub fn built_in() -> Vec<Tier> {
    let tier = |(name, amount, window_secs): (&str, u64, u64)| Tier {
        name: name.to_owned(),
        quota: Some(Quota {
            unit: Unit::Requests,
            amount,
            window_secs,
        }),
        burst: None,
        stop_on_quota_reach: true,
        groups: Vec::new(),
    };
    let unlimited = Tier {
        name: UNLIMITED.to_owned(),
        quota: None,
        burst: None,
        stop_on_quota_reach: true,
        groups: Vec::new(),
    };
    BUILT_IN.into_iter().map(tier).chain([unlimited]).collect()
}

impl Addresses {
    /// From the first to the last; `None` where the last isn't one of the first's kind, or comes before it.
    #[must_use]
    pub fn new(first: IpAddr, last: IpAddr) -> Option<Self> {
        (first.is_ipv4() == last.is_ipv4() && first <= last).then_some(Self { first, last })
    }

    /// Whether the address is among them. An IPv4 address in IPv6 form is that IPv4 address.
    #[must_use]
    pub fn contain(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        // Of two kinds, all of one come before all of the other.
        address.is_ipv4() == self.first.is_ipv4() && self.first <= address && address <= self.last
    }
}

pub(crate) fn encode(limits: &Limits) -> wire::Limits {
    wire::Limits {
        fields: limits.fields,
        store: Some(wire::Store {
            capacity: limits.store.capacity,
            when_full: match limits.store.refuse_when_full {
                false => wire::WhenFull::Evict,
                true => wire::WhenFull::Refuse,
            }
            .into(),
            redis: limits.store.redis.as_ref().map(|redis| wire::Redis {
                url: redis.url.clone(),
                username: redis.username.clone(),
                password: redis.password.clone(),
                key_prefix: redis.key_prefix.clone(),
                timeout_ms: millis(redis.timeout),
                connect_timeout_ms: millis(redis.connect_timeout),
                lease: redis.lease,
                closed: redis.closed,
            }),
        }),
        tiers: limits
            .tiers
            .iter()
            .map(|tier| wire::Tier {
                name: tier.name.clone(),
                quota: tier.quota.as_ref().map(quota_message),
                burst: tier.burst.as_ref().map(quota_message),
                stop_on_quota_reach: tier.stop_on_quota_reach,
                groups: tier.groups.iter().map(group_message).collect(),
            })
            .collect(),
        templates: limits
            .templates
            .iter()
            .map(|template| wire::Template {
                template: template.template.clone(),
                quota: Some(quota_message(&template.quota)),
            })
            .collect(),
        denials: limits.denials.iter().map(denial_message).collect(),
    }
}

fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

fn quota_message(quota: &Quota) -> wire::Quota {
    wire::Quota {
        unit: match quota.unit {
            Unit::Bytes => wire::Unit::Bytes,
            Unit::Requests => wire::Unit::Requests,
        }
        .into(),
        amount: quota.amount,
        window_secs: quota.window_secs,
    }
}

fn group_message(group: &Group) -> wire::Group {
    use wire::condition::What as Wire;
    let pattern = |name: &String, pattern: &String| wire::Pattern {
        name: name.clone(),
        pattern: pattern.clone(),
    };
    wire::Group {
        quota: Some(quota_message(&group.quota)),
        conditions: group
            .conditions
            .iter()
            .map(|condition| wire::Condition {
                what: Some(match &condition.what {
                    What::Addresses(range) => Wire::Addresses(addresses_message(range)),
                    What::Claim { name, pattern: text } => Wire::Claim(pattern(name, text)),
                    What::Header { name, pattern: text } => Wire::Header(pattern(name, text)),
                    What::Query { name, pattern: text } => Wire::Query(pattern(name, text)),
                }),
                invert: condition.invert,
            })
            .collect(),
    }
}

fn addresses_message(range: &Addresses) -> wire::Addresses {
    let bytes = |address: IpAddr| match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    wire::Addresses {
        first: bytes(range.first).into(),
        last: bytes(range.last).into(),
    }
}

fn denial_message(denial: &Denial) -> wire::Denial {
    use wire::denial::What as Wire;
    let what = match denial {
        Denial::Addresses { addresses, .. } => Wire::Addresses(addresses_message(addresses)),
        Denial::Api(text) => Wire::Api(text.clone()),
        Denial::Application(text) => Wire::Application(text.clone()),
        Denial::Subscription(text) => Wire::Subscription(text.clone()),
        Denial::User(text) => Wire::User(text.clone()),
    };
    let (invert, tenant) = match denial {
        Denial::Addresses { invert, tenant, .. } => (*invert, tenant.clone()),
        Denial::Api(_) | Denial::Application(_) | Denial::Subscription(_) | Denial::User(_) => {
            (false, String::new())
        }
    };
    wire::Denial {
        what: Some(what),
        invert,
        tenant,
    }
}

pub(crate) fn decode(message: wire::Limits) -> Result<Limits, Invalid> {
    let tiers = indexed("limits.tiers", message.tiers, tier)?;
    for (index, tier) in tiers.iter().enumerate() {
        if tiers.iter().take(index).any(|before| before.name == tier.name) {
            return Err(Invalid::new(
                format!("limits.tiers[{index}].name"),
                "is there twice",
            ));
        }
    }
    Ok(Limits {
        fields: message.fields,
        store: message.store.map_or_else(|| Ok(Store::default()), store)?,
        tiers,
        templates: indexed("limits.templates", message.templates, template)?,
        denials: indexed("limits.denials", message.denials, denial)?,
    })
}

fn store(store: wire::Store) -> Result<Store, Invalid> {
    if store.capacity == 0 {
        return Err(Invalid::new("limits.store.capacity", "is 0"));
    }
    Ok(Store {
        capacity: store.capacity,
        refuse_when_full: match wire::WhenFull::try_from(store.when_full) {
            Ok(wire::WhenFull::Evict) => false,
            Ok(wire::WhenFull::Refuse) => true,
            Err(_) => return Err(Invalid::new("limits.store.when_full", "is not known")),
        },
        redis: store.redis.map(redis).transpose()?,
    })
}

fn redis(redis: wire::Redis) -> Result<Redis, Invalid> {
    let millis = |name: &str, millis: u32| match millis {
        0 => Err(Invalid::new(format!("limits.store.redis.{name}"), "is 0")),
        millis => Ok(Duration::from_millis(millis.into())),
    };
    Ok(Redis {
        url: redis.url,
        username: redis.username,
        password: redis.password,
        key_prefix: redis.key_prefix,
        timeout: millis("timeout_ms", redis.timeout_ms)?,
        connect_timeout: millis("connect_timeout_ms", redis.connect_timeout_ms)?,
        lease: redis.lease,
        closed: redis.closed,
    })
}

fn tier(at: &str, tier: wire::Tier) -> Result<Tier, Invalid> {
    if tier.name.is_empty() {
        return Err(Invalid::new(format!("{at}.name"), "is empty"));
    }
    let quota = |name: &str, wire: Option<wire::Quota>| {
        wire.map(|wire| self::quota(&format!("{at}.{name}"), Some(wire)))
            .transpose()
    };
    Ok(Tier {
        quota: quota("quota", tier.quota)?,
        burst: quota("burst", tier.burst)?,
        stop_on_quota_reach: tier.stop_on_quota_reach,
        groups: indexed(&format!("{at}.groups"), tier.groups, group)?,
        name: tier.name,
    })
}

fn quota(at: &str, quota: Option<wire::Quota>) -> Result<Quota, Invalid> {
    let quota = quota.ok_or_else(|| Invalid::new(at, "is missing"))?;
    if quota.amount == 0 {
        return Err(Invalid::new(format!("{at}.amount"), "is 0"));
    }
    if !(1..=LONGEST).contains(&quota.window_secs) {
        let reason = format!("is not between 1 and {LONGEST}");
        return Err(Invalid::new(format!("{at}.window_secs"), reason));
    }
    Ok(Quota {
        unit: match wire::Unit::try_from(quota.unit) {
            Ok(wire::Unit::Bytes) => Unit::Bytes,
            Ok(wire::Unit::Requests) => Unit::Requests,
            Err(_) => return Err(Invalid::new(format!("{at}.unit"), "is not known")),
        },
        amount: quota.amount,
        window_secs: quota.window_secs,
    })
}

fn group(at: &str, group: wire::Group) -> Result<Group, Invalid> {
    if group.conditions.is_empty() {
        return Err(Invalid::new(format!("{at}.conditions"), "is missing"));
    }
    Ok(Group {
        quota: quota(&format!("{at}.quota"), group.quota)?,
        conditions: indexed(&format!("{at}.conditions"), group.conditions, condition)?,
    })
}

fn condition(at: &str, condition: wire::Condition) -> Result<Condition, Invalid> {
    use wire::condition::What as Wire;
    let named = |pattern: wire::Pattern| {
        if pattern.name.is_empty() {
            return Err(Invalid::new(format!("{at}.name"), "is empty"));
        }
        Ok((pattern.name, pattern.pattern))
    };
    let what = match condition.what {
        Some(Wire::Addresses(range)) => What::Addresses(addresses(at, &range)?),
        Some(Wire::Claim(text)) => named(text).map(|(name, pattern)| What::Claim { name, pattern })?,
        Some(Wire::Header(text)) => named(text).map(|(name, pattern)| What::Header {
            name: name.to_ascii_lowercase(),
            pattern,
        })?,
        Some(Wire::Query(text)) => named(text).map(|(name, pattern)| What::Query { name, pattern })?,
        None => return Err(Invalid::new(at, "says nothing that is known here")),
    };
    Ok(Condition {
        what,
        invert: condition.invert,
    })
}

fn addresses(at: &str, range: &wire::Addresses) -> Result<Addresses, Invalid> {
    let address = |bytes: &[u8]| {
        let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
        v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
    };
    let both = address(&range.first).zip(address(&range.last));
    both.and_then(|(first, last)| Addresses::new(first, last))
        .ok_or_else(|| Invalid::new(format!("{at}.addresses"), "are not a range of addresses"))
}

fn template(at: &str, template: wire::Template) -> Result<Template, Invalid> {
    if template.template.is_empty() {
        return Err(Invalid::new(format!("{at}.template"), "is empty"));
    }
    Ok(Template {
        quota: quota(&format!("{at}.quota"), template.quota)?,
        template: template.template,
    })
}

fn denial(at: &str, denial: wire::Denial) -> Result<Denial, Invalid> {
    use wire::denial::What as Wire;
    Ok(match denial.what {
        Some(Wire::Addresses(range)) => Denial::Addresses {
            addresses: addresses(at, &range)?,
            invert: denial.invert,
            tenant: denial.tenant,
        },
        Some(Wire::Api(text)) => Denial::Api(text),
        Some(Wire::Application(text)) => Denial::Application(text),
        Some(Wire::Subscription(text)) => Denial::Subscription(text),
        Some(Wire::User(text)) => Denial::User(text),
        None => return Err(Invalid::new(at, "says nothing that is known here")),
    })
}

#[cfg(test)]
pub(crate) mod tests;
