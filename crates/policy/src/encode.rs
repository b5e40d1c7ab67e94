//! Domain to wire. The same value gives the same message; the bytes of one with several entries in a map may differ in
//! the order of the entries.

use prost::Message;
use trireme_proto::wso2::discovery::api as wire;
use trireme_proto::wso2::discovery::config::enforcer as config;

use crate::api::{
    ApiPolicy, Credentials, EndpointCluster, KeyType, Location, Mock, MutualTls, Operation, Policy,
    Requirement, Resource, SchemeKind, SecurityScheme,
};
use crate::settings::{self, Settings};
use crate::throttle;

/// The bytes of `wso2.discovery.api.Api`, the value of an `Any` of type `names::type_url::API`.
#[must_use]
pub fn api(policy: &ApiPolicy) -> Vec<u8> {
    api_message(policy).encode_to_vec()
}

/// The bytes of `wso2.discovery.config.enforcer.Config`, the value of an `Any` of type `names::type_url::CONFIG`.
#[must_use]
pub fn settings(settings: &Settings) -> Vec<u8> {
    settings_message(settings).encode_to_vec()
}

/// `wso2.discovery.api.Api`.
#[must_use]
pub fn api_message(policy: &ApiPolicy) -> wire::Api {
    let graphql = policy.graphql.clone().unwrap_or_default();
    wire::Api {
        id: policy.id.clone(),
        title: policy.title.clone(),
        version: policy.version.clone(),
        api_type: policy.kind.as_str().to_owned(),
        description: policy.description.clone(),
        production_endpoints: policy.production.as_ref().map(cluster),
        sandbox_endpoints: policy.sandbox.as_ref().map(cluster),
        resources: policy.resources.iter().map(resource).collect(),
        base_path: policy.base_path.clone(),
        tier: policy.tier.clone(),
        api_life_cycle_state: policy.lifecycle.as_str().to_owned(),
        security_scheme: policy.schemes.iter().map(scheme).collect(),
        security: policy.security.iter().map(requirement).collect(),
        endpoint_security: (policy.endpoint_security != crate::api::EndpointSecurity::default()).then(|| {
            wire::EndpointSecurity {
                sand_box_security_info: policy.endpoint_security.sandbox.as_ref().map(credentials),
                production_security_info: policy.endpoint_security.production.as_ref().map(credentials),
            }
        }),
        authorization_header: policy.authorization_header.clone().unwrap_or_default(),
        disable_security: policy.disable_security,
        vhost: policy.vhost.clone(),
        organization_id: policy.organization.clone(),
        is_mocked_api: policy.mocked,
        client_certificates: policy
            .client_certificates
            .iter()
            .map(|certificate| wire::Certificate {
                alias: certificate.alias.clone(),
                tier: certificate.tier.clone(),
                content: certificate.pem.clone().into(),
                key_type: certificate.key_type.map_or("", KeyType::as_str).to_owned(),
            })
            .collect(),
        mutual_ssl: match policy.mutual_tls {
            MutualTls::Absent => "not_defined",
            MutualTls::Mandatory => "mandatory",
            MutualTls::Optional => "optional",
        }
        .to_owned(),
        application_security: policy.application_security,
        graph_ql_schema: graphql.schema,
        graphql_complexity_info: graphql
            .complexity
            .into_iter()
            .map(|weight| wire::GraphqlComplexity {
                r#type: weight.type_name,
                field: weight.field,
                complexity_value: weight.value,
            })
            .collect(),
        endpoint_type: policy.endpoint_type.clone(),
        revision_epoch: policy.revision.epoch,
        revision_counter: policy.revision.counter,
    }
}

fn resource(resource: &Resource) -> wire::Resource {
    wire::Resource {
        id: resource.id.clone(),
        path: resource.path.clone(),
        methods: resource.operations.iter().map(operation).collect(),
        production_endpoints: resource.production.as_ref().map(cluster),
        sandbox_endpoints: resource.sandbox.as_ref().map(cluster),
        ..wire::Resource::default()
    }
}

fn operation(operation: &Operation) -> wire::Operation {
    let policies = &operation.policies;
    let any = !(policies.request.is_empty() && policies.response.is_empty() && policies.fault.is_empty());
    wire::Operation {
        method: operation.method.as_str().to_owned(),
        security: operation.security.iter().map(requirement).collect(),
        tier: operation.tier.clone(),
        disable_security: operation.disable_security,
        policies: any.then(|| wire::OperationPolicies {
            request: policies.request.iter().map(policy).collect(),
            response: policies.response.iter().map(policy).collect(),
            fault: policies.fault.iter().map(policy).collect(),
        }),
        mocked_api_config: operation.mock.as_ref().map(mock),
    }
}

fn policy(policy: &Policy) -> wire::Policy {
    wire::Policy {
        action: policy.action.clone(),
        parameters: policy.parameters.clone().into_iter().collect(),
    }
}

fn mock(mock: &Mock) -> wire::MockedApiConfig {
    wire::MockedApiConfig {
        responses: mock
            .responses
            .iter()
            .map(|response| wire::MockedResponseConfig {
                code: response.code.clone(),
                headers: response
                    .headers
                    .iter()
                    .map(|(name, value)| wire::MockedHeaderConfig {
                        name: name.clone(),
                        value: value.clone(),
                    })
                    .collect(),
                content: response
                    .content
                    .iter()
                    .map(|content| wire::MockedContentConfig {
                        content_type: content.content_type.clone(),
                        examples: content
                            .examples
                            .iter()
                            .map(|(name, body)| wire::MockedContentExample {
                                r#ref: name.clone(),
                                body: body.clone(),
                            })
                            .collect(),
                    })
                    .collect(),
            })
            .collect(),
    }
}

fn requirement(requirement: &Requirement) -> wire::SecurityList {
    wire::SecurityList {
        scope_list: requirement
            .schemes
            .iter()
            .map(|(definition, scopes)| {
                let scopes = wire::Scopes {
                    scopes: scopes.clone(),
                };
                (definition.clone(), scopes)
            })
            .collect(),
    }
}

fn scheme(scheme: &SecurityScheme) -> wire::SecurityScheme {
    wire::SecurityScheme {
        definition_name: scheme.definition.clone(),
        r#type: match &scheme.kind {
            SchemeKind::ApiKey => "apiKey",
            SchemeKind::OAuth2 => "oauth2",
            SchemeKind::OpenIdConnect => "openIdConnect",
            SchemeKind::Other(text) => text,
        }
        .to_owned(),
        name: scheme.name.clone(),
        r#in: match &scheme.location {
            Location::Header => "header",
            Location::Query => "query",
            Location::Other(text) => text,
        }
        .to_owned(),
    }
}

fn cluster(cluster: &EndpointCluster) -> wire::EndpointCluster {
    let config = cluster.retry.is_some() || cluster.timeout_millis.is_some();
    wire::EndpointCluster {
        urls: cluster
            .endpoints
            .iter()
            .map(|endpoint| wire::Endpoint {
                host: endpoint.host.clone(),
                basepath: endpoint.base_path.clone(),
                u_rl_type: endpoint.scheme.clone(),
                port: u32::from(endpoint.port),
            })
            .collect(),
        config: config.then(|| wire::EndpointClusterConfig {
            retry_config: cluster.retry.as_ref().map(|retry| wire::RetryConfig {
                count: retry.count,
                status_codes: retry.status_codes.clone(),
            }),
            timeout_config: cluster
                .timeout_millis
                .map(|route_timeout_in_millis| wire::TimeoutConfig {
                    route_timeout_in_millis,
                }),
        }),
    }
}

fn credentials(credentials: &Credentials) -> wire::SecurityInfo {
    wire::SecurityInfo {
        password: credentials.password.clone(),
        custom_parameters: credentials.parameters.clone().into_iter().collect(),
        security_type: credentials.kind.clone(),
        enabled: credentials.enabled,
        username: credentials.username.clone(),
    }
}

/// `wso2.discovery.config.enforcer.Config`.
#[must_use]
pub fn settings_message(settings: &Settings) -> config::Config {
    config::Config {
        security: Some(config::Security {
            token_service: settings.issuers.iter().map(issuer).collect(),
            auth_header: Some(config::AuthHeader {
                enable_outbound_auth_header: settings.auth_header.outbound,
                authorization_header: settings.auth_header.authorization.clone(),
                test_console_header_name: settings.auth_header.internal_key.clone(),
            }),
            mutual_ssl: Some(config::MutualSsl {
                certificate_header: settings.mutual_tls.header.clone(),
                enable_client_validation: settings.mutual_tls.from_connection,
                client_certificate_encode: settings.mutual_tls.encoded,
                enable_outbound_certificate_header: settings.mutual_tls.outbound,
            }),
        }),
        auth_service: Some(config::Service {
            port: i32::from(settings.service.port),
            max_message_size: settings.service.max_message_bytes,
            max_header_limit: settings.service.max_header_bytes,
            keep_alive_time: secs(settings.service.keep_alive),
            thread_pool: Some(config::ThreadPool {
                core_size: settings.service.pool.core,
                max_size: settings.service.pool.max,
                keep_alive_time: secs(settings.service.pool.keep_alive),
                queue_size: settings.service.pool.queue,
            }),
        }),
        jwt_generator: Some(generator(&settings.generator)),
        cache: Some(config::Cache {
            enable: settings.cache.enabled,
            maximum_size: i32::try_from(settings.cache.max_entries).unwrap_or(i32::MAX),
            expiry_time: i32::try_from(settings.cache.expiry.as_secs() / 60).unwrap_or(i32::MAX),
        }),
        jwt_issuer: Some(config::JwtIssuer {
            enabled: settings.test_issuer.enabled,
            issuer: settings.test_issuer.issuer.clone(),
            encoding: settings.test_issuer.encoding.clone(),
            claim_dialect: settings.test_issuer.claim_dialect.clone(),
            signing_algorithm: settings.test_issuer.signing_algorithm.clone(),
            public_certificate_path: settings.test_issuer.certificate_path.clone(),
            private_key_path: settings.test_issuer.key_path.clone(),
            validity_period: settings.test_issuer.validity_secs,
            jwt_users: settings
                .test_issuer
                .users
                .iter()
                .map(|user| config::JwtUser {
                    username: user.username.clone(),
                    password: user.password.clone(),
                })
                .collect(),
        }),
        management: Some(config::Management {
            username: settings.management.username.clone(),
            password: settings.management.password.clone(),
        }),
        rest_server: Some(config::RestServer {
            enable: settings.admin_api,
        }),
        metrics: Some(config::Metrics {
            enabled: settings.metrics.enabled,
            r#type: settings.metrics.kind.clone(),
        }),
        filters: settings
            .filters
            .iter()
            .map(|filter| config::Filter {
                class_name: filter.class.clone(),
                position: filter.position,
                config_properties: filter.properties.clone().into_iter().collect(),
            })
            .collect(),
        soap: Some(config::Soap {
            soap_error_in_xml_enabled: settings.soap_errors,
        }),
        control_plane_enabled: settings.control_plane,
        limits: settings.limits.as_ref().map(throttle::encode),
        ..config::Config::default()
    }
}

fn issuer(issuer: &settings::Issuer) -> config::Issuer {
    config::Issuer {
        name: issuer.name.clone(),
        issuer: issuer.issuer.clone(),
        certificate_alias: issuer.certificate_alias.clone(),
        jwks_url: issuer.jwks_url.clone(),
        validate_subscription: issuer.validate_subscription,
        consumer_key_claim: issuer.consumer_key_claim.clone(),
        certificate_file_path: issuer.certificate_path.clone(),
        claim_mapping: issuer
            .claim_mapping
            .iter()
            .map(|mapping| config::ClaimMapping {
                remote_claim: mapping.remote.clone(),
                local_claim: mapping.local.clone(),
            })
            .collect(),
    }
}

fn generator(generator: &settings::Generator) -> config::JwtGenerator {
    config::JwtGenerator {
        enable: generator.enabled,
        encoding: generator.encoding.clone(),
        claim_dialect: generator.claim_dialect.clone(),
        convert_dialect: generator.convert_dialect,
        header: generator.header.clone(),
        signing_algorithm: generator.signing_algorithm.clone(),
        enable_user_claims: generator.user_claims,
        gateway_generator_impl: generator.implementation.clone(),
        claims_extractor_impl: generator.claims_extractor.clone(),
        token_ttl: generator.ttl_secs,
        keypairs: generator
            .keypairs
            .iter()
            .map(|pair| config::Keypair {
                public_certificate_path: pair.certificate_path.clone(),
                private_key_path: pair.key_path.clone(),
                use_for_signing: pair.signs,
            })
            .collect(),
        use_kid_property: generator.use_kid,
    }
}

/// Whole seconds, the unit of the wire.
fn secs(duration: std::time::Duration) -> i32 {
    i32::try_from(duration.as_secs()).unwrap_or(i32::MAX)
}
