//! What is published, shared between publishers and streams.
//!
//! One mutex guards everything, so that a stream sees all its types as of one moment; that is what its order between types
//! rests on (`protocol::session`). It is held for the cost of a change, never for the size of a body and never across an
//! await.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::{
    protocol::session::Session,
    report::{Counters, PeerStatus, Settled},
    resource::{Rejection, Resource},
    set::{Key, Set, Sets},
};

/// Streams that are served at one time.
const MAX_STREAMS: usize = 4096;
/// Ended subscriptions of which is remembered what they left open.
const MAX_LEFT: usize = 256;
/// Wait for a peer that is late already.
const LATE_BOUND: Duration = Duration::from_millis(50);
/// Names that [`PeerStatus::open`] has.
const OPEN_SHOWN: usize = 4;

/// What is published. Clones share one cache.
///
/// Content lies in sets: one per group and type URL, each a map from name to [`Resource`]. A version is a number that grows
/// with every change of any set; the version of a set is that of its last change.
#[derive(Clone, Debug)]
pub struct Cache {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Moves with every change of content.
    changed: watch::Sender<u64>,
    /// Moves with every answer of a peer and every end of a stream.
    progress: watch::Sender<u64>,
    demanded: watch::Sender<BTreeSet<String>>,
    closed: CancellationToken,
    /// Streams that may still be opened.
    streams: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct State {
    /// Version of the last change of any set.
    version: u64,
    sets: Sets,
    /// Number of the last stream.
    stream: u64,
    /// What streams subscribe to, by set and stream number.
    subscribers: HashMap<Key, BTreeMap<u64, Subscriber>>,
    counters: BTreeMap<Arc<str>, Counters>,
    /// What ended streams had not acknowledged, by peer and set, oldest first.
    left: VecDeque<(Arc<str>, Key, Vec<Arc<str>>)>,
}

/// A stream's own account of one of its subscriptions.
#[derive(Debug)]
struct Subscriber {
    session: Arc<Identity>,
    position: u64,
    acked: u64,
    /// Responses it has answered, to see whether `rejected` may have changed.
    answers: u64,
    rejected: Vec<Rejection>,
    open: Option<Open>,
}

/// The response that waits longest for its answer.
#[derive(Debug)]
struct Open {
    nonce: String,
    sent: Instant,
    names: Vec<String>,
}

#[derive(Debug, Default)]
struct Identity {
    name: Arc<str>,
    node: String,
    instance: String,
}

impl Default for Cache {
    fn default() -> Self {
        Self::new()
    }
}

impl Cache {
    /// An empty cache.
    pub fn new() -> Self {
        Self {
            shared: Arc::new(Shared {
                state: Mutex::default(),
                changed: watch::Sender::new(0),
                progress: watch::Sender::new(0),
                demanded: watch::Sender::default(),
                closed: CancellationToken::new(),
                streams: Arc::new(Semaphore::new(MAX_STREAMS)),
            }),
        }
    }

    /// Adds, changes and removes resources of one set in one step and returns the version that contains all of it. A
    /// resource whose version is the one held already and a removed name that is unknown are no change; a name on both
    /// sides is there afterwards. A resource above 32 MiB is refused: it keeps its last good version, and
    /// [`Cache::settled`] names it.
    pub fn apply(&self, group: &str, type_url: &str, upserts: Vec<Resource>, removals: Vec<String>) -> u64 {
        self.change(group, type_url, |_| (upserts, removals))
    }

    /// Like [`Cache::apply`] with the whole content: what is not in `resources` is removed.
    pub fn replace(&self, group: &str, type_url: &str, resources: Vec<Resource>) -> u64 {
        self.change(group, type_url, |set| {
            let kept: BTreeSet<&str> = resources.iter().map(|r| r.name.as_str()).collect();
            let removals = set
                .live()
                .filter(|(_, name, _)| !kept.contains(&***name))
                .map(|(_, name, _)| name.to_string());
            let removals = removals.collect();
            (resources, removals)
        })
    }

    fn change(
        &self,
        group: &str,
        type_url: &str,
        content: impl FnOnce(&Set) -> (Vec<Resource>, Vec<String>),
    ) -> u64 {
        let key: Key = (group.into(), type_url.into());
        let mut state = self.lock();
        let state = &mut *state;
        let next = state.version + 1;
        let set = state.sets.entry(key.clone()).or_default();
        let (upserts, removals) = content(set);
        let oversized = set.oversized().count();
        let changed = set.apply(next, upserts, &removals);
        if set.oversized().count() > oversized {
            warn!(
                group,
                type_url, "resource is too large to publish, its last good version stays"
            );
        }
        if !changed {
            return set.version();
        }
        state.version = next;
        let everybody = state
            .subscribers
            .get(&key)
            .and_then(|s| s.values().map(|s| s.position).min())
            .unwrap_or(next);
        set.prune(everybody);
        self.shared.changed.send_replace(next);
        next
    }

    /// Declares the initial content of a set complete: subscribers wait until then, and are answered from then on, even
    /// when the set is empty. Once is enough; a set stays sealed.
    pub fn seal(&self, group: &str, type_url: &str) {
        let mut state = self.lock();
        state
            .sets
            .entry((group.into(), type_url.into()))
            .or_default()
            .seal();
        self.shared.changed.send_modify(|_| ());
    }

    /// Waits until every connected subscriber of the set has answered, by ACK or NACK, everything up to `version`, at most
    /// `bound`. One that owes an answer for so long already is waited for 50 ms only. Subscribers that disconnect meanwhile no
    /// longer count; with none it returns at once. A set that is not sealed answers nobody, so seal first. Dropping the
    /// future has no effect.
    pub async fn settled(&self, group: &str, type_url: &str, version: u64, bound: Duration) -> Settled {
        let begun = Instant::now();
        let deadline = begun + bound;
        let key: Key = (group.into(), type_url.into());
        let mut progress = self.shared.progress.subscribe();
        loop {
            progress.borrow_and_update();
            let (subscribers, missing, rejected, owing) = self.lock().standing(&key, version);
            if missing.is_empty() {
                return if rejected.is_empty() {
                    Settled::Acked { subscribers }
                } else {
                    Settled::Rejected(rejected)
                };
            }
            let deadline = owing.map_or(deadline, |since| {
                let known_late = (since + bound).max(begun + LATE_BOUND);
                deadline.min(known_late)
            });
            if !matches!(
                tokio::time::timeout_at(deadline, progress.changed()).await,
                Ok(Ok(()))
            ) {
                return Settled::TimedOut { missing, rejected };
            }
        }
    }

    /// Moves with every answer of a peer and with every end of a stream.
    pub fn progress(&self) -> watch::Receiver<u64> {
        self.shared.progress.subscribe()
    }

    /// Every subscription of every connected peer, by group, type and node.
    pub fn status(&self) -> Vec<PeerStatus> {
        let state = self.lock();
        let mut all = Vec::new();
        for (key, subscribers) in &state.subscribers {
            let current = state.sets.get(key).map_or(0, Set::version);
            all.extend(subscribers.values().map(|s| PeerStatus {
                node: s.session.node.clone(),
                instance: s.session.instance.clone(),
                group: key.0.to_string(),
                type_url: key.1.to_string(),
                acked: s.acked,
                current,
                rejected: s.rejected.clone(),
                open: s.open.as_ref().map_or_else(Vec::new, |open| open.names.clone()),
            }));
        }
        drop(state);
        all.sort_by(|a, b| {
            (&a.group, &a.type_url, &a.node, &a.instance).cmp(&(&b.group, &b.type_url, &b.node, &b.instance))
        });
        all
    }

    /// Groups that connected nodes subscribe to at the moment, for content that is only made when somebody wants it.
    pub fn demanded(&self) -> watch::Receiver<BTreeSet<String>> {
        self.shared.demanded.subscribe()
    }

    /// What was exchanged, by type URL.
    pub fn counters(&self) -> BTreeMap<String, Counters> {
        self.lock()
            .counters
            .iter()
            .map(|(type_url, counters)| (type_url.to_string(), *counters))
            .collect()
    }

    /// Names and versions of what a set holds.
    pub fn versions(&self, group: &str, type_url: &str) -> BTreeMap<String, String> {
        let state = self.lock();
        let set = state.sets.get(&(group.into(), type_url.into()));
        set.into_iter()
            .flat_map(Set::live)
            .map(|(_, name, r)| (name.to_string(), r.version.clone()))
            .collect()
    }

    /// Ends every stream, now and from now on: part of a graceful stop, which would else wait for them for ever.
    pub fn close(&self) {
        self.shared.closed.cancel();
    }

    // --- for streams ---

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers a stream. None when there are too many.
    pub(crate) fn enroll(&self) -> Option<Enrolled> {
        let permit = Arc::clone(&self.shared.streams).try_acquire_owned().ok()?;
        let mut state = self.lock();
        state.stream += 1;
        Some(Enrolled {
            cache: self.clone(),
            id: state.stream,
            changed: self.shared.changed.subscribe(),
            identity: Arc::default(),
            keys: Vec::new(),
            _permit: permit,
        })
    }

    fn demand(&self, state: &State) {
        let groups: BTreeSet<String> = state
            .subscribers
            .keys()
            .map(|(group, _)| group.to_string())
            .collect();
        self.shared.demanded.send_if_modified(|held| {
            let differs = *held != groups;
            if differs {
                *held = groups;
            }
            differs
        });
    }
}

impl State {
    /// How many subscribers there are, who has not answered up to `version`, what is rejected, and since when each of those
    /// who have not answered owes an answer (none = some do not owe any yet).
    fn standing(&self, key: &Key, version: u64) -> (usize, Vec<String>, Vec<Rejection>, Option<Instant>) {
        let mut rejected: Vec<Rejection> = self
            .sets
            .get(key)
            .into_iter()
            .flat_map(Set::oversized)
            .cloned()
            .collect();
        let mut missing = Vec::new();
        let mut owing = Vec::new();
        let mut count = 0;
        for subscriber in self.subscribers.get(key).into_iter().flat_map(BTreeMap::values) {
            count += 1;
            if subscriber.acked < version {
                missing.push(subscriber.session.name.to_string());
                owing.push(subscriber.open.as_ref().map(|open| open.sent));
            } else {
                // Of who has not answered, an older version of the same name may stand refused.
                rejected.extend(subscriber.rejected.iter().cloned());
            }
        }
        let owing = owing.into_iter().collect::<Option<Vec<_>>>();
        (
            count,
            missing,
            rejected,
            owing.and_then(|since| since.into_iter().max()),
        )
    }
}

/// A stream's place in the cache; dropping it is the end of its subscriptions.
#[derive(Debug)]
pub(crate) struct Enrolled {
    cache: Cache,
    id: u64,
    changed: watch::Receiver<u64>,
    identity: Arc<Identity>,
    keys: Vec<Key>,
    _permit: OwnedSemaphorePermit,
}

impl Enrolled {
    /// Resolves when content has changed since the last time.
    pub(crate) async fn changed(&mut self) {
        if self.changed.changed().await.is_err() {
            // Cannot happen, `cache` holds the sender; never resolving is the harmless reading.
            std::future::pending::<()>().await;
        }
    }

    /// Cancelled when [`Cache::close`] is called.
    pub(crate) fn closing(&self) -> CancellationToken {
        self.cache.shared.closed.clone()
    }

    /// Runs a step of the session on the content as of one moment and records where the session stands afterwards.
    pub(crate) fn step<T>(
        &mut self,
        session: &mut Session,
        step: impl FnOnce(&mut Session, &Sets) -> T,
    ) -> T {
        let mut state = self.cache.lock();
        let state = &mut *state;
        let out = step(session, &state.sets);
        if self.identity.node.is_empty() {
            self.identity = Arc::new(Identity {
                name: session.name(),
                node: session.node().to_owned(),
                instance: session.instance().to_owned(),
            });
        }
        let (mut joined, mut progressed) = (false, false);
        for topic in session.topics_mut() {
            if !self.keys.contains(&topic.key) {
                self.keys.push(topic.key.clone());
                joined = true;
                state.left.retain_mut(|(name, key, names)| {
                    let same = *name == self.identity.name && *key == topic.key;
                    if same {
                        topic.doubt(std::mem::take(names));
                    }
                    !same
                });
            }
            let subscribers = state.subscribers.entry(topic.key.clone()).or_default();
            let subscriber = subscribers.entry(self.id).or_insert_with(|| Subscriber {
                session: Arc::clone(&self.identity),
                position: 0,
                acked: 0,
                answers: 0,
                rejected: Vec::new(),
                open: None,
            });
            let open = topic.waits_for();
            let nonce = open.as_ref().map(|(nonce, ..)| *nonce);
            if subscriber.open.as_ref().map(|open| open.nonce.as_str()) != nonce {
                subscriber.open = open.map(|(nonce, sent, names)| Open {
                    nonce: nonce.to_owned(),
                    sent,
                    names: names.take(OPEN_SHOWN).map(ToString::to_string).collect(),
                });
            }
            let acked = topic.acked();
            subscriber.position = topic.position();
            progressed |= subscriber.acked != acked;
            subscriber.acked = acked;
            if subscriber.answers != topic.answers() {
                subscriber.answers = topic.answers();
                subscriber.rejected = topic
                    .rejected()
                    .map(|r| Rejection {
                        node: self.identity.name.to_string(),
                        ..r
                    })
                    .collect();
                progressed = true;
            }
        }
        if joined {
            self.cache.demand(state);
        }
        if progressed {
            self.cache.shared.progress.send_modify(|n| *n = n.wrapping_add(1));
        }
        out
    }

    /// Remembers what the stream leaves open, so that the peer's next one doesn't rest on what it says of it.
    pub(crate) fn leave(&self, session: &Session) {
        let mut state = self.cache.lock();
        for topic in session.topics() {
            let names: Vec<_> = topic.doubtful().cloned().collect();
            if !names.is_empty() {
                let name = Arc::clone(&self.identity.name);
                state.left.push_back((name, topic.key.clone(), names));
            }
        }
        while state.left.len() > MAX_LEFT {
            state.left.pop_front();
        }
    }

    /// Counts a response that goes out.
    pub(crate) fn sent(&self, type_url: &Arc<str>, resources: usize, removals: usize, bytes: usize) {
        let add = |to: &mut u64, n: usize| *to = to.saturating_add(u64::try_from(n).unwrap_or(u64::MAX));
        let mut state = self.cache.lock();
        let counters = state.counters.entry(Arc::clone(type_url)).or_default();
        add(&mut counters.responses, 1);
        add(&mut counters.resources, resources);
        add(&mut counters.removals, removals);
        add(&mut counters.bytes, bytes);
    }

    /// Counts an answer.
    pub(crate) fn answered(&self, type_url: &str, ack: bool) {
        let mut state = self.cache.lock();
        let counters = state.counters.entry(Arc::from(type_url)).or_default();
        if ack {
            counters.acks += 1;
        } else {
            counters.nacks += 1;
        }
    }
}

impl Drop for Enrolled {
    fn drop(&mut self) {
        let mut state = self.cache.lock();
        for key in &self.keys {
            if let Some(subscribers) = state.subscribers.get_mut(key) {
                subscribers.remove(&self.id);
                if subscribers.is_empty() {
                    state.subscribers.remove(key);
                }
            }
        }
        self.cache.demand(&state);
        drop(state);
        self.cache.shared.progress.send_modify(|n| *n = n.wrapping_add(1));
    }
}
