//! The receiving side: what is held, what a response changes, how it is answered.

use std::collections::{BTreeMap, HashMap, HashSet};

use bytes::Bytes;
use trireme_proto::envoy::{
    config::core::v3::Node,
    service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse, Resource as WireResource},
};

use super::{PARTIAL, WILDCARD, nack};
use crate::{
    resource::{Rejection, Resource, limited},
    update::{TypeStatus, Update},
};

/// What is held, over all streams.
#[derive(Debug)]
pub(crate) struct Receiver {
    types: Vec<Held>,
    keep_bodies: bool,
}

#[derive(Debug)]
struct Held {
    type_url: &'static str,
    /// With empty bodies unless they are kept.
    resources: BTreeMap<String, Resource>,
    /// The first answer on this stream has not ended yet.
    first: bool,
    /// Nothing has come on this stream yet.
    fresh: bool,
    status: TypeStatus,
    rejected: BTreeMap<String, String>,
    /// Names among `rejected` that the last response did not bring: they stand until the next one is answered.
    passing: Vec<String>,
}

/// A response between its arrival and its answer.
#[derive(Debug)]
pub(crate) struct Incoming {
    at: usize,
    nonce: String,
    version: String,
    complete: bool,
    upserts: Vec<Resource>,
    removals: Vec<String>,
    malformed: Vec<Rejection>,
}

/// The answer to a response.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) request: DeltaDiscoveryRequest,
    /// Refused resources, with reasons.
    pub(crate) rejected: Vec<Rejection>,
    /// Something held is different now, or is known to be complete now.
    pub(crate) changed: bool,
}

impl Receiver {
    pub(crate) fn new(types: &[&'static str], keep_bodies: bool) -> Self {
        let held = |type_url| Held {
            type_url,
            resources: BTreeMap::new(),
            first: true,
            fresh: false,
            status: TypeStatus::default(),
            rejected: BTreeMap::new(),
            passing: Vec::new(),
        };
        let mut seen = HashSet::new();
        Self {
            types: types
                .iter()
                .copied()
                .filter(|t| seen.insert(*t))
                .map(held)
                .collect(),
            keep_bodies,
        }
    }

    pub(crate) fn status(&self) -> BTreeMap<String, TypeStatus> {
        let status = |held: &Held| {
            let mut status = held.status.clone();
            status.held = held.resources.len();
            status.rejected = held
                .rejected
                .iter()
                .map(|(name, reason)| Rejection::new(name, reason))
                .collect();
            (held.type_url.to_owned(), status)
        };
        self.types.iter().map(status).collect()
    }

    /// What is held of every type whose initial content is there.
    pub(crate) fn held(&self) -> Vec<(&'static str, Vec<Resource>)> {
        let complete = self.types.iter().filter(|held| held.status.complete);
        complete
            .map(|held| (held.type_url, held.resources.values().cloned().collect()))
            .collect()
    }

    /// The requests that open a stream, in order of subscription; only the first carries the node.
    pub(crate) fn open(&mut self, node: &Node) -> Vec<DeltaDiscoveryRequest> {
        let mut node = Some(node.clone());
        let mut request = |held: &mut Held| {
            held.first = true;
            held.fresh = true;
            let version = |(name, resource): (&String, &Resource)| (name.clone(), resource.version.clone());
            DeltaDiscoveryRequest {
                node: node.take(),
                type_url: held.type_url.to_owned(),
                resource_names_subscribe: vec![WILDCARD.to_owned()],
                initial_resource_versions: held.resources.iter().map(version).collect(),
                ..Default::default()
            }
        };
        self.types.iter_mut().map(&mut request).collect()
    }

    /// Content from the last-good file; none when the type is not subscribed to.
    pub(crate) fn restore(&self, type_url: &str, resources: Vec<Resource>) -> Option<(Incoming, Update)> {
        let at = self.types.iter().position(|held| held.type_url == type_url)?;
        let incoming = Incoming {
            at,
            nonce: String::new(),
            version: String::new(),
            complete: true,
            upserts: resources,
            removals: Vec::new(),
            malformed: Vec::new(),
        };
        let update = incoming.update(type_url);
        Some((incoming, update))
    }

    /// Reads a response. A type that was not asked for is refused at once.
    pub(crate) fn receive(
        &self,
        response: DeltaDiscoveryResponse,
    ) -> Result<(Incoming, Update), Box<DeltaDiscoveryRequest>> {
        let DeltaDiscoveryResponse {
            system_version_info,
            resources,
            type_url,
            removed_resources,
            nonce,
            ..
        } = response;
        let Some(at) = self.types.iter().position(|held| held.type_url == type_url) else {
            let reason = format!("type {} was not asked for", limited(&type_url));
            return Err(Box::new(DeltaDiscoveryRequest {
                error_detail: Some(nack::write(&[Rejection::new(WILDCARD, reason)])),
                type_url,
                response_nonce: nonce,
                ..Default::default()
            }));
        };
        let held = &self.types.get(at);
        let first = held.is_some_and(|held| held.first);
        let (version, partial) = match system_version_info.strip_suffix(PARTIAL) {
            Some(version) => (version.to_owned(), true),
            None => (system_version_info, false),
        };
        let mut incoming = Incoming {
            at,
            nonce,
            version,
            complete: first && !partial,
            upserts: Vec::with_capacity(resources.len()),
            removals: removed_resources,
            malformed: Vec::new(),
        };
        let mut places: HashMap<String, usize> = HashMap::new();
        for resource in resources {
            let resource = match parsed(resource, &type_url) {
                Ok(resource) => resource,
                Err(rejection) => {
                    incoming.malformed.push(rejection);
                    continue;
                }
            };
            let known = held.and_then(|held| held.resources.get(&resource.name));
            // What was rejected after it is over when the server goes back to it, and `Apply` should know.
            let rejected = held.is_some_and(|held| held.rejected.contains_key(&resource.name));
            if !rejected
                && known.is_some_and(|known| !known.version.is_empty() && known.version == resource.version)
            {
                continue;
            }
            match places
                .get(&resource.name)
                .and_then(|at| incoming.upserts.get_mut(*at))
            {
                Some(earlier) => *earlier = resource,
                None => {
                    places.insert(resource.name.clone(), incoming.upserts.len());
                    incoming.upserts.push(resource);
                }
            }
        }
        // A name on both sides is there afterwards.
        incoming.removals.retain(|name| !places.contains_key(name));
        let update = incoming.update(&type_url);
        Ok((incoming, update))
    }

    /// Records what was taken and writes the answer: an ACK, or a NACK that names what was not.
    pub(crate) fn conclude(&mut self, incoming: Incoming, refused: Vec<Rejection>) -> Reply {
        let Incoming {
            at,
            nonce,
            version,
            complete,
            upserts,
            removals,
            malformed: mut rejected,
        } = incoming;
        let malformed: Vec<String> = rejected.iter().map(|r| r.resource.clone()).collect();
        rejected.extend(refused);
        let mut request = DeltaDiscoveryRequest {
            response_nonce: nonce,
            ..Default::default()
        };
        let mut changed = false;
        if let Some(held) = self.types.get_mut(at) {
            held.rejected.remove(WILDCARD);
            for name in std::mem::take(&mut held.passing) {
                held.rejected.remove(&name);
            }
            if std::mem::take(&mut held.fresh) {
                // A new stream brings everything again that is not held, what was rejected included.
                held.rejected.clear();
            }
            let names: HashSet<&str> = rejected.iter().map(|r| r.resource.as_str()).collect();
            for name in removals.iter().filter(|name| !names.contains(name.as_str())) {
                changed |= held.resources.remove(name).is_some();
                held.rejected.remove(name);
            }
            // `Apply` may name what came with another type; no later response of this one would clear it.
            let brought: HashSet<&str> = upserts
                .iter()
                .map(|r| r.name.as_str())
                .chain(removals.iter().map(String::as_str))
                .chain(malformed.iter().map(String::as_str))
                .collect();
            held.passing = names
                .iter()
                .filter(|name| !brought.contains(**name) && !held.rejected.contains_key(**name))
                .map(|name| (*name).to_owned())
                .collect();
            for mut resource in upserts.into_iter().filter(|r| !names.contains(r.name.as_str())) {
                if !self.keep_bodies {
                    resource.body = Bytes::new();
                }
                held.rejected.remove(&resource.name);
                held.resources.insert(resource.name.clone(), resource);
                changed = true;
            }
            for Rejection { resource, reason, .. } in &rejected {
                held.rejected.insert(resource.clone(), limited(reason).to_owned());
            }
            if complete {
                held.first = false;
                changed |= !held.status.complete;
                held.status.complete = true;
                // What comes from the file has no nonce.
                held.status.live |= !request.response_nonce.is_empty();
            }
            held.status.version = version;
            held.type_url.clone_into(&mut request.type_url);
        }
        if !rejected.is_empty() {
            request.error_detail = Some(nack::write(&rejected));
        }
        Reply {
            request,
            rejected,
            changed,
        }
    }
}

impl Incoming {
    fn update(&self, type_url: &str) -> Update {
        Update {
            type_url: type_url.to_owned(),
            upserts: self.upserts.clone(),
            removals: self.removals.clone(),
            complete: self.complete,
        }
    }
}

fn parsed(resource: WireResource, type_url: &str) -> Result<Resource, Rejection> {
    let WireResource {
        name,
        version,
        resource: body,
        ..
    } = resource;
    match body {
        _ if name.is_empty() => Err(Rejection::new(WILDCARD, "resource without a name")),
        None => Err(Rejection::new(name, "resource without a body")),
        Some(any) if any.type_url != type_url => {
            let reason = format!("type is {}, not {type_url}", limited(&any.type_url));
            Err(Rejection::new(name, reason))
        }
        Some(any) => Ok(Resource::new(name, version, any.value)),
    }
}

#[cfg(test)]
mod tests;
