//! Domain to wire to domain, for anything that the domain can say.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use ipnet::IpNet;
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use trireme_routing::snapshot::*;
use trireme_routing::{Permitted, decode, encode, order};

fn text() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9_.-]{1,12}"
}

fn anything() -> impl Strategy<Value = String> {
    "\\PC{0,20}"
}

fn span() -> impl Strategy<Value = Duration> {
    (0_u64..1_000_000, 1_000_000_u32..1_000_000_000)
        .prop_map(|(seconds, nanos)| Duration::new(seconds, nanos))
}

fn span_or_zero() -> impl Strategy<Value = Duration> {
    prop_oneof![span(), Just(Duration::ZERO)]
}

fn pem() -> impl Strategy<Value = Pem> {
    prop_oneof![text().prop_map(Pem::File), anything().prop_map(Pem::Inline)]
}

fn versions() -> impl Strategy<Value = (TlsVersion, TlsVersion)> {
    use TlsVersion::{V1_2, V1_3};
    select(vec![(V1_2, V1_2), (V1_2, V1_3), (V1_3, V1_3)])
}

fn proxies() -> impl Strategy<Value = Proxies> {
    let range = (any::<IpAddr>(), 0..=32_u8)
        .prop_map(|(address, length)| IpNet::new(address, length).expect("short").trunc());
    prop_oneof![
        Just(Proxies::None),
        any::<NonZeroU32>().prop_map(Proxies::Count),
        vec(range, 1..4).prop_map(Proxies::Ranges),
    ]
}

fn caps() -> impl Strategy<Value = Caps> {
    let some = any::<(u32, u32)>().prop_map(|(connections, requests)| Caps {
        connections,
        requests,
    });
    prop_oneof![Just(Caps::default()), some]
}

fn listener() -> impl Strategy<Value = Listener> {
    let tls = (pem(), pem(), option::of(pem()), versions(), vec(text(), 0..3)).prop_map(
        |(certificate, key, client_ca, (min_version, max_version), ciphers)| ListenerTls {
            certificate,
            key,
            client_ca,
            min_version,
            max_version,
            ciphers,
        },
    );
    let times = (span_or_zero(), span_or_zero(), span_or_zero(), span_or_zero());
    let http = (
        times,
        1..=8192_u32,
        any::<bool>(),
        proxies(),
        text(),
        any::<bool>(),
    )
        .prop_map(
            |((a, b, c, d), max_head_kib, use_remote_address, proxies, server_name, soap_errors)| {
                HttpSettings {
                    request_timeout: a,
                    request_headers_timeout: b,
                    stream_idle_timeout: c,
                    idle_timeout: d,
                    max_head_kib,
                    use_remote_address,
                    proxies,
                    server_name,
                    soap_errors,
                }
            },
        );
    let check =
        (text(), span(), 1..u32::MAX).prop_map(|(cluster, timeout, max_request_bytes)| CheckSettings {
            cluster,
            timeout,
            max_request_bytes,
        });
    let format = prop_oneof![
        btree_map(text(), anything(), 0..5).prop_map(AccessLogFormat::Json),
        anything().prop_map(AccessLogFormat::Text),
    ];
    let access_log = (text(), format).prop_map(|(path, format)| AccessLog { path, format });
    let address = (text(), any::<IpAddr>(), 1..u16::MAX);
    let callers = (any::<bool>(), caps());
    (
        address,
        option::of(tls),
        callers,
        http,
        check,
        option::of(access_log),
    )
        .prop_map(
            |((name, address, port), tls, (proxy_protocol, caps), http, check, access_log)| Listener {
                name,
                address,
                port,
                tls,
                proxy_protocol,
                caps,
                http,
                check,
                access_log,
            },
        )
}

fn forward(prefix: bool) -> impl Strategy<Value = Forward> {
    let cluster = prop_oneof![
        "[a-z-]{1,10}".prop_map(ClusterRef::Header),
        text().prop_map(ClusterRef::Name),
    ];
    // The wire says "everything" for a rewritten prefix, so that pattern reads back as the path it becomes.
    let pattern = "\\PC{1,20}".prop_filter("reserved", |pattern| pattern != "^.*$");
    let rewrite = prop_oneof![
        "/\\PC{0,10}"
            .prop_filter("literal", move |path| prefix || !path.is_empty())
            .prop_map(Rewrite::Path),
        (pattern, anything()).prop_map(|(pattern, substitution)| Rewrite::Regex {
            pattern,
            substitution
        }),
    ];
    let retry =
        (any::<u32>(), vec(100_u16..600, 0..4), span()).prop_map(|(count, statuses, backoff_base)| Retry {
            count,
            statuses,
            backoff_base,
        });
    let times = (span_or_zero(), span_or_zero(), option::of(span_or_zero()));
    (
        cluster,
        option::of(rewrite),
        any::<(bool, bool)>(),
        times,
        option::of(retry),
    )
        .prop_map(
            |(
                cluster,
                rewrite,
                (auto_host, websocket),
                (timeout, idle_timeout, max_stream_duration),
                retry,
            )| Forward {
                cluster,
                rewrite,
                auto_host,
                timeout,
                idle_timeout,
                retry,
                websocket,
                max_stream_duration,
            },
        )
}

fn cors() -> impl Strategy<Value = Cors> {
    let names = || vec("[A-Za-z-]{1,8}", 0..4);
    (vec("\\PC{0,12}", 0..3), names(), names(), names(), any::<bool>()).prop_map(
        |(allow_origins, allow_methods, allow_headers, expose_headers, allow_credentials)| Cors {
            // An origin is matched by an expression, which Envoy wants to hold something.
            allow_origins: allow_origins
                .into_iter()
                .filter(|origin| !origin.is_empty())
                .collect(),
            allow_methods,
            allow_headers,
            expose_headers,
            allow_credentials,
        },
    )
}

fn route() -> impl Strategy<Value = Route> {
    let path = prop_oneof![
        "/\\PC{0,10}".prop_map(PathMatch::Exact),
        "/\\PC{0,10}".prop_map(PathMatch::Prefix),
        "\\PC{1,20}".prop_map(PathMatch::Regex),
    ];
    let path_and_action = path.prop_flat_map(|path| {
        let prefix = matches!(path, PathMatch::Prefix(_));
        let action = prop_oneof![
            (200_u16..600, anything()).prop_map(|(status, body)| Action::Direct { status, body }),
            forward(prefix).prop_map(Action::Forward),
        ];
        (Just(path), action)
    });
    let methods = vec(
        select(vec!["GET", "PUT", "POST", "M-SEARCH"]).prop_map(str::to_owned),
        0..3,
    );
    let headers = vec(("[a-z-]{1,10}", anything()), 0..2);
    let check = prop_oneof![
        Just(Check::Disabled),
        (btree_map(text(), anything(), 0..5), any::<bool>())
            .prop_map(|(context, with_body)| Check::Required { context, with_body }),
    ];
    let limit = (1..u32::MAX, span()).prop_map(|(tokens, interval)| LocalLimit { tokens, interval });
    let filters = (
        check,
        option::of(cors()),
        option::of(limit),
        permitted(),
        0..3_usize,
    );
    let name = prop_oneof![anything(), "(/[ab]?){0,4}"];
    (name, path_and_action, methods, headers, filters).prop_map(
        |(name, (path, action), methods, headers, (check, cors, limit, ambiguous_paths, local_guard))| {
            Route {
                name,
                path,
                methods,
                headers,
                action,
                filters: Filters {
                    check,
                    cors: cors.map(std::sync::Arc::new),
                    limit,
                    ..Filters::default()
                },
                ambiguous_paths,
                guard: [Guard::Untold, Guard::Open, Guard::Demand(7)][local_guard],
            }
        },
    )
}

fn permitted() -> impl Strategy<Value = Permitted> {
    let kinds = Permitted::ALL
        .iter()
        .filter_map(Permitted::only)
        .collect::<Vec<_>>();
    subsequence(kinds, 0..=4).prop_map(|kinds| kinds.into_iter().fold(Permitted::NONE, |all, one| all | one))
}

fn fragment() -> impl Strategy<Value = Fragment> {
    let position = select(vec![Position::Front, Position::Back, Position::System]);
    let revision = any::<(u64, u64)>().prop_map(|(epoch, counter)| Revision { epoch, counter });
    let host = prop_oneof![Just("*".to_owned()), "[a-z0-9.-]{1,10}", Just("[::1]".to_owned())];
    let hosts = btree_map(host, vec(route(), 0..4), 0..3).prop_map(|hosts| {
        hosts
            .into_iter()
            .map(|(name, routes)| VirtualHost { name, routes })
            .collect::<Vec<_>>()
    });
    (text(), position, revision, hosts).prop_map(|(name, position, revision, virtual_hosts)| Fragment {
        name,
        position,
        revision,
        virtual_hosts,
    })
}

fn cluster() -> impl Strategy<Value = Cluster> {
    let trust = prop_oneof![2 => pem().prop_map(Trust::Anchors), 1 => Just(Trust::None)];
    let verify = option::of(prop_oneof![text(), Just("10.0.0.1".to_owned())]);
    let tls = (
        option::of(text()),
        trust,
        verify,
        option::of((pem(), pem())),
        versions(),
        vec(text(), 0..2),
    )
        .prop_map(
            |(sni, trust, verify_host, client_certificate, (min_version, max_version), ciphers)| {
                UpstreamTls {
                    sni,
                    trust,
                    verify_host,
                    client_certificate,
                    min_version,
                    max_version,
                    ciphers,
                }
            },
        );
    let host = prop_oneof![text(), Just("::1".to_owned())];
    let endpoint =
        (host, 1..u16::MAX, 0..128_u32, option::of(tls)).prop_map(|(host, port, priority, tls)| Endpoint {
            host,
            port,
            priority,
            tls,
        });
    let protocol = prop_oneof![
        Just(UpstreamProtocol::Http1),
        (option::of(any::<u32>()), option::of(1..u32::MAX)).prop_map(|(header_table_size, max_streams)| {
            UpstreamProtocol::Http2 {
                header_table_size,
                max_streams,
            }
        }),
    ];
    let health =
        (span(), span(), 1..u32::MAX, 1..u32::MAX).prop_map(|(timeout, interval, unhealthy, healthy)| {
            HealthCheck {
                timeout,
                interval,
                unhealthy,
                healthy,
            }
        });
    let number = || option::of(any::<u32>());
    let limits =
        (number(), number(), number(), number()).prop_map(|(connections, pending, requests, retries)| {
            ClusterLimits {
                max_connections: connections,
                max_pending: pending,
                max_requests: requests,
                max_retries: retries,
            }
        });
    let dns = (span(), span(), any::<bool>());
    (
        text(),
        vec(endpoint, 1..4),
        dns,
        protocol,
        option::of(health),
        limits,
    )
        .prop_map(
            |(name, endpoints, (connect_timeout, dns_refresh, respect_dns_ttl), protocol, health, limits)| {
                Cluster {
                    name,
                    endpoints,
                    connect_timeout,
                    dns_refresh,
                    respect_dns_ttl,
                    protocol,
                    health,
                    limits,
                }
            },
        )
}

/// What the wire cannot tell apart, said in the way in which it is read back.
fn canonical(mut fragment: Fragment) -> Fragment {
    for route in fragment
        .virtual_hosts
        .iter_mut()
        .flat_map(|host| &mut host.routes)
    {
        if !route.methods.is_empty() && !route.methods.iter().any(|method| method == "OPTIONS") {
            route.methods.push("OPTIONS".to_owned());
        }
    }
    fragment
}

fn canonical_cluster(mut cluster: Cluster) -> Cluster {
    for tls in cluster
        .endpoints
        .iter_mut()
        .filter_map(|endpoint| endpoint.tls.as_mut())
    {
        if tls.trust == Trust::None {
            tls.verify_host = None;
        }
    }
    cluster
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn listeners(listener in listener()) {
        prop_assert_eq!(decode::listener(&encode::listener(&listener).value), Ok(listener));
    }

    #[test]
    fn fragments(fragment in fragment()) {
        let wire = encode::fragment(&fragment);
        prop_assert_eq!(&wire.value, &encode::fragment(&fragment).value, "the same bytes each time");
        prop_assert_eq!(decode::fragment(&wire.value), Ok(canonical(fragment)));
    }

    #[test]
    fn clusters(cluster in cluster()) {
        prop_assert_eq!(decode::cluster(&encode::cluster(&cluster).value), Ok(canonical_cluster(cluster)));
    }

    #[test]
    fn assembled_keeps_every_route_in_order(fragments in vec(fragment(), 0..4)) {
        let mut all = Vec::new();
        for fragment in fragments.iter().cloned().map(canonical) {
            for VirtualHost { name: host, routes } in &fragment.virtual_hosts {
                for route in routes {
                    let route = Route { ambiguous_paths: Permitted::NONE, guard: Guard::Untold, ..route.clone() };
                    all.push((host.clone(), order::rank(fragment.position, &route.name), fragment.name.clone(), route));
                }
            }
        }
        all.sort_by(|a, b| (&a.0, a.1, &a.2).cmp(&(&b.0, b.1, &b.2)));
        let mut hosts: BTreeMap<String, Vec<Route>> = BTreeMap::new();
        for (host, _, _, route) in all {
            hosts.entry(host).or_default().push(route);
        }
        let read = decode::fragment(&encode::assembled(&fragments).value).expect("readable");
        let want: Vec<VirtualHost> = hosts.into_iter().map(|(name, routes)| VirtualHost { name, routes }).collect();
        prop_assert_eq!((read.name.as_str(), read.virtual_hosts), ("default", want));
    }

    #[test]
    fn garbage_is_refused_without_a_panic(bytes in vec(any::<u8>(), 0..200)) {
        drop((decode::listener(&bytes), decode::fragment(&bytes), decode::cluster(&bytes)));
    }
}
