//! The serving side of one stream.

use std::sync::Arc;

use tokio::time::Instant;
use trireme_proto::{
    envoy::{config::core::v3::Node, service::discovery::v3::DeltaDiscoveryRequest},
    google::protobuf::value::Kind,
    names::type_url as urls,
};

pub(crate) use super::refusal::Refusal;
pub use super::refusal::UnknownType;
pub(crate) use super::topic::{Answer, Chunk, Topic};
use super::{CLUSTER_BOUND, MAX_NAME_BYTES, MAX_TOPICS};
use crate::set::Sets;

/// State of one stream. For every request: [`Session::admit`], [`Session::answer`], [`Session::subscribe`]; whenever
/// something changed: [`Session::next`] until it returns none.
#[derive(Debug, Default)]
pub(crate) struct Session {
    node: Option<Node>,
    /// Independent types first, then those with an order, in it.
    topics: Vec<Topic>,
    sent: u64,
}

impl Session {
    pub(crate) fn node(&self) -> &str {
        self.node.as_ref().map_or("", |node| &node.id)
    }

    /// What tells nodes with one id apart.
    pub(crate) fn instance(&self) -> &str {
        let metadata = self.node.as_ref().and_then(|node| node.metadata.as_ref());
        match metadata
            .and_then(|m| m.fields.get("instanceIdentifier"))
            .and_then(|v| v.kind.as_ref())
        {
            Some(Kind::StringValue(instance)) => instance,
            _ => "",
        }
    }

    pub(crate) fn topics(&self) -> &[Topic] {
        &self.topics
    }

    pub(crate) fn topics_mut(&mut self) -> &mut [Topic] {
        &mut self.topics
    }

    /// Learns the node from the first request, and a new subscription from the first request of its type.
    pub(crate) fn admit(
        &mut self,
        request: &mut DeltaDiscoveryRequest,
        grouping: &dyn Fn(&Node, &str) -> Result<String, UnknownType>,
    ) -> Result<(), Refusal> {
        if self.node.is_none() {
            let node = request
                .node
                .take()
                .filter(|node| !node.id.is_empty())
                .ok_or(Refusal::NoNode)?;
            self.node = Some(node);
            if self.node().len() > MAX_NAME_BYTES || self.instance().len() > MAX_NAME_BYTES {
                return Err(Refusal::NameTooLong);
            }
        }
        if request.type_url.is_empty() {
            return Err(Refusal::NoType);
        }
        if self.topics.iter().any(|topic| *topic.key.1 == request.type_url) {
            return Ok(());
        }
        if request.type_url.len() > MAX_NAME_BYTES {
            return Err(Refusal::NameTooLong);
        }
        if self.topics.len() == MAX_TOPICS {
            return Err(Refusal::TooManyTypes);
        }
        let node = self.node.as_ref().ok_or(Refusal::NoNode)?;
        let Ok(group) = grouping(node, &request.type_url) else {
            return Err(Refusal::UnknownType {
                type_url: request.type_url.clone(),
                node: node.id.clone(),
            });
        };
        let subscribed = !request.resource_names_subscribe.is_empty();
        let initial = std::mem::take(&mut request.initial_resource_versions);
        let topic = Topic::new(
            (group.into(), request.type_url.as_str().into()),
            subscribed,
            initial,
        );
        let at = self.topics.partition_point(|other| other.rank <= topic.rank);
        self.topics.insert(at, topic);
        Ok(())
    }

    /// Takes the ACK or NACK in a request, if it is one and not stale.
    pub(crate) fn answer(&mut self, request: &DeltaDiscoveryRequest) -> Option<Answer> {
        let topic = self
            .topics
            .iter_mut()
            .find(|topic| *topic.key.1 == request.type_url)?;
        topic.answered(&request.response_nonce, request.error_detail.as_ref())
    }

    /// Takes the changes of subscription in a request; an ACK may carry some as well.
    pub(crate) fn subscribe(&mut self, request: &DeltaDiscoveryRequest, sets: &Sets) -> Result<(), Refusal> {
        let Some(topic) = self
            .topics
            .iter_mut()
            .find(|topic| *topic.key.1 == request.type_url)
        else {
            return Ok(());
        };
        let set = sets.get(&topic.key);
        topic.subscribe(&request.resource_names_subscribe, set)?;
        topic.unsubscribe(&request.resource_names_unsubscribe, set);
        Ok(())
    }

    /// The next response to send, if any.
    ///
    /// One stream keeps the order that a publisher works in, even where several of its steps have become one here: clusters
    /// are added before the routes that name them and removed after the routes that named them; listeners stand at the
    /// far end. All types are therefore looked at together, and a type waits while an earlier one has additions to send
    /// (or a later one has removals).
    ///
    /// Sent is not in force: an Envoy resolves the names of a cluster first and serves the old one in the meantime. Routes
    /// therefore wait for the answer to the clusters, for a bounded time; when that is over, [`Session::wake`] tells.
    pub(crate) fn next(&mut self, sets: &Sets, now: Instant) -> Result<Option<Chunk>, Refusal> {
        for topic in &mut self.topics {
            if let Some(set) = sets.get(&topic.key) {
                topic.absorb(set)?;
            }
        }
        let Some((at, with_removals)) = self.choose(now) else {
            return Ok(None);
        };
        let Some(topic) = self.topics.get_mut(at) else {
            return Ok(None);
        };
        let Some(set) = sets.get(&topic.key) else {
            return Ok(None);
        };
        self.sent += 1;
        Ok(Some(topic.chunk(set, self.sent.to_string(), with_removals, now)))
    }

    /// When something is due that has to wait at `now`.
    pub(crate) fn wake(&self, now: Instant) -> Option<Instant> {
        let waits = self
            .topics
            .iter()
            .any(|topic| topic.upserts_due() && &*topic.key.1 == urls::ROUTE);
        self.held_until(now).filter(|_| waits)
    }

    /// Until when routes wait for clusters.
    fn held_until(&self, now: Instant) -> Option<Instant> {
        let clusters = self.topics.iter().find(|topic| &*topic.key.1 == urls::CLUSTER)?;
        clusters.holds_until(CLUSTER_BOUND).filter(|until| *until > now)
    }

    fn choose(&self, now: Instant) -> Option<(usize, bool)> {
        let independent = self
            .topics
            .iter()
            .position(|t| t.rank.is_none() && t.ready() && t.due());
        if let Some(at) = independent {
            return Some((at, true));
        }
        let ordered = self
            .topics
            .iter()
            .enumerate()
            .filter(|(_, topic)| topic.rank.is_some());
        for (at, topic) in ordered.clone() {
            if topic.upserts_due() {
                let last = self.topics.iter().skip(at + 1).all(|later| !later.due());
                let held = &*topic.key.1 == urls::ROUTE && self.held_until(now).is_some();
                return (topic.ready() && !held).then_some((at, last));
            }
        }
        let (at, topic) = ordered.rev().find(|(_, topic)| topic.removals_due())?;
        topic.ready().then_some((at, true))
    }

    /// `<id>` or `<id>/<instance>`.
    pub(crate) fn name(&self) -> Arc<str> {
        match self.instance() {
            "" => Arc::from(self.node()),
            instance => Arc::from(format!("{}/{instance}", self.node())),
        }
    }
}

#[cfg(test)]
mod tests;
