//! The answer of a check, as plain values. `respond.rs` turns it into a message.

use trireme_policy::api::Retry;

pub(crate) use trireme_policy::api::KeyType;

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict<'a> {
    /// The request may go upstream.
    Admitted(Admitted<'a>),
    /// The request is answered here.
    Denied(Denial),
}

/// How the caller proved who it is. The names are those of the dynamic metadata `tokenType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Scheme {
    /// Access token.
    AccessToken,
    /// API key.
    ApiKey,
    /// Key of the try-out console.
    InternalKey,
    /// Client certificate.
    MutualTls,
    /// The operation is open.
    Unsecured,
}

impl Scheme {
    /// Name in the dynamic metadata.
    #[must_use]
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::AccessToken => "JWT",
            Self::ApiKey => "API Key",
            Self::InternalKey => "Internal Key",
            Self::MutualTls => "mtls",
            Self::Unsecured => "Unsecured",
        }
    }
}

/// A request that may go upstream, and how.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Admitted<'a> {
    /// What the router does with it, beside its headers.
    pub(crate) steering: Steering<'a>,
    /// Value of `authorization` towards the endpoint, in place of the caller's.
    pub(crate) authorization: Option<&'a str>,
    /// Headers to remove, in lower case.
    pub(crate) remove: Vec<&'a str>,
    /// How the caller proved who it is, and its environment; absent for prototyped APIs.
    pub(crate) identity: Option<(Scheme, KeyType)>,
    /// Path without query, as received.
    pub(crate) path: &'a str,
    /// What is left of the caller's limits, for the caller.
    pub(crate) limits: Option<Box<LimitFields>>,
}

/// The fields that tell a caller of its limits (draft-ietf-httpapi-ratelimit-headers-10 §3, §4).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct LimitFields {
    /// Value of `RateLimit-Policy`: the limits.
    pub(crate) policy: String,
    /// Value of `RateLimit`: what is left of them.
    pub(crate) left: String,
}

/// What a limit holds, in the order in which they are looked at (spec/enforcer.md §7.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    /// All requests of an API.
    Api,
    /// All requests of an operation.
    Resource,
    /// Those of an application to an API.
    Subscription,
    /// Those of a user by an application.
    Application,
    /// Those with the same value of a key.
    Custom,
}

/// A limit that is used up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Exceeded {
    /// Which.
    pub(crate) level: Level,
    /// When there is more, in Unix seconds.
    pub(crate) until: u64,
    /// What is left of all limits, for the caller.
    pub(crate) fields: Option<LimitFields>,
}

/// Where and how the router sends a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Steering<'a> {
    /// The cluster; empty leaves it to the route.
    pub(crate) cluster: &'a str,
    /// How long an answer may take, in milliseconds; absent leaves it to the route, 0 is no bound.
    pub(crate) timeout_ms: Option<u32>,
    /// How often it is tried again, and on which answers; absent leaves it to the route.
    pub(crate) retry: Option<&'a Retry>,
    /// Path and query to send; absent leaves those that were received.
    pub(crate) path: Option<String>,
}

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Denial {
    /// Why.
    pub(crate) reason: Reason,
    /// What the `WWW-Authenticate` header of a 401 names.
    pub(crate) challenge: Challenge,
}

/// What callers are asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// An access token.
    #[default]
    Bearer,
    /// A client certificate or an access token.
    MutualTls,
}

/// Why a request is refused. Status, code and texts are in `respond.rs`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reason {
    /// The API is blocked.
    ApiBlocked,
    /// An API key whose signature or shape is wrong.
    ApiKeyInvalid,
    /// The route is newer than the policy that is held, and the policy didn't come in time.
    Behind,
    /// The caller, or the API, is turned away.
    Blocked,
    /// A client certificate that can't be read.
    CertificateUnreadable,
    /// The credential is bound to other callers (address, referrer), or the key names other APIs.
    Forbidden,
    /// A claim `keytype` that is neither production nor sandbox.
    KeyTypeUnknown,
    /// The keys of the issuer can't be had.
    KeysUnavailable,
    /// A limit counts bytes, and the request doesn't say how many it has.
    LengthMissing,
    /// A limit is used up.
    Limit(Box<Exceeded>),
    /// Nobody can tell whether a limit is used up.
    LimitsUnavailable,
    /// No credential that the operation takes.
    NoCredentials,
    /// A production credential, but no production endpoint.
    NoProduction,
    /// A sandbox credential, but no sandbox endpoint.
    NoSandbox,
    /// The token isn't a JWT.
    NotAToken,
    /// `OPTIONS` on a resource that doesn't define it: not an error, and answered with what it allows.
    Preflight(String),
    /// Nobody is configured to sign API keys.
    SignerMissing,
    /// None of the scopes that the resource needs.
    Scope,
    /// The token names its subscriptions and this API isn't among them, or none can be found.
    Subscription,
    /// Wrong signature, issuer, time or shape of a claim.
    TokenInvalid,
    /// The issuer publishes no key of the token's id.
    UnknownKey,
    /// No such API or operation.
    Unknown,
}

impl Reason {
    /// Label of the metric and the log.
    #[must_use]
    pub(crate) fn label(&self) -> &'static str {
        match self {
            Self::ApiBlocked => "api_blocked",
            Self::ApiKeyInvalid => "api_key_invalid",
            Self::Behind => "behind",
            Self::Blocked => "blocked",
            Self::CertificateUnreadable => "certificate_unreadable",
            Self::Forbidden => "forbidden",
            Self::KeyTypeUnknown => "key_type_unknown",
            Self::KeysUnavailable => "keys_unavailable",
            Self::LengthMissing => "length_missing",
            Self::Limit(exceeded) => match exceeded.level {
                Level::Api => "api_limit",
                Level::Application => "application_limit",
                Level::Custom => "custom_limit",
                Level::Resource => "resource_limit",
                Level::Subscription => "subscription_limit",
            },
            Self::LimitsUnavailable => "limits_unavailable",
            Self::NoCredentials => "no_credentials",
            Self::NoProduction => "no_production_endpoint",
            Self::NoSandbox => "no_sandbox_endpoint",
            Self::NotAToken => "not_a_token",
            Self::Preflight(_) => "preflight",
            Self::Scope => "scope",
            Self::SignerMissing => "signer_missing",
            Self::Subscription => "subscription",
            Self::TokenInvalid => "token_invalid",
            Self::UnknownKey => "unknown_key",
            Self::Unknown => "unknown",
        }
    }
}
