//! One subscription of one stream: what the peer wants, what it has, what it still has to get.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;
use trireme_proto::{
    envoy::service::discovery::v3::{DeltaDiscoveryResponse, Resource as WireResource},
    google::{protobuf::Any, rpc::Status},
    names::type_url as urls,
};

use super::{
    MAX_NAME_BYTES, MAX_NAMES_BYTES, MAX_OPEN, PARTIAL, WILDCARD, nack,
    queue::{Due, Queue},
    refusal::Refusal,
};
use crate::{
    resource::{Rejection, Resource, limited},
    set::{Behind, Key, Set},
};

/// One response, holding its resources by reference until it is written.
#[derive(Debug)]
pub(crate) struct Chunk {
    pub(crate) type_url: Arc<str>,
    pub(crate) nonce: String,
    pub(crate) version: u64,
    /// More of the first answer follows.
    pub(crate) partial: bool,
    pub(crate) upserts: Vec<Arc<Resource>>,
    pub(crate) removals: Vec<Arc<str>>,
}

impl Chunk {
    pub(crate) fn encode(self) -> DeltaDiscoveryResponse {
        let resources = self.upserts.iter().map(|resource| WireResource {
            name: resource.name.clone(),
            version: resource.version.clone(),
            resource: Some(Any {
                type_url: self.type_url.to_string(),
                value: resource.body.to_vec(),
            }),
            ..Default::default()
        });
        DeltaDiscoveryResponse {
            system_version_info: format!("{}{}", self.version, if self.partial { PARTIAL } else { "" }),
            resources: resources.collect(),
            removed_resources: self.removals.iter().map(ToString::to_string).collect(),
            type_url: self.type_url.to_string(),
            nonce: self.nonce,
            ..Default::default()
        }
    }
}

#[derive(Debug)]
pub(crate) struct Topic {
    pub(crate) key: Key,
    /// Place among the types that refer to one another; none = independent of all.
    pub(super) rank: Option<u8>,
    wildcard: bool,
    names: HashSet<Arc<str>>,
    names_bytes: usize,
    stage: Stage,
    /// Version of the set up to which changes were taken into `queue`.
    position: u64,
    queue: Queue,
    /// What the peer has not answered yet, oldest first; at most [`MAX_OPEN`].
    flights: VecDeque<Flight>,
    /// Went out in a response that was refused for others, and not acknowledged since: an Envoy runs it, and names what it
    /// had before when it reconnects.
    resent: HashSet<Arc<str>>,
    answers: u64,
    rejected: BTreeMap<Arc<str>, String>,
    /// What the last answer refused beside the response it answered.
    others: Vec<(String, String)>,
}

#[derive(Debug)]
enum Stage {
    /// The set is not sealed yet. Holds what the peer said it has, by name and version.
    Waiting(HashMap<String, String>),
    /// Some of the first answer, which brings the peer to this version of the set, is still to be sent.
    First(u64),
    Going,
}

/// A response that the peer has not answered yet.
#[derive(Debug)]
struct Flight {
    nonce: String,
    sent: Instant,
    /// Oldest change in it.
    oldest: u64,
    upserts: Vec<Due>,
    removals: Vec<Due>,
}

/// How a response was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Ack,
    Nack,
}

impl Topic {
    /// The subscription that the first request of a type makes. No name at all is a subscription to everything.
    pub(super) fn new(key: Key, subscribed: bool, initial: HashMap<String, String>) -> Self {
        let rank = [urls::CLUSTER, urls::ENDPOINT, urls::ROUTE, urls::LISTENER]
            .into_iter()
            .zip(0..);
        let rank = rank
            .into_iter()
            .find_map(|(url, rank)| (url == &*key.1).then_some(rank));
        Self {
            key,
            rank,
            wildcard: !subscribed,
            names: HashSet::new(),
            names_bytes: 0,
            stage: Stage::Waiting(initial),
            position: 0,
            queue: Queue::default(),
            flights: VecDeque::new(),
            resent: HashSet::new(),
            answers: 0,
            rejected: BTreeMap::new(),
            others: Vec::new(),
        }
    }

    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// Responses and changes of subscription so far: while it is the same, so is what is rejected.
    pub(crate) fn answers(&self) -> u64 {
        self.answers
    }

    pub(crate) fn rejected(&self) -> impl Iterator<Item = Rejection> {
        let others = self
            .others
            .iter()
            .filter(|(name, _)| !self.rejected.contains_key(name.as_str()));
        self.rejected
            .iter()
            .map(|(name, reason)| Rejection::new(&**name, reason))
            .chain(others.map(|(name, reason)| Rejection::new(name, reason)))
    }

    /// Version up to which the peer has answered everything that concerns it.
    pub(crate) fn acked(&self) -> u64 {
        let first = match self.stage {
            Stage::Waiting(_) => return 0,
            Stage::First(plan) => Some(plan),
            Stage::Going => None,
        };
        let open = [first, self.queue.oldest()].into_iter().flatten();
        open.chain(self.flights.iter().map(|flight| flight.oldest))
            .min()
            .map_or(self.position, |oldest| oldest.saturating_sub(1))
    }

    // --- what the peer says ---

    /// Takes the answer to a response in flight. Other nonces are stale and mean nothing.
    pub(super) fn answered(&mut self, nonce: &str, error: Option<&Status>) -> Option<Answer> {
        let at = self.flights.iter().position(|flight| flight.nonce == nonce)?;
        let Flight {
            upserts, removals, ..
        } = self.flights.remove(at)?;
        self.answers += 1;
        for (_, name) in removals.iter().chain(&upserts) {
            self.rejected.remove(name);
            self.resent.remove(name);
        }
        self.rejected.remove(WILDCARD);
        self.others.clear();
        let Some(error) = error else {
            return Some(Answer::Ack);
        };
        let names = || upserts.iter().map(|(_, name)| name);
        let refused = nack::read(error, names().map(|name| &**name));
        if !refused.is_empty() {
            // What is not named was taken, even when nothing that is named was in the response.
            for name in names() {
                if let Some(reason) = refused.sent.get(&**name) {
                    self.rejected.insert(Arc::clone(name), reason.clone());
                }
            }
            let forgets = refused.forgets;
            self.others = refused.others;
            if forgets {
                // Sent once more without what was refused, it is acknowledged. Each such response is smaller than the one
                // before, so nothing goes in circles.
                self.again(&upserts, true);
                self.again(&removals, false);
            }
        } else if upserts.is_empty() {
            self.rejected
                .insert(Arc::from(WILDCARD), limited(&error.message).to_owned());
        } else {
            // Refused as a whole, so nothing of it was taken, nor were the removals.
            self.again(&removals, false);
            if let [(_, name)] = upserts.as_slice() {
                self.rejected
                    .insert(Arc::clone(name), limited(&error.message).to_owned());
            } else {
                self.queue.suspect(upserts);
            }
        }
        Some(Answer::Nack)
    }

    /// Queues what a refused response held beside what is rejected, unless something newer of it is on its way.
    fn again(&mut self, names: &[Due], live: bool) {
        let open = self.flights.iter().flat_map(Flight::names);
        let open: HashSet<Arc<str>> = open.cloned().collect();
        for (version, name) in names {
            let covered = self.wildcard || self.names.contains(name);
            if !covered || self.rejected.contains_key(name) {
                continue;
            }
            self.resent.insert(Arc::clone(name));
            if !self.queue.has(name) && !open.contains(name) {
                self.queue.put(*version, name, live);
            }
        }
    }

    /// What the peer may run in another version than the one it names when it reconnects: it remembers a version only once
    /// it has acknowledged a response without a fault.
    pub(crate) fn doubtful(&self) -> impl Iterator<Item = &Arc<str>> {
        self.resent
            .iter()
            .chain(self.flights.iter().flat_map(Flight::names))
    }

    /// Does not believe what the peer says of these: they are sent or removed once more.
    pub(crate) fn doubt(&mut self, names: impl IntoIterator<Item = Arc<str>>) {
        if let Stage::Waiting(held) = &mut self.stage {
            // No resource has an empty version.
            held.extend(names.into_iter().map(|name| (name.to_string(), String::new())));
        }
    }

    /// Adds names. The peer is told about each of them, even if it may have it: it can have dropped it meanwhile.
    pub(super) fn subscribe(&mut self, names: &[String], set: Option<&Set>) -> Result<(), Refusal> {
        for name in names {
            if name == WILDCARD {
                self.wildcard_on(set);
                continue;
            }
            let name: Arc<str> = Arc::from(bounded(name)?);
            if let (Some(set), Stage::First(_) | Stage::Going) = (set, &self.stage) {
                self.queue.put(set.version(), &name, set.find(&name).is_some());
            }
            let length = name.len();
            if self.names.insert(name) {
                self.names_bytes += length;
                if self.names_bytes > MAX_NAMES_BYTES {
                    return Err(Refusal::TooManyNames);
                }
            }
        }
        Ok(())
    }

    fn wildcard_on(&mut self, set: Option<&Set>) {
        let was = std::mem::replace(&mut self.wildcard, true);
        if let (false, Some(set), Stage::First(_) | Stage::Going) = (was, set, &self.stage) {
            for (_, name, _) in set.live().filter(|(_, name, _)| !self.names.contains(&**name)) {
                self.queue.put(set.version(), name, true);
            }
        }
    }

    /// Drops names. One that the wildcard still covers is sent again, since the peer may have dropped it.
    pub(super) fn unsubscribe(&mut self, names: &[String], set: Option<&Set>) {
        self.answers += u64::from(!names.is_empty());
        for name in names {
            if name == WILDCARD {
                self.wildcard = false;
                self.queue.retain(|name| self.names.contains(name));
                self.rejected.retain(|name, _| self.names.contains(name));
                continue;
            }
            if let Some(name) = self.names.take(name.as_str()) {
                self.names_bytes -= name.len();
                self.queue.take(&name);
                if let (true, Some(set), Stage::First(_) | Stage::Going) = (self.wildcard, set, &self.stage) {
                    self.queue.put(set.version(), &name, set.find(&name).is_some());
                } else {
                    self.rejected.remove(&name);
                }
            }
        }
    }

    // --- what the peer is to get ---

    /// Queues what changed since the last time.
    pub(super) fn absorb(&mut self, set: &Set) -> Result<(), Behind> {
        if !set.sealed() {
            return Ok(());
        }
        if let Stage::Waiting(held) = &mut self.stage {
            let held = std::mem::take(held);
            self.stage = Stage::First(set.version());
            self.plan(set, &held);
        } else {
            if set.version() == self.position {
                return Ok(());
            }
            for (version, name, resource) in set.since(self.position)? {
                if self.wildcard || self.names.contains(name) {
                    self.queue.put(version, name, resource.is_some());
                }
            }
        }
        self.position = set.version();
        Ok(())
    }

    /// Queues the first answer: the difference between the set and what the peer says it holds.
    fn plan(&mut self, set: &Set, held: &HashMap<String, String>) {
        for (version, name, resource) in set.live() {
            let covered = self.wildcard || self.names.contains(name);
            if covered && held.get(&**name) != Some(&resource.version) {
                self.queue.put(version, name, true);
            }
        }
        for name in held
            .keys()
            .filter(|name| self.wildcard || self.names.contains(name.as_str()))
        {
            if set.find(name).is_none() {
                self.queue.put(set.version(), &Arc::from(name.as_str()), false);
            }
        }
        for name in &self.names {
            if set.find(name).is_none() {
                self.queue.put(set.version(), name, false);
            }
        }
    }

    /// Another response may go out. An Envoy acknowledges changed clusters only when their names are resolved, and takes
    /// further responses meanwhile. Parts of a first answer go one by one.
    pub(super) fn ready(&self) -> bool {
        let most = match self.stage {
            Stage::First(_) | Stage::Waiting(_) => 1,
            Stage::Going => MAX_OPEN,
        };
        self.flights.len() < most
    }

    /// Until when what refers to this type waits: the peer may not have put in force yet what it was sent. Counted from the
    /// oldest response, so that a peer that is late delays others once, not each of them.
    pub(super) fn holds_until(&self, bound: Duration) -> Option<Instant> {
        let mut open = self.flights.iter().filter(|flight| !flight.upserts.is_empty());
        open.next().map(|oldest| oldest.sent + bound)
    }

    /// The response that waits longest for its answer: nonce, when it was sent, what it holds.
    pub(crate) fn waits_for(&self) -> Option<(&str, Instant, impl Iterator<Item = &Arc<str>>)> {
        let oldest = self.flights.front()?;
        Some((&oldest.nonce, oldest.sent, oldest.names()))
    }

    pub(super) fn upserts_due(&self) -> bool {
        self.queue.has_upserts() || (self.queue.is_empty() && self.first_due())
    }

    pub(super) fn removals_due(&self) -> bool {
        self.queue.has_removals()
    }

    pub(super) fn due(&self) -> bool {
        !self.queue.is_empty() || self.first_due()
    }

    fn first_due(&self) -> bool {
        matches!(self.stage, Stage::First(_)) && self.flights.is_empty()
    }

    /// The next response; the caller has seen that the topic is ready and something is due.
    pub(super) fn chunk(&mut self, set: &Set, nonce: String, with_removals: bool, now: Instant) -> Chunk {
        let wanted = |name: &str| self.wildcard || self.names.contains(name);
        let load = self.queue.load(set, &self.key.1, wanted, with_removals);
        let mut partial = false;
        if let Stage::First(plan) = self.stage {
            // What changed after the plan was made does not belong to the first answer, or it might never end.
            partial = self.queue.oldest().is_some_and(|oldest| oldest <= plan);
            if !partial {
                self.stage = Stage::Going;
            }
        }
        let (upserts, resources): (Vec<_>, Vec<_>) = load.upserts.into_iter().unzip();
        let chunk = Chunk {
            type_url: Arc::clone(&self.key.1),
            nonce: nonce.clone(),
            version: self.position,
            partial,
            upserts: resources,
            removals: load.removals.iter().map(|(_, name)| Arc::clone(name)).collect(),
        };
        let oldest = upserts
            .iter()
            .chain(&load.removals)
            .map(|(version, _)| *version)
            .min();
        self.flights.push_back(Flight {
            nonce,
            sent: now,
            oldest: oldest.unwrap_or(self.position),
            upserts,
            removals: load.removals,
        });
        chunk
    }
}

impl Flight {
    fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.upserts.iter().chain(&self.removals).map(|(_, name)| name)
    }
}

fn bounded(name: &str) -> Result<&str, Refusal> {
    if name.len() > MAX_NAME_BYTES {
        Err(Refusal::NameTooLong)
    } else {
        Ok(name)
    }
}
