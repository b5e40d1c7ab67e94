//! Sections of the configuration as what the adapter's parts take: translation, and what enforcers are told.

use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;

use trireme_config::{AccessLogs, AmbiguousPath, ClientAddress, Config, TlsVersion as Written};
use trireme_policy::settings as policy;
use trireme_routing::Permitted;
use trireme_routing::snapshot::{
    AccessLog, AccessLogFormat, Caps, CheckSettings, Cors, HealthCheck, HttpSettings, Listener, ListenerTls,
    LocalLimit, Pem, Proxies, TlsVersion, UpstreamProtocol,
};
use trireme_translate::{RetrySettings, Settings, System, Tiers, TlsSettings, Undefined, Upstream};

use crate::limits::{limits, tiers};

/// Cluster that the router reaches the enforcer by.
const CHECK_CLUSTER: &str = "ext-authz";
/// Names of the two listeners.
const SECURED: &str = "HTTPSListener";
const PLAIN: &str = "HTTPListener";
/// `server` response header, as in the original.
const SERVER_NAME: &str = "envoy";

/// What the translation takes.
#[must_use]
pub fn translation(config: &Config) -> Settings {
    let upstream = &config.router.upstream;
    let generator = &config.enforcer.jwt_generator;
    Settings {
        cors: config
            .router
            .cors
            .enabled
            .then(|| Arc::new(cors(&config.router.cors))),
        ambiguous_paths: ambiguous_paths(&config.router.allow_ambiguous_path),
        pass_payload: config.router.payload_passing_to_enforcer.pass_request_payload,
        system: System {
            host: config.router.system_host.clone(),
            testkey: config.enforcer.jwt_issuer.enabled,
            jwks: generator.enabled.then_some(LocalLimit {
                tokens: generator.jwks_ratelimit_quota,
                interval: generator.jwks_ratelimit_time_window,
            }),
        },
        tiers: defined(config),
        upstream: Upstream {
            connect_timeout: config.router.cluster_timeout,
            dns_refresh: upstream.dns.dns_refresh_rate,
            respect_dns_ttl: upstream.dns.respect_dns_ttl,
            health: HealthCheck {
                timeout: upstream.health.timeout,
                interval: upstream.health.interval,
                unhealthy: upstream.health.unhealthy_threshold,
                healthy: upstream.health.healthy_threshold,
            },
            http2: UpstreamProtocol::Http2 {
                header_table_size: Some(upstream.http2.hpack_table_size),
                max_streams: Some(upstream.http2.max_concurrent_streams),
            },
            route_timeout: upstream.timeouts.route_timeout,
            max_route_timeout: upstream.timeouts.max_route_timeout,
            route_idle_timeout: upstream.timeouts.route_idle_timeout,
            retry: RetrySettings {
                max_count: upstream.retry.max_retry_count,
                statuses: upstream
                    .retry
                    .status_codes
                    .iter()
                    .filter_map(|code| u16::try_from(*code).ok())
                    .collect(),
                backoff_base: upstream.retry.base_interval,
            },
            tls: TlsSettings {
                min_version: lowest(upstream.tls.minimum_protocol_version),
                max_version: highest(upstream.tls.maximum_protocol_version),
                ciphers: upstream.tls.ciphers.clone(),
                trusted: text(&upstream.tls.trusted_cert_path),
                verify_host: upstream.tls.verify_host_name,
                disable_verification: upstream.tls.disable_ssl_verification,
                client_certificate: Some(keystore(config)),
            },
        },
    }
}

fn ambiguous_paths(kinds: &[AmbiguousPath]) -> Permitted {
    let each = kinds.iter().map(|kind| match kind {
        AmbiguousPath::DoubleEncoding => Permitted::DOUBLE_ENCODING,
        AmbiguousPath::EmptySegment => Permitted::EMPTY_SEGMENT,
        AmbiguousPath::EncodedBackslash => Permitted::ENCODED_BACKSLASH,
        AmbiguousPath::EncodedSlash => Permitted::ENCODED_SLASH,
    });
    each.fold(Permitted::NONE, |all, one| all | one)
}

fn defined(config: &Config) -> Tiers {
    let throttling = &config.enforcer.throttling;
    if !throttling.enabled {
        return Tiers {
            defined: Vec::new(),
            undefined: Undefined::Off,
        };
    }
    Tiers {
        defined: tiers(throttling).into_iter().map(|tier| tier.name).collect(),
        undefined: if config.control_plane.enabled {
            Undefined::Unlimited
        } else {
            Undefined::Refused
        },
    }
}

/// What enforcers are told (spec/adapter.md 1.11).
#[must_use]
pub fn enforcer(config: &Config) -> policy::Settings {
    let enforcer = &config.enforcer;
    let security = &enforcer.security;
    policy::Settings {
        issuers: security.token_service.iter().map(token_service).collect(),
        auth_header: policy::AuthHeader {
            outbound: security.auth_header.enable_outbound_auth_header,
            authorization: security.auth_header.authorization_header.clone(),
            internal_key: security.auth_header.test_console_header_name.clone(),
        },
        mutual_tls: policy::MutualTlsSettings {
            header: security.mutual_ssl.certificate_header.clone(),
            from_connection: security.mutual_ssl.enable_client_validation,
            encoded: security.mutual_ssl.client_certificate_encode,
            outbound: security.mutual_ssl.enable_outbound_certificate_header,
        },
        service: service(&enforcer.auth_service),
        generator: generator(&enforcer.jwt_generator),
        cache: policy::Cache {
            enabled: enforcer.cache.enabled,
            max_entries: enforcer.cache.maximum_size,
            expiry: enforcer.cache.expiry_time,
        },
        test_issuer: test_issuer(&enforcer.jwt_issuer),
        management: account(
            &enforcer.management.username,
            enforcer.management.password.reveal(),
        ),
        admin_api: enforcer.rest_server.enabled,
        metrics: policy::Metrics {
            enabled: enforcer.metrics.enabled,
            kind: enforcer.metrics.kind.clone(),
        },
        filters: Vec::new(),
        soap_errors: config.adapter.soap_error_in_xml_enabled,
        control_plane: config.control_plane.enabled,
        limits: enforcer.throttling.enabled.then(|| limits(&enforcer.throttling)),
    }
}

fn service(service: &trireme_config::AuthService) -> policy::Service {
    policy::Service {
        port: service.port,
        max_message_bytes: service.max_message_size,
        max_header_bytes: service.max_header_limit,
        keep_alive: service.keep_alive_time,
        pool: policy::ThreadPool {
            core: service.thread_pool.core_size,
            max: service.thread_pool.max_size,
            keep_alive: service.thread_pool.keep_alive_time,
            queue: service.thread_pool.queue_size,
        },
    }
}

fn generator(generator: &trireme_config::JwtGenerator) -> policy::Generator {
    policy::Generator {
        enabled: generator.enabled,
        encoding: generator.encoding.clone(),
        claim_dialect: generator.claim_dialect.clone(),
        convert_dialect: generator.convert_dialect,
        header: generator.header.clone(),
        signing_algorithm: generator.signing_algorithm.clone(),
        user_claims: generator.enable_user_claims,
        implementation: generator.gateway_generator_impl.clone(),
        claims_extractor: generator.claims_extractor_impl.clone(),
        ttl_secs: i64::try_from(generator.token_ttl.as_secs()).unwrap_or(i64::MAX),
        keypairs: generator
            .keypair
            .iter()
            .map(|pair| policy::Keypair {
                certificate_path: text(&pair.public_certificate_path),
                key_path: text(&pair.private_key_path),
                signs: pair.use_for_signing,
            })
            .collect(),
        use_kid: generator.use_kid_property,
    }
}

fn test_issuer(issuer: &trireme_config::JwtIssuer) -> policy::TestIssuer {
    policy::TestIssuer {
        enabled: issuer.enabled,
        issuer: issuer.issuer.clone(),
        encoding: issuer.encoding.clone(),
        claim_dialect: issuer.claim_dialect.clone(),
        signing_algorithm: issuer.signing_algorithm.clone(),
        certificate_path: text(&issuer.public_certificate_path),
        key_path: text(&issuer.private_key_path),
        validity_secs: i64::try_from(issuer.validity_period.as_secs()).unwrap_or(i64::MAX),
        users: issuer
            .jwt_users
            .iter()
            .map(|user| account(&user.username, user.password.reveal()))
            .collect(),
    }
}

fn token_service(service: &trireme_config::TokenService) -> policy::Issuer {
    policy::Issuer {
        name: service.name.clone(),
        issuer: service.issuer.clone(),
        certificate_alias: service.certificate_alias.clone(),
        jwks_url: service.jwks_url.clone(),
        validate_subscription: service.validate_subscription,
        consumer_key_claim: service.consumer_key_claim.clone(),
        certificate_path: text(&service.certificate_file_path),
        claim_mapping: service
            .claim_mapping
            .iter()
            .map(|mapping| policy::ClaimMapping {
                remote: mapping.remote_claim.clone(),
                local: mapping.local_claim.clone(),
            })
            .collect(),
    }
}

fn account(username: &str, password: &str) -> policy::Account {
    policy::Account {
        username: username.to_owned(),
        password: password.to_owned(),
    }
}

/// Listeners of every label, the secured one first, as the original sends them; a port of 0 turns one off.
#[must_use]
pub fn listeners(config: &Config, log: &AccessLogs) -> Vec<Listener> {
    let router = &config.router;
    let timeouts = &router.connection.timeouts;
    let listener = |name: &str, address, port, tls, proxy_protocol| Listener {
        name: name.to_owned(),
        address,
        port,
        tls,
        proxy_protocol,
        caps: Caps {
            connections: router.connection.max_connections_per_address,
            requests: router.connection.max_requests_per_address,
        },
        http: HttpSettings {
            request_timeout: timeouts.request_timeout,
            request_headers_timeout: timeouts.request_headers_timeout,
            stream_idle_timeout: timeouts.stream_idle_timeout,
            idle_timeout: timeouts.idle_timeout,
            max_head_kib: router.connection.max_request_head,
            use_remote_address: router.use_remote_address,
            proxies: proxies(&router.client_address),
            server_name: SERVER_NAME.to_owned(),
            soap_errors: config.adapter.soap_error_in_xml_enabled,
        },
        check: CheckSettings {
            cluster: CHECK_CLUSTER.to_owned(),
            timeout: router.enforcer_response_timeout,
            max_request_bytes: router.payload_passing_to_enforcer.max_request_bytes,
        },
        access_log: log.enable.then(|| AccessLog {
            path: text(&log.logfile),
            format: AccessLogFormat::Text(log.format.clone()),
        }),
    };
    let mut listeners = Vec::with_capacity(2);
    if router.secured_listener_port != 0 {
        let tls = &router.downstream.tls;
        let (certificate, key) = keystore(config);
        let client_ca = tls.mtls_apis_enabled.then(|| file(&tls.trusted_cert_path));
        let settings = ListenerTls {
            certificate,
            key,
            client_ca,
            min_version: lowest(tls.minimum_protocol_version),
            max_version: highest(tls.maximum_protocol_version),
            ciphers: tls.ciphers.clone(),
        };
        let (host, port) = (router.secured_listener_host, router.secured_listener_port);
        let proxied = router.secured_listener_proxy_protocol;
        listeners.push(listener(SECURED, host, port, Some(settings), proxied));
    }
    if router.listener_port != 0 {
        let (host, port) = (router.listener_host, router.listener_port);
        listeners.push(listener(PLAIN, host, port, None, router.listener_proxy_protocol));
    }
    listeners
}

/// Who is believed in what `x-forwarded-for` says.
fn proxies(written: &ClientAddress) -> Proxies {
    match NonZeroU32::new(written.trusted_hops) {
        Some(hops) => Proxies::Count(hops),
        None if written.trusted_ranges.is_empty() => Proxies::None,
        None => Proxies::Ranges(written.trusted_ranges.clone()),
    }
}

/// Certificate and key of `router.keystore`: files of the router, which follows them. No key ever travels.
fn keystore(config: &Config) -> (Pem, Pem) {
    let keystore = &config.router.keystore;
    (file(&keystore.cert_path), file(&keystore.key_path))
}

fn file(path: &Path) -> Pem {
    Pem::File(text(path))
}

fn cors(written: &trireme_config::Cors) -> Cors {
    Cors {
        allow_origins: written.allow_origins.clone(),
        allow_methods: written.allow_methods.clone(),
        allow_headers: written.allow_headers.clone(),
        expose_headers: written.expose_headers.clone(),
        allow_credentials: written.allow_credentials,
    }
}

/// TLS 1.0 and 1.1 count as 1.2: nothing below is offered.
fn lowest(written: Written) -> TlsVersion {
    match written {
        Written::Auto | Written::V1_0 | Written::V1_1 | Written::V1_2 => TlsVersion::V1_2,
        Written::V1_3 => TlsVersion::V1_3,
    }
}

fn highest(written: Written) -> TlsVersion {
    match written {
        Written::V1_0 | Written::V1_1 | Written::V1_2 => TlsVersion::V1_2,
        Written::Auto | Written::V1_3 => TlsVersion::V1_3,
    }
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_that_says_nothing_is_a_gateway_as_it_comes() {
        let configured = translation(&Config::default());
        let plain = Settings::default();
        // What lies on the router, and CORS, are the configuration's alone.
        let plain = Settings {
            cors: configured.cors.clone(),
            upstream: Upstream {
                tls: configured.upstream.tls.clone(),
                ..plain.upstream
            },
            ..plain
        };
        assert_eq!(plain, configured);
    }

    #[test]
    fn ambiguous_paths_have_the_names_that_routes_have_for_them() {
        let mut config = Config::default();
        config.router.allow_ambiguous_path = AmbiguousPath::ALL.to_vec();
        assert_eq!(translation(&config).ambiguous_paths, Permitted::ALL);
        for kind in trireme_routing::Ambiguity::ALL {
            let known = AmbiguousPath::ALL
                .iter()
                .find(|known| known.as_str() == kind.as_str());
            let permitted = known.map(|known| ambiguous_paths(&[*known]));
            assert_eq!(permitted, Permitted::only(kind), "{kind}");
        }
    }
}
