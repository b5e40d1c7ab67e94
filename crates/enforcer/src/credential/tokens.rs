//! Tokens that were found good, by their whole text.
//!
//! The key of an entry is the token itself, so two tokens can't stand in for one another whatever their claims say. An
//! entry saves the signature only: time, keys and everything about the request are looked at each time.

use std::net::IpAddr;
use std::sync::Arc;

use quick_cache::Weighter;
use quick_cache::sync::Cache;
use serde_json::{Map, Value};
use trireme_policy::settings::Cache as Settings;

use super::issuer::Issuer;
use super::jwt::{Claims, InvalidClaims, Validity};
use super::restriction::{Network, Pattern};
use crate::verdict::KeyType;

/// Budget for one entry. Entries weigh what they are, so long tokens leave room for fewer.
const ENTRY_BYTES: u64 = 2048;

/// What a good token says.
#[derive(Debug)]
pub(crate) struct Token {
    pub(crate) validity: Validity,
    /// `None` for a claim `keytype` that means nothing.
    pub(crate) key_type: Option<KeyType>,
    pub(crate) scopes: Box<[Box<str>]>,
    /// APIs it names; `None` when it names none at all.
    pub(crate) subscribed: Option<Box<[Subscribed]>>,
    pub(crate) kind: Kind,
    /// Whose it is; may be empty.
    pub(crate) subject: Box<str>,
    /// The application that it was given to.
    pub(crate) application: Option<Box<Application>>,
    /// Networks and referrers that a key is bound to; `None` when it isn't.
    pub(crate) networks: Option<Box<[Network]>>,
    pub(crate) referrers: Option<Box<[Pattern]>>,
    /// All claims, as the JSON that was signed: a fraction of what a map of them would take.
    claims: Box<[u8]>,
    /// When the signature was checked, in Unix seconds, and by which generation of the issuer's keys.
    checked: u64,
    generation: u64,
}

/// What a token is for. One certificate signs all kinds by default, so nothing else keeps them apart (RFC 8725 §3.12).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It has scopes, which keys don't.
    Access,
    ApiKey,
    InternalKey,
    /// It doesn't say: an access token without scopes, or an API key.
    Unstated,
}

impl Kind {
    /// By the claim `token_type`. Keys of API Manager before 4.0 lack it, but all of them name the addresses and referrers
    /// that they are bound to, if only as empty texts.
    fn of(claims: &Claims) -> Self {
        let has = |claim| claims.get(claim).is_some();
        match claims.text("token_type") {
            Some("InternalKey") => Self::InternalKey,
            Some(kind) if kind.eq_ignore_ascii_case("apiKey") => Self::ApiKey,
            _ if has("permittedIP") || has("permittedReferer") => Self::ApiKey,
            _ if has("scope") => Self::Access,
            _ => Self::Unstated,
        }
    }
}

/// An API that a token names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Subscribed {
    pub(crate) name: Box<str>,
    pub(crate) version: Box<str>,
    /// Tier of the subscription; may be empty.
    pub(crate) tier: Box<str>,
    /// Tenant of the subscriber; may be empty.
    pub(crate) tenant: Box<str>,
    /// Whether a caller is refused when the subscription is used up, where the token says so.
    pub(crate) stop_on_quota_reach: Option<bool>,
}

/// The application that a token was given to, as the claim `application` tells it. What it doesn't say is empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Application {
    /// A number, as text; `-1` where there is none.
    pub(crate) id: Box<str>,
    pub(crate) name: Box<str>,
    pub(crate) tier: Box<str>,
    pub(crate) owner: Box<str>,
}

impl Token {
    /// Reads what every check needs of verified claims, and keeps them all. `issuer` knows other names for some of them.
    pub(crate) fn new(
        claims: Claims,
        issuer: Option<&Issuer>,
        now: u64,
        generation: u64,
    ) -> Result<Self, InvalidClaims> {
        let remote = |local| issuer.map_or(local, |issuer| issuer.remote(local));
        Ok(Self {
            validity: claims.validity()?,
            key_type: key_type(claims.get(remote("keytype"))),
            scopes: scopes(claims.get(remote("scope")).or_else(|| claims.get("scope"))),
            subscribed: claims
                .get("subscribedAPIs")
                .map(|claim| subscribed(claim, claims.get("tierInfo"))),
            kind: Kind::of(&claims),
            subject: claims.text(remote("sub")).unwrap_or_default().into(),
            application: claims
                .get("application")
                .and_then(Value::as_object)
                .map(application),
            networks: list(claims.get("permittedIP"))
                .map(|list| list.into_iter().map(Network::parse).collect()),
            referrers: list(claims.get("permittedReferer"))
                .map(|list| list.into_iter().map(Pattern::parse).collect()),
            claims: claims.into_text(),
            checked: now,
            generation,
        })
    }

    /// Any claim. Read anew each time: for what few checks ask.
    pub(crate) fn claim(&self, name: &str) -> Option<Value> {
        serde_json::from_slice::<Map<String, Value>>(&self.claims)
            .ok()?
            .remove(name)
    }

    /// Whether the address may use it.
    pub(crate) fn permits(&self, peer: &str, referrer: Option<&str>) -> bool {
        let address = peer.parse::<IpAddr>().ok();
        let network = self.networks.as_ref().is_none_or(|networks| {
            address.is_some_and(|address| networks.iter().any(|network| network.contains(address)))
        });
        let referrer = self.referrers.as_ref().is_none_or(|patterns| {
            referrer
                .filter(|text| !text.is_empty())
                .is_some_and(|text| patterns.iter().any(|pattern| pattern.matches(text)))
        });
        // All that is configured must hold: the original let a good address excuse a wrong referrer.
        network && referrer
    }
}

/// Environment that a token is for; production when it doesn't say.
fn key_type(claim: Option<&Value>) -> Option<KeyType> {
    match claim {
        None | Some(Value::Null) => Some(KeyType::Production),
        Some(claim) => claim.as_str().and_then(KeyType::parse),
    }
}

/// What a key is bound to, as a list in a text. An empty text binds it to nothing, and API Manager writes that into every key
/// that isn't bound. Something else than a text can't be met: left out of account, it would unbind the key.
fn list(claim: Option<&Value>) -> Option<Vec<&str>> {
    match claim? {
        Value::Null => None,
        Value::String(text) if text.is_empty() => None,
        Value::String(text) => Some(text.split(',').map(str::trim).collect()),
        _ => Some(Vec::new()),
    }
}

/// Text split at spaces, or a list of texts; a token without any has the scope `default`. An empty text is no scope, not even
/// where a definition asks for one.
fn scopes(claim: Option<&Value>) -> Box<[Box<str>]> {
    let some = |scope: &&str| !scope.is_empty();
    match claim {
        Some(Value::String(text)) => text.split(' ').filter(some).map(Box::from).collect(),
        Some(Value::Array(list)) => list
            .iter()
            .filter_map(Value::as_str)
            .filter(some)
            .map(Box::from)
            .collect(),
        _ => Box::new(["default".into()]),
    }
}

fn application(claim: &Map<String, Value>) -> Box<Application> {
    let text = |key| claim.get(key).and_then(Value::as_str).unwrap_or_default().into();
    let id = match claim.get("id") {
        Some(Value::Number(id)) => id.to_string(),
        Some(Value::String(id)) if !id.is_empty() => id.clone(),
        _ => "-1".to_owned(),
    };
    Box::new(Application {
        id: id.into(),
        name: text("name"),
        tier: text("tier"),
        owner: text("owner"),
    })
}

/// The APIs of the claim `subscribedAPIs`; `tiers` is the claim `tierInfo`.
fn subscribed(claim: &Value, tiers: Option<&Value>) -> Box<[Subscribed]> {
    let entries = claim.as_array().map(Vec::as_slice).unwrap_or_default();
    let text = |entry: &Value, key| -> Box<str> {
        entry.get(key).and_then(Value::as_str).unwrap_or_default().into()
    };
    let stops = |tier: &str| tiers?.get(tier)?.get("stopOnQuotaReach")?.as_bool();
    entries
        .iter()
        .map(|entry| {
            let tier = text(entry, "subscriptionTier");
            Subscribed {
                name: text(entry, "name"),
                version: text(entry, "version"),
                tenant: text(entry, "subscriberTenantDomain"),
                stop_on_quota_reach: stops(&tier),
                tier,
            }
        })
        .collect()
}

/// Good tokens by their text.
#[derive(Debug)]
pub(crate) struct TokenCache {
    entries: Option<Cache<Box<str>, Entry, Size>>,
    expiry_secs: u64,
}

#[derive(Debug, Clone)]
struct Entry {
    token: Arc<Token>,
    issuer: Option<Arc<Issuer>>,
}

#[derive(Debug, Clone)]
struct Size;

impl Weighter<Box<str>, Entry> for Size {
    fn weight(&self, key: &Box<str>, entry: &Entry) -> u64 {
        let token = &entry.token;
        let scopes: usize = token.scopes.iter().map(|scope| scope.len() + 16).sum();
        let subscribed = token.subscribed.as_ref().map_or(0, |list| list.len() * 192);
        let networks = token.networks.as_ref().map_or(0, |list| list.len() * 32);
        let referrers = token.referrers.as_ref();
        let referrers: usize = referrers.map_or(0, |list| list.iter().map(Pattern::size).sum());
        let weight = 256 + key.len() + token.claims.len() + scopes + subscribed + networks + referrers;
        u64::try_from(weight).unwrap_or(u64::MAX)
    }
}

impl TokenCache {
    pub(crate) fn new(settings: &Settings) -> Self {
        let most = usize::try_from(settings.max_entries).unwrap_or(usize::MAX);
        let enabled = settings.enabled && most > 0 && !settings.expiry.is_zero();
        Self {
            entries: enabled
                .then(|| Cache::with_weighter(most, u64::from(settings.max_entries) * ENTRY_BYTES, Size)),
            expiry_secs: settings.expiry.as_secs(),
        }
    }

    /// The key, when its signature was found good not too long ago.
    pub(crate) fn get(&self, text: &str, now: u64) -> Option<Arc<Token>> {
        self.find(text, now).map(|entry| entry.token)
    }

    /// The token and its issuer, when the signature was found good not too long ago by keys that the issuer still has.
    pub(crate) fn get_with_issuer(&self, text: &str, now: u64) -> Option<(Arc<Token>, Arc<Issuer>)> {
        let entry = self.find(text, now)?;
        let issuer = entry.issuer?;
        (entry.token.generation == issuer.generation()).then_some((entry.token, issuer))
    }

    fn find(&self, text: &str, now: u64) -> Option<Entry> {
        let entry = self.entries.as_ref()?.get(text)?;
        (now < entry.token.checked.saturating_add(self.expiry_secs)).then_some(entry)
    }

    pub(crate) fn insert(&self, text: &str, token: &Arc<Token>, issuer: Option<&Arc<Issuer>>) {
        if let Some(entries) = &self.entries {
            let entry = Entry {
                token: Arc::clone(token),
                issuer: issuer.map(Arc::clone),
            };
            entries.insert(text.into(), entry);
        }
    }

    /// How many tokens are kept.
    pub(crate) fn len(&self) -> usize {
        self.entries.as_ref().map_or(0, Cache::len)
    }
}
