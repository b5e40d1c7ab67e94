//! The access log as a sink: what its format asks for, and how the facts answer it.

use std::cell::{Cell, RefCell};
use std::time::{Duration, SystemTime};

use http::HeaderName;
use tokio::time::Instant;
use trireme_proto::names::EXT_AUTHZ_NAMESPACE;
use trireme_telemetry::access::{AccessLog, Field, Format, Headers, Record, Value};

use super::facts::{Facts, Kept, Wants};
use crate::edge::protocol;
use crate::error::Flag;

const GRPC_STATUS: &str = "grpc-status";

/// An access log, with the names of what its format asks for: only that is kept of a request.
#[derive(Debug)]
pub(crate) struct Log {
    log: AccessLog,
    asked: Asked,
}

#[derive(Debug, Clone, Default)]
struct Asked {
    request: Vec<HeaderName>,
    response: Vec<HeaderName>,
    trailers: Vec<HeaderName>,
    metadata: Vec<String>,
    sizes: bool,
}

// === impl Log ===

impl Log {
    /// Finds out what the format asks for by letting it write a line about nothing.
    pub(crate) fn new(log: AccessLog, format: &Format) -> Self {
        let probe = Probe::default();
        format.write(&mut Vec::new(), &probe);
        let names = |headers: RefCell<Vec<String>>| {
            headers
                .into_inner()
                .iter()
                .filter_map(|name| HeaderName::from_bytes(name.as_bytes()).ok())
                .collect()
        };
        Self {
            log,
            asked: Asked {
                request: names(probe.request),
                response: names(probe.response),
                trailers: names(probe.trailers),
                metadata: probe.metadata.into_inner(),
                sizes: probe.sizes.get(),
            },
        }
    }

    /// What it wants of the messages.
    pub(crate) fn wants(&self) -> Wants {
        let Asked {
            request,
            response,
            trailers,
            sizes,
            ..
        } = self.asked.clone();
        Wants {
            request,
            response,
            trailers,
            sizes,
        }
    }

    /// Writes the line of a request that took so long.
    pub(crate) fn record(&self, facts: &Facts, took: Duration) {
        let Some(kept) = &facts.kept else { return };
        let metadata = self.asked.metadata.iter().map(|key| facts.metadata.text(key));
        self.log.record(&Line {
            facts,
            kept,
            keys: &self.asked.metadata,
            metadata: metadata.collect(),
            took,
        });
    }
}

#[derive(Default)]
struct Probe {
    request: RefCell<Vec<String>>,
    response: RefCell<Vec<String>>,
    trailers: RefCell<Vec<String>>,
    metadata: RefCell<Vec<String>>,
    sizes: Cell<bool>,
}

impl Record for Probe {
    fn start_time(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH
    }

    fn header(&self, from: Headers, name: &str) -> Option<&[u8]> {
        let names = match from {
            Headers::Request => &self.request,
            Headers::Response => &self.response,
            Headers::Trailers => &self.trailers,
        };
        names.borrow_mut().push(name.to_owned());
        None
    }

    fn field(&self, field: Field) -> Value<'_> {
        match field {
            Field::GrpcStatus => {
                for names in [&self.response, &self.trailers] {
                    names.borrow_mut().push(GRPC_STATUS.to_owned());
                }
            }
            Field::RequestHeadersBytes | Field::ResponseHeadersBytes => self.sizes.set(true),
            _ => {}
        }
        Value::Absent
    }

    fn metadata(&self, namespace: &str, path: &[String]) -> Value<'_> {
        if let (EXT_AUTHZ_NAMESPACE, [key]) = (namespace, path) {
            self.metadata.borrow_mut().push(key.clone());
        }
        Value::Absent
    }
}

/// A request as the format reads it.
struct Line<'a> {
    facts: &'a Facts,
    kept: &'a Kept,
    /// Keys of the metadata that is asked for, and their values.
    keys: &'a [String],
    metadata: Vec<Option<String>>,
    took: Duration,
}

impl Record for Line<'_> {
    fn start_time(&self) -> SystemTime {
        self.kept.time
    }

    fn header(&self, from: Headers, name: &str) -> Option<&[u8]> {
        let kept = self.kept;
        match (from, name) {
            (Headers::Request, ":method") => Some(kept.method.as_str().as_bytes()),
            (Headers::Request, ":path") => Some(
                kept.path
                    .as_ref()
                    .unwrap_or(&kept.original_path)
                    .as_str()
                    .as_bytes(),
            ),
            (Headers::Request, ":authority") => Some(kept.authority.as_bytes()),
            (Headers::Request, ":scheme") => Some(self.facts.peer.scheme().as_bytes()),
            (Headers::Request, "x-envoy-original-path") => {
                kept.path.as_ref().map(|_| kept.original_path.as_str().as_bytes())
            }
            (Headers::Request, _) => kept.request.value(&kept.wants.request, name),
            (Headers::Response, _) => kept.response.value(&kept.wants.response, name),
            (Headers::Trailers, _) => kept.trailers.value(&kept.wants.trailers, name),
        }
    }

    fn field(&self, field: Field) -> Value<'_> {
        let facts = self.facts;
        let cluster = facts.cluster.as_ref().map(|cluster| cluster.config.name.as_str());
        let since = |instant: Instant| instant.saturating_duration_since(facts.live.started);
        match field {
            Field::BytesReceived => facts.live.received().into(),
            Field::BytesSent => facts.live.sent().into(),
            Field::DownstreamDirectRemoteAddress | Field::DownstreamRemoteAddress => {
                Value::Address(facts.peer.address)
            }
            Field::DownstreamLocalAddress => facts.peer.local.into(),
            Field::Duration => Value::Duration(self.took),
            Field::Protocol => Value::text(protocol(self.kept.version)),
            Field::RequestDuration => facts.live.request_done().map(since).into(),
            Field::ResponseCode => u64::from(facts.status).into(),
            Field::ResponseFlags => match facts.live.flag() {
                Flag::None => Value::Absent,
                flag => Value::text(flag.name()),
            },
            Field::ResponseCodeDetails => Value::text(match (facts.local, facts.status) {
                ("", 0) => "",
                ("", _) => "via_upstream",
                (local, _) => local,
            }),
            Field::ResponseDuration => facts.live.response_began().map(since).into(),
            Field::RouteName => Value::text(&self.kept.route),
            Field::UpstreamCluster => cluster.into(),
            Field::UpstreamHost | Field::UpstreamRemoteAddress => facts.host.into(),
            Field::UpstreamLocalAddress => facts.upstream_local.into(),
            Field::UpstreamTransportFailureReason => facts.failure.as_deref().into(),
            Field::UpstreamRequestAttemptCount => u64::from(facts.attempts).into(),
            _ => Value::Absent,
        }
    }

    fn metadata(&self, namespace: &str, path: &[String]) -> Value<'_> {
        let (EXT_AUTHZ_NAMESPACE, [key]) = (namespace, path) else {
            return Value::Absent;
        };
        let at = self.keys.iter().position(|known| known == key);
        at.and_then(|at| self.metadata.get(at)?.as_deref()).into()
    }
}
