//! Clusters.

use std::mem::take;
use std::time::Duration;

use trireme_proto::envoy::config::cluster::v3 as proto;
use trireme_proto::envoy::config::cluster::v3::cluster::{
    ClusterDiscoveryType, DiscoveryType, DnsLookupFamily, LbPolicy, TransportSocketMatch,
};
use trireme_proto::envoy::config::core::v3 as core;
use trireme_proto::envoy::config::core::v3::health_check::HealthChecker;
use trireme_proto::envoy::config::endpoint::v3 as endpoint;
use trireme_proto::envoy::extensions::upstreams::http::v3::HttpProtocolOptions;
use trireme_proto::envoy::extensions::upstreams::http::v3::http_protocol_options::UpstreamProtocolOptions;
use trireme_proto::envoy::extensions::upstreams::http::v3::http_protocol_options::explicit_http_config::ProtocolConfig;
use trireme_proto::google::protobuf::Struct;

use super::tls;
use crate::Invalid;
use crate::snapshot::{Cluster, ClusterLimits, Endpoint, HealthCheck, UpstreamProtocol, UpstreamTls};
use crate::wire::names::{PROTOCOL_OPTIONS, SOCKET_MATCH};
use crate::wire::read::{Path, address, nothing_else, number, only, span, text, transport_socket, unpack};

/// Envoy's own, where the message says nothing.
const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Envoy's own, where the message says nothing.
const DEFAULT_DNS_REFRESH: Duration = Duration::from_secs(5);
/// Greatest number of endpoints of a cluster.
const MAX_ENDPOINTS: usize = 1024;

#[expect(
    deprecated,
    reason = "the DNS settings that Envoy 1.40 documents for STRICT_DNS clusters"
)]
pub(super) fn cluster(mut message: proto::Cluster) -> Result<Cluster, Invalid> {
    let root = &Path::ROOT;
    let name = text(take(&mut message.name), &root.field("name"))?;
    match message.cluster_discovery_type.take() {
        Some(ClusterDiscoveryType::Type(kind)) if kind == i32::from(DiscoveryType::StrictDns) => {}
        _ => return Err(root.field("type").invalid("must be STRICT_DNS")),
    }
    if take(&mut message.lb_policy) != i32::from(LbPolicy::RoundRobin) {
        return Err(root.field("lb_policy").invalid("must be ROUND_ROBIN"));
    }
    let family = DnsLookupFamily::try_from(take(&mut message.dns_lookup_family));
    if !matches!(family, Ok(DnsLookupFamily::V4Only | DnsLookupFamily::V4Preferred)) {
        return Err(root
            .field("dns_lookup_family")
            .invalid("must be V4_ONLY or V4_PREFERRED"));
    }
    let positive = |value: Option<_>, default, field| match value {
        None => Ok(default),
        value => span(value, &root.field(field)),
    };
    let connect_timeout = positive(
        message.connect_timeout.take(),
        DEFAULT_CONNECT_TIMEOUT,
        "connect_timeout",
    )?;
    let dns_refresh = positive(
        message.dns_refresh_rate.take(),
        DEFAULT_DNS_REFRESH,
        "dns_refresh_rate",
    )?;
    let respect_dns_ttl = take(&mut message.respect_dns_ttl);
    let sockets = sockets(take(&mut message.transport_socket_matches), root)?;
    let only_socket = match message.transport_socket.take() {
        None => None,
        Some(socket) => {
            let path = &root.field("transport_socket");
            Some(tls::upstream(
                &transport_socket(socket, path)?,
                &path.field("typed_config"),
            )?)
        }
    };
    let assignment = message.load_assignment.take();
    let endpoints = endpoints(
        assignment,
        &sockets,
        only_socket.as_ref(),
        &root.field("load_assignment"),
    )?;
    let protocol = protocol(take(&mut message.typed_extension_protocol_options), root)?;
    let checks_path = root.field("health_checks");
    let checks = take(&mut message.health_checks);
    let health = match checks.len() {
        0 => None,
        _ => Some(health_check(only(checks, &checks_path)?, &checks_path.index(0))?),
    };
    let limits = limits(message.circuit_breakers.take(), &root.field("circuit_breakers"))?;
    nothing_else(&message, root)?;
    Ok(Cluster {
        name,
        endpoints,
        connect_timeout,
        dns_refresh,
        respect_dns_ttl,
        protocol,
        health,
        limits,
    })
}

/// Transport sockets with what an endpoint's metadata must say to get them.
fn sockets(
    matches: Vec<TransportSocketMatch>,
    root: &Path<'_>,
) -> Result<Vec<(Struct, UpstreamTls)>, Invalid> {
    let list = &root.field("transport_socket_matches");
    let read = |(index, mut entry): (usize, TransportSocketMatch)| {
        let path = &list.index(index);
        entry.name.clear();
        let criteria = entry.r#match.take().unwrap_or_default();
        let socket_path = path.field("transport_socket");
        let socket = entry
            .transport_socket
            .take()
            .ok_or_else(|| socket_path.invalid("missing"))?;
        let context = transport_socket(socket, &socket_path)?;
        nothing_else(&entry, path)?;
        Ok((
            criteria,
            tls::upstream(&context, &socket_path.field("typed_config"))?,
        ))
    };
    matches.into_iter().enumerate().map(read).collect()
}

fn endpoints(
    assignment: Option<endpoint::ClusterLoadAssignment>,
    sockets: &[(Struct, UpstreamTls)],
    only_socket: Option<&UpstreamTls>,
    path: &Path<'_>,
) -> Result<Vec<Endpoint>, Invalid> {
    let mut assignment = assignment.ok_or_else(|| path.invalid("missing"))?;
    assignment.cluster_name.clear();
    let list = &path.field("endpoints");
    let mut endpoints = Vec::new();
    for (index, mut group) in take(&mut assignment.endpoints).into_iter().enumerate() {
        let path = &list.index(index);
        let priority = take(&mut group.priority);
        let members = &path.field("lb_endpoints");
        for (index, member) in take(&mut group.lb_endpoints).into_iter().enumerate() {
            let (host, port, criteria) = member_of(member, &members.index(index))?;
            // As Envoy: the first socket whose criteria the metadata meets, else the cluster's own.
            let meets = |wanted: &Struct| {
                wanted
                    .fields
                    .iter()
                    .all(|(key, value)| criteria.fields.get(key) == Some(value))
            };
            let socket = sockets
                .iter()
                .find(|(wanted, _)| meets(wanted))
                .map(|(_, socket)| socket);
            endpoints.push(Endpoint {
                host,
                port,
                priority,
                tls: socket.or(only_socket).cloned(),
            });
        }
        nothing_else(&group, path)?;
    }
    nothing_else(&assignment, path)?;
    match endpoints.len() {
        0 => Err(list.invalid("must hold an endpoint")),
        1..=MAX_ENDPOINTS => Ok(endpoints),
        _ => Err(list.invalid(format!("must hold {MAX_ENDPOINTS} endpoints at most"))),
    }
}

fn member_of(mut member: endpoint::LbEndpoint, path: &Path<'_>) -> Result<(String, u16, Struct), Invalid> {
    let metadata_path = &path.field("metadata");
    let mut metadata = member.metadata.take().unwrap_or_default();
    let criteria = metadata.filter_metadata.remove(SOCKET_MATCH).unwrap_or_default();
    nothing_else(&metadata, metadata_path)?;
    let Some(endpoint::lb_endpoint::HostIdentifier::Endpoint(mut target)) = member.host_identifier.take()
    else {
        return Err(path.field("endpoint").invalid("missing"));
    };
    let target_path = path.field("endpoint");
    let (host, port) = address(target.address.take(), &target_path.field("address"))?;
    nothing_else(&target, &target_path)?;
    nothing_else(&member, path)?;
    Ok((host, port, criteria))
}

fn protocol(
    mut options: std::collections::HashMap<String, trireme_proto::google::protobuf::Any>,
    root: &Path<'_>,
) -> Result<UpstreamProtocol, Invalid> {
    let path = &root.field("typed_extension_protocol_options");
    let any = options.remove(PROTOCOL_OPTIONS);
    if let Some(other) = options.keys().min() {
        return Err(path.key(other).invalid("not supported"));
    }
    let Some(any) = any else {
        return Ok(UpstreamProtocol::Http1);
    };
    let path = &path.key(PROTOCOL_OPTIONS);
    let mut options: HttpProtocolOptions = unpack(Some(&any), path)?;
    let Some(UpstreamProtocolOptions::ExplicitHttpConfig(config)) = options.upstream_protocol_options.take()
    else {
        return Err(path.field("explicit_http_config").invalid("missing"));
    };
    nothing_else(&options, path)?;
    let path = &path.field("explicit_http_config");
    match config.protocol_config {
        Some(ProtocolConfig::HttpProtocolOptions(http1)) => {
            nothing_else(&http1, &path.field("http_protocol_options"))?;
            Ok(UpstreamProtocol::Http1)
        }
        Some(ProtocolConfig::Http2ProtocolOptions(mut http2)) => {
            let path = &path.field("http2_protocol_options");
            let header_table_size = number(http2.hpack_table_size.take());
            let max_streams = number(http2.max_concurrent_streams.take());
            if max_streams == Some(0) {
                return Err(path
                    .field("max_concurrent_streams")
                    .invalid("must be greater than zero"));
            }
            nothing_else(&http2, path)?;
            Ok(UpstreamProtocol::Http2 {
                header_table_size,
                max_streams,
            })
        }
        Some(ProtocolConfig::Http3ProtocolOptions(_)) | None => {
            Err(path.invalid("must be http_protocol_options or http2_protocol_options"))
        }
    }
}

fn health_check(mut check: core::HealthCheck, path: &Path<'_>) -> Result<HealthCheck, Invalid> {
    match check.health_checker.take() {
        Some(HealthChecker::TcpHealthCheck(tcp)) => nothing_else(&tcp, &path.field("tcp_health_check"))?,
        _ => return Err(path.field("tcp_health_check").invalid("missing")),
    }
    let threshold = |value, field| {
        let path = path.field(field);
        number(value)
            .filter(|value| *value > 0)
            .ok_or_else(|| path.invalid("must be greater than zero"))
    };
    let read = HealthCheck {
        timeout: span(check.timeout.take(), &path.field("timeout"))?,
        interval: span(check.interval.take(), &path.field("interval"))?,
        unhealthy: threshold(check.unhealthy_threshold.take(), "unhealthy_threshold")?,
        healthy: threshold(check.healthy_threshold.take(), "healthy_threshold")?,
    };
    nothing_else(&check, path)?;
    Ok(read)
}

fn limits(breakers: Option<proto::CircuitBreakers>, path: &Path<'_>) -> Result<ClusterLimits, Invalid> {
    let Some(mut breakers) = breakers else {
        return Ok(ClusterLimits::default());
    };
    let list = &path.field("thresholds");
    let mut thresholds = only(take(&mut breakers.thresholds), list)?;
    nothing_else(&breakers, path)?;
    let limits = ClusterLimits {
        max_connections: number(thresholds.max_connections.take()),
        max_pending: number(thresholds.max_pending_requests.take()),
        max_requests: number(thresholds.max_requests.take()),
        max_retries: number(thresholds.max_retries.take()),
    };
    // The default priority is the default of the field, so any other is left over here.
    nothing_else(&thresholds, &list.index(0))?;
    Ok(limits)
}
