//! Limits that the gateway counts itself: `[[enforcer.throttling.policy]]`, `.keyTemplate`, `.deny` and `.store`.

use std::net::IpAddr;
use std::time::Duration;

use crate::schema::{keyword, section};
use crate::secret::Secret;

section! {
    /// Where requests are counted.
    pub struct LimitStore {
        /// memory counts in each enforcer on its own; redis counts for all enforcers together.
        kind["type"]: LimitStoreKind = LimitStoreKind::Memory,
        /// Most counters in the memory of an enforcer, about 60 bytes each. A caller needs one for each of its limits. For
        /// redis with lease, most parts of limits that an enforcer holds.
        capacity["capacity"]: u32 = 200_000,
        /// For memory, when all of them are in use by windows that have not ended: evict makes room at the expense of
        /// the least used, refuse turns new callers away with 503.
        when_full["whenFull"]: WhenFull = WhenFull::Evict,
        /// Address of the Redis server: redis://host:6379/0, or rediss:// for TLS.
        url["url"]: String = "redis://localhost:6379/0".to_owned(),
        /// User of the server's access list; empty is its default one.
        username["username"]: String,
        /// Password; empty does not log in.
        password["password"]: Secret,
        /// Begins the name of every key in the server. Gateways with the same share their counters.
        key_prefix["keyPrefix"]: String = "trireme:limits:".to_owned(),
        /// ask asks the server for each request, and is exact. lease takes a part of what is left and counts that in the
        /// enforcer: quicker, never above a limit, and a little below it.
        mode["mode"]: LimitStoreMode = LimitStoreMode::Ask,
        /// Milliseconds that a request waits for an answer.
        timeout["timeoutInMillis"]: Duration as Millis = Duration::from_millis(100),
        /// Milliseconds that opening a connection may take.
        connect_timeout["connectTimeoutInMillis"]: Duration as Millis = Duration::from_secs(1),
        /// When the server does not answer: open lets requests pass uncounted, closed refuses those that have a limit
        /// with 503.
        on_failure["onFailure"]: StoreFailure = StoreFailure::Open,
    }
}

keyword! {
    /// Where requests are counted.
    pub enum LimitStoreKind {
        /// In each enforcer.
        Memory = "memory",
        /// In Redis.
        Redis = "redis",
    }
}

keyword! {
    /// What becomes of a new caller when all counters are in use.
    pub enum WhenFull {
        /// The least used makes room.
        Evict = "evict",
        /// It is refused.
        Refuse = "refuse",
    }
}

keyword! {
    /// How exact shared counters are.
    pub enum LimitStoreMode {
        /// Exact.
        Ask = "ask",
        /// A little below the limit.
        Lease = "lease",
    }
}

keyword! {
    /// What becomes of a request that has a limit when the store does not answer.
    pub enum StoreFailure {
        /// It is refused.
        Closed = "closed",
        /// It passes.
        Open = "open",
    }
}

section! {
    /// A tier: a limit with a name.
    pub struct LimitTier {
        /// Name, as x-wso2-throttling-tier, x-throttling-tier, api.yaml and tokens have it.
        name["name"]: String,
        /// requestCount or bandwidth; bandwidth is what request bodies measure by their Content-Length.
        quota_kind["quotaType"]: QuotaKind = QuotaKind::Requests,
        /// Most requests, or most data in dataUnit, in one window.
        quota["quota"]: u32,
        /// B, KB, MB or GB; for bandwidth.
        data_unit["dataUnit"]: DataUnit = DataUnit::Kilobytes,
        /// Length of a window in timeUnit. Windows begin at multiples of their length since 1970, in UTC.
        unit_time["unitTime"]: u32 = 1,
        /// sec, min, hour, day or week.
        time_unit["timeUnit"]: TimeUnit = TimeUnit::Minute,
        /// Most requests in one window of burstUnit, which is shorter than that of the quota; 0 is no bound.
        burst["burst"]: u32,
        /// sec, min, hour, day or week.
        burst_unit["burstUnit"]: TimeUnit = TimeUnit::Second,
        /// As the tier of a subscription: refuse what is over the limit; false lets it pass. A token that says so itself
        /// (tierInfo) decides.
        stop_on_quota_reach["stopOnQuotaReach"]: bool = true,
        /// Another quota for requests that all conditions of the group hold for. Requests of no group have the quota of
        /// the tier.
        group["group"]: Vec<ConditionGroup>,
    }
}

section! {
    /// Another quota for certain requests.
    pub struct ConditionGroup {
        /// requestCount or bandwidth.
        quota_kind["quotaType"]: QuotaKind = QuotaKind::Requests,
        /// Most requests, or most data in dataUnit, in one window.
        quota["quota"]: u32,
        /// B, KB, MB or GB; for bandwidth.
        data_unit["dataUnit"]: DataUnit = DataUnit::Kilobytes,
        /// Length of a window in timeUnit.
        unit_time["unitTime"]: u32 = 1,
        /// sec, min, hour, day or week.
        time_unit["timeUnit"]: TimeUnit = TimeUnit::Minute,
        /// What has to hold for a request.
        condition["condition"]: Vec<LimitCondition>,
    }
}

section! {
    /// What has to hold for a request.
    pub struct LimitCondition {
        /// ip, header, query or claim. Claims are those of the caller's token.
        kind["type"]: LimitConditionKind = LimitConditionKind::Address,
        /// Name of the header, query parameter or claim.
        name["name"]: String,
        /// A regular expression that is found in the value; for ip an address, a network (10.0.0.0/8) or a range
        /// (10.0.0.1-10.0.0.9, both ends belong to it).
        value["value"]: String,
        /// The condition holds where it otherwise would not.
        invert["invert"]: bool,
    }
}

section! {
    /// A limit for each value of a key.
    pub struct KeyTemplate {
        /// Text with $resourceKey, $userId, $apiContext, $apiVersion, $appTenant, $apiTenant, $appId, $clientIp.
        template["template"]: String,
        /// requestCount or bandwidth.
        quota_kind["quotaType"]: QuotaKind = QuotaKind::Requests,
        /// Most requests, or most data in dataUnit, in one window.
        quota["quota"]: u32,
        /// B, KB, MB or GB; for bandwidth.
        data_unit["dataUnit"]: DataUnit = DataUnit::Kilobytes,
        /// Length of a window in timeUnit.
        unit_time["unitTime"]: u32 = 1,
        /// sec, min, hour, day or week.
        time_unit["timeUnit"]: TimeUnit = TimeUnit::Minute,
    }
}

section! {
    /// Callers and APIs that are turned away with 403.
    pub struct DeniedCaller {
        /// api, application, user, subscription or ip.
        kind["type"]: DenyKind = DenyKind::Address,
        /// api: the base path with its version. application: subscriber:name. user: name@tenant. subscription:
        /// basePath:version:subscriber-application:PRODUCTION or SANDBOX. ip: an address, a network or a range.
        value["value"]: String,
        /// For ip: turn all other addresses away.
        invert["invert"]: bool,
        /// For ip: only at APIs of this tenant; empty at all.
        tenant["tenant"]: String,
    }
}

keyword! {
    /// What a quota counts.
    pub enum QuotaKind {
        /// Bytes of request bodies.
        Bandwidth = "bandwidth",
        /// Requests.
        Requests = "requestCount",
    }
}

keyword! {
    /// A unit of data.
    pub enum DataUnit {
        /// 1 byte.
        Bytes = "B",
        /// 1024 bytes.
        Kilobytes = "KB",
        /// 1024 kilobytes.
        Megabytes = "MB",
        /// 1024 megabytes.
        Gigabytes = "GB",
    }
}

keyword! {
    /// A unit of time.
    pub enum TimeUnit {
        /// 24 hours.
        Day = "day",
        /// 60 minutes.
        Hour = "hour",
        /// 60 seconds.
        Minute = "min",
        /// A second.
        Second = "sec",
        /// Seven days; weeks begin on Thursdays, as 1970 did.
        Week = "week",
    }
}

keyword! {
    /// What a condition looks at.
    pub enum LimitConditionKind {
        /// Address of the caller.
        Address = "ip",
        /// Claim of the token.
        Claim = "claim",
        /// Header.
        Header = "header",
        /// Query parameter.
        Query = "query",
    }
}

keyword! {
    /// What a denial looks at.
    pub enum DenyKind {
        /// Address of the caller.
        Address = "ip",
        /// Base path.
        Api = "api",
        /// Subscriber and application.
        Application = "application",
        /// Subscription.
        Subscription = "subscription",
        /// User.
        User = "user",
    }
}

impl TimeUnit {
    /// Length in seconds.
    pub fn seconds(self) -> u64 {
        match self {
            Self::Day => 86_400,
            Self::Hour => 3600,
            Self::Minute => 60,
            Self::Second => 1,
            Self::Week => 604_800,
        }
    }
}

impl DataUnit {
    /// Length in bytes.
    pub fn bytes(self) -> u64 {
        match self {
            Self::Bytes => 1,
            Self::Kilobytes => 1 << 10,
            Self::Megabytes => 1 << 20,
            Self::Gigabytes => 1 << 30,
        }
    }
}

impl LimitCondition {
    /// First and last address of an `ip` condition.
    ///
    /// # Errors
    /// Why the value is none.
    pub fn addresses(&self) -> Result<(IpAddr, IpAddr), String> {
        addresses(&self.value)
    }
}

impl DeniedCaller {
    /// First and last address of an `ip` denial.
    ///
    /// # Errors
    /// Why the value is none.
    pub fn addresses(&self) -> Result<(IpAddr, IpAddr), String> {
        addresses(&self.value)
    }
}

/// An address, a network (RFC 4632 §3.1) or a range, as its first and last address.
fn addresses(text: &str) -> Result<(IpAddr, IpAddr), String> {
    let address = |text: &str| -> Result<IpAddr, String> {
        let parsed = text.trim().parse::<IpAddr>();
        parsed
            .map(|address| address.to_canonical())
            .map_err(|_| format!("{text:?} is not an address, a network or a range"))
    };
    if let Some((first, last)) = text.split_once('-') {
        let (first, last) = (address(first)?, address(last)?);
        return if first.is_ipv4() != last.is_ipv4() {
            Err(format!("{text:?} goes from one kind of address to the other"))
        } else if first > last {
            Err(format!("{text:?} ends before it begins and cannot match"))
        } else {
            Ok((first, last))
        };
    }
    let Some((base, length)) = text.split_once('/') else {
        return address(text).map(|address| (address, address));
    };
    let longest = if address(base)?.is_ipv4() { 32 } else { 128 };
    let length = length
        .trim()
        .parse::<u32>()
        .ok()
        .filter(|length| *length <= longest);
    let length = length.ok_or_else(|| format!("{text:?} is not a network: its length is 0 to {longest}"))?;
    Ok(match address(base)? {
        IpAddr::V4(base) => {
            let mask = u32::MAX.checked_shr(length).unwrap_or(0);
            let base = base.to_bits();
            (
                IpAddr::V4((base & !mask).into()),
                IpAddr::V4((base | mask).into()),
            )
        }
        IpAddr::V6(base) => {
            let mask = u128::MAX.checked_shr(length).unwrap_or(0);
            let base = base.to_bits();
            (
                IpAddr::V6((base & !mask).into()),
                IpAddr::V6((base | mask).into()),
            )
        }
    })
}
