//! What a filter implements, and what it writes to and reads from.

use std::collections::BTreeMap;
use std::time::Duration;

use prost::Name;
use trireme_proto::Wire;
use trireme_proto::envoy::config::route::v3 as proto;
use trireme_proto::google::protobuf::Any;

use crate::Invalid;
use crate::wire::own;
use crate::wire::read::{Path, nothing_else, unpack};
use crate::wire::write::{Writer, tag};

/// An HTTP filter of a listener.
#[derive(Debug)]
pub(crate) struct Http {
    /// What Envoy knows it by, here and in `typed_per_filter_config`.
    pub(crate) name: &'static str,
    /// Whether requests that change to another protocol pass it, too.
    pub(crate) upgrades: bool,
    /// Its configuration.
    pub(crate) encode: fn(&Told<'_>) -> Any,
    /// Reads its configuration.
    pub(crate) decode: fn(Option<&Any>, &mut Settings, &Path<'_>) -> Result<(), Invalid>,
}

/// What the HTTP filters of a listener are told, all routes alike.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Told<'a> {
    pub(crate) check: &'a CheckSettings,
}

/// What the HTTP filters of a listener say, all routes alike.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Settings {
    pub(crate) check: Option<CheckSettings>,
}

/// What a route tells one of its filters.
pub(crate) trait PerRoute: Sized {
    /// Adds it to the message of the route.
    fn encode(&self, draft: &mut Draft);

    /// Takes it out of the message of the route, which may say nothing.
    fn decode(given: &mut Given<'_>) -> Result<Self, Invalid>;
}

/// ext_authz settings of a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckSettings {
    /// Name of the cluster the enforcer is reached by; the router's own settings define it.
    pub cluster: String,
    /// Bound on one check.
    pub timeout: Duration,
    /// Greatest body, in bytes, that is buffered for the enforcer on routes that pass it; above it 413.
    pub max_request_bytes: u32,
}

/// Who reads what is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reader {
    /// A stock Envoy: nothing of Trireme's own goes along.
    Envoy,
    /// Trireme's router.
    Trireme,
}

/// A route's message on its way out.
#[derive(Debug)]
pub(crate) struct Draft {
    /// The message, its `typed_per_filter_config` apart.
    pub(crate) route: proto::Route,
    configs: BTreeMap<&'static str, Any>,
    reader: Reader,
}

/// A route's message on its way in.
#[derive(Debug)]
pub(crate) struct Given<'a> {
    /// Whatever no filter takes out of it is refused in the end.
    pub(crate) route: &'a mut proto::Route,
    /// Where it stands.
    pub(crate) path: &'a Path<'a>,
    /// Where its `typed_per_filter_config` stands.
    list: &'a Path<'a>,
}

// === impl Draft ===

impl Draft {
    pub(crate) fn new(route: proto::Route, reader: Reader) -> Self {
        Self {
            route,
            configs: BTreeMap::new(),
            reader,
        }
    }

    /// Sets a filter's configuration: a message of Envoy's.
    pub(super) fn set(&mut self, name: &'static str, config: Any) {
        self.configs.insert(name, config);
    }

    /// Sets a filter's configuration: a message of ours, which is not for every reader.
    pub(super) fn set_own(&mut self, name: &'static str, url: &str, message: &impl Wire) {
        if self.reader == Reader::Trireme {
            self.set(name, own::write(url, message));
        }
    }

    /// The message, on the wire.
    pub(crate) fn finish(self) -> Vec<u8> {
        let mut message = Writer::of(&self.route);
        for (name, config) in self.configs {
            message.entry(tag::ROUTE_TYPED_PER_FILTER_CONFIG, name, &config.to_wire());
        }
        message.finish()
    }
}

// === impl Given ===

impl<'a> Given<'a> {
    /// `list` is where `typed_per_filter_config` stands, `path` where the route does.
    pub(crate) fn new(route: &'a mut proto::Route, path: &'a Path<'a>, list: &'a Path<'a>) -> Self {
        Self { route, path, list }
    }

    /// Takes out a filter's configuration and says where it stood.
    pub(super) fn take<M: Wire + Name>(
        &mut self,
        name: &'static str,
    ) -> Result<Option<(M, Path<'a>)>, Invalid> {
        let Some(any) = self.route.typed_per_filter_config.remove(name) else {
            return Ok(None);
        };
        let path = self.list.key(name);
        Ok(Some((unpack(Some(&any), &path)?, path)))
    }

    /// As [`Given::take`], for a message of ours.
    pub(super) fn take_own<M: Wire>(
        &mut self,
        name: &'static str,
        url: &str,
    ) -> Result<Option<(M, Path<'a>)>, Invalid> {
        let Some(any) = self.route.typed_per_filter_config.remove(name) else {
            return Ok(None);
        };
        let path = self.list.key(name);
        Ok(Some((own::read(any, url, &path)?, path)))
    }

    /// Refuses what is left.
    pub(crate) fn finish(self) -> Result<(), Invalid> {
        match self.route.typed_per_filter_config.keys().min() {
            Some(other) => Err(self.list.key(other).invalid("not supported")),
            None => nothing_else(self.route, self.path),
        }
    }
}
