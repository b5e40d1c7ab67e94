//! The published keys of one issuer.
//!
//! Keys are looked up in memory. A key id that isn't there starts one fetch, however many checks ask for it, and those
//! checks wait for its end; after an answer the next fetch for an unknown id starts no sooner than ten seconds later, and
//! after a failure no sooner than a growing pause, so a caller who makes up key ids causes six fetches a minute at most.
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

use super::keys::{Algorithm, PublicKey};
use crate::event;

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
}

#[derive(Debug, Default)]
struct State {
    keys: HashMap<String, Arc<PublicKey>>,
    fetched: Option<Instant>,
    failed: Option<Instant>,
    failures: u32,
    /// Counts changes of the keys.
    generation: u64,
}

/// What is known of a key id.
#[derive(Debug)]
pub(crate) enum Lookup {
    /// The key, and the generation of the set it is from.
    Key(Arc<PublicKey>, u64),
    /// The issuer doesn't publish it.
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
        }
    }

    /// Changes with the keys: what was found with another generation has to be found again.
    pub(crate) fn generation(&self) -> u64 {
        self.state.load().generation
    }

    /// Looks a key up and starts what fetch is due.
    pub(crate) fn key(self: &Arc<Self>, kid: &str, now: Instant) -> Lookup {
        // Subscribed before the state is read, so that the end of a fetch in between isn't missed.
        let ended = self.ended.subscribe();
        let state = self.state.load();
        let age = state.fetched.map(|at| now.saturating_duration_since(at));
        let usable = age.is_some_and(|age| age < USABLE);
        if usable && let Some(key) = state.keys.get(kid) {
            if age.is_some_and(|age| age > FRESH) && !state.backing_off(now) {
                self.start();
            }
            return Lookup::Key(Arc::clone(key), state.generation);
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
        let outcome = outcome.map_err(KeySetError::Fetch).and_then(|body| parse(&body));
        let now = Instant::now();
        let old = self.state.load();
        let next = match &outcome {
            Ok(keys) => State {
                generation: old.generation + u64::from(!same(&old.keys, keys)),
                keys: keys.clone(),
                fetched: Some(now),
                failed: None,
                failures: 0,
            },
            Err(_) => State {
                keys: old.keys.clone(),
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
                Ok(keys) => Ok(keys.len()),
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
    kid: String,
    #[serde(default)]
    n: String,
    #[serde(default)]
    e: String,
}

/// The RSA signing keys of a key set. Others, and ones that can't be read, are left out: one bad key must not take away
/// the rest.
fn parse(body: &[u8]) -> Result<HashMap<String, Arc<PublicKey>>, KeySetError> {
    let document: Document = serde_json::from_slice(body).map_err(KeySetError::Read)?;
    let mut keys = HashMap::new();
    for entry in document.keys {
        let Ok(entry) = serde_json::from_value::<Entry>(entry) else {
            continue;
        };
        // A key that names another purpose (RFC 7517 §4.2, §4.3) or algorithm is not for signatures that are accepted here.
        let algorithm = entry.alg.as_deref().map(Algorithm::parse);
        let signs = entry.usage.is_none_or(|usage| usage.is_empty() || usage == "sig")
            && entry
                .operations
                .is_none_or(|operations| operations.iter().any(|operation| operation == "verify"))
            && algorithm.is_none_or(|algorithm| algorithm.is_some());
        if entry.kty != "RSA" || entry.kid.is_empty() || !signs {
            continue;
        }
        let part = |text: &str| URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok();
        if let (Some(n), Some(e)) = (part(&entry.n), part(&entry.e))
            && let Ok(key) = PublicKey::rsa(&n, &e)
        {
            keys.insert(entry.kid, Arc::new(key.only(algorithm.flatten())));
        }
    }
    Ok(keys)
}

fn same(old: &HashMap<String, Arc<PublicKey>>, new: &HashMap<String, Arc<PublicKey>>) -> bool {
    let equal = |(kid, key): (&String, &Arc<PublicKey>)| new.get(kid).is_some_and(|other| other.is(key));
    old.len() == new.len() && old.iter().all(equal)
}
