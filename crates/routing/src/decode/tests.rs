//! What is outside the subset is refused with the path of the field.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use prost::Message as _;
use trireme_proto::envoy::config::cluster::v3::cluster::{DiscoveryType, DnsLookupFamily, LbPolicy};
use trireme_proto::envoy::config::cluster::v3::{Cluster as ClusterProto, cluster::ClusterDiscoveryType};
use trireme_proto::envoy::config::core::v3::{self as core, HeaderValueOption};
use trireme_proto::envoy::config::listener::v3::{Listener as ListenerProto, filter::ConfigType};
use trireme_proto::envoy::config::route::v3 as route;
use trireme_proto::envoy::config::route::v3::route::Action as ActionProto;
use trireme_proto::envoy::config::route::v3::route_match::PathSpecifier;
use trireme_proto::envoy::extensions::filters::http::ext_authz::v3::ExtAuthz;
use trireme_proto::envoy::extensions::filters::network::http_connection_manager::v3::{
    HttpConnectionManager, HttpFilter, http_filter,
};
use trireme_proto::envoy::r#type::matcher::v3::{RegexMatcher, StringMatcher, string_matcher::MatchPattern};
use trireme_proto::google::protobuf::{self, Any, BoolValue, UInt32Value};
use trireme_proto::names::filter;

use super::*;
use crate::encode;
use crate::snapshot::*;

const SECOND: Duration = Duration::from_secs(1);

fn a_fragment() -> Fragment {
    let forward = Forward {
        cluster: ClusterRef::Header("x-wso2-cluster-header".to_owned()),
        rewrite: Some(Rewrite::Regex {
            pattern: "^/a".to_owned(),
            substitution: "/b".to_owned(),
        }),
        auto_host: true,
        timeout: 60 * SECOND,
        idle_timeout: 300 * SECOND,
        retry: Some(Retry {
            count: 0,
            statuses: vec![504],
            backoff_base: SECOND,
        }),
        websocket: false,
        max_stream_duration: None,
    };
    let mut route = Route {
        name: "a".to_owned(),
        methods: vec!["GET".to_owned()],
        headers: vec![("x".to_owned(), "y".to_owned())],
        ..Route::new(PathMatch::Regex("^/a".to_owned()), Action::Forward(forward))
    };
    route.filters.check = Check::Required {
        context: BTreeMap::new(),
        with_body: false,
    };
    let routes = vec![route];
    let virtual_hosts = vec![VirtualHost {
        name: "h".to_owned(),
        routes,
    }];
    Fragment {
        name: "f".to_owned(),
        position: Position::Front,
        revision: Revision::default(),
        virtual_hosts,
    }
}

fn a_listener() -> Listener {
    Listener {
        name: "HTTPListener".to_owned(),
        address: IpAddr::V4(Ipv4Addr::LOCALHOST),
        port: 9090,
        tls: None,
        proxy_protocol: false,
        caps: Caps::default(),
        http: HttpSettings {
            request_timeout: SECOND,
            request_headers_timeout: SECOND,
            stream_idle_timeout: SECOND,
            idle_timeout: SECOND,
            max_head_kib: 60,
            use_remote_address: false,
            proxies: Proxies::None,
            server_name: "envoy".to_owned(),
            soap_errors: false,
        },
        check: CheckSettings {
            cluster: "ext-authz".to_owned(),
            timeout: SECOND,
            max_request_bytes: 1,
        },
        access_log: None,
    }
}

fn a_cluster() -> Cluster {
    let tls = UpstreamTls {
        sni: None,
        trust: Trust::Anchors(Pem::Inline("secret".to_owned())),
        verify_host: None,
        client_certificate: None,
        min_version: TlsVersion::V1_2,
        max_version: TlsVersion::V1_3,
        ciphers: Vec::new(),
    };
    Cluster {
        name: "c".to_owned(),
        endpoints: vec![Endpoint {
            host: "h".to_owned(),
            port: 1,
            priority: 0,
            tls: Some(tls),
        }],
        connect_timeout: SECOND,
        dns_refresh: SECOND,
        respect_dns_ttl: false,
        protocol: UpstreamProtocol::Http1,
        health: None,
        limits: ClusterLimits::default(),
    }
}

/// Encodes, changes the message, decodes, and gives what is wrong.
fn refusal<M: prost::Message + Default, T: fmt::Debug>(
    wire: &Any,
    change: impl FnOnce(&mut M),
    decode: impl FnOnce(&[u8]) -> Result<T, Invalid>,
) -> String {
    let mut message = M::decode(wire.value.as_slice()).expect("encoded");
    change(&mut message);
    decode(&message.encode_to_vec()).expect_err("refused").to_string()
}

fn refused_route(change: impl FnOnce(&mut route::Route)) -> String {
    refusal(
        &encode::fragment(&a_fragment()),
        |message: &mut route::RouteConfiguration| change(&mut message.virtual_hosts[0].routes[0]),
        fragment,
    )
}

fn refused_action(change: impl FnOnce(&mut route::RouteAction)) -> String {
    refused_route(|route| match &mut route.action {
        Some(ActionProto::Route(action)) => change(action),
        other => panic!("{other:?}"),
    })
}

fn refused_match(change: impl FnOnce(&mut route::RouteMatch)) -> String {
    refused_route(|route| change(route.r#match.as_mut().expect("a match")))
}

fn refused_filter(name: &str, config: &Any) -> String {
    refused_route(|route| {
        drop(
            route
                .typed_per_filter_config
                .insert(name.to_owned(), config.clone()),
        )
    })
}

fn refused_manager(change: impl FnOnce(&mut HttpConnectionManager)) -> String {
    let change = |message: &mut ListenerProto| {
        let Some(ConfigType::TypedConfig(any)) = &mut message.filter_chains[0].filters[0].config_type else {
            panic!("typed");
        };
        let mut manager = HttpConnectionManager::decode(any.value.as_slice()).expect("a connection manager");
        change(&mut manager);
        any.value = manager.encode_to_vec();
    };
    refusal(&encode::listener(&a_listener()), change, listener)
}

fn refused_cluster(change: impl FnOnce(&mut ClusterProto)) -> String {
    refusal(&encode::cluster(&a_cluster()), change, cluster)
}

fn regex(pattern: &str) -> RegexMatcher {
    RegexMatcher {
        regex: pattern.to_owned(),
        ..Default::default()
    }
}

#[test]
fn names_the_field_of_a_route() {
    const R: &str = "virtual_hosts[0].routes[0]";
    let method = |pattern: &str| {
        let matcher = StringMatcher {
            match_pattern: Some(MatchPattern::SafeRegex(regex(pattern))),
            ..Default::default()
        };
        refused_match(|condition| {
            condition.headers[0].header_match_specifier =
                Some(route::header_matcher::HeaderMatchSpecifier::StringMatch(matcher));
        })
    };
    let cases = [
        (
            refused_route(|route| route.request_headers_to_add.push(HeaderValueOption::default())),
            "request_headers_to_add[0].header: missing",
        ),
        (
            refused_route(|route| route.tracing = Some(Default::default())),
            "tracing: not supported",
        ),
        (refused_route(|route| route.r#match = None), "match: missing"),
        (
            refused_route(|route| route.action = None),
            "action: must be route or direct_response",
        ),
        (
            refused_match(|condition| condition.case_sensitive = Some(BoolValue { value: false })),
            "match.case_sensitive: not supported",
        ),
        (
            refused_match(|condition| condition.path_specifier = Some(PathSpecifier::SafeRegex(regex("")))),
            "match.safe_regex.regex: must not be empty",
        ),
        (
            refused_match(|condition| {
                condition.path_specifier = Some(PathSpecifier::PathSeparatedPrefix("/a".to_owned()))
            }),
            "match.path_specifier: must be path, prefix or safe_regex",
        ),
        (
            refused_match(|condition| condition.headers[1].invert_match = true),
            "match.headers[1].invert_match: not supported",
        ),
        (
            method("GET|PUT"),
            "match.headers[0].string_match.safe_regex.regex: must be ^METHOD|METHOD|OPTIONS$",
        ),
        (
            method("^G.T$"),
            "match.headers[0].string_match.safe_regex.regex: must be ^METHOD|METHOD|OPTIONS$",
        ),
        (
            method("^$"),
            "match.headers[0].string_match.safe_regex.regex: must be ^METHOD|METHOD|OPTIONS$",
        ),
        (
            refused_action(|action| action.append_x_forwarded_host = true),
            "route.append_x_forwarded_host: not supported",
        ),
        (
            refused_action(|action| action.priority = 1),
            "route.priority: not supported",
        ),
        (
            refused_action(|action| {
                action.timeout = Some(protobuf::Duration {
                    seconds: -1,
                    nanos: 0,
                })
            }),
            "route.timeout: not a duration of zero or more",
        ),
        (
            refused_action(|action| action.prefix_rewrite = "/x".to_owned()),
            "route.prefix_rewrite: only with an exact path or a safe_regex",
        ),
        (
            refused_action(|action| {
                action.retry_policy.as_mut().expect("a policy").retry_on = "5xx".to_owned()
            }),
            "route.retry_policy.retry_on: must be retriable-status-codes",
        ),
        (
            refused_action(|action| action.upgrade_configs[0].upgrade_type = "CONNECT".to_owned()),
            "route.upgrade_configs[0].upgrade_type: must be websocket",
        ),
        (
            refused_filter("envoy.filters.http.lua", &Any::default()),
            r#"typed_per_filter_config["envoy.filters.http.lua"]: not supported"#,
        ),
        (
            refused_filter(filter::EXT_AUTHZ, &Any::default()),
            "typed_per_filter_config[\"envoy.filters.http.ext_authz\"]: type \"\" instead of \
             envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute",
        ),
    ];
    for (got, want) in cases {
        assert_eq!(got, format!("{R}.{want}"));
    }
}

#[test]
fn names_the_field_of_a_route_configuration() {
    let refused = |change: fn(&mut route::RouteConfiguration)| {
        refusal(&encode::fragment(&a_fragment()), change, fragment)
    };
    let cases = [
        (refused(|message| message.name.clear()), "name: must not be empty"),
        (
            refused(|message| message.vhost_header = "x".to_owned()),
            "vhost_header: not supported",
        ),
        (
            refused(|message| message.request_headers_to_remove.push("x".to_owned())),
            "request_headers_to_remove[1]: must be x-wso2-cluster-header",
        ),
        (
            refused(|message| message.virtual_hosts[0].domains = vec!["*.h".to_owned()]),
            "virtual_hosts[0].domains[0]: must be a host name or \"*\"",
        ),
        (
            refused(|message| message.virtual_hosts[0].domains = vec!["h:80".to_owned()]),
            "virtual_hosts[0].domains[0]: must be without a port",
        ),
        (
            refused(|message| message.virtual_hosts[0].domains[1] = "i".to_owned()),
            "virtual_hosts[0].domains[1]: only \"h:*\" is supported",
        ),
        (
            refused(|message| message.virtual_hosts.push(message.virtual_hosts[0].clone())),
            "virtual_hosts[1].domains: \"h\" is taken by another virtual host",
        ),
        (
            refused(|message| message.virtual_hosts[0].require_tls = 1),
            "virtual_hosts[0].require_tls: not supported",
        ),
    ];
    for (got, want) in cases {
        assert_eq!(got, want);
    }
    assert!(
        fragment(b"\xff")
            .expect_err("garbage")
            .to_string()
            .starts_with("not a message of its type: ")
    );
}

#[test]
fn names_the_field_of_a_listener() {
    const M: &str = "filter_chains[0].filters[0].typed_config";
    fn changed(filter: &mut HttpFilter, change: fn(&mut ExtAuthz)) {
        let Some(http_filter::ConfigType::TypedConfig(any)) = &mut filter.config_type else {
            panic!("typed");
        };
        let mut check = ExtAuthz::decode(any.value.as_slice()).expect("a check filter");
        change(&mut check);
        any.value = check.encode_to_vec();
    }
    let check =
        |change: fn(&mut ExtAuthz)| refused_manager(|manager| changed(&mut manager.http_filters[2], change));
    let upgrade = |change: fn(&mut Vec<HttpFilter>)| {
        refused_manager(|manager| change(&mut manager.upgrade_configs[0].filters))
    };
    let cases = [
        (
            refused_manager(|manager| manager.normalize_path = Some(BoolValue { value: false })),
            "normalize_path: must be true",
        ),
        (
            refused_manager(|manager| manager.merge_slashes = true),
            "merge_slashes: not supported",
        ),
        (
            refused_manager(|manager| manager.codec_type = 1),
            "codec_type: must be AUTO",
        ),
        (
            refused_manager(|manager| manager.strip_matching_host_port = false),
            "strip_matching_host_port: must be true",
        ),
        (
            refused_manager(|manager| drop(manager.http_filters.remove(2))),
            "http_filters: must be envoy.filters.http.cors, envoy.filters.http.local_ratelimit, \
             envoy.filters.http.ext_authz, envoy.filters.http.router",
        ),
        (
            refused_manager(|manager| manager.http_filters[2].disabled = true),
            "http_filters[2].disabled: not supported",
        ),
        (
            check(|filter| filter.failure_mode_allow = true),
            "http_filters[2].typed_config.failure_mode_allow: not supported",
        ),
        (
            upgrade(|filters| drop(filters.remove(1))),
            "upgrade_configs[0].filters: must be envoy.filters.http.cors, envoy.filters.http.ext_authz, \
             envoy.filters.http.router",
        ),
        (
            upgrade(|filters| changed(&mut filters[1], |check| check.failure_mode_allow = true)),
            "upgrade_configs[0].filters[1].typed_config.failure_mode_allow: not supported",
        ),
        (
            upgrade(|filters| {
                changed(&mut filters[1], |check| {
                    check
                        .with_request_body
                        .as_mut()
                        .expect("settings")
                        .max_request_bytes = 2
                })
            }),
            "upgrade_configs[0].filters: must be as in http_filters",
        ),
        (
            refused_manager(|manager| {
                drop(
                    manager
                        .local_reply_config
                        .as_mut()
                        .expect("replies")
                        .mappers
                        .pop(),
                )
            }),
            "local_reply_config: the answers of the router are fixed",
        ),
    ];
    for (got, want) in cases {
        assert_eq!(got, format!("{M}.{want}"));
    }
    let refused =
        |change: fn(&mut ListenerProto)| refusal(&encode::listener(&a_listener()), change, listener);
    let cases = [
        (
            refused(|message| message.freebind = Some(BoolValue { value: true })),
            "freebind: not supported",
        ),
        (
            refused(|message| message.filter_chains.clear()),
            "filter_chains: must hold one element, holds 0",
        ),
        (
            refused(|message| message.address = None),
            "address: must be a socket_address",
        ),
        (
            refused(|message| message.per_connection_buffer_limit_bytes = Some(UInt32Value { value: 1 })),
            "per_connection_buffer_limit_bytes: must be 1048576",
        ),
    ];
    for (got, want) in cases {
        assert_eq!(got, want);
    }
}

#[test]
fn names_the_field_of_a_cluster_and_no_secret() {
    let eds = Some(ClusterDiscoveryType::Type(DiscoveryType::Eds.into()));
    let cases = [
        (
            refused_cluster(|message| message.cluster_discovery_type = eds),
            "type: must be STRICT_DNS",
        ),
        (
            refused_cluster(|message| message.lb_policy = LbPolicy::Maglev.into()),
            "lb_policy: must be ROUND_ROBIN",
        ),
        (
            refused_cluster(|message| message.dns_lookup_family = DnsLookupFamily::V6Only.into()),
            "dns_lookup_family: must be V4_ONLY or V4_PREFERRED",
        ),
        (
            refused_cluster(|message| message.connect_timeout = Some(protobuf::Duration::default())),
            "connect_timeout: must be greater than zero",
        ),
        (
            refused_cluster(|message| message.outlier_detection = Some(Default::default())),
            "outlier_detection: not supported",
        ),
        (
            refused_cluster(|message| message.load_assignment = None),
            "load_assignment: missing",
        ),
        (
            refused_cluster(|message| {
                message
                    .load_assignment
                    .as_mut()
                    .expect("endpoints")
                    .endpoints
                    .clear()
            }),
            "load_assignment.endpoints: must hold an endpoint",
        ),
        (
            refused_cluster(|message| {
                let group = &mut message.load_assignment.as_mut().expect("endpoints").endpoints[0];
                group.lb_endpoints[0].health_status = 2;
            }),
            "load_assignment.endpoints[0].lb_endpoints[0].health_status: not supported",
        ),
        (
            refused_cluster(|message| {
                let socket = message.transport_socket_matches[0]
                    .transport_socket
                    .as_mut()
                    .expect("a socket");
                let Some(core::transport_socket::ConfigType::TypedConfig(any)) = &mut socket.config_type
                else {
                    panic!("typed");
                };
                let mut context =
                    trireme_proto::envoy::extensions::transport_sockets::tls::v3::UpstreamTlsContext::decode(
                        any.value.as_slice(),
                    )
                    .expect("a context");
                context.allow_renegotiation = true;
                any.value = context.encode_to_vec();
            }),
            "transport_socket_matches[0].transport_socket.typed_config.allow_renegotiation: not supported",
        ),
    ];
    for (got, want) in cases {
        assert_eq!(got, want);
        assert!(!got.contains("secret"), "{got}");
    }
}

#[test]
fn what_a_message_leaves_out_is_as_in_envoy() {
    let mut message =
        route::RouteConfiguration::decode(encode::fragment(&a_fragment()).value.as_slice()).expect("encoded");
    message.typed_per_filter_config.clear();
    let entry = &mut message.virtual_hosts[0].routes[0];
    entry.typed_per_filter_config.clear();
    entry.decorator = None;
    let Some(ActionProto::Route(action)) = &mut entry.action else {
        panic!("a forward")
    };
    (action.timeout, action.idle_timeout, action.retry_policy) = (None, None, None);
    action.upgrade_configs.clear();
    let read = fragment(&message.encode_to_vec()).expect("in the subset");
    assert_eq!(
        (read.position, read.revision),
        (Position::Front, Revision { epoch: 0, counter: 0 })
    );
    let route = &read.virtual_hosts[0].routes[0];
    assert_eq!(
        route.filters.check,
        Check::Required {
            context: BTreeMap::new(),
            with_body: true
        }
    );
    let Action::Forward(forward) = &route.action else {
        panic!("a forward")
    };
    assert_eq!(
        (forward.timeout, forward.idle_timeout),
        (15 * SECOND, 300 * SECOND)
    );
    assert_eq!((&forward.retry, forward.websocket), (&None, false));
}
