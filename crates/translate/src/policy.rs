//! Projects to what the enforcer knows of them (spec/adapter.md 8.5).

use trireme_policy::api::{
    ApiKind, ApiPolicy, ClientCertificate, Credentials, Endpoint, EndpointCluster, EndpointSecurity, KeyType,
    Lifecycle, Location, Method, Mock, MockContent, MockResponse, MutualTls, Operation, Policies,
    Requirement, Resource, Retry, Revision, SchemeKind, SecurityScheme,
};
use trireme_project::{
    ApiKind as ProjectKind, ApiProject, EndpointCluster as ProjectEndpoints,
    EndpointSecurity as ProjectCredentials, Implementation, KeyType as ProjectKeyType, MutualSsl,
    Operation as ProjectOperation, Requirement as ProjectRequirement, SecurityScheme as ProjectScheme,
};

use crate::findings::Findings;
use crate::{Deployed, Settings, routes};

/// The policy of one API on one virtual host, but for its revision.
pub(crate) fn of(deployed: &Deployed<'_>, settings: &Settings, findings: &mut Findings) -> ApiPolicy {
    let project = deployed.project;
    let cluster = |endpoints: &Option<ProjectEndpoints>| {
        endpoints
            .as_ref()
            .map(|endpoints| endpoint_cluster(endpoints, settings))
    };
    ApiPolicy {
        id: project.identity.uuid.clone(),
        title: project.identity.name.clone(),
        version: project.identity.version.clone(),
        kind: kind(project.kind),
        description: project.description.clone(),
        production: cluster(&project.production),
        sandbox: cluster(&project.sandbox),
        resources: project
            .resources
            .iter()
            .map(|resource| Resource {
                id: resource.id.clone(),
                path: resource.path.clone(),
                operations: resource
                    .operations
                    .iter()
                    .filter_map(|operation| self::operation(operation, &resource.path, findings))
                    .collect(),
                production: cluster(&resource.production),
                sandbox: cluster(&resource.sandbox),
            })
            .collect(),
        base_path: project.base_path.clone(),
        vhost: deployed.vhost.to_owned(),
        tier: project.tier.clone().unwrap_or_default(),
        lifecycle: Lifecycle::parse(&project.lifecycle),
        schemes: project.security_schemes.iter().map(scheme).collect(),
        security: requirements(&project.security),
        endpoint_security: EndpointSecurity {
            production: project.production_security.as_ref().map(credentials),
            sandbox: project.sandbox_security.as_ref().map(credentials),
        },
        authorization_header: project.auth_header.clone(),
        disable_security: project.disable_security,
        organization: deployed.organization.to_owned(),
        mocked: project.implementation == Implementation::Mocked,
        client_certificates: project
            .client_certificates
            .iter()
            .map(|certificate| ClientCertificate {
                alias: certificate.alias.clone(),
                key_type: certificate.key_type.map(|key_type| match key_type {
                    ProjectKeyType::Production => KeyType::Production,
                    ProjectKeyType::Sandbox => KeyType::Sandbox,
                }),
                tier: certificate.tier.clone(),
                pem: certificate.content.clone(),
            })
            .collect(),
        mutual_tls: match project.mutual_ssl {
            MutualSsl::Mandatory => MutualTls::Mandatory,
            MutualSsl::NotDefined => MutualTls::Absent,
            MutualSsl::Optional => MutualTls::Optional,
        },
        application_security: project.application_security,
        graphql: None,
        endpoint_type: endpoint_type(project),
        revision: Revision::default(),
    }
}

/// SOAP APIs are told and listed as HTTP (quirk Q13).
fn kind(kind: ProjectKind) -> ApiKind {
    match kind {
        ProjectKind::GraphQl => ApiKind::GraphQl,
        ProjectKind::Http | ProjectKind::Soap => ApiKind::Http,
        ProjectKind::Ws => ApiKind::WebSocket,
    }
}

fn endpoint_type(project: &ApiProject) -> String {
    match project.implementation {
        Implementation::Lambda => "awslambda".to_owned(),
        Implementation::Mocked | Implementation::Upstream => String::new(),
    }
}

fn operation(operation: &ProjectOperation, path: &str, findings: &mut Findings) -> Option<Operation> {
    let Some(method) = Method::parse(&operation.method) else {
        findings.warn(format!("method {} of {path} is not served", operation.method));
        return None;
    };
    Some(Operation {
        method,
        security: requirements(&operation.security),
        tier: operation.tier.clone().unwrap_or_default(),
        disable_security: operation.disable_security,
        policies: Policies::default(),
        mock: (!operation.mock.is_empty()).then(|| Mock {
            responses: operation
                .mock
                .iter()
                .map(|response| MockResponse {
                    code: response.code.clone(),
                    headers: response.headers.clone(),
                    content: response
                        .content
                        .iter()
                        .map(|content| MockContent {
                            content_type: content.media_type.clone(),
                            examples: content.examples.clone(),
                        })
                        .collect(),
                })
                .collect(),
        }),
    })
}

/// An empty alternative would mean "nothing is needed"; the format of the original has no word for it, and security is
/// switched off by its own extension only.
fn requirements(alternatives: &[ProjectRequirement]) -> Vec<Requirement> {
    alternatives
        .iter()
        .filter(|schemes| !schemes.is_empty())
        .map(|schemes| Requirement {
            schemes: schemes.clone(),
        })
        .collect()
}

fn scheme(scheme: &ProjectScheme) -> SecurityScheme {
    SecurityScheme {
        definition: scheme.definition.clone(),
        kind: match scheme.kind.trim() {
            kind if kind.eq_ignore_ascii_case("apikey") => SchemeKind::ApiKey,
            kind if kind.eq_ignore_ascii_case("oauth2") => SchemeKind::OAuth2,
            "openIdConnect" => SchemeKind::OpenIdConnect,
            kind => SchemeKind::Other(kind.to_owned()),
        },
        name: scheme.name.clone(),
        location: match scheme.location.as_str() {
            "header" => Location::Header,
            "query" => Location::Query,
            other => Location::Other(other.to_owned()),
        },
    }
}

fn credentials(credentials: &ProjectCredentials) -> Credentials {
    Credentials {
        enabled: credentials.enabled,
        kind: credentials.kind.clone(),
        username: credentials.username.clone(),
        password: credentials.password.clone(),
        parameters: credentials.custom_parameters.clone(),
    }
}

fn endpoint_cluster(cluster: &ProjectEndpoints, settings: &Settings) -> EndpointCluster {
    let retry = &settings.upstream.retry;
    EndpointCluster {
        endpoints: cluster
            .endpoints
            .iter()
            .map(|endpoint| Endpoint {
                host: endpoint.host.clone(),
                base_path: endpoint.base_path.clone(),
                scheme: endpoint.scheme.as_str().to_owned(),
                port: endpoint.port,
            })
            .collect(),
        retry: cluster.config.retry.as_ref().map(|wanted| Retry {
            count: wanted.count.min(retry.max_count),
            status_codes: if wanted.status_codes.is_empty() {
                retry.statuses.iter().copied().map(u32::from).collect()
            } else {
                wanted.status_codes.iter().copied().map(u32::from).collect()
            },
        }),
        timeout_millis: cluster
            .config
            .timeout
            .map(|timeout| u32::try_from(routes::capped(timeout, settings).as_millis()).unwrap_or(u32::MAX)),
    }
}
