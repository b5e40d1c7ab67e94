//! Clusters (spec/adapter.md 5.7).

use std::collections::HashMap;
use std::net::Ipv6Addr;

use trireme_proto::Wire as _;
use trireme_proto::envoy::config::cluster::v3::cluster::{
    ClusterDiscoveryType, DiscoveryType, DnsLookupFamily, LbPolicy, TransportSocketMatch,
};
use trireme_proto::envoy::config::cluster::v3::{
    CircuitBreakers, Cluster as Proto, circuit_breakers::Thresholds,
};
use trireme_proto::envoy::config::core::v3 as core;
use trireme_proto::envoy::config::endpoint::v3 as endpoint;
use trireme_proto::envoy::extensions::upstreams::http::v3::HttpProtocolOptions;
use trireme_proto::envoy::extensions::upstreams::http::v3::http_protocol_options::explicit_http_config::ProtocolConfig;
use trireme_proto::envoy::extensions::upstreams::http::v3::http_protocol_options::{
    ExplicitHttpConfig, UpstreamProtocolOptions,
};
use trireme_proto::google::protobuf::{Struct, Value, value};

use super::tls;
use crate::snapshot::{Cluster, ClusterLimits, Endpoint, HealthCheck, UpstreamProtocol};
use crate::wire::names::{PROTOCOL_OPTIONS, SOCKET_ID, SOCKET_MATCH};
use crate::wire::write::{address, duration, number, pack, transport_socket};

#[expect(
    deprecated,
    reason = "the DNS settings that Envoy 1.40 documents for STRICT_DNS clusters"
)]
pub(super) fn message(cluster: &Cluster) -> Vec<u8> {
    let http2 = matches!(cluster.protocol, UpstreamProtocol::Http2 { .. });
    let numbered = || cluster.endpoints.iter().enumerate();
    let sockets = numbered().filter_map(|(index, endpoint)| {
        let context = tls::upstream(endpoint.tls.as_ref()?, http2);
        Some(TransportSocketMatch {
            name: format!("ts{index}"),
            r#match: Some(socket_id(index)),
            transport_socket: transport_socket(context),
        })
    });
    let assignment = endpoint::ClusterLoadAssignment {
        cluster_name: cluster.name.clone(),
        endpoints: numbered()
            .map(|(index, endpoint)| locality(index, endpoint))
            .collect(),
        ..Default::default()
    };
    // IPv4 only, as the original has it, unless somebody wrote an IPv6 address.
    let ipv6 = cluster
        .endpoints
        .iter()
        .any(|endpoint| endpoint.host.parse::<Ipv6Addr>().is_ok());
    let family = if ipv6 {
        DnsLookupFamily::V4Preferred
    } else {
        DnsLookupFamily::V4Only
    };
    let message = Proto {
        name: cluster.name.clone(),
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(DiscoveryType::StrictDns.into())),
        lb_policy: LbPolicy::RoundRobin.into(),
        connect_timeout: duration(cluster.connect_timeout),
        dns_lookup_family: family.into(),
        dns_refresh_rate: duration(cluster.dns_refresh),
        respect_dns_ttl: cluster.respect_dns_ttl,
        load_assignment: Some(assignment),
        transport_socket_matches: sockets.collect(),
        health_checks: cluster.health.iter().map(health_check).collect(),
        circuit_breakers: circuit_breakers(&cluster.limits),
        typed_extension_protocol_options: protocol_options(&cluster.protocol),
        ..Default::default()
    };
    message.to_wire()
}

/// Each endpoint is a locality of its own (spec/adapter.md 5.7).
fn locality(index: usize, endpoint: &Endpoint) -> endpoint::LocalityLbEndpoints {
    let metadata = endpoint.tls.as_ref().map(|_| core::Metadata {
        filter_metadata: HashMap::from([(SOCKET_MATCH.to_owned(), socket_id(index))]),
        ..Default::default()
    });
    let target = endpoint::Endpoint {
        address: address(&endpoint.host, endpoint.port),
        ..Default::default()
    };
    let member = endpoint::LbEndpoint {
        metadata,
        host_identifier: Some(endpoint::lb_endpoint::HostIdentifier::Endpoint(target)),
        ..Default::default()
    };
    endpoint::LocalityLbEndpoints {
        lb_endpoints: vec![member],
        priority: endpoint.priority,
        ..Default::default()
    }
}

pub(crate) fn socket_id(index: usize) -> Struct {
    let id = Value {
        kind: Some(value::Kind::StringValue(index.to_string())),
    };
    Struct {
        fields: HashMap::from([(SOCKET_ID.to_owned(), id)]),
    }
}

fn health_check(check: &HealthCheck) -> core::HealthCheck {
    core::HealthCheck {
        timeout: duration(check.timeout),
        interval: duration(check.interval),
        unhealthy_threshold: number(check.unhealthy),
        healthy_threshold: number(check.healthy),
        health_checker: Some(core::health_check::HealthChecker::TcpHealthCheck(
            Default::default(),
        )),
        ..Default::default()
    }
}

fn circuit_breakers(limits: &ClusterLimits) -> Option<CircuitBreakers> {
    (*limits != ClusterLimits::default()).then(|| CircuitBreakers {
        thresholds: vec![Thresholds {
            priority: core::RoutingPriority::Default.into(),
            max_connections: limits.max_connections.and_then(number),
            max_pending_requests: limits.max_pending.and_then(number),
            max_requests: limits.max_requests.and_then(number),
            max_retries: limits.max_retries.and_then(number),
            ..Default::default()
        }],
        ..Default::default()
    })
}

fn protocol_options(protocol: &UpstreamProtocol) -> HashMap<String, trireme_proto::google::protobuf::Any> {
    let UpstreamProtocol::Http2 {
        header_table_size,
        max_streams,
    } = protocol
    else {
        return HashMap::new();
    };
    let http2 = core::Http2ProtocolOptions {
        hpack_table_size: header_table_size.and_then(number),
        max_concurrent_streams: max_streams.and_then(number),
        ..Default::default()
    };
    let explicit = ExplicitHttpConfig {
        protocol_config: Some(ProtocolConfig::Http2ProtocolOptions(http2)),
    };
    let options = HttpProtocolOptions {
        upstream_protocol_options: Some(UpstreamProtocolOptions::ExplicitHttpConfig(explicit)),
        ..Default::default()
    };
    HashMap::from([(PROTOCOL_OPTIONS.to_owned(), pack(&options))])
}
