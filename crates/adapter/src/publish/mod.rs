//! Publication of APIs in an order that never leaves a route without its policy (design D5).
//!
//! ```text
//! Change… ─▶ withdraw routes ─▶ policies ─▶ clusters + routes ─▶ drop what nobody uses ─▶ status
//!                 wait             wait            wait
//! ```
//!
//! One task owns what is published and works through batches of changes in the order they were stored, so that an address
//! which passes from one API to another is empty in between. Every wait is bounded: a peer that doesn't answer delays
//! others by that bound and is named in the status of what it missed. What a peer refuses is taken back to its last good
//! revision for all of them, so that one that connects later gets the same.

pub mod data;
mod label;
mod submit;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use trireme_proto::names::{DEFAULT_ROUTE_CONFIG, type_url};
use trireme_xds::server::{Cache, Settled};
use trireme_xds::{Rejection, Resource};

pub use self::label::Base;
use self::label::{Answers, Held, Label, Routes};
use self::submit::Job;
pub use self::submit::{Change, Desired, Publication, Stopped, Submitter};
use crate::event;
use crate::groups;
use crate::resources::ApiResources;
use crate::status::{self, Mark, Statuses};
use crate::store::Identity;

/// How long enforcers have to take a policy before its routes follow.
pub const POLICY_BOUND: Duration = Duration::from_secs(5);
/// How long routers have to take routes before the publication counts as done.
pub const ROUTE_BOUND: Duration = Duration::from_secs(2);
/// Before changes that had to wait are tried again.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// Submissions that are published together.
const BATCH: usize = 512;

/// Owns what is published.
#[derive(Debug)]
pub struct Publisher {
    cache: Cache,
    statuses: Statuses,
    base: Base,
    labels: BTreeMap<String, Label>,
    places: HashMap<Identity, Place>,
    sealed: bool,
    jobs: mpsc::Receiver<Job>,
    deferred: Vec<Change>,
    /// Routes that were withdrawn and that some router hasn't let go of, by label and name, with what to wait for.
    lingering: HashMap<(String, String), Vec<Mark>>,
}

/// Where a deployment is published.
#[derive(Debug, Clone)]
struct Place {
    name: String,
    labels: BTreeSet<String>,
}

/// One API to publish on one label.
#[derive(Debug)]
struct Wanted {
    identity: Identity,
    label: String,
    resources: Arc<ApiResources>,
}

/// One API to take off one label.
#[derive(Debug)]
struct Withdrawn {
    label: String,
    name: String,
}

/// What a batch has come to, by deployment.
#[derive(Debug, Default)]
struct Outcome {
    marks: Vec<Mark>,
    rejection: Option<String>,
}

impl Publisher {
    /// A publisher of `labels`, with everything but listeners and system routes still to come.
    #[must_use]
    pub fn new(
        cache: Cache,
        statuses: Statuses,
        base: Base,
        labels: impl IntoIterator<Item = String>,
    ) -> (Self, Submitter) {
        let (submitter, jobs) = Submitter::new();
        let mut publisher = Self {
            cache,
            statuses,
            base,
            labels: BTreeMap::new(),
            places: HashMap::new(),
            sealed: false,
            jobs,
            deferred: Vec::new(),
            lingering: HashMap::new(),
        };
        for label in labels {
            publisher.ensure(&label);
        }
        (publisher, submitter)
    }

    /// Publishes without waiting for anybody: for what is there before the first peer can be.
    pub fn seed(&mut self, changes: Vec<Change>) {
        for change in changes {
            let Some(desired) = change.desired else {
                continue;
            };
            let mut marks = Vec::new();
            for label in &desired.labels {
                self.ensure(label);
                let api = self.cache.apply(
                    &groups::apis(label),
                    type_url::API,
                    vec![desired.resources.policy.clone()],
                    Vec::new(),
                );
                marks.push((groups::apis(label), type_url::API, api));
                let routes = self.put_routes(label, &[&desired.resources]);
                self.hold(label, &change.identity, &desired.resources, Some(routes.clone()));
                marks.extend(routes);
            }
            self.places.insert(
                change.identity.clone(),
                Place {
                    name: desired.resources.name.clone(),
                    labels: desired.labels,
                },
            );
            self.statuses
                .published(&change.identity, marks, desired.resources.names());
        }
    }

    /// Lets peers have what is there, even if that is nothing.
    pub fn seal(&mut self) {
        self.sealed = true;
        for label in self.labels.keys() {
            label::seal(&self.cache, label);
        }
    }

    /// Publishes until `shutdown`; a batch that is under way is finished.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut demanded = self.cache.demanded();
        let mut progress = self.cache.progress();
        loop {
            progress.borrow_and_update();
            self.review();
            let groups: Vec<String> = demanded.borrow_and_update().iter().cloned().collect();
            self.assemble(&groups);
            let mut jobs = Vec::new();
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                received = self.jobs.recv_many(&mut jobs, BATCH) => {
                    if received == 0 {
                        return;
                    }
                }
                changed = demanded.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
                answered = progress.changed() => {
                    if answered.is_err() {
                        return;
                    }
                }
                () = tokio::time::sleep(RETRY_AFTER), if !self.deferred.is_empty() => {}
            }
            let mut changes = std::mem::take(&mut self.deferred);
            let mut waiting = Vec::with_capacity(jobs.len());
            for job in jobs {
                changes.extend(job.changes);
                waiting.push(job.done);
            }
            if !changes.is_empty() {
                Box::pin(self.publish(changes)).await;
            }
            for done in waiting {
                // Whoever asked may have gone.
                done.send(()).unwrap_or_default();
            }
        }
    }

    async fn publish(&mut self, changes: Vec<Change>) {
        // The last change of a deployment is the one that counts.
        let changes: HashMap<Identity, Option<Desired>> = changes
            .into_iter()
            .map(|change| (change.identity, change.desired))
            .collect();
        let (wanted, withdrawn) = self.compare(&changes);
        for (identity, desired) in &changes {
            if desired.is_some() {
                self.statuses.publishing(identity);
            }
        }

        self.withdraw(&withdrawn).await;
        let (wanted, mut deferred) = self.split(wanted).await;
        let old_clusters = self.clusters_of(&wanted, &withdrawn);
        self.drop_withdrawn(&withdrawn, &wanted);

        let mut outcomes: HashMap<Identity, Outcome> = changes
            .keys()
            .map(|identity| (identity.clone(), Outcome::default()))
            .collect();
        let accepted = self.put_policies(wanted, &mut outcomes).await;
        self.put_accepted(&accepted, &mut outcomes).await;
        self.drop_clusters(old_clusters);

        for (identity, desired) in changes {
            let outcome = outcomes.remove(&identity).unwrap_or_default();
            match desired {
                None => {
                    self.places.remove(&identity);
                }
                Some(desired) => {
                    let name = desired.resources.name.clone();
                    let labels = desired.labels.clone();
                    if deferred.remove(&identity) {
                        self.deferred.push(Change {
                            identity: identity.clone(),
                            desired: Some(desired),
                        });
                    } else if let Some(reason) = outcome.rejection {
                        event::rejected(&name, &reason);
                        self.statuses.rejected(&identity, reason);
                    } else {
                        self.statuses
                            .published(&identity, outcome.marks, desired.resources.names());
                    }
                    self.places.insert(identity, Place { name, labels });
                }
            }
        }
    }

    /// What is to come and what is to go.
    fn compare(&mut self, changes: &HashMap<Identity, Option<Desired>>) -> (Vec<Wanted>, Vec<Withdrawn>) {
        let mut wanted = Vec::new();
        let mut withdrawn = Vec::new();
        for (identity, desired) in changes {
            if let Some(place) = self.places.get(identity) {
                for label in &place.labels {
                    let stays = desired.as_ref().is_some_and(|desired| {
                        desired.labels.contains(label) && desired.resources.name == place.name
                    });
                    if !stays && self.owner(label, &place.name) == Some(identity) {
                        withdrawn.push(Withdrawn {
                            label: label.clone(),
                            name: place.name.clone(),
                        });
                    }
                }
            }
            let Some(desired) = desired else { continue };
            for label in &desired.labels {
                wanted.push(Wanted {
                    identity: identity.clone(),
                    label: label.clone(),
                    resources: Arc::clone(&desired.resources),
                });
            }
        }
        for one in &wanted {
            self.ensure(&one.label);
            let name = &one.resources.name;
            let foreign = self
                .owner(&one.label, name)
                .is_some_and(|owner| *owner != one.identity);
            let known = withdrawn
                .iter()
                .any(|other| other.label == one.label && other.name == *name);
            if foreign && !known {
                withdrawn.push(Withdrawn {
                    label: one.label.clone(),
                    name: name.clone(),
                });
            }
        }
        (wanted, withdrawn)
    }

    /// Takes routes away and waits; what somebody may still have is noted as lingering.
    async fn withdraw(&mut self, withdrawn: &[Withdrawn]) {
        let mut names: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for one in withdrawn {
            names.entry(&one.label).or_default().push(one.name.clone());
        }
        let mut marks: Vec<(&str, Vec<Mark>)> = Vec::new();
        for (label, names) in names {
            if let Some(state) = self.labels.get_mut(label) {
                marks.push((label, state.remove_routes(&self.cache, label, names).collect()));
            }
        }
        let gone = join_all(
            marks
                .iter()
                .map(|(_, marks)| self.all_settled(marks, POLICY_BOUND)),
        )
        .await;
        for ((label, marks), gone) in marks.into_iter().zip(gone) {
            for one in withdrawn.iter().filter(|one| one.label == label && !gone) {
                self.lingering
                    .insert((one.label.clone(), one.name.clone()), marks.clone());
            }
        }
    }

    /// Sets apart what would put a policy under the routes of another API that somebody may still have.
    async fn split(&mut self, wanted: Vec<Wanted>) -> (Vec<Wanted>, HashSet<Identity>) {
        let places: Vec<(String, String)> = self.lingering.keys().cloned().collect();
        for place in places {
            let marks = self.lingering.get(&place).cloned().unwrap_or_default();
            if self.all_settled(&marks, Duration::ZERO).await {
                self.lingering.remove(&place);
            }
        }
        let (waits, wanted): (Vec<Wanted>, Vec<Wanted>) = wanted.into_iter().partition(|one| {
            self.lingering
                .contains_key(&(one.label.clone(), one.resources.name.clone()))
        });
        let deferred: HashSet<Identity> = waits.into_iter().map(|one| one.identity).collect();
        (wanted, deferred)
    }

    /// Whether every peer has answered all of `marks` within `bound`.
    fn all_settled(&self, marks: &[Mark], bound: Duration) -> impl Future<Output = bool> + use<> {
        let waits: Vec<_> = marks.iter().map(|mark| self.settled(mark, bound)).collect();
        async move {
            let all = join_all(waits).await;
            all.iter().all(|one| !matches!(one, Settled::TimedOut { .. }))
        }
    }

    /// Forgets what was withdrawn, with its policy unless another takes the name at once.
    fn drop_withdrawn(&mut self, withdrawn: &[Withdrawn], wanted: &[Wanted]) {
        for one in withdrawn {
            if let Some(label) = self.labels.get_mut(&one.label) {
                label.apis.remove(&one.name);
            }
            let taken = wanted
                .iter()
                .any(|other| other.label == one.label && other.resources.name == one.name);
            if !taken {
                self.cache.apply(
                    &groups::apis(&one.label),
                    type_url::API,
                    Vec::new(),
                    vec![one.name.clone()],
                );
            }
        }
    }

    /// Publishes policies and waits; returns what no enforcer has refused.
    async fn put_policies(
        &mut self,
        wanted: Vec<Wanted>,
        outcomes: &mut HashMap<Identity, Outcome>,
    ) -> Vec<Wanted> {
        let settled = self
            .put_each_label(&wanted, POLICY_BOUND, |publisher, label, ones| {
                let policies = ones.iter().map(|one| one.resources.policy.clone()).collect();
                let group = groups::apis(label);
                let version = publisher.cache.apply(&group, type_url::API, policies, Vec::new());
                vec![(group, type_url::API, version)]
            })
            .await;
        let mut accepted = Vec::with_capacity(wanted.len());
        for one in wanted {
            let settled = settled.get(&one.label).map_or(&[][..], Vec::as_slice);
            let outcome = outcomes.entry(one.identity.clone()).or_default();
            let refused = settled
                .iter()
                .find_map(|(_, settled)| settled.rejection_of(&one.resources.name));
            if let Some(refused) = refused {
                outcome.rejection = Some(reason("enforcer", refused));
                self.revert_policy(&one);
            } else {
                outcome.marks.extend(settled.iter().map(|(mark, _)| mark.clone()));
                accepted.push(one);
            }
        }
        accepted
    }

    /// Publishes clusters and routes, and waits.
    async fn put_accepted(&mut self, accepted: &[Wanted], outcomes: &mut HashMap<Identity, Outcome>) {
        let settled = self
            .put_each_label(accepted, ROUTE_BOUND, |publisher, label, ones| {
                let resources: Vec<&ApiResources> = ones.iter().map(|one| one.resources.as_ref()).collect();
                publisher.put_routes(label, &resources)
            })
            .await;
        for one in accepted {
            let settled = settled.get(&one.label).map_or(&[][..], Vec::as_slice);
            let outcome = outcomes.entry(one.identity.clone()).or_default();
            let resources = &one.resources;
            let refused = settled.iter().find_map(|((_, type_url, _), settled)| {
                settled.rejections().iter().find(|rejection| match *type_url {
                    type_url::CLUSTER => resources
                        .clusters
                        .iter()
                        .any(|cluster| cluster.name == rejection.resource),
                    _ => rejection.resource == resources.name || rejection.resource == DEFAULT_ROUTE_CONFIG,
                })
            });
            if let Some(refused) = refused {
                outcome.rejection = Some(reason("router", refused));
                self.revert_routes(one);
            } else {
                let marks: Vec<Mark> = settled.iter().map(|(mark, _)| mark.clone()).collect();
                outcome.marks.extend(marks.iter().cloned());
                self.hold(&one.label, &one.identity, resources, Some(marks));
            }
        }
    }

    /// Applies per label, then waits for all of them together.
    async fn put_each_label(
        &mut self,
        wanted: &[Wanted],
        bound: Duration,
        mut put: impl FnMut(&mut Self, &str, &[&Wanted]) -> Vec<Mark>,
    ) -> HashMap<String, Vec<(Mark, Settled)>> {
        let mut by_label: BTreeMap<&str, Vec<&Wanted>> = BTreeMap::new();
        for one in wanted {
            by_label.entry(&one.label).or_default().push(one);
        }
        let mut marks = Vec::new();
        for (label, ones) in by_label {
            for mark in put(self, label, &ones) {
                marks.push((label.to_owned(), mark));
            }
        }
        let waits = marks.into_iter().map(|(label, mark)| {
            let settled = self.settled(&mark, bound);
            async move { (label, mark, settled.await) }
        });
        let mut all: HashMap<String, Vec<(Mark, Settled)>> = HashMap::new();
        for (label, mark, settled) in join_all(waits).await {
            all.entry(label).or_default().push((mark, settled));
        }
        all
    }

    fn put_routes(&mut self, label: &str, resources: &[&ApiResources]) -> Vec<Mark> {
        let clusters = resources
            .iter()
            .flat_map(|resources| resources.clusters.iter().cloned())
            .collect();
        let group = groups::clusters(label);
        let version = self.cache.apply(&group, type_url::CLUSTER, clusters, Vec::new());
        let mut marks = vec![(group, type_url::CLUSTER, version)];
        if let Some(state) = self.labels.get_mut(label) {
            let fragments = resources
                .iter()
                .map(|resources| resources.fragment.clone())
                .collect();
            marks.extend(state.put_routes(&self.cache, label, fragments));
        }
        marks
    }

    /// The policy goes back to what it was, or away.
    fn revert_policy(&mut self, one: &Wanted) {
        let name = &one.resources.name;
        let group = groups::apis(&one.label);
        match self.held(&one.label, name).map(|held| held.policy.clone()) {
            Some(policy) => self.cache.apply(&group, type_url::API, vec![policy], Vec::new()),
            None => self
                .cache
                .apply(&group, type_url::API, Vec::new(), vec![name.clone()]),
        };
    }

    /// Clusters and routes go back to what they were, or away. The policy stays: without routes it has no effect, and
    /// with the old ones it is the newer of two that both were good.
    fn revert_routes(&mut self, one: &Wanted) {
        let name = &one.resources.name;
        let old = self.held(&one.label, name).and_then(|held| held.routes.clone());
        let had_routes = old.is_some();
        let marks = self.back(&one.label, name, &one.resources.clusters, old);
        if !had_routes {
            self.hold(&one.label, &one.identity, &one.resources, None);
        }
        if let Some(state) = self.labels.get_mut(&one.label)
            && let Some(held) = state.apis.get_mut(name)
        {
            held.policy = one.resources.policy.clone();
            held.marks = marks;
            state.open.insert(name.clone());
        }
    }

    /// Puts `old` in the place of what is published with `new`; returns where that stands.
    fn back(&mut self, label: &str, name: &str, new: &[Resource], old: Option<Routes>) -> Vec<Mark> {
        let Some(state) = self.labels.get_mut(label) else {
            return Vec::new();
        };
        let (clusters, mut marks): (Vec<Resource>, Vec<Mark>) = match old {
            Some(routes) => {
                let marks = state.put_routes(&self.cache, label, vec![routes.fragment]);
                (routes.clusters, marks.collect())
            }
            None => {
                let marks = state.remove_routes(&self.cache, label, vec![name.to_owned()]);
                (Vec::new(), marks.collect())
            }
        };
        let gone = new
            .iter()
            .filter(|new| clusters.iter().all(|old| old.name != new.name))
            .map(|new| new.name.clone())
            .collect();
        let group = groups::clusters(label);
        let version = self.cache.apply(&group, type_url::CLUSTER, clusters, gone);
        marks.push((group, type_url::CLUSTER, version));
        marks
    }

    /// Takes back what a router refuses that was published without waiting for it: it was late, or came later. What all
    /// others have taken stays with them, and is left out for who asks for assembled routes as long as the refusal stands.
    fn review(&mut self) {
        let peers = self.cache.status();
        let labels: Vec<String> = self.labels.keys().cloned().collect();
        for label in labels {
            let answers = Answers::of(&peers, &label);
            let Some(state) = self.labels.get_mut(&label) else {
                continue;
            };
            let mut withheld = BTreeSet::new();
            let mut bad = Vec::new();
            for (name, rejection) in state.refused(&answers) {
                let settled = state.apis.get(&name).is_some_and(|held| held.good == held.routes);
                if settled {
                    // Who refuses all of the assembled routes keeps those of before; leaving some out would only bring
                    // them back once the rest is taken.
                    if rejection.resource != DEFAULT_ROUTE_CONFIG {
                        withheld.insert(name);
                    }
                } else {
                    bad.push((name, reason("router", rejection)));
                }
            }
            state.withhold(&self.cache, &label, withheld);
            for (name, reason) in bad {
                self.take_back(&label, &name, reason);
            }
            if let Some(state) = self.labels.get_mut(&label) {
                state.confirm(&answers);
            }
        }
    }

    fn take_back(&mut self, label: &str, name: &str, reason: String) {
        let Some(held) = self.held(label, name) else {
            return;
        };
        let (owner, good) = (held.owner.clone(), held.good.clone());
        let bad = held
            .routes
            .as_ref()
            .map_or_else(Vec::new, |bad| bad.clusters.clone());
        let marks = self.back(label, name, &bad, good.clone());
        if let Some(state) = self.labels.get_mut(label)
            && let Some(held) = state.apis.get_mut(name)
        {
            held.routes = good;
            held.marks = marks;
        }
        event::rejected(name, &reason);
        self.statuses.taken_back(&owner, reason);
    }

    /// Notes what is published of an API; without `marks` it has no routes.
    fn hold(&mut self, label: &str, identity: &Identity, resources: &ApiResources, marks: Option<Vec<Mark>>) {
        if let Some(state) = self.labels.get_mut(label) {
            let good = state.apis.remove(&resources.name).and_then(|held| held.good);
            let held = Held {
                owner: identity.clone(),
                policy: resources.policy.clone(),
                routes: marks.is_some().then(|| Routes {
                    fragment: resources.fragment.clone(),
                    clusters: resources.clusters.clone(),
                }),
                good,
                marks: marks.unwrap_or_default(),
            };
            state.apis.insert(resources.name.clone(), held);
            state.open.insert(resources.name.clone());
        }
    }

    /// Names of the clusters that the touched APIs have now, by label.
    fn clusters_of(&self, wanted: &[Wanted], withdrawn: &[Withdrawn]) -> BTreeMap<String, BTreeSet<String>> {
        let touched = wanted
            .iter()
            .map(|one| (&one.label, &one.resources.name))
            .chain(withdrawn.iter().map(|one| (&one.label, &one.name)));
        let mut clusters: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (label, name) in touched {
            let routes = self.held(label, name).and_then(|held| held.routes.as_ref());
            clusters.entry(label.clone()).or_default().extend(
                routes
                    .into_iter()
                    .flat_map(|routes| &routes.clusters)
                    .map(|cluster| cluster.name.clone()),
            );
        }
        clusters
    }

    /// Removes those of `candidates` that no API uses any more.
    fn drop_clusters(&mut self, candidates: BTreeMap<String, BTreeSet<String>>) {
        for (label, mut gone) in candidates {
            let Some(state) = self.labels.get(&label) else {
                continue;
            };
            for routes in state.apis.values().filter_map(|held| held.routes.as_ref()) {
                if gone.is_empty() {
                    break;
                }
                for cluster in &routes.clusters {
                    gone.remove(&cluster.name);
                }
            }
            if !gone.is_empty() {
                self.cache.apply(
                    &groups::clusters(&label),
                    type_url::CLUSTER,
                    Vec::new(),
                    gone.into_iter().collect(),
                );
            }
        }
    }

    fn held(&self, label: &str, name: &str) -> Option<&Held> {
        self.labels.get(label)?.apis.get(name)
    }

    fn owner(&self, label: &str, name: &str) -> Option<&Identity> {
        self.held(label, name).map(|held| &held.owner)
    }

    fn settled(&self, mark: &Mark, bound: Duration) -> impl Future<Output = Settled> + use<> {
        let cache = self.cache.clone();
        let (group, type_url, version) = mark.clone();
        async move { cache.settled(&group, type_url, version, bound).await }
    }

    /// Makes a label as complete as any other.
    fn ensure(&mut self, label: &str) {
        if self.labels.contains_key(label) {
            return;
        }
        let state = Label::new(&self.cache, label, &self.base);
        self.labels.insert(label.to_owned(), state);
        if self.sealed {
            label::seal(&self.cache, label);
        }
    }

    /// Keeps the assembled route configuration for labels that somebody asks it of.
    fn assemble(&mut self, groups: &[String]) {
        for name in groups.iter().filter_map(|group| groups::label_of_routes(group)) {
            if let Some(label) = self.labels.get_mut(name) {
                label.assemble(&self.cache, name);
            }
        }
    }
}

fn reason(who: &str, rejection: &Rejection) -> String {
    format!("{who} {}", status::refusal(rejection))
}
