//! The access log as a sink: what its format asks for, and how the facts answer it.

use std::borrow::Cow;
use std::cell::RefCell;
use std::time::{Duration, SystemTime};

use http::HeaderName;
use tokio::time::Instant;
use trireme_proto::names::EXT_AUTHZ_NAMESPACE;
use trireme_telemetry::access::{AccessLog, Field, Format, Headers, Record, Value};
use trireme_tls::Session;

use super::facts::{Facts, Kept, Wants};
use crate::edge::{is_grpc, protocol};
use crate::error::Flag;

/// An access log, with the names of what its format asks for: only that is kept of a request.
#[derive(Debug)]
pub(crate) struct Log {
    log: AccessLog,
    asked: Asked,
    hostname: String,
}

#[derive(Debug, Clone, Default)]
struct Asked {
    request: Vec<HeaderName>,
    response: Vec<HeaderName>,
    trailers: Vec<HeaderName>,
    metadata: Vec<String>,
    sizes: bool,
    grpc: bool,
    certificate: bool,
}

const CONTENT_TYPE: &str = "content-type";
const GRPC_STATUS: &str = "grpc-status";
const REQUEST_ID: &str = "x-request-id";

// === impl Log ===

impl Log {
    /// Finds out what the format asks for by letting it write a line about nothing.
    pub(crate) fn new(log: AccessLog, format: &Format) -> Self {
        let probe = Probe::default();
        format.write(&mut Vec::new(), &probe);
        let names = |headers: &RefCell<Vec<String>>| {
            headers
                .borrow()
                .iter()
                .filter_map(|name| HeaderName::from_bytes(name.as_bytes()).ok())
                .collect()
        };
        Self {
            log,
            asked: Asked {
                request: names(&probe.request),
                response: names(&probe.response),
                trailers: names(&probe.trailers),
                metadata: probe.metadata.borrow().clone(),
                sizes: probe.asks(&[Field::RequestHeadersBytes, Field::ResponseHeadersBytes]),
                grpc: probe.asks(&[Field::GrpcStatus]),
                certificate: probe.asks(&[Field::DownstreamPeerIssuer, Field::DownstreamPeerSubject]),
            },
            hostname: rustix::system::uname().nodename().to_string_lossy().into_owned(),
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
        let Asked {
            metadata,
            grpc,
            certificate,
            ..
        } = &self.asked;
        let session = facts.peer.tls.as_ref().filter(|_| *certificate);
        self.log.record(&Line {
            facts,
            kept,
            log: self,
            metadata: metadata.iter().map(|key| facts.metadata.text(key)).collect(),
            details: details(facts),
            grpc: grpc.then(|| grpc_status(facts, kept)).flatten(),
            subject: session.and_then(Session::subject),
            issuer: session.and_then(Session::issuer),
            failure: facts.failure.as_deref().map(joined),
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
    fields: RefCell<Vec<Field>>,
}

impl Probe {
    fn asks(&self, fields: &[Field]) -> bool {
        self.fields.borrow().iter().any(|field| fields.contains(field))
    }
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
        self.fields.borrow_mut().push(field);
        match field {
            Field::GrpcStatus => {
                self.header(Headers::Request, CONTENT_TYPE);
                self.header(Headers::Response, GRPC_STATUS);
                self.header(Headers::Trailers, GRPC_STATUS);
            }
            Field::StreamId => {
                self.header(Headers::Request, REQUEST_ID);
            }
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
    log: &'a Log,
    /// Values of the metadata that is asked for.
    metadata: Vec<Option<String>>,
    details: Cow<'static, str>,
    grpc: Option<Cow<'static, str>>,
    subject: Option<String>,
    issuer: Option<String>,
    failure: Option<String>,
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
        let (facts, kept) = (self.facts, self.kept);
        let live = &facts.live;
        let session = facts.peer.tls.as_ref();
        let since = |instant: Instant| instant.saturating_duration_since(live.started);
        match field {
            Field::BytesReceived => live.received().into(),
            Field::BytesSent => live.sent().into(),
            Field::ConnectionId => facts.peer.connection.into(),
            // Envoy has it for connections that end without a request, which have no line here; without a tracer, and without
            // virtual clusters.
            Field::ConnectionTerminationDetails | Field::TraceId | Field::VirtualClusterName => Value::Absent,
            Field::DownstreamDirectRemoteAddress => Value::Address(facts.peer.direct),
            Field::DownstreamLocalAddress => facts.peer.local.into(),
            Field::DownstreamPeerIssuer => self.issuer.as_deref().into(),
            Field::DownstreamPeerSubject => self.subject.as_deref().into(),
            Field::DownstreamRemoteAddress => Value::Address(facts.client),
            Field::DownstreamTlsCipher => session.map(|session| session.cipher).into(),
            Field::DownstreamTlsVersion => session.map(|session| session.version).into(),
            Field::Duration => Value::Duration(self.took),
            Field::GrpcStatus => self.grpc.as_deref().into(),
            Field::Hostname => Value::text(&self.log.hostname),
            Field::Protocol => Value::text(protocol(kept.version)),
            Field::RequestDuration if facts.bodiless => Value::Duration(Duration::ZERO),
            Field::RequestDuration => live.request_done().map(since).into(),
            Field::RequestHeadersBytes => self.request_size().into(),
            Field::RequestTxDuration => {
                let done = live.request_done().filter(|_| facts.attempts > 0);
                done.max(facts.sent.filter(|_| done.is_some())).map(since).into()
            }
            Field::RequestedServerName => session.and_then(|session| session.server_name.as_deref()).into(),
            Field::ResponseCode => u64::from(facts.status).into(),
            Field::ResponseCodeDetails => Value::text(&self.details),
            Field::ResponseDuration => live.response_began().map(since).into(),
            Field::ResponseFlags => flag(live.flag(), Flag::name),
            Field::ResponseFlagsLong => flag(live.flag(), Flag::long_name),
            Field::ResponseHeadersBytes => {
                // The status line as HTTP/2 has it.
                let status = (":status".len() + "200".len()) as u64;
                kept.response.size.map_or(0, |size| size + status).into()
            }
            Field::ResponseTxDuration => {
                let began = live.response_began().filter(|_| facts.complete).map(since);
                began.map(|began| self.took.saturating_sub(began)).into()
            }
            Field::RouteName => Value::text(&kept.route),
            Field::StreamId => {
                let id = kept.request.value(&kept.wants.request, REQUEST_ID);
                id.map_or(Value::Absent, Value::Bytes)
            }
            Field::UpstreamCluster => {
                let cluster = facts.cluster.as_ref();
                cluster.map(|cluster| cluster.config.name.as_str()).into()
            }
            Field::UpstreamHost => facts.host.into(),
            Field::UpstreamLocalAddress => facts.upstream_local.into(),
            Field::UpstreamRemoteAddress => facts.host.filter(|_| facts.upstream_local.is_some()).into(),
            // What could not be connected to was tried, too.
            Field::UpstreamRequestAttemptCount => {
                let tried = facts.attempts + facts.unreached;
                u64::from(tried.max(u32::from(facts.cluster.is_some()))).into()
            }
            Field::UpstreamTransportFailureReason => self.failure.as_deref().into(),
        }
    }

    fn metadata(&self, namespace: &str, path: &[String]) -> Value<'_> {
        let (EXT_AUTHZ_NAMESPACE, [key]) = (namespace, path) else {
            return Value::Absent;
        };
        let at = self.log.asked.metadata.iter().position(|known| known == key);
        at.and_then(|at| self.metadata.get(at)?.as_deref()).into()
    }
}

impl Line<'_> {
    /// Names and values of the request's fields, pseudo headers included; 0 for a head that was refused as a whole.
    fn request_size(&self) -> u64 {
        let kept = self.kept;
        let Some(size) = kept.request.size else { return 0 };
        let path = kept.path.as_ref().unwrap_or(&kept.original_path);
        let pseudo = [
            (":authority", kept.authority.len()),
            (":method", kept.method.as_str().len()),
            (":path", path.as_str().len()),
            (":scheme", self.facts.peer.scheme().len()),
        ];
        size + pseudo
            .iter()
            .map(|(name, value)| (name.len() + value) as u64)
            .sum::<u64>()
    }
}

fn flag(flag: Flag, name: impl Fn(Flag) -> &'static str) -> Value<'static> {
    match flag {
        Flag::None => Value::Absent,
        flag => Value::text(name(flag)),
    }
}

/// One word, as Envoy writes what others said.
fn joined(text: &str) -> String {
    text.replace(' ', "_")
}

/// Why the status is what it is.
fn details(facts: &Facts) -> Cow<'static, str> {
    let flag = facts.live.flag();
    if flag == Flag::DownstreamGone {
        return "downstream_remote_disconnect".into();
    }
    let after = match flag {
        Flag::LocalReset => "local_reset",
        Flag::UpstreamProtocol => "protocol_error",
        Flag::UpstreamReset => "remote_reset",
        Flag::UpstreamTerminated => "connection_termination",
        _ => "",
    };
    match (facts.local, flag, &facts.failure) {
        ("", Flag::StreamIdle, _) => "stream_idle_timeout".into(),
        ("", Flag::UpstreamMaxDuration, _) => "max_duration_timeout".into(),
        ("", _, _) if facts.status == 0 => "".into(),
        ("", _, _) if after.is_empty() => "via_upstream".into(),
        ("", _, _) => format!("upstream_reset_after_response_started{{{after}}}").into(),
        (local, Flag::UpstreamConnect, Some(why)) => {
            let reset = local.trim_end_matches('}');
            format!("{reset}|{}}}", joined(why)).into()
        }
        (local, _, _) => local.into(),
    }
}

/// Status of a gRPC call: of the trailers, else of the head, else what HTTP's status stands for (gRPC's "HTTP to gRPC Status
/// Code Mapping").
fn grpc_status(facts: &Facts, kept: &Kept) -> Option<Cow<'static, str>> {
    const NAMES: [&str; 17] = [
        "OK",
        "Canceled",
        "Unknown",
        "InvalidArgument",
        "DeadlineExceeded",
        "NotFound",
        "AlreadyExists",
        "PermissionDenied",
        "ResourceExhausted",
        "FailedPrecondition",
        "Aborted",
        "OutOfRange",
        "Unimplemented",
        "Internal",
        "Unavailable",
        "DataLoss",
        "Unauthenticated",
    ];
    let wants = &kept.wants;
    let kind = kept.request.value(&wants.request, CONTENT_TYPE)?;
    // Envoy knows no parameters here.
    if !is_grpc(kind) || kind.contains(&b';') {
        return None;
    }
    let told = kept
        .trailers
        .value(&wants.trailers, GRPC_STATUS)
        .or_else(|| kept.response.value(&wants.response, GRPC_STATUS));
    let told = told.map(|text| std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()));
    let code: u64 = match told {
        Some(Some(code)) => code,
        Some(None) => return Some("-1".into()),
        None => match facts.status {
            0 => return None,
            400 => 13,
            401 => 16,
            403 => 7,
            404 => 12,
            429 | 502..=504 => 14,
            _ => 2,
        },
    };
    let name = usize::try_from(code).ok().and_then(|code| NAMES.get(code));
    Some(name.map_or_else(|| code.to_string().into(), |name| (*name).into()))
}

#[cfg(test)]
mod tests;
