//! Wire to domain. What can't be meant is refused with the path of the field, so one bad resource names itself.

use std::time::Duration;

use prost::Message;
use trireme_proto::wso2::discovery::api as wire;
use trireme_proto::wso2::discovery::config::enforcer as config;

use crate::api::{
    ApiKind, ApiPolicy, ClientCertificate, Complexity, Credentials, Endpoint, EndpointCluster,
    EndpointSecurity, GraphQl, KeyType, Lifecycle, Location, Method, Mock, MockContent, MockResponse,
    MutualTls, Operation, Policies, Policy, Requirement, Resource, Retry, Revision, SchemeKind,
    SecurityScheme,
};
pub use crate::invalid::Invalid;
use crate::invalid::indexed;
use crate::settings::{
    Account, AuthHeader, Cache, ClaimMapping, Filter, Generator, Issuer, Keypair, Metrics, MutualTlsSettings,
    Service, Settings, TestIssuer, ThreadPool,
};
use crate::throttle;

/// Reads `wso2.discovery.api.Api`.
///
/// # Errors
/// Names the first field that can't be meant.
pub fn api(bytes: &[u8]) -> Result<ApiPolicy, Invalid> {
    let message = wire::Api::decode(bytes).map_err(|error| Invalid::new(".", error.to_string()))?;
    api_message(message)
}

/// Reads `wso2.discovery.config.enforcer.Config`.
///
/// # Errors
/// Names the first field that can't be meant.
pub fn settings(bytes: &[u8]) -> Result<Settings, Invalid> {
    let message = config::Config::decode(bytes).map_err(|error| Invalid::new(".", error.to_string()))?;
    settings_message(message)
}

/// Domain value of `wso2.discovery.api.Api`.
///
/// # Errors
/// Names the first field that can't be meant.
pub fn api_message(message: wire::Api) -> Result<ApiPolicy, Invalid> {
    if message.vhost.is_empty() {
        return Err(Invalid::new("vhost", "is empty"));
    }
    if !message.base_path.starts_with('/') {
        return Err(Invalid::new("basePath", "does not begin with /"));
    }
    let security = message.endpoint_security.unwrap_or_default();
    let schemes: Vec<_> = message.security_scheme.into_iter().map(scheme).collect();
    for (index, scheme) in schemes.iter().enumerate() {
        let at = format!("securityScheme[{index}]");
        if scheme.definition.is_empty() {
            return Err(Invalid::new(format!("{at}.definitionName"), "is empty"));
        }
        if scheme.kind == SchemeKind::ApiKey && scheme.name.is_empty() {
            return Err(Invalid::new(format!("{at}.name"), "is empty"));
        }
    }
    let mut client_certificates = Vec::with_capacity(message.client_certificates.len());
    for (index, certificate) in message.client_certificates.into_iter().enumerate() {
        if certificate.content.is_empty() {
            let at = format!("clientCertificates[{index}].content");
            return Err(Invalid::new(at, "is empty"));
        }
        let key_type = match certificate.key_type.as_str() {
            "" => None,
            text => Some(KeyType::parse(text).ok_or_else(|| {
                let at = format!("clientCertificates[{index}].keyType");
                Invalid::new(at, format!("{text:?} is none of PRODUCTION, SANDBOX"))
            })?),
        };
        client_certificates.push(ClientCertificate {
            alias: certificate.alias,
            key_type,
            tier: certificate.tier,
            pem: certificate.content.into(),
        });
    }
    let graphql = GraphQl {
        schema: message.graph_ql_schema,
        complexity: message
            .graphql_complexity_info
            .into_iter()
            .map(|weight| Complexity {
                type_name: weight.r#type,
                field: weight.field,
                value: weight.complexity_value,
            })
            .collect(),
    };
    Ok(ApiPolicy {
        production: cluster("productionEndpoints", message.production_endpoints)?,
        sandbox: cluster("sandboxEndpoints", message.sandbox_endpoints)?,
        resources: indexed("resources", message.resources, resource)?,
        security: requirements(message.security),
        kind: ApiKind::parse(&message.api_type),
        lifecycle: Lifecycle::parse(&message.api_life_cycle_state),
        mutual_tls: mutual_tls(&message.mutual_ssl)?,
        endpoint_security: EndpointSecurity {
            production: security.production_security_info.map(credentials),
            sandbox: security.sand_box_security_info.map(credentials),
        },
        id: message.id,
        title: message.title,
        version: message.version,
        description: message.description,
        base_path: message.base_path,
        vhost: message.vhost,
        tier: message.tier,
        schemes,
        authorization_header: Some(message.authorization_header).filter(|name| !name.is_empty()),
        disable_security: message.disable_security,
        organization: message.organization_id,
        mocked: message.is_mocked_api,
        client_certificates,
        application_security: message.application_security,
        graphql: (graphql != GraphQl::default()).then_some(graphql),
        endpoint_type: message.endpoint_type,
        revision: Revision {
            epoch: message.revision_epoch,
            counter: message.revision_counter,
        },
    })
}

/// An unknown text is a mistake that would leave the API open to callers without a certificate.
fn mutual_tls(text: &str) -> Result<MutualTls, Invalid> {
    match text.to_ascii_lowercase().as_str() {
        "" | "not_defined" => Ok(MutualTls::Absent),
        "mandatory" => Ok(MutualTls::Mandatory),
        "optional" => Ok(MutualTls::Optional),
        other => Err(Invalid::new(
            "mutualSSL",
            format!("{other:?} is neither mandatory, optional nor not_defined"),
        )),
    }
}

fn resource(at: &str, resource: wire::Resource) -> Result<Resource, Invalid> {
    Ok(Resource {
        id: resource.id,
        path: resource.path,
        operations: indexed(&format!("{at}.methods"), resource.methods, operation)?,
        production: cluster(
            &format!("{at}.productionEndpoints"),
            resource.production_endpoints,
        )?,
        sandbox: cluster(&format!("{at}.sandboxEndpoints"), resource.sandbox_endpoints)?,
    })
}

fn operation(at: &str, operation: wire::Operation) -> Result<Operation, Invalid> {
    let method = Method::parse(&operation.method).ok_or_else(|| {
        Invalid::new(
            format!("{at}.method"),
            format!("{:?} is not a method", operation.method),
        )
    })?;
    let policies = operation.policies.unwrap_or_default();
    Ok(Operation {
        method,
        security: requirements(operation.security),
        tier: operation.tier,
        disable_security: operation.disable_security,
        policies: Policies {
            request: policies.request.into_iter().map(policy).collect(),
            response: policies.response.into_iter().map(policy).collect(),
            fault: policies.fault.into_iter().map(policy).collect(),
        },
        mock: operation.mocked_api_config.map(mock),
    })
}

fn policy(policy: wire::Policy) -> Policy {
    Policy {
        action: policy.action,
        parameters: policy.parameters.into_iter().collect(),
    }
}

fn mock(mock: wire::MockedApiConfig) -> Mock {
    let responses = mock.responses.into_iter().map(|response| MockResponse {
        code: response.code,
        headers: response
            .headers
            .into_iter()
            .map(|header| (header.name, header.value))
            .collect(),
        content: response
            .content
            .into_iter()
            .map(|content| MockContent {
                content_type: content.content_type,
                examples: content
                    .examples
                    .into_iter()
                    .map(|example| (example.r#ref, example.body))
                    .collect(),
            })
            .collect(),
    });
    Mock {
        responses: responses.collect(),
    }
}

/// An alternative without schemes would be satisfied by anybody. It is left out, as the original does: what remains, or
/// an access token where nothing does, is needed.
fn requirements(lists: Vec<wire::SecurityList>) -> Vec<Requirement> {
    lists
        .into_iter()
        .filter(|list| !list.scope_list.is_empty())
        .map(|list| Requirement {
            schemes: list
                .scope_list
                .into_iter()
                .map(|(definition, scopes)| (definition, scopes.scopes))
                .collect(),
        })
        .collect()
}

fn scheme(scheme: wire::SecurityScheme) -> SecurityScheme {
    SecurityScheme {
        definition: scheme.definition_name,
        kind: match scheme.r#type.trim() {
            "oauth2" => SchemeKind::OAuth2,
            "openIdConnect" => SchemeKind::OpenIdConnect,
            text if text.eq_ignore_ascii_case("apikey") => SchemeKind::ApiKey,
            text => SchemeKind::Other(text.to_owned()),
        },
        name: scheme.name,
        location: match scheme.r#in.as_str() {
            "header" => Location::Header,
            "query" => Location::Query,
            text => Location::Other(text.to_owned()),
        },
    }
}

fn cluster(at: &str, cluster: Option<wire::EndpointCluster>) -> Result<Option<EndpointCluster>, Invalid> {
    let Some(cluster) = cluster else {
        return Ok(None);
    };
    let endpoints = indexed(&format!("{at}.urls"), cluster.urls, |at, endpoint| {
        Ok(Endpoint {
            port: u16::try_from(endpoint.port)
                .map_err(|_| Invalid::new(format!("{at}.port"), "is above 65535"))?,
            host: endpoint.host,
            base_path: endpoint.basepath,
            scheme: endpoint.u_rl_type,
        })
    })?;
    let settings = cluster.config.unwrap_or_default();
    Ok(Some(EndpointCluster {
        endpoints,
        retry: settings.retry_config.map(|retry| Retry {
            count: retry.count,
            status_codes: retry.status_codes,
        }),
        timeout_millis: settings
            .timeout_config
            .map(|timeout| timeout.route_timeout_in_millis),
    }))
}

fn credentials(info: wire::SecurityInfo) -> Credentials {
    Credentials {
        enabled: info.enabled,
        kind: info.security_type,
        username: info.username,
        password: info.password,
        parameters: info.custom_parameters.into_iter().collect(),
    }
}

/// Domain value of `wso2.discovery.config.enforcer.Config`. An absent section means its defaults.
///
/// # Errors
/// Names the first field that can't be meant.
pub fn settings_message(message: config::Config) -> Result<Settings, Invalid> {
    let security = message.security.unwrap_or_default();
    Ok(Settings {
        issuers: indexed("security.tokenService", security.token_service, issuer)?,
        auth_header: security.auth_header.map_or_else(AuthHeader::default, auth_header),
        mutual_tls: security
            .mutual_ssl
            .map_or_else(MutualTlsSettings::default, |tls| MutualTlsSettings {
                header: named(tls.certificate_header, MutualTlsSettings::default().header),
                from_connection: tls.enable_client_validation,
                encoded: tls.client_certificate_encode,
                outbound: tls.enable_outbound_certificate_header,
            }),
        service: message
            .auth_service
            .map_or_else(|| Ok(Service::default()), service)?,
        generator: message.jwt_generator.map_or_else(Generator::default, generator),
        cache: message
            .cache
            .map_or_else(|| Ok(Cache::default()), |wire| cache(&wire))?,
        test_issuer: message
            .jwt_issuer
            .map_or_else(|| Ok(TestIssuer::default()), test_issuer)?,
        management: message.management.map_or_else(Account::default, |user| Account {
            username: user.username,
            password: user.password,
        }),
        admin_api: message.rest_server.is_none_or(|server| server.enable),
        metrics: message.metrics.map_or_else(Metrics::default, |metrics| Metrics {
            enabled: metrics.enabled,
            kind: metrics.r#type,
        }),
        filters: message
            .filters
            .into_iter()
            .map(|filter| Filter {
                class: filter.class_name,
                position: filter.position,
                properties: filter.config_properties.into_iter().collect(),
            })
            .collect(),
        soap_errors: message.soap.is_some_and(|soap| soap.soap_error_in_xml_enabled),
        control_plane: message.control_plane_enabled,
        limits: message.limits.map(throttle::decode).transpose()?,
    })
}

fn issuer(_at: &str, issuer: config::Issuer) -> Result<Issuer, Invalid> {
    Ok(Issuer {
        name: issuer.name,
        issuer: issuer.issuer,
        certificate_alias: issuer.certificate_alias,
        jwks_url: issuer.jwks_url,
        validate_subscription: issuer.validate_subscription,
        consumer_key_claim: issuer.consumer_key_claim,
        certificate_path: issuer.certificate_file_path,
        claim_mapping: issuer
            .claim_mapping
            .into_iter()
            .map(|mapping| ClaimMapping {
                remote: mapping.remote_claim,
                local: mapping.local_claim,
            })
            .collect(),
    })
}

fn auth_header(header: config::AuthHeader) -> AuthHeader {
    let default = AuthHeader::default();
    AuthHeader {
        outbound: header.enable_outbound_auth_header,
        authorization: named(header.authorization_header, default.authorization),
        internal_key: named(header.test_console_header_name, default.internal_key),
    }
}

/// A header without a name is none: nothing could be read from it, and nobody could be told to remove it.
fn named(name: String, default: String) -> String {
    if name.is_empty() { default } else { name }
}

fn service(service: config::Service) -> Result<Service, Invalid> {
    let pool = service.thread_pool.unwrap_or_default();
    Ok(Service {
        port: u16::try_from(service.port)
            .ok()
            .filter(|port| *port != 0)
            .ok_or_else(|| Invalid::new("authService.port", "is not a port"))?,
        max_message_bytes: service.max_message_size,
        max_header_bytes: service.max_header_limit,
        keep_alive: seconds("authService.keepAliveTime", service.keep_alive_time)?,
        pool: ThreadPool {
            core: pool.core_size,
            max: pool.max_size,
            keep_alive: seconds("authService.threadPool.keepAliveTime", pool.keep_alive_time)?,
            queue: pool.queue_size,
        },
    })
}

fn generator(generator: config::JwtGenerator) -> Generator {
    Generator {
        enabled: generator.enable,
        encoding: generator.encoding,
        claim_dialect: generator.claim_dialect,
        convert_dialect: generator.convert_dialect,
        header: generator.header,
        signing_algorithm: generator.signing_algorithm,
        user_claims: generator.enable_user_claims,
        implementation: generator.gateway_generator_impl,
        claims_extractor: generator.claims_extractor_impl,
        ttl_secs: generator.token_ttl,
        keypairs: generator
            .keypairs
            .into_iter()
            .map(|pair| Keypair {
                certificate_path: pair.public_certificate_path,
                key_path: pair.private_key_path,
                signs: pair.use_for_signing,
            })
            .collect(),
        use_kid: generator.use_kid_property,
    }
}

fn cache(cache: &config::Cache) -> Result<Cache, Invalid> {
    Ok(Cache {
        enabled: cache.enable,
        max_entries: u32::try_from(cache.maximum_size)
            .map_err(|_| Invalid::new("cache.maximumSize", "is negative"))?,
        expiry: u64::try_from(cache.expiry_time)
            .map(|minutes| Duration::from_secs(minutes * 60))
            .map_err(|_| Invalid::new("cache.expiryTime", "is negative"))?,
    })
}

fn test_issuer(issuer: config::JwtIssuer) -> Result<TestIssuer, Invalid> {
    if issuer.validity_period < 0 {
        return Err(Invalid::new("jwtIssuer.validity_period", "is negative"));
    }
    Ok(TestIssuer {
        enabled: issuer.enabled,
        issuer: issuer.issuer,
        encoding: issuer.encoding,
        claim_dialect: issuer.claim_dialect,
        signing_algorithm: issuer.signing_algorithm,
        certificate_path: issuer.public_certificate_path,
        key_path: issuer.private_key_path,
        validity_secs: issuer.validity_period,
        users: issuer
            .jwt_users
            .into_iter()
            .map(|user| Account {
                username: user.username,
                password: user.password,
            })
            .collect(),
    })
}

fn seconds(at: &str, seconds: i32) -> Result<Duration, Invalid> {
    u64::try_from(seconds)
        .map(Duration::from_secs)
        .map_err(|_| Invalid::new(at, "is negative"))
}
