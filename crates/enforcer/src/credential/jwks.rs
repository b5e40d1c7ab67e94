//! The published keys of one issuer.
//!
//! Keys are looked up in memory. A key id that isn't there starts one fetch, however many checks ask for it, and those
//! checks wait for its end; after an answer the next fetch for an unknown id starts no sooner than ten seconds later, and
//! after a failure no sooner than a growing pause, so a caller who makes up key ids causes six fetches a minute at most.
//! Key ids are optional in tokens and in keys (RFC 7515 §4.1.4, RFC 7517 §4.5): where one is missing the keys that fit are
//! tried, a few of them, and a token that none of them signed is one with an unknown key.
//! Keys older than five minutes are fetched again while they go on serving; the failure of a key server leaves them in
//! force for a day.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use trireme_fetch::{Bounds, Client, FetchError};

use super::jwt::{Claims, Unverified};
use super::keys::{Algorithm, PublicKey};
use super::unsupported::Unsupported;
use crate::event::{self, NamedBy};

/// What a fetch may take. Key sets in use are a few kilobytes; how many keys there can be follows from the bytes.
const BOUNDS: Bounds = Bounds {
    timeout: Duration::from_secs(5),
    max_body_bytes: 256 * 1024,
};
/// Older keys are fetched again.
const FRESH: Duration = Duration::from_secs(5 * 60);
/// Older keys are not used any more.
const USABLE: Duration = Duration::from_secs(24 * 60 * 60);
/// How long a check waits for the first keys: as long as a fetch may take, and a little.
const FIRST_WAIT: Duration = Duration::from_secs(6);
/// How long a check waits for a key that is not among those that are there.
const UNKNOWN_WAIT: Duration = Duration::from_millis(500);
/// Between two fetches for ids that aren't there.
const PAUSE: Duration = Duration::from_secs(10);
/// Keys that are tried for one token.
const MAX_TRIED: usize = 8;
/// Pauses after failures.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// Where fetches run: not on the threads that answer checks.
#[derive(Debug, Clone)]
pub(crate) struct Fetcher {
    handle: Handle,
    tasks: TaskTracker,
    client: Client,
    counters: event::Counters,
}

impl Fetcher {
    /// Fetches run on `handle`, are owned by `tasks` and go through `client`, which trusts whom key servers are certified by.
    #[must_use]
    pub(crate) fn new(handle: Handle, tasks: TaskTracker, client: Client, counters: event::Counters) -> Self {
        Self {
            handle,
            tasks,
            client,
            counters,
        }
    }
}

/// The published keys of one issuer.
#[derive(Debug)]
pub(crate) struct KeySet {
    issuer: String,
    address: http::Uri,
    fetcher: Fetcher,
    state: ArcSwap<State>,
    fetching: AtomicBool,
    /// Counts the ends of fetches.
    ended: watch::Sender<u64>,
    /// Algorithms of keys that were left out.
    unsupported: Unsupported,
}

#[derive(Debug, Default)]
struct State {
    keys: Arc<Published>,
    fetched: Option<Instant>,
    failed: Option<Instant>,
    failures: u32,
    /// Counts changes of the keys.
    generation: u64,
}

/// The keys of a set that signatures are checked with.
#[derive(Debug, Default)]
struct Published {
    /// By key id, most often one; those without an id are under the empty one, which no token names.
    named: HashMap<String, Vec<Arc<PublicKey>>>,
    /// All of them, each once, in the order of the document.
    all: Vec<Arc<PublicKey>>,
}

/// What the published keys say to a token.
#[derive(Debug)]
pub(crate) enum Lookup {
    /// One of them signed these claims; the generation of the set it is from.
    Signed(Claims, u64),
    /// The key that the token names didn't sign it.
    Forged,
    /// The issuer doesn't publish the key that the token names, or none that signed a token that names no key.
    Unknown,
    /// The key server can't be asked.
    Unavailable,
    /// A fetch is under way; ask again when it has ended, for so long at most.
    Fetching(watch::Receiver<u64>, Duration),
}

impl KeySet {
    pub(crate) fn new(issuer: &str, address: http::Uri, fetcher: Fetcher) -> Self {
        Self {
            issuer: issuer.to_owned(),
            address,
            fetcher,
            state: ArcSwap::default(),
            fetching: AtomicBool::new(false),
            ended: watch::Sender::new(0),
            unsupported: Unsupported::new(issuer, NamedBy::Key),
        }
    }

    /// Changes with the keys: what was found with another generation has to be found again.
    pub(crate) fn generation(&self) -> u64 {
        self.state.load().generation
    }

    /// Looks for the key that signed a token, and starts what fetch is due.
    pub(crate) fn find(self: &Arc<Self>, token: &Unverified<'_>, now: Instant) -> Lookup {
        // Subscribed before the state is read, so that the end of a fetch in between isn't missed.
        let ended = self.ended.subscribe();
        let state = self.state.load();
        let age = state.fetched.map(|at| now.saturating_duration_since(at));
        let usable = age.is_some_and(|age| age < USABLE);
        if usable {
            let (keys, named) = state.keys.of(token.kid.as_deref());
            let fitting = keys.iter().filter(|key| token.fits(key)).take(MAX_TRIED);
            let claims = fitting.filter_map(|key| token.verify(key)).next();
            if named || claims.is_some() {
                if age.is_some_and(|age| age > FRESH) && !state.backing_off(now) {
                    self.start();
                }
                return claims.map_or(Lookup::Forged, |claims| Lookup::Signed(claims, state.generation));
            }
        }
        if state.backing_off(now) {
            return Lookup::Unavailable;
        }
        if age.is_some_and(|age| age < PAUSE) {
            return Lookup::Unknown;
        }
        self.start();
        // Where there are keys, the id is more likely made up than new, and a key server that hangs must not hold its caller.
        Lookup::Fetching(ended, if usable { UNKNOWN_WAIT } else { FIRST_WAIT })
    }

    /// Starts the fetch that keys which have been there for a while are due. Tokens from the cache don't ask for keys, and
    /// a key that was withdrawn must not outlive that because its tokens are popular.
    pub(crate) fn refresh(self: &Arc<Self>, now: Instant) {
        let state = self.state.load();
        let age = state.fetched.map(|at| now.saturating_duration_since(at));
        if age.is_some_and(|age| age > FRESH) && !state.backing_off(now) {
            self.start();
        }
    }

    /// Where the keys are published.
    pub(crate) fn address(&self) -> &http::Uri {
        &self.address
    }

    /// Starts a fetch unless one is under way.
    fn start(self: &Arc<Self>) {
        if self.fetching.swap(true, Ordering::AcqRel) {
            return;
        }
        let set = Arc::clone(self);
        self.fetcher
            .tasks
            .spawn_on(async move { set.fetch().await }, &self.fetcher.handle);
    }

    async fn fetch(&self) {
        let client = &self.fetcher.client;
        let outcome = client.get(&self.address, "application/json", BOUNDS).await;
        let outcome = outcome
            .map_err(KeySetError::Fetch)
            .and_then(|body| parse(&body, &self.unsupported).map(Arc::new));
        let now = Instant::now();
        let old = self.state.load();
        let next = match &outcome {
            Ok(keys) => State {
                generation: old.generation + u64::from(!old.keys.same(keys)),
                keys: Arc::clone(keys),
                fetched: Some(now),
                failed: None,
                failures: 0,
            },
            Err(_) => State {
                keys: Arc::clone(&old.keys),
                fetched: old.fetched,
                failed: Some(now),
                failures: old.failures.saturating_add(1),
                generation: old.generation,
            },
        };
        self.state.store(Arc::new(next));
        self.fetching.store(false, Ordering::Release);
        self.ended.send_modify(|count| *count += 1);
        event::KeysFetched {
            issuer: &self.issuer,
            address: &self.address,
            outcome: match &outcome {
                Ok(keys) => Ok(keys.all.len()),
                Err(error) => Err(error),
            },
        }
        .emit(&self.fetcher.counters);
    }
}

impl State {
    /// Whether the last fetch failed so recently that the next has to wait.
    fn backing_off(&self, now: Instant) -> bool {
        let pause = BACKOFF
            .0
            .saturating_mul(1 << self.failures.saturating_sub(1).min(5))
            .min(BACKOFF.1);
        self.failed
            .is_some_and(|at| now.saturating_duration_since(at) < pause)
    }
}

impl Published {
    /// The keys that a token with this key id may be signed with, and whether they have that id.
    fn of(&self, kid: Option<&str>) -> (&[Arc<PublicKey>], bool) {
        let Some(kid) = kid else {
            return (&self.all, false);
        };
        match self.named.get(kid) {
            Some(keys) => (keys, true),
            // It may be the id of a key that doesn't say so.
            None => (self.named.get("").map(Vec::as_slice).unwrap_or_default(), false),
        }
    }

    fn add(&mut self, kid: String, key: PublicKey) {
        let known = self.all.iter().find(|known| known.is(&key)).cloned();
        let key = known.unwrap_or_else(|| {
            let key = Arc::new(key);
            self.all.push(Arc::clone(&key));
            key
        });
        let named = self.named.entry(kid).or_default();
        if !named.iter().any(|known| known.is(&key)) {
            named.push(key);
        }
    }

    /// Whether the same keys have the same ids, in whatever order.
    fn same(&self, other: &Self) -> bool {
        let equal = |(kid, keys): (&String, &Vec<Arc<PublicKey>>)| {
            other.named.get(kid).is_some_and(|others| {
                let there = |key: &Arc<PublicKey>| others.iter().any(|other| other.is(key));
                keys.len() == others.len() && keys.iter().all(there)
            })
        };
        self.named.len() == other.named.len() && self.named.iter().all(equal)
    }
}

/// Why a key set can't be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeySetError {
    /// It can't be had.
    #[error("key set cannot be fetched")]
    Fetch(#[source] FetchError),
    /// It isn't one.
    #[error("key set cannot be read")]
    Read(#[source] serde_json::Error),
}

#[derive(Deserialize)]
struct Document {
    keys: Vec<serde_json::Value>,
}

/// A JWK (RFC 7517). What an entry of another kind holds is not looked at.
#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    kty: String,
    #[serde(default, rename = "use")]
    usage: Option<String>,
    #[serde(default, rename = "key_ops")]
    operations: Option<Vec<String>>,
    #[serde(default)]
    alg: Option<String>,
    #[serde(default)]
    crv: Option<String>,
    #[serde(default)]
    kid: Option<String>,
    #[serde(default)]
    n: String,
    #[serde(default)]
    e: String,
}

impl Entry {
    /// The algorithm of a key that names none: its curve has one (RFC 7518 §3.4, RFC 8812 §3.2), or is one (RFC 9864).
    fn implied(&self) -> &str {
        match self.crv.as_deref() {
            Some("P-256") => "ES256",
            Some("P-384") => "ES384",
            Some("P-521") => "ES512",
            Some("secp256k1") => "ES256K",
            Some(curve) => curve,
            None => &self.kty,
        }
    }
}

/// The RSA signing keys of a key set. Others, and ones that can't be read, are left out: one bad key must not take away
/// the rest. What algorithms the others name is told.
fn parse(body: &[u8], unsupported: &Unsupported) -> Result<Published, KeySetError> {
    let document: Document = serde_json::from_slice(body).map_err(KeySetError::Read)?;
    let mut published = Published::default();
    for entry in document.keys {
        let Ok(entry) = serde_json::from_value::<Entry>(entry) else {
            continue;
        };
        // A key that names another purpose is not for signatures (RFC 7517 §4.2, §4.3).
        let signs = entry
            .usage
            .as_deref()
            .is_none_or(|usage| usage.is_empty() || usage == "sig")
            && entry
                .operations
                .as_ref()
                .is_none_or(|operations| operations.iter().any(|operation| operation == "verify"));
        if !signs {
            continue;
        }
        let named = entry.alg.as_deref().filter(|alg| !alg.is_empty());
        let algorithm = named.map(Algorithm::parse);
        if entry.kty != "RSA" || algorithm == Some(None) {
            let named = named.filter(|name| Algorithm::parse(name).is_none());
            unsupported.tell(named.unwrap_or_else(|| entry.implied()));
            continue;
        }
        let part = |text: &str| URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok();
        if let (Some(n), Some(e)) = (part(&entry.n), part(&entry.e))
            && let Ok(key) = PublicKey::rsa(&n, &e)
        {
            published.add(entry.kid.unwrap_or_default(), key.only(algorithm.flatten()));
        }
    }
    Ok(published)
}
